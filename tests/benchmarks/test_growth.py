"""Every heavy stage at three sizes, beside a peer or a limit timed in turns with it: `python -m tests.benchmarks`.

The stage has to give the peer's answer and to grow no faster than its work; how fast it is, the table says.
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import boost_histogram as bh
import correctionlib
import numpy as np
import pytest
from scipy.linalg import lapack

from mucal.calibration import Calibration
from mucal.detector import cms_like
from mucal.globalcor.constraints import eliminate
from mucal.globalcor.dense import dense_factor
from mucal.globalcor.system import System
from mucal.io import write_bundle
from mucal.likelihood import observe
from mucal.likelihood.objective import objective
from mucal.massfit import BatchConfig, fit_bins
from mucal.numerics.blocks import BLOCK, BlockSum, Factors, joined_factors
from mucal.propagation import free_states, propagate, surfaces_of
from mucal.refit import fit_tracks
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.templates import CHANNELS, Chunk, accumulate

pytestmark = pytest.mark.benchmark

ROUNDS = 5
NOISE = 0.25
"""By which the exponent of the growth may be wrong: 20 % of a time on either end of a factor of 4."""


def sibling(name: str) -> ModuleType:
    """Another file of benchmarks, for the inputs and peers that it defines."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_turns(work: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Median processor seconds of both, after one call of each that compiles."""
    work()
    peer()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for action, times in zip((work, peer), spent, strict=True):
            start = time.process_time()
            action()
            times.append(time.process_time() - start)
    return float(np.median(spent[0])), float(np.median(spent[1]))


def timed(
    table, make_row, stage: str, unit: str, peer: str, growth: float,
    cases: dict[int, tuple[Callable[[], object], Callable[[], object]]], shares: dict[int, float] | None = None,
) -> None:  # fmt: skip
    """Time a stage and its peer at every size, record the row, and compare how the stage grows with what is expected.

    shares : by how much the stage did more than the peer, where that is given a part of the work
    """
    pairs = {n: in_turns(*case) for n, case in cases.items()}
    row = make_row(
        stage=stage, unit=unit, sizes=tuple(cases), seconds=tuple(ours for ours, _ in pairs.values()), peer=peer,
        ratios=tuple((shares or {}).get(n, 1.0) * theirs / ours for n, (ours, theirs) in pairs.items()),
    )  # fmt: skip
    table.append(row)
    assert row.growth < growth + NOISE


def test_refit(table, make_row):
    detector = cms_like()
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 16_000)
    every = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits
    surfaces, cases = surfaces_of(detector), {}
    for n in (200, 400, 800):
        hits = every.select(slice(0, n))
        routes = routes_of_hits(detector, detector.field, hits)
        start = free_states(hits.truth.state, hits.truth.vertex)
        assert fit_tracks(detector, detector.field, hits, routes, surfaces=surfaces)[0].ok.mean() > 0.99
        cases[n] = (
            lambda h=hits, r=routes: fit_tracks(detector, detector.field, h, r, surfaces=surfaces),
            lambda s=start, r=routes: propagate(detector.field, surfaces, s, r),
        )
    timed(table, make_row, "refit of tracks", "tracks", "one propagation with Jacobians (limit)", 1.0, cases)


def test_accumulation(table, make_row):
    other, cases = sibling("test_globalcor"), {}
    size = other.CROSSED * BLOCK
    for n in (100, 200, 400):  # enough that nearly all blocks are there from the first
        f, used = other.factors(n), np.ones(n, dtype=bool)
        blocks, packed = BlockSum(other.MODULES, np.arange(other.N)), np.zeros(other.N * (other.N + 1) // 2)
        blocks.add(f, used)
        other.packed_triangle(f.label, size, f.factor, other.ROWS, packed)
        np.testing.assert_allclose(
            blocks.matrix().dense_lower()[50, :51], packed[50 * 51 // 2 : 51 * 52 // 2], rtol=1e-9
        )
        cases[n] = (
            lambda b=blocks, f=f, u=used: b.add(f, u),
            lambda f=f, p=packed: other.packed_triangle(f.label, size, f.factor, other.ROWS, p),
        )
    timed(table, make_row, "sum of normal equations", "candidates", "dense products into a packed triangle", 1.0, cases)


def linear_system(modules: int) -> System:
    """Normal equations of random candidates that cross 12 of the modules, with a ridge."""
    n, rng = modules * BLOCK, np.random.default_rng(3)
    crossed = np.stack([np.sort(rng.choice(modules, 12, replace=False)) for _ in range(4 * modules)])
    label = (crossed[:, :, None] * BLOCK + np.arange(BLOCK)).reshape(len(crossed), -1)
    size, ones = label.shape[1], np.ones(n)
    blocks = BlockSum(modules, np.arange(n))
    blocks.add(
        Factors(
            label_offsets=np.arange(len(crossed) + 1) * size, label=label.ravel(), n_rows=np.full(len(crossed), 20),
            factor_offsets=np.arange(len(crossed) + 1) * size * 20, factor=rng.normal(size=len(crossed) * size * 20),
            weight=np.ones(len(crossed)),
        ),
        np.ones(len(crossed), dtype=bool),
    )  # fmt: skip

    class Total:
        kept = joined_factors(())

    class Registry:
        slot = np.arange(n)
        names = tuple(map(str, range(n)))

    return System(
        registry=Registry(), total=Total(), matrix=blocks.matrix(), free=ones.astype(bool), scale=ones,
        ridge=2.0 * ones, status=np.zeros(n, dtype=np.int64), rows=np.zeros((0, n)), b=ones,
        inside=eliminate(np.zeros((0, n)), np.zeros(0), []),
    )  # fmt: skip


def test_solve(table, make_row):
    cases = {}
    for modules in (75, 150, 300):
        system = linear_system(modules)
        n = modules * BLOCK
        np.testing.assert_allclose(system.product(dense_factor(system).solve(system.b)), system.b, rtol=1e-8)
        a = np.random.default_rng(1).normal(size=(n, n))
        a[np.diag_indices(n)] += 4 * n
        cases[n] = (
            lambda s=system: dense_factor(s).solve(s.b),
            lambda a=a: lapack.dpotrf(a.T, lower=0, overwrite_a=0),
        )
    timed(table, make_row, "dense solve", "parameters", "LAPACK's dpotrf alone (limit)", 3.0, cases)


def test_batch_fits(table, make_row):
    other, cases = sibling("test_batch_fits"), {}
    counts = other.jpsi_spectra(np.random.default_rng(20261122), 1_000)
    config = BatchConfig(model="dscb", min_events=1)
    assert fit_bins(other.histograms(counts), config).good.mean() > 0.98
    few = 5
    for n in (250, 500, 1_000):
        part = other.histograms(counts[:n])
        chosen = counts[: n : n // few]
        cases[n] = (
            lambda p=part: fit_bins(p, config, n_threads=1),
            lambda c=chosen: [other.minuit(row, other.start_of(row)).migrad().hesse() for row in c],
        )
    peer = "a loop of compiled iminuit fits with HESSE"
    timed(table, make_row, "mass fits", "bins", peer, 1.0, cases, shares={n: n / few for n in cases})


def test_corrections(table, make_row, cms_like: Calibration, tmp_path: Path):
    folder = write_bundle(cms_like, tmp_path / "release")
    peer = correctionlib.CorrectionSet.from_file(str(folder / "corrections.json.gz"))["pt_scale"]
    rng, cases = np.random.default_rng(2), {}
    for n in (250_000, 500_000, 1_000_000):
        pt, eta, charge = rng.uniform(4, 70, n), rng.uniform(-2.4, 2.4, n), rng.choice([-1, 1], n)
        phi = np.zeros(n)
        np.testing.assert_allclose(
            cms_like.correct(pt, eta, phi, charge), pt * peer.evaluate(pt, eta, charge, "nom"), rtol=1e-12
        )
        cases[n] = (
            lambda p=pt, e=eta, f=phi, q=charge: cms_like.correct(p, e, f, q),
            lambda p=pt, e=eta, q=charge: p * peer.evaluate(p, e, q, "nom"),
        )
    timed(table, make_row, "corrections", "muons", "correctionlib with the same table", 1.0, cases)


def test_templates(table, make_row):
    binning, n_weights, few = CHANNELS["w"], 200, 5
    rng, cases = np.random.default_rng(4), {}
    for n in (4_096, 8_192, 16_384):
        values = (np.ones(n), rng.uniform(-2.4, 2.4, n), rng.uniform(26.0, 56.0, n))
        chunk = Chunk(
            n_read=n, bins=binning.index(values), weight=np.ones(n), cell=np.full(n, -1, dtype=np.int64),
            shares=np.zeros((n, 9)), names=tuple(f"v{i}" for i in range(n_weights)),
            extra=1 + 0.01 * rng.normal(size=(n, n_weights)),
        )  # fmt: skip
        sums = accumulate(binning, chunk)
        histogram = bh.Histogram(*(bh.axis.Variable(e) for e in binning.edges), storage=bh.storage.Double())

        def fills(values=values, chunk=chunk, histogram=histogram) -> np.ndarray:
            for j in range(few):
                histogram.reset()
                histogram.fill(*values, weight=chunk.weight * chunk.extra[:, j])
            return histogram.view().ravel()

        np.testing.assert_allclose(sums.columns[:, few - 1], fills(), rtol=1e-10)
        cases[n] = (lambda c=chunk, s=sums: accumulate(binning, c, s), fills)

    stage, shares = f"templates with {n_weights} weights", dict.fromkeys(cases, n_weights / few)
    timed(table, make_row, stage, "events", "a boost-histogram fill a weight", 1.0, cases, shares=shares)


def test_likelihood(table, make_row):
    other, cases = sibling("test_likelihood"), {}
    for n in (250, 500, 1_000):
        model = other.dense_model(720, 9, n)
        function = objective(model, observe(model, model.nominal.sum(axis=1)), "gamma")
        rng = np.random.default_rng(1)
        x, along = 0.3 * rng.normal(size=n), rng.normal(size=n) / n
        up, down = (function.value_and_gradient(x + step * along)[0] for step in (1e-4, -1e-4))
        np.testing.assert_allclose(function.value_and_gradient(x)[1] @ along, (up - down) / 2e-4, rtol=1e-5)
        kappa = model.effects.kappa
        cases[n] = (lambda f=function, x=x: f.value_and_gradient(x), lambda k=kappa: other.read(k))
    timed(table, make_row, "likelihood and gradient", "nuisances", "reading the effects once (limit)", 1.0, cases)
