import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from mucal.numerics import kernels


def random_positive(rng: np.random.Generator, n: int) -> np.ndarray:
    root = rng.normal(size=(n, n + 3))
    return root @ root.T


def test_normal_integral_is_that_of_scipy():
    z = np.random.default_rng(1).uniform(-6.499, 6.499, 20_000)
    found = np.array([kernels.normal_terms(value) for value in z])
    assert_allclose(found[:, 0], ndtr(z), rtol=0, atol=4e-12)
    assert_allclose(found[:, 1], np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), rtol=0, atol=3e-9)


def test_normal_density_is_the_derivative_of_the_integral_returned():
    # between two knots the integral is one polynomial of degree four: five-point differences are exact up to rounding
    for z in (-3.2, -0.51, 0.0021, 1.7, 6.1):
        h = 1e-3
        f = [kernels.normal_terms(z + k * h)[0] for k in (-2, -1, 1, 2)]
        assert_allclose(kernels.normal_terms(z)[1], (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h), rtol=0, atol=1e-12)


def test_exponential_is_that_of_numpy_to_rounding():
    x = np.random.default_rng(2).uniform(-59.9, 59.9, 20_000)
    assert_allclose([kernels.exponential(value) for value in x], np.exp(x), rtol=5e-16)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_cholesky_solves_like_numpy(n: int):
    rng = np.random.default_rng(n)
    a, b = random_positive(rng, n), rng.normal(size=n)
    factor, x = a.copy(), b.copy()
    assert kernels.cholesky(factor, 1e-14)
    kernels.cholesky_solve(factor, x)
    assert_allclose(np.tril(factor) @ np.tril(factor).T, a, rtol=1e-12, atol=1e-12)
    assert_allclose(x, np.linalg.solve(a, b), rtol=1e-9, atol=1e-12)


def test_cholesky_inverse_is_symmetric_and_inverts():
    a = random_positive(np.random.default_rng(4), 7)
    factor = a.copy()
    kernels.cholesky(factor, 1e-14)
    inverse = kernels.cholesky_inverse(factor)
    assert_array_equal(inverse, inverse.T)
    assert_allclose(inverse @ a, np.eye(7), atol=1e-10)


@pytest.mark.parametrize("spoilt", [-1.0, 0.0, np.nan])
def test_cholesky_refuses_what_is_not_positive_definite(spoilt: float):
    a = np.eye(3)
    a[1, 1] = spoilt
    assert not kernels.cholesky(a, 1e-14)


def test_cholesky_pivot_test_does_not_depend_on_units():
    a = np.array([[1.0, 0.9], [0.9, 1.0]])  # 1 - R^2 = 0.19
    units = np.array([1e-9, 1e7])
    for scale in (np.ones(2), units):
        assert kernels.cholesky(a * np.outer(scale, scale), 0.18)
        assert not kernels.cholesky(a * np.outer(scale, scale), 0.20)


def gauss(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.empty(3), np.empty(3)
    n = kernels.gauss_rule(x, weight, nodes, weights)
    return nodes[:n], weights[:n]


@pytest.mark.parametrize("seed", range(20))
def test_gauss_rule_keeps_six_moments(seed: int):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(3.0, 3.1, 50))
    weight = rng.exponential(size=50) * 10.0 ** rng.uniform(-3, 3, 50)  # one point may hold nearly everything
    nodes, weights = gauss(x, weight)
    for power in range(6):
        scaled = (x - 3.05) / 0.05
        expected = (weight * scaled**power).sum()
        found = (weights * ((nodes - 3.05) / 0.05) ** power).sum()
        assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * weight.sum())
    assert np.all(np.diff(nodes) > 0)
    assert np.all(weights > 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_gauss_rule_of_few_points_is_those_points(n: int):
    x, weight = np.array([1.0, 1.5, 3.0])[:n], np.array([2.0, 1.0, 0.5])[:n]
    nodes, weights = gauss(x, weight)
    assert_allclose(nodes, x, rtol=1e-9)
    assert_allclose(weights, weight, rtol=1e-6)


def test_gauss_rule_of_nothing_has_no_nodes():
    assert gauss(np.array([1.0, 2.0]), np.zeros(2))[0].size == 0


def test_likelihood_change_is_the_difference_of_likelihoods():
    rng = np.random.default_rng(2)
    before, after = rng.uniform(1, 50, 30), rng.uniform(1, 50, 30)
    counts = rng.poisson(before).astype(float)
    counts[3] = 0.0
    expected = (after - counts * np.log(after)).sum() - (before - counts * np.log(before)).sum()
    assert_allclose(kernels.likelihood_change(counts, before, after), expected, rtol=1e-11)


def test_likelihood_change_keeps_small_differences():
    # two points 1e-9 apart on a likelihood of 1e9: the difference of the sums would be lost
    counts, mu = np.full(100, 1e7), np.full(100, 1e7)
    change = kernels.likelihood_change(counts, mu, mu * (1 + 1e-7))
    assert_allclose(change, 100 * 1e7 * 0.5e-14, rtol=2e-2)  # n x^2 / 2; ln rounds at 1e-16 of each term
