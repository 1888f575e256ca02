"""Speed of the refit of tracks through the whole tracker, beside the propagation alone and the machine's dgemm."""

import ast
import inspect
import textwrap
import time
from statistics import median

import numpy as np
import pytest

from mucal.detector import cms_like
from mucal.propagation import free_states, propagate, surfaces_of
from mucal.propagation.kernels import crossings, stepping
from mucal.propagation.kernels.layout import LANES
from mucal.refit import RefitConfig, fit_tracks
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits

pytestmark = pytest.mark.benchmark


def seconds(work, repeats=5):
    """Median of the processor seconds of a piece of work, and its last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return median(times), result


def operations(kernel):
    """Additions, multiplications and divisions that the loops of a kernel over its lanes hold."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kernel.py_func)))
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For) and ast.unparse(node.iter) == "range(LANES)"]
    counted = (ast.Add, ast.Sub, ast.Mult, ast.Div)
    index = {id(n) for loop in loops for s in ast.walk(loop) if isinstance(s, ast.Subscript) for n in ast.walk(s.slice)}
    found = [
        n for loop in loops for n in ast.walk(loop)
        if isinstance(n, ast.BinOp) and isinstance(n.op, counted) and id(n) not in index
    ]  # fmt: skip
    return LANES * len(found)


def operations_of_a_fit(legs, rows, iterations):
    """At least so many per track: the columns of every step and leg, and the dense algebra of every linearisation."""
    reached = np.arange(legs.path.shape[1]) < legs.n_reached[:, None]
    steps = np.where(reached, np.ceil(np.abs(np.nan_to_num(legs.path)) / RefitConfig().longest_step), 0).sum(axis=1)
    n_legs = legs.n_reached
    columns = steps * operations(stepping.step_columns) + n_legs * (
        operations(stepping.shift_columns) + operations(crossings.open_local) + operations(crossings.project)
    )
    noise, carried = 4 * 2 * 125 * n_legs, 2 * 25 * rows * n_legs / 2  # F C F^T; the rows walk half of the legs
    sigma, factor, triangle = 5 * rows**2, rows**3 / 3, (5 + 1) * rows**2 + 4 * rows * 25
    return float(np.mean(iterations * (columns + noise + carried + sigma + factor + triangle)))


def gemm_rate(n=700):
    """Operations per second of this machine's matrix product, one thread if OMP_NUM_THREADS=1."""
    a = np.random.default_rng(0).random((n, n))
    spent, _ = seconds(lambda: a @ a, 9)
    return 2 * n**3 / spent


def test_tracks_per_second(capsys):
    detector = cms_like()
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 32_000)
    hits = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits
    surfaces, n = surfaces_of(detector), len(hits)
    routes = routes_of_hits(detector, detector.field, hits)
    fit_tracks(detector, detector.field, hits.select(slice(0, 10)), routes[:10], surfaces=surfaces)
    start = free_states(hits.truth.state, hits.truth.vertex)
    propagate(detector.field, surfaces, start[:10], routes[:10])
    walk, _ = seconds(lambda: routes_of_hits(detector, detector.field, hits), 3)
    once, _ = seconds(lambda: propagate(detector.field, surfaces, start[:2000], routes[:2000]))
    fit, (fits, _) = seconds(lambda: fit_tracks(detector, detector.field, hits, routes, surfaces=surfaces))
    states, (other, _) = seconds(
        lambda: fit_tracks(detector, detector.field, hits, routes, RefitConfig(solver="states"), surfaces=surfaces)
    )
    legs = propagate(detector.field, surfaces, start, routes)
    work = operations_of_a_fit(legs, fits.ndof + 5, fits.n_iterations)
    share, each = work * n / fit / gemm_rate(), 1e6 * fit / fits.n_iterations.sum() / np.mean(hits.n_hits)
    ok = fits.ok & other.ok
    assert ok.mean() > 0.999
    np.testing.assert_allclose(fits.chi2[ok], other.chi2[ok], rtol=1e-9)
    with capsys.disabled():
        print(
            f"\n{n} tracks, {np.mean(hits.n_hits):.1f} hits and {np.mean((routes >= 0).sum(axis=1)):.1f} elements each,"
        )
        print(f"{fits.n_iterations[ok].mean():.2f} iterations; tracks/s/core:")
        print(f"  routes from seeds        {n / walk:9.0f}")
        print(f"  propagation, one pass    {2000 / once:9.0f}")
        print(f"  fit, marginal form       {n / fit:9.0f}   {fit / n / (once / 2000):.2f} passes of propagation")
        print(f"  fit, state form          {n / states:9.0f}")
        print(f"  {work / 1e3:.0f} 10^3 operations a track: {100 * share:.1f} % of the rate of dgemm")
        print(f"  {each:.2f} us a measured surface and iteration")


def test_fits_on_a_second_core(second_core, capsys):
    detector = cms_like()
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 32_000)
    hits = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits
    surfaces, routes = surfaces_of(detector), routes_of_hits(detector, detector.field, hits)

    def work(n):
        config = RefitConfig(n_threads=n)
        return fit_tracks(detector, detector.field, hits, routes, config, surfaces=surfaces)[0].chi2

    np.testing.assert_array_equal(work(1), work(2))
    gain, limit = second_core(work)
    with capsys.disabled():
        print(f"\nfits of {len(hits)} tracks: two threads are {gain:.2f} times as fast as one; exp {limit:.2f}")
