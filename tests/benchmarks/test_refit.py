"""Speed of the refit of tracks through the whole tracker, beside the propagation alone and the machine's dgemm."""

import time
from statistics import median

import numpy as np
import pytest

from mucal.detector import cms_like
from mucal.propagation import free_states, propagate, surfaces_of
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


def test_tracks_per_second(capsys):
    detector = cms_like()
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 16_000)
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
