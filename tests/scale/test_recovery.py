"""Whitened pulls are independent unit Gaussians, whatever the correlations of the parameters."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mucal.scale import ScaleTable
from mucal.scale.recovery import compare, whiten

EDGES = np.linspace(-2.4, 2.4, 5)
TOYS = 4000
ZERO = ScaleTable(
    eta_edges=EDGES, A=np.zeros(4), e=np.zeros(4), M=np.zeros(4), cov=np.zeros((12, 12)), resonance="jpsi"
)


def correlated(n: int, rank: int | None = None) -> np.ndarray:
    """A covariance like that of A, e, M: three scales, strong correlations between neighbours."""
    scale = np.repeat([1e-4, 1e-3, 1e-6], n // 3)
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    cov = np.outer(scale, scale) * 0.95**distance
    if rank is not None:  # the parameters beyond the rank are copies of the first ones, as those of bins of |eta|
        copies = np.arange(n) % rank
        cov = np.outer(scale, scale) * (0.95**distance)[np.ix_(copies, copies)]
    return cov


def toys(cov: np.ndarray, seed: int) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov))))
    draws = np.random.default_rng(seed).standard_normal((TOYS, len(cov))) * np.sqrt(np.clip(values, 0, None))
    return draws @ vectors.T * np.sqrt(np.diag(cov))


@pytest.mark.parametrize("rank", [None, 6])
def test_toys_of_a_known_covariance_give_independent_unit_gaussians(rank: int | None):
    cov = correlated(12, rank)
    z = np.array([whiten(d, cov) for d in toys(cov, seed=11)])
    assert z.shape == (TOYS, 12 if rank is None else rank)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    # a sample covariance of N draws of N(0, 1) scatters by sqrt(2/N) on its diagonal and by 1/sqrt(N) beside it
    np.testing.assert_allclose(np.cov(z.T), np.eye(z.shape[1]), atol=5 * np.sqrt(2 / TOYS))


@pytest.mark.parametrize("rank", [None, 6])
def test_the_squares_sum_to_the_chi2(rank: int | None):
    cov = correlated(12, rank)
    difference = toys(cov, seed=12)[0]
    sigma = np.sqrt(np.diag(cov))
    inverse = np.linalg.pinv(cov / np.outer(sigma, sigma), rcond=1e-9, hermitian=True)
    expected = (difference / sigma) @ inverse @ (difference / sigma)
    assert np.sum(whiten(difference, cov) ** 2) == pytest.approx(expected, rel=1e-9)


def test_a_full_covariance_is_whitened_in_the_order_of_its_parameters():
    # z = L^-1 d: the first combination is the first parameter alone
    cov = correlated(12)
    difference = toys(cov, seed=13)[0]
    assert whiten(difference, cov)[0] == pytest.approx(difference[0] / np.sqrt(cov[0, 0]), rel=1e-12)
    np.testing.assert_allclose(
        whiten(difference, cov), np.linalg.solve(np.linalg.cholesky(cov), difference), rtol=1e-6, atol=1e-9
    )


def test_parameters_that_were_fixed_do_not_count():
    cov = correlated(12)
    cov[8:], cov[:, 8:] = 0.0, 0.0
    difference = np.concatenate([toys(correlated(12), seed=14)[0][:8], np.ones(4)])
    np.testing.assert_array_equal(whiten(difference, cov), whiten(difference[:8], cov[:8, :8]))


def test_a_comparison_carries_both_kinds_of_pulls():
    cov = correlated(12)
    cov[8:], cov[:, 8:] = 0.0, 0.0
    d = toys(correlated(12), seed=15)[0]
    found = ScaleTable(eta_edges=EDGES, A=d[:4], e=d[4:8], M=np.zeros(4), cov=cov, resonance="jpsi")
    r = compare(found, ZERO)
    assert r.ndf == r.whitened.size == 8
    assert r.chi2 == pytest.approx(np.sum(r.whitened**2), rel=1e-12)
    np.testing.assert_allclose(r.pulls[0], d[:4] / 1e-4, rtol=1e-9)
    assert np.all(np.isnan(r.pulls[2]))


def test_scale_of_the_bins_at_one_momentum_by_the_inverse_covariance():
    cov = correlated(12)
    d = toys(cov, seed=16)[0]
    r = compare(replace(ZERO, A=d[:4], e=d[4:8], M=d[8:], cov=cov), ZERO)
    for i, pt in enumerate(r.momenta):
        rows = np.concatenate([np.eye(4), -np.eye(4) / pt, np.zeros((4, 4))], axis=1)
        left, weight = rows @ d, np.linalg.inv(rows @ cov @ rows.T)
        assert r.bins_chi2[i] == pytest.approx(left @ weight @ left, rel=1e-9)
        assert r.best[i] == pytest.approx(np.sum(weight @ left) / np.sum(weight), rel=1e-9)
        assert r.best_error[i] == pytest.approx(1 / np.sqrt(np.sum(weight)), rel=1e-9)
        assert r.best_error[i] <= r.even_error[i]
    assert r.bins_ndf == 4
    np.testing.assert_allclose(r.bins_p_value, stats.chi2.sf(r.bins_chi2, 4), rtol=1e-9)


def test_a_table_of_abs_eta_counts_its_bins_once():
    half = np.array([2e-4, 3e-4])
    mirrored = np.concatenate([half[::-1], half])
    cov = np.zeros((12, 12))
    variances = np.diag([4e-8, 1e-8, 1e-8, 4e-8])
    cov[:4, :4] = variances + np.fliplr(variances)
    r = compare(replace(ZERO, A=mirrored, cov=cov), ZERO)
    assert r.bins_ndf == 2
    np.testing.assert_allclose(r.bins_chi2, half[0] ** 2 / 1e-8 + half[1] ** 2 / 4e-8, rtol=1e-9)
    np.testing.assert_allclose(r.best, (half[0] * 4 + half[1]) / 5, rtol=1e-9)


def test_where_only_M_was_solved_for_no_scale_is_claimed():
    cov = np.diag(np.repeat([0.0, 0.0, 1e-12], 4))
    r = compare(replace(ZERO, M=np.full(4, 1e-6), cov=cov), ZERO)
    assert r.bins_ndf == 0
    assert np.all(np.isnan(r.best))
    assert np.all(np.isnan(r.best_error))
