"""Smoothed errors, and the bias that they remove."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import NotCertified
from mucal.scale import variance
from mucal.scale.variance import smooth_variance


def pairs_of_cells(n: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2)


def test_sums_of_two_cells_come_back_exactly():
    cells, r = pairs_of_cells(6), np.array([1.0, 2.0, 3.0, 0.5, 4.0, 2.5]) * 1e-5
    n = np.linspace(500, 5000, cells.shape[0])
    variance = r[cells].sum(axis=1) / n
    assert_allclose(smooth_variance(variance, n, cells, 6), variance, rtol=1e-4)


def test_a_bin_of_its_own_keeps_its_variance():
    assert_allclose(smooth_variance(np.array([3e-7]), np.array([800.0]), np.array([[2, 2]]), 5), [3e-7], rtol=1e-6)


def test_a_cell_that_runs_to_zero_does_not_keep_the_others_from_a_result():
    # r = (2, 2, 0): the third would have to be negative to give the errors of its two bins, and shrinks for ever
    cells = np.array([[0, 0], [1, 1], [0, 1], [0, 2], [1, 2]])
    found = smooth_variance(np.array([4.0, 4.0, 4.0, 1.9, 1.9]), np.ones(5), cells, 3)
    assert_allclose(found[:3], 2.0 * found[3], rtol=1e-3)


def test_updates_that_have_not_come_to_a_stand_are_refused(monkeypatch: pytest.MonkeyPatch):
    cells, r = pairs_of_cells(6), np.array([1.0, 20.0, 3.0, 0.5, 40.0, 2.5])
    monkeypatch.setattr(variance, "MAX_STEPS", 3)
    with pytest.raises(NotCertified, match=r"still move by .* after 3 steps"):
        smooth_variance(r[cells].sum(axis=1), np.ones(36), cells, 6)


def test_fluctuations_of_fitted_errors_are_averaged_away():
    rng = np.random.default_rng(1)
    cells = pairs_of_cells(20)
    n = np.full(400, 1000.0)
    true = 2.0 * 1e-4 / n
    fitted = true * np.exp(2.0 * rng.normal(scale=0.05, size=400))
    smooth = smooth_variance(fitted, n, cells, 20)
    # 400 numbers, 20 parameters: a fluctuation of 10 % is left with sqrt(20/400) of it
    assert np.std(smooth / true) < 1.3 * 0.1 * np.sqrt(20 / 400)


def test_weighting_by_fitted_errors_biases_a_mean_and_smooth_errors_do_not():
    # corr(s, ln sigma) = rho: the bias of weighting by the fitted error is -2 rho sigma_s sigma_lnsigma
    rng = np.random.default_rng(2)
    n_bins, n, sigma, rho = 40_000, 500.0, 0.012, -0.5
    s = rng.normal(size=n_bins)
    ln_sigma = 0.03 * (rho * s + np.sqrt(1 - rho**2) * rng.normal(size=n_bins))
    shift = 1.23 * sigma / np.sqrt(n) * s
    fitted = (1.23 * sigma * np.exp(ln_sigma)) ** 2 / n
    cells = rng.integers(0, 40, size=(n_bins, 2))
    smooth = smooth_variance(fitted, np.full(n_bins, n), cells, 40)
    expected = -2.0 * rho * (1.23 * sigma / np.sqrt(n)) * 0.03
    error = 1.23 * sigma / np.sqrt(n * n_bins)
    assert abs(np.average(shift, weights=1 / fitted) - np.mean(shift) - expected) < 0.1 * expected
    assert abs(np.average(shift, weights=1 / smooth) - np.mean(shift)) < 0.1 * expected
    assert expected > 5 * error
