"""Speed of the fit of pairs, with their mass and the labels of all modules, beside that of their single tracks."""

import time
from statistics import median

import numpy as np
import pytest

from mucal.detector import cms_like
from mucal.globalcor import CMS_2016, AccumulateConfig, GuardConfig, accumulate, build_registry, divide
from mucal.globalcor.leaf import Leaf
from mucal.propagation import surfaces_of
from mucal.refit import MassReference, fit_pairs, fit_tracks
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits

pytestmark = pytest.mark.benchmark

MASS = MassReference.constant(3.0924, 0.0203)


def seconds(work, repeats=3):
    """Median of the processor seconds of a piece of work, and its last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return median(times), result


@pytest.mark.parametrize("events", [4_000, 8_000, 16_000])
def test_pairs_per_second(capsys, events):
    detector = cms_like()
    registry = build_registry(detector, CMS_2016)
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), events)
    hits = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits
    hits = hits.select(np.isin(hits.pair, np.unique(hits.pair)[np.unique(hits.pair, return_counts=True)[1] == 2]))
    field, surfaces = detector.field, surfaces_of(detector)
    routes = routes_of_hits(detector, field, hits)
    few = hits.select(slice(0, 20))
    fit_pairs(detector, field, few, routes[:20], mass=MASS, parameters=registry.map)
    fit_tracks(detector, field, few, routes[:20])

    def pairs(**kwargs):
        return fit_pairs(detector, field, hits, routes, surfaces=surfaces, **kwargs)

    n = len(hits) // 2
    walk, _ = seconds(lambda: routes_of_hits(detector, field, hits))
    tracks, _ = seconds(lambda: fit_tracks(detector, field, hits, routes, surfaces=surfaces))
    vertex, _ = seconds(pairs)
    mass, _ = seconds(lambda: pairs(mass=MASS))
    full, (fits, blocks) = seconds(lambda: pairs(mass=MASS, parameters=registry.map))
    summed, sums = seconds(lambda: accumulate(lambda chunk: blocks, divide(n, n), registry, AccumulateConfig()))
    assert sums.ledger.used > 0.9 * n
    leaf = Leaf(registry, "", 0, n_parts=20, guards=GuardConfig(), keep=False)
    chunks = iter(range(10))
    leaf.add(next(chunks), blocks)  # finds its blocks, as a long sum has done long since
    filled, _ = seconds(lambda: leaf.add(next(chunks), blocks))
    assert fits.vertex.ok.mean() > 0.999
    labels, rows = np.diff(blocks.label_offsets).mean(), blocks.n_rows.mean()
    first, second = fits.vertex.n_iterations.mean(), fits.constrained.n_iterations.mean()
    rates = {
        "both tracks on their own": tracks, "vertex": vertex, "vertex, then mass": mass, "and derivatives": full,
        "with routes and the sum": full + walk + summed, "and blocks found before": full + walk + filled,
    }  # fmt: skip
    with capsys.disabled():
        print(f"\n{n} pairs, {labels:.0f} labels and {rows:.1f} rows each; {first:.2f} + {second:.2f} iterations")
        for name, spent in rates.items():
            print(f"  {name:<26} {n / spent:8.0f} pairs/s/core")
        print(f"  the sum takes {summed / full:.2f} of the refit, {filled / full:.2f} where its blocks are there: with "
              f"it {(full + walk) / (full + walk + filled):.2f} of the rate of the refit with routes")  # fmt: skip
