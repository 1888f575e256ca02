"""Shapes of a window: every one normalised, and each against quadrature or a limit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import erfc

from mucal.massfit import shapes
from mucal.theory import fsr
from mucal.theory.lineshape import gaussian_kernel

EDGES = np.linspace(2.9, 3.3, 41)
MEANS = st.floats(2.95, 3.25)
WIDTHS = st.floats(0.002, 0.2)
ALPHAS = st.floats(0.3, 6.0)
EXPONENTS = st.floats(1.05, 200.0)


def integrals(density, edges=EDGES):
    """Bin integrals of a density by adaptive quadrature, normalised."""
    found = np.array([quad(density, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pairwise(edges)])
    return found / found.sum()


def check_probabilities(p):
    assert_allclose(p.sum(), 1.0, rtol=1e-12)
    assert np.all(p >= -1e-15)


@given(MEANS, WIDTHS)
def test_gaussian_is_a_probability(mean, sigma):
    check_probabilities(shapes.gaussian(EDGES, mean, sigma))


@given(MEANS, WIDTHS, st.floats(1, 6), st.floats(0, 1))
def test_double_gaussian_is_a_probability(mean, sigma, ratio, fraction):
    check_probabilities(shapes.double_gaussian(EDGES, mean, sigma, ratio, fraction))


@given(MEANS, WIDTHS, ALPHAS, EXPONENTS, ALPHAS, EXPONENTS)
def test_crystal_ball_is_a_probability(mean, sigma, alpha_l, n_l, alpha_r, n_r):
    check_probabilities(shapes.crystal_ball(EDGES, mean, sigma, alpha_l, n_l, alpha_r, n_r))


@given(st.floats(-1e4, 1e4))
def test_exponential_is_a_probability_and_never_overflows(slope):
    check_probabilities(shapes.exponential(EDGES, slope))


@given(st.floats(2.0, 4.0), st.floats(-500, 500), st.floats(-500, 500))
def test_cms_shape_is_a_probability_and_never_overflows(alpha, beta, gamma):
    check_probabilities(shapes.cms_shape(EDGES, alpha, beta, gamma))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=5))
def test_bernstein_with_coefficients_not_negative_is_a_probability(coefficients):
    check_probabilities(shapes.bernstein(EDGES, coefficients))


@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=4))
def test_chebyshev_is_normalised(coefficients):
    check_probabilities(shapes.chebyshev(EDGES, coefficients))


@given(st.floats(0.99, 1.01), st.floats(0.003, 0.02))
def test_smeared_line_is_a_probability(scale, sigma):
    check_probabilities(shapes.smeared_line(EDGES, LINE, scale, sigma, gaussian_kernel))


LINE = fsr.line("jpsi", 2.6, 3.5, 0.02)


@given(st.floats(0.5, 100.0))
def test_smeared_line_does_not_know_the_unit_of_mass(unit):
    scaled = type(LINE)(mass=unit * LINE.mass, weight=LINE.weight)
    assert_allclose(
        shapes.smeared_line(unit * EDGES, scaled, 1.001, 0.01, gaussian_kernel),
        shapes.smeared_line(EDGES, LINE, 1.001, 0.01, gaussian_kernel),
        atol=1e-12,
    )


@given(MEANS, st.floats(0.005, 0.05), st.floats(-0.05, 0.05))
def test_gaussian_moves_with_its_window(mean, sigma, shift):
    assert_allclose(
        shapes.gaussian(EDGES + shift, mean + shift, sigma), shapes.gaussian(EDGES, mean, sigma), atol=1e-11
    )


def test_crystal_ball_with_far_tails_is_gaussian():
    assert_allclose(
        shapes.crystal_ball(EDGES, 3.1, 0.03, 8.0, 4.0, 8.0, 4.0), shapes.gaussian(EDGES, 3.1, 0.03), atol=1e-13
    )


def test_crystal_ball_mirrors():
    assert_allclose(
        shapes.crystal_ball(EDGES, 3.08, 0.03, 1.1, 3.0, 2.0, 9.0),
        shapes.crystal_ball(6.2 - EDGES[::-1], 3.12, 0.03, 2.0, 9.0, 1.1, 3.0)[::-1],
        atol=1e-13,
    )


def test_crystal_ball_equals_quadrature():
    def density(m):
        u = (m - 3.09) / 0.03
        if u < -1.2:
            return (4 / 1.2) ** 4 * np.exp(-(1.2**2) / 2) * (4 / 1.2 - 1.2 - u) ** -4
        if u > 1.5:
            return (3 / 1.5) ** 3 * np.exp(-(1.5**2) / 2) * (3 / 1.5 - 1.5 + u) ** -3
        return np.exp(-(u**2) / 2)

    # bins around the joints hold a jump of the second derivative
    assert_allclose(shapes.crystal_ball(EDGES, 3.09, 0.03, 1.2, 4.0, 1.5, 3.0), integrals(density), rtol=1e-8)


@pytest.mark.parametrize("slope", [-30.0, -1e-9, 0.0, 1e-9, 0.5, 40.0])
def test_exponential_equals_quadrature(slope):
    assert_allclose(shapes.exponential(EDGES, slope), integrals(lambda m: np.exp(-slope * (m - 3.1))), rtol=1e-10)


def test_exponential_mirrors_with_its_slope():
    assert_allclose(shapes.exponential(EDGES, 3.0), shapes.exponential(EDGES, -3.0)[::-1], rtol=1e-12)


def test_chebyshev_equals_quadrature():
    def density(m):
        u = (m - 3.1) / 0.2
        return 1 + 0.3 * u - 0.2 * (2 * u**2 - 1) + 0.1 * (4 * u**3 - 3 * u)

    assert_allclose(shapes.chebyshev(EDGES, [0.3, -0.2, 0.1]), integrals(density), rtol=1e-10)


def test_bernstein_equals_quadrature():
    def density(m):
        u = (m - 2.9) / 0.4
        return (1 - u) ** 2 + 2 * 0.5 * u * (1 - u) + 3.0 * u**2

    assert_allclose(shapes.bernstein(EDGES, [0.5, 3.0]), integrals(density), rtol=1e-10)


def test_bernstein_of_equal_coefficients_is_flat():
    assert_allclose(shapes.bernstein(EDGES, [1.0, 1.0, 1.0]), 1 / 40, rtol=1e-12)


def test_cms_shape_equals_quadrature():
    edges = np.linspace(60.0, 120.0, 61)
    found = shapes.cms_shape(edges, 75.0, 0.06, 0.05)
    expected = integrals(lambda m: erfc((75.0 - m) * 0.06) * np.exp(-0.05 * (m - 90.0)), edges)
    assert_allclose(found, expected, rtol=1e-10)


def test_cms_shape_far_below_its_threshold_keeps_its_ratios():
    # erfc(x) ~ exp(-x^2) / (x sqrt(pi)): at x around 60 both factors of the product are outside double precision
    edges = np.array([60.0, 60.01, 60.02])
    found = shapes.cms_shape(edges, 120.0, 1.0, 0.0)
    assert_allclose(np.log(found[1] / found[0]), 2 * 59.99 * 0.01, rtol=2e-3)


def test_a_shape_outside_its_window_is_nan_and_not_a_number_made_up():
    assert np.all(np.isnan(shapes.gaussian(EDGES, 100.0, 0.01)))
