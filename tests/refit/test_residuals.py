"""Hit residuals, their errors and pulls, against a Kalman smoother and against fits without the hit."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.propagation import free_states, propagate
from mucal.refit import RefitConfig, fit_tracks
from mucal.refit.batches import Batch, fit_batch
from mucal.refit.placed import hit_places
from mucal.refit.residuals import hit_residuals

TIGHT = RefitConfig(tolerance=1e-13, most_iterations=20)


@pytest.fixture(scope="module")
def fitted(tracker, magnet, sample):
    fits, _ = fit_tracks(tracker, magnet, sample.hits, sample.routes, TIGHT)
    return fits, hit_residuals(tracker, magnet, sample.hits, fits, sample.routes)


def in_own_axes(sample, seed, config, n):
    """The first n tracks as the kernels leave them: before the axes of the start are turned to those of the result."""
    hits = sample.hits.select(slice(0, n))
    batch = Batch.of(sample.detector, sample.magnet, sample.surfaces, hits, None, None, None)
    places = hit_places(sample.routes[:n], hits, np.arange(n))
    start = free_states(seed[:n], hits.seed_ref)
    return fit_batch(batch, sample.routes[:n], places, start, np.zeros(n, dtype=np.int64), config.settings, False)


def test_kalman_smoother_has_the_same_start_chi2_and_residuals(sample, fitted, kalman, linear):
    fits, residuals = fitted
    own = in_own_axes(sample, sample.hits.seed, TIGHT, 8)
    for i in range(8):
        legs, surface_of, rows, residual, sigma, at = linear.by_legs(sample, own.free[i], i)
        n = int(surface_of.max()) + 1
        found = kalman(legs.transport[0, :n], legs.noise[0, :n], surface_of, rows, residual, sigma)
        errors = np.sqrt(np.diag(found.start_cov))
        # the reference is the fitted track: the filter must not move it
        assert np.abs(found.start / errors).max() < 1e-8
        assert_allclose(found.chi2, fits.chi2[i], rtol=1e-8)
        assert_allclose(own.cov[i] / np.outer(errors, errors), found.start_cov / np.outer(errors, errors), atol=1e-8)
        expected = residual - np.einsum("nj,nj->n", rows, found.local[surface_of])
        variance = sigma**2 - np.einsum("ni,nij,nj->n", rows, found.cov[surface_of], rows)
        assert np.abs((residuals.biased[at] - expected) / sigma).max() < 1e-6
        assert np.abs(residuals.biased_error[at] ** 2 - variance).max() < 1e-8 * (sigma**2).max()


def test_kalman_step_is_the_step_of_the_fit(sample, kalman, linear):
    # one linearisation away from the minimum: the same step, covariance and predicted chi2 as a fit of one iteration
    truth = sample.hits.truth.state
    once = in_own_axes(sample, truth, RefitConfig(tolerance=1e9), 8)
    start = free_states(truth[:8], sample.hits.seed_ref[:8])
    for i in range(8):
        legs, surface_of, rows, residual, sigma, _ = linear.by_legs(sample, start[i], i)
        n = int(surface_of.max()) + 1
        found = kalman(legs.transport[0, :n], legs.noise[0, :n], surface_of, rows, residual, sigma)
        errors = np.sqrt(np.diag(found.start_cov))
        assert_allclose(once.cov[i] / np.outer(errors, errors), found.start_cov / np.outer(errors, errors), atol=1e-8)
        assert_allclose(once.report[i, 0], found.chi2, rtol=1e-8)
        assert_allclose(once.free[i, 6] - start[i, 6], found.start[0], rtol=1e-8, atol=1e-8 * errors[0])


def test_unbiased_residual_is_that_of_a_fit_without_the_hit(sample, fitted, kalman, linear):
    fits, residuals = fitted
    for i in (0, 3):
        legs, surface_of, rows, residual, sigma, at = linear.by_legs(
            sample, free_states(fits.state[i], fits.reference[i]), i
        )
        n = int(surface_of.max()) + 1
        for k in range(0, sigma.size, 3):
            keep = np.arange(sigma.size) != k
            found = kalman(
                legs.transport[0, :n], legs.noise[0, :n], surface_of[keep], rows[keep], residual[keep], sigma[keep]
            )
            leg, row = surface_of[k], rows[k]
            here = (at[0][k], at[1][k])
            assert_allclose(residuals.unbiased[here], residual[k] - row @ found.local[leg], rtol=1e-5, atol=1e-9)
            assert_allclose(residuals.unbiased_error[here] ** 2, sigma[k] ** 2 + row @ found.cov[leg] @ row, rtol=1e-6)


def test_pulls_are_standard_normal(fitted):
    pull = fitted[1].pull
    for part in range(2):
        z = pull[np.isfinite(pull[:, part]), part]
        # pulls of one track are correlated: twice the error of independent ones
        assert abs(z.mean()) < 8 / np.sqrt(z.size)
        assert abs(z.std() - 1) < 8 / np.sqrt(2 * z.size)


def test_smoothed_kinks_and_straggling_are_standard_normal(sample, fitted, linear):
    # sources s of unit variance, two kinks and the straggling of each leg: w = s^T P r given all hits, var w = s^T P s
    fits, smooth = fitted[0], replace(sample.surfaces, x_over_x0=np.zeros_like(sample.surfaces.x_over_x0))
    of_track = [[], []]
    for i in np.flatnonzero(fits.ok)[:250]:
        start = free_states(fits.state[i], fits.reference[i])
        legs, surface_of, rows, r, sigma, _ = linear.by_legs(sample, start, i)
        straggling = propagate(sample.magnet, smooth, start, sample.routes[i]).noise[0]
        ends = linear.carried(legs.transport[0], surface_of, rows)
        noise, a = legs.noise[0, : len(ends)], ends[0] @ legs.transport[0, 0]
        weight = np.linalg.inv(np.diag(sigma**2) + sum(end @ q @ end.T for end, q in zip(ends, noise, strict=True)))
        p = weight - weight @ a @ np.linalg.solve(a.T @ weight @ a, a.T @ weight)
        for kind, parts in enumerate((noise - straggling[: len(ends)], straggling[: len(ends)])):
            values, vectors = np.linalg.eigh(parts)
            rank = 2 - kind
            scaled = vectors[:, :, -rank:] * np.sqrt(values[:, None, -rank:].clip(0.0))
            source = np.concatenate(ends @ scaled, axis=1)
            variance = np.einsum("nk,nm,mk->k", source, p, source)
            known = variance > 1e-6
            of_track[kind].append((source.T @ p @ r)[known] / np.sqrt(variance[known]))
    for pulls in of_track:
        seen = [z for z in pulls if z.size]  # a stiff track says nothing of its straggling
        assert len(seen) > 50
        # those of one track are correlated, the tracks are not
        for power, expected in ((1, 0.0), (2, 1.0)):
            mean = np.array([np.mean(z**power) for z in seen])
            assert abs(mean.mean() - expected) < 4 * mean.std() / np.sqrt(mean.size)


def test_both_residuals_have_one_pull(fitted):
    residuals = fitted[1]
    known = np.isfinite(residuals.pull)
    assert_allclose((residuals.biased / residuals.biased_error)[known], residuals.pull[known], rtol=1e-10)
    assert np.all(residuals.unbiased_error[known] > residuals.biased_error[known])


def test_strips_have_no_second_residual_and_failed_tracks_none(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 4))
    u = hits.u.copy()
    u[0] = np.nan
    hits = replace(hits, u=u)
    fits, _ = fit_tracks(tracker, magnet, hits, sample.routes[:4])
    residuals = hit_residuals(tracker, magnet, hits, fits, sample.routes[:4])
    first = slice(0, hits.offsets[1])
    assert np.isnan(residuals.pull[first]).all()
    assert np.isnan(residuals.slope[first]).all()
    strips = tracker.modules.n_meas[hits.module_id] == 1
    assert np.isnan(residuals.biased[strips, 1]).all()
    assert np.isfinite(residuals.slope[hits.offsets[1] :]).all()


def test_fits_of_other_hits_are_refused(tracker, magnet, sample, fitted):
    with pytest.raises(ValueError, match="2000 fits of 3 tracks"):
        hit_residuals(tracker, magnet, sample.hits.select(slice(0, 3)), fitted[0], sample.routes[:3])
