"""Speed of filling templates: events per second and core, against one boost-histogram fill for each variation."""

import time

import boost_histogram as bh
import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.templates import CHANNELS, Chunk, Sums, accumulate
from mucal.templates.binning import CELLS
from mucal.theory import generator, production

pytestmark = pytest.mark.benchmark

N, N_VARIATIONS = 1 << 14, 800


@pytest.fixture(scope="module")
def chunk() -> tuple[Chunk, tuple[np.ndarray, ...]]:
    """Muons of a W that pass 26 to 56 GeV, with 800 weights each."""
    events = generator.generate(production.production("w_plus"), 0, 4 * N, seed=1)
    values = (np.ones(len(events)), events.leptons[:, 0, 1].copy(), events.leptons[:, 0, 0].copy())
    bins = CHANNELS["w"].index(values)
    inside = np.flatnonzero(bins >= 0)[:N]
    extra = 1 + 0.01 * np.random.default_rng(1).normal(size=(N, N_VARIATIONS))
    names = tuple(f"v{i}" for i in range(N_VARIATIONS))
    made = Chunk(
        n_read=N, bins=bins[inside], weight=events.weight[inside], shares=events.shares[inside], names=names,
        cell=CELLS.index((events.pt[inside], np.abs(events.rapidity[inside]))), extra=extra,
    )  # fmt: skip
    return made, tuple(v[inside] for v in values)


def median(run, repeats: int = 7) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times))


def test_events_with_800_weights(chunk):
    made, values = chunk
    binning = CHANNELS["w"]
    sums = accumulate(binning, made)
    ours = median(lambda: accumulate(binning, made, sums))

    histogram = bh.Histogram(*(bh.axis.Variable(e) for e in binning.edges), storage=bh.storage.Double())
    few = 20

    def peer() -> np.ndarray:
        for j in range(few):
            histogram.reset()
            histogram.fill(*values, weight=made.weight * made.extra[:, j])
        return histogram.view().ravel()

    loops = median(peer) * N_VARIATIONS / few
    assert_allclose(accumulate(binning, made).columns[:, few - 1], peer(), rtol=1e-10)
    print(f"\n800 weights: {N / ours:.3g} events/s/core, {loops / ours:.0f} times boost-histogram's {N / loops:.3g}")
    assert loops / ours > 15.0


def test_events_by_helicity(chunk):
    # what the 456 theory nuisances need
    made, _ = chunk
    lean = Chunk(
        n_read=N, bins=made.bins, weight=made.weight, cell=made.cell, shares=made.shares, names=(),
        extra=np.zeros((N, 0)),
    )  # fmt: skip
    sums = Sums.zero(CHANNELS["w"].n_bins, ())
    ours = median(lambda: accumulate(CHANNELS["w"], lean, sums))
    all_weights = Sums.zero(CHANNELS["w"].n_bins, made.names)
    whole = median(lambda: accumulate(CHANNELS["w"], made, all_weights))
    print(f"\nhelicity sums: {N / ours:.3g} events/s/core, {whole / ours:.1f} times as fast as with 800 weights")
    assert whole / ours > 3.0


def test_generator():
    made = production.production("w_minus")
    for reuse in (1, 4):
        ours = median(lambda reuse=reuse: generator.generate(made, 0, 4 * N, seed=1, reuse=reuse), 3)
        events = generator.generate(made, 0, 4 * N, seed=1, reuse=reuse)
        # weights have mean 1 over the sample
        assert abs(events.weight.mean() - 1.0) < 5.0 * events.weight.std() / np.sqrt(events.weight.size / reuse)
        print(f"\ngenerated W, each boson {reuse} times: {4 * N / ours:.3g} events/s/core")
