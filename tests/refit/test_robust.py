"""Rounds of fits: outliers removed and counted, weights of Huber and Tukey, errors by the angle of the track."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from mucal.errors import InputError
from mucal.propagation import free_states
from mucal.refit import RefitConfig, RobustConfig, fit_robustly, fit_tracks, hit_residuals
from mucal.refit.robust import HUBER, TUKEY

TIGHT = RefitConfig(tolerance=1e-12, most_iterations=20)


@pytest.fixture(scope="module")
def spoiled(sample):
    """200 tracks, of which every other one has one hit 2 mm off; the number of that hit."""
    hits = sample.hits.select(slice(0, 200))
    rng = np.random.default_rng(3)
    wrong = np.array([hits.offsets[i] + rng.integers(2, hits.n_hits[i] - 1) for i in range(0, 200, 2)])
    u = hits.u.copy()
    u[wrong] += rng.choice([-0.2, 0.2], wrong.size)
    return replace(hits, u=u), wrong


def pulls_of_qop(fits, hits):
    pull = (fits.state[:, 0] - hits.truth.state[:, 0]) / np.sqrt(fits.cov[:, 0, 0])
    return pull[fits.ok]


def test_outliers_are_removed_and_counted(tracker, magnet, sample, spoiled):
    hits, wrong = spoiled
    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:200], robust=RobustConfig(outlier_pull=6.0))
    removed = np.flatnonzero(found.weight[:, 0] == 0.0)
    # 2 mm is more than 20 errors everywhere; at 6 sigma no good hit goes
    assert set(removed) <= set(wrong)
    assert removed.size >= 0.98 * wrong.size
    assert found.n_outliers.sum() == removed.size
    ledger = found.hits_ledger()
    n, gone = hits.u.size, removed.size
    assert (ledger.read, ledger.used, ledger.rejected["outlier"]) == (n, n - gone, gone)
    pull = pulls_of_qop(found.fits, hits)
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * pull.size)
    plain = pulls_of_qop(fit_tracks(tracker, magnet, hits, sample.routes[:200])[0], hits)
    assert plain.std() > 3


def test_a_removed_hit_leaves_the_fit_of_the_others(tracker, magnet, sample, spoiled):
    hits, _ = spoiled
    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:200], TIGHT, RobustConfig(outlier_pull=6.0))
    keep = found.weight[:, 0] != 0.0
    counts = np.bincount(hits.track[keep], minlength=200)
    rest = replace(
        hits, offsets=np.concatenate([[0], np.cumsum(counts)]), truth=None,
        **{name: getattr(hits, name)[keep] for name in ("module_id", "u", "v", "sigma_u", "sigma_v")},
    )  # fmt: skip
    fits, _ = fit_tracks(tracker, magnet, rest, sample.routes[:200], TIGHT)
    sigma = np.sqrt(np.einsum("nii->ni", fits.cov))
    assert np.nanmax(np.abs((found.fits.state - fits.state) / sigma)) < 1e-5
    assert_array_equal(found.fits.ndof, fits.ndof)


def test_no_more_hits_go_than_allowed(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 50))
    found, _ = fit_robustly(
        tracker, magnet, hits, sample.routes[:50], robust=RobustConfig(outlier_pull=0.5, most_outliers=2)
    )
    assert_array_equal(found.n_outliers, 2)


@pytest.mark.parametrize("weights", ["huber", "tukey"])
def test_weights_are_those_of_the_residuals_they_lead_to(tracker, magnet, sample, spoiled, weights):
    hits, wrong = spoiled
    robust = RobustConfig(weights=weights, weight_tolerance=1e-6, most_rounds=100)
    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:200], TIGHT, robust)
    held = replace(
        hits, sigma_u=hits.sigma_u / np.sqrt(found.weight[:, 0]), sigma_v=hits.sigma_v / np.sqrt(found.weight[:, 1])
    )
    fits, _ = fit_tracks(tracker, magnet, held, sample.routes[:200], TIGHT)
    z = np.abs(hit_residuals(tracker, magnet, held, fits, sample.routes[:200]).biased[:, 0] / hits.sigma_u)
    expected = np.minimum(1.0, HUBER / z) if weights == "huber" else np.clip(1 - (z / TUKEY) ** 2, 0, 1) ** 2
    # the rounds close in by a factor each: the last change is 1e-6, what is left up to 100 times that
    done = (found.n_rounds < 100)[hits.track]
    assert done.mean() > 0.98
    assert_allclose(found.weight[done, 0], expected[done], atol=1e-4)
    assert found.weight[wrong, 0].max() < 0.2
    pull = pulls_of_qop(found.fits, hits)
    assert pull.std() < 1.3


def test_huber_minimises_its_objective(tracker, magnet, sample, spoiled, linear):
    # start and noise as variables of a convex function, by scipy, about the robust fit as reference
    hits, _ = spoiled
    robust = RobustConfig(weights="huber", weight_tolerance=1e-7, most_rounds=100)
    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:200], TIGHT, robust)
    for i in (0, 2, 5):
        start = free_states(found.fits.state[i], found.fits.reference[i])
        residual, a, noise, sigma = linear.dense(replace(sample, hits=hits), start, i)
        values, vectors = np.linalg.eigh(noise)
        shape = vectors * np.sqrt(np.clip(values, 0.0, None))
        step = np.sqrt(np.diag(found.fits.cov[i]))
        design = np.column_stack([a * step, shape]) / sigma[:, None]

        def objective(x, design=design, residual=residual, sigma=sigma):
            z = residual / sigma - design @ x
            far = np.abs(z) > HUBER
            value = np.where(far, 2 * HUBER * np.abs(z) - HUBER**2, z**2).sum() + (x[5:] ** 2).sum()
            slope = np.where(far, 2 * HUBER * np.sign(z), 2 * z)
            return value, -design.T @ slope + np.concatenate([np.zeros(5), 2 * x[5:]])

        best = minimize(objective, np.zeros(design.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
        assert np.abs(best.x[:5]).max() < 1e-3


def test_errors_follow_the_angle_of_the_track(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 100))

    def wider(module_id, slope_u, slope_v):
        return 2e-3 * np.sqrt(1 + slope_u**2), 5e-3 * np.sqrt(1 + slope_v**2)

    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:100], TIGHT, hit_errors=wider)
    known = np.isfinite(found.sigma[:, 0])
    assert np.all(found.n_rounds >= 2)
    given = replace(hits, sigma_u=found.sigma[:, 0], sigma_v=found.sigma[:, 1])
    fits, _ = fit_tracks(tracker, magnet, given, sample.routes[:100], TIGHT)
    sigma = np.sqrt(np.einsum("nii->ni", fits.cov))
    assert np.nanmax(np.abs((found.fits.state - fits.state) / sigma)) < 1e-5
    assert np.all(found.sigma[known, 0] >= 2e-3)
    assert_allclose(np.isnan(found.sigma[:, 1]), np.isnan(hits.sigma_v))


def test_errors_that_are_no_numbers_are_refused(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 3))
    with pytest.raises(InputError, match="hit_errors gave"):
        fit_robustly(
            tracker, magnet, hits, sample.routes[:3],
            hit_errors=lambda module, u, v: (0.0 * u, 0.0 * v),
        )  # fmt: skip


def test_nothing_asked_for_is_the_plain_fit(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 50))
    found, _ = fit_robustly(tracker, magnet, hits, sample.routes[:50], TIGHT)
    fits, _ = fit_tracks(tracker, magnet, hits, sample.routes[:50], TIGHT)
    sigma = np.sqrt(np.einsum("nii->ni", fits.cov))
    assert np.abs((found.fits.state - fits.state) / sigma).max() < 1e-5
    assert found.lost_weight == 0.0
    assert_array_equal(found.n_rounds, 1)


def test_a_bad_hit_stays_a_bad_hit(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 4))
    u = hits.u.copy()
    u[0] = np.nan
    found, _ = fit_robustly(
        tracker, magnet, replace(hits, u=u), sample.routes[:4], robust=RobustConfig(weights="tukey", outlier_pull=5.0)
    )
    assert_array_equal(found.fits.ok, [False, True, True, True])


def test_configuration_is_checked():
    with pytest.raises(ValueError, match="weights = 'cauchy'"):
        RobustConfig(weights="cauchy")
    with pytest.raises(ValueError, match="outlier_pull = 0"):
        RobustConfig(outlier_pull=0.0)
    with pytest.raises(ValueError, match="most_outliers = 0"):
        RobustConfig(most_outliers=0)
