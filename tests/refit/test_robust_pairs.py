"""Pairs whose hits are judged by the fits of their own tracks."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.refit import RobustConfig, fit_pairs, fit_pairs_robustly, fit_robustly, judged_hits
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits

FAR = 0.4
"""cm that a hit is moved by: a hundred of its errors."""


@pytest.fixture(scope="module")
def recorded(tracker):
    """Hits of 40 pairs and their routes."""
    muons = generate_muons(MuonGeneration(process="jpsi", seed=8), 160)
    hits = simulate_hits(muons, tracker, HitSimulation(seed=3, straggling="gaussian")).hits
    number, count = np.unique(hits.pair, return_counts=True)
    hits = hits.select(np.isin(hits.pair, number[count == 2]))
    return hits, routes_of_hits(tracker, tracker.field, hits)


@pytest.fixture(scope="module")
def spoiled(recorded):
    """The same hits, the eighth of every fourth track moved; and which."""
    hits, _ = recorded
    moved = hits.offsets[:-1][::4] + 7
    u = hits.u.copy()
    u[moved] += FAR
    return replace(hits, u=u), moved


def test_outliers_of_either_track_leave_the_pair(tracker, recorded, spoiled):
    hits, routes = recorded
    wrong, moved = spoiled
    cut = RobustConfig(outlier_pull=8.0)
    found, _ = fit_pairs_robustly(tracker, tracker.field, wrong, routes, robust=cut)
    assert_array_equal(np.flatnonzero(found.tracks.weight[:, 0] == 0.0), moved)
    # the same as pairs that never had these hits
    keep = np.ones(hits.u.size, dtype=bool)
    keep[moved] = False
    counts = np.bincount(hits.track[keep], minlength=len(hits))
    without = replace(
        hits, module_id=hits.module_id[keep], u=hits.u[keep], v=hits.v[keep], sigma_u=hits.sigma_u[keep],
        sigma_v=hits.sigma_v[keep], truth=None, offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )  # fmt: skip
    other, _ = fit_pairs(tracker, tracker.field, without, routes)
    assert found.pairs.vertex.ok.all()
    assert_array_equal(found.pairs.vertex.ndof, other.vertex.ndof)
    error = np.sqrt(np.diagonal(other.vertex.cov, axis1=1, axis2=2))
    # both stop within a predicted change of chi2 of 1e-5, from other seeds: last steps leave less than 1e-4 errors
    assert_allclose((found.pairs.vertex.state - other.vertex.state) / error, 0, atol=1e-4)
    plain, _ = fit_pairs(tracker, tracker.field, wrong, routes)
    touched = np.isin(plain.tracks, wrong.track[moved]).any(axis=1)
    assert np.all(plain.vertex.chi2[touched] > 10 * plain.vertex.ndof[touched])


def test_nothing_asked_for_is_the_plain_fit_of_pairs(tracker, recorded):
    hits, routes = recorded
    found, _ = fit_pairs_robustly(tracker, tracker.field, hits, routes)
    plain, _ = fit_pairs(tracker, tracker.field, hits, routes)
    error = np.sqrt(np.diagonal(plain.vertex.cov, axis1=1, axis2=2))
    assert_allclose((found.pairs.vertex.state - plain.vertex.state) / error, 0, atol=1e-4)


def test_weights_reach_the_errors_of_the_pair(tracker, recorded, spoiled):
    _, routes = recorded
    wrong, moved = spoiled
    found, _ = fit_robustly(tracker, tracker.field, wrong, routes, robust=RobustConfig(weights="huber"))
    left = judged_hits(wrong, found)
    assert left.u.size == wrong.u.size
    assert_allclose(left.sigma_u, found.sigma[:, 0] / np.sqrt(found.weight[:, 0]), rtol=1e-15)
    assert np.all(left.sigma_u[moved] > 5 * wrong.sigma_u[moved])
    assert_array_equal(left.seed[found.fits.ok], found.fits.state[found.fits.ok])


def test_a_bad_hit_stays_and_rejects_its_pair_alone(tracker, recorded):
    hits, routes = recorded
    sigma = hits.sigma_u.copy()
    sigma[hits.offsets[0] + 2] = np.nan
    cut = RobustConfig(outlier_pull=8.0)
    found, _ = fit_pairs_robustly(tracker, tracker.field, replace(hits, sigma_u=sigma), routes, robust=cut)
    of_first = (found.pairs.tracks == 0).any(axis=1)
    assert of_first.sum() == 1
    assert_array_equal(found.pairs.vertex.ok, ~of_first)
    assert found.pairs.ledger().rejected == {"bad_hit": 1}


def test_fits_of_other_hits_are_refused(tracker, recorded):
    hits, routes = recorded
    found, _ = fit_robustly(tracker, tracker.field, hits.select(slice(0, 4)), routes[:4])
    with pytest.raises(ValueError, match="expected those of"):
        judged_hits(hits, found)
