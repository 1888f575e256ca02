"""Kernels of the batch against quadrature of the densities and against difference quotients."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from mucal.arrays import FloatArray
from mucal.massfit.kernels import models, rows, scoring

MASS = 3.0969
EDGES = np.concatenate([np.linspace(2.9, 3.2, 41), np.linspace(3.21, 3.3, 7)])  # bins of two widths
NODES = np.array([2.6, 2.85, 3.0, 3.08, 3.0965, 3.2])
WEIGHTS = np.array([0.02, 0.03, 0.05, 0.1, 0.8, 0.01])
TAILS = np.array([2.5, 4.0])

TEMPLATE_POINTS = [
    np.array([7.0, 0.001, math.log(0.012), -2.0, 0.7]),
    np.array([9.0, -0.004, math.log(0.006), 1.0, -6.0]),
    np.array([6.0, 0.0, math.log(0.03), -9.0, 0.0]),
]
DSCB_POINTS = [
    np.array([7.0, 0.001, math.log(0.012), -2.0, 0.7, math.log(1.3), math.log(1.9)]),
    np.array([9.0, -0.004, math.log(0.006), 1.0, 30.0, math.log(0.75), math.log(2.75)]),
    np.array([6.0, 0.0, math.log(0.03), -9.0, 0.0, math.log(2.4), math.log(0.9)]),
]
POINTS = TEMPLATE_POINTS + DSCB_POINTS


def model_and_point(p: int) -> tuple[models.Model, models.Point]:
    window = EDGES[-1] - EDGES[0]
    middle = (0.5 * (EDGES[1:] + EDGES[:-1]) - EDGES[0]) / window - 0.5
    model = models.Model(EDGES, middle, 0.5 * np.diff(EDGES) / window, MASS, NODES, WEIGHTS, TAILS)
    return model, models.new_point(p, EDGES.size - 1)


def predicted(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Expected events (M,) and derivatives (P, M) of the kernel; the length of theta says which model."""
    model, point = model_and_point(theta.size)
    assert models.predict(theta, *model, *point)
    return point.mu, point.dmu


def template_density(theta: FloatArray) -> Callable[[float], float]:
    s, sigma = math.exp(theta[1]), math.exp(theta[2])

    def density(m: float) -> float:
        width = s * sigma * NODES
        return float((WEIGHTS / width * np.exp(-0.5 * ((m - s * NODES) / width) ** 2)).sum())

    return density


def dscb_density(theta: FloatArray) -> Callable[[float], float]:
    s, sigma, alpha_l, alpha_r = (math.exp(theta[k]) for k in (1, 2, 5, 6))

    def density(m: float) -> float:
        t = (m - s * MASS) / (sigma * s * MASS)
        alpha, n = (alpha_l, TAILS[0]) if t < 0 else (alpha_r, TAILS[1])
        if abs(t) < alpha:
            return math.exp(-0.5 * t * t)
        return (n / alpha) ** n * math.exp(-0.5 * alpha**2) * (n / alpha - alpha + abs(t)) ** -n

    return density


def by_quadrature(theta: FloatArray) -> FloatArray:
    """Expected events from the densities alone."""
    window = EDGES[-1] - EDGES[0]

    def background(m: float) -> float:
        return math.exp(-theta[4] * ((m - EDGES[0]) / window - 0.5))

    def contents(density: Callable[[float], float]) -> FloatArray:
        s = math.exp(theta[1])
        kinks = [s * MASS * (1 - math.exp(theta[2] + theta[5])), s * MASS * (1 + math.exp(theta[2] + theta[6]))]
        parts = []
        for low, high in pairwise(EDGES):
            inside = [low, *(k for k in kinks if low < k < high), high]
            parts.append(sum(quad(density, a, b, epsrel=1e-11)[0] for a, b in pairwise(inside)))
        return np.array(parts) / np.sum(parts)

    if theta.size == 5:
        theta = np.append(theta, [50.0, 50.0])
        signal = contents(template_density(theta))
    else:
        signal = contents(dscb_density(theta))
    f = 1 / (1 + math.exp(-theta[3]))
    return math.exp(theta[0]) * ((1 - f) * signal + f * contents(background))


@pytest.mark.parametrize("theta", POINTS)
def test_expected_events_are_integrals_of_the_density(theta: FloatArray):
    mu, _ = predicted(theta)
    # the normal integral is cut at 6.5 widths (4e-11) and tabulated to 3e-12
    assert_allclose(mu, by_quadrature(theta), rtol=1e-8, atol=2e-10 * math.exp(theta[0]))


@pytest.mark.parametrize("theta", POINTS)
def test_expected_events_add_up_to_n(theta: FloatArray):
    mu, dmu = predicted(theta)
    assert_allclose(mu.sum(), math.exp(theta[0]), rtol=1e-13)
    assert_allclose(dmu[1:].sum(axis=1), 0, atol=1e-9 * math.exp(theta[0]))


@pytest.mark.parametrize("theta", POINTS)
def test_derivatives_are_difference_quotients(theta: FloatArray):
    _, dmu = predicted(theta)
    for a in range(theta.size):
        h = 1e-4 if a in (1, 2, 5, 6) else 1e-3
        step = h * np.eye(theta.size)[a]
        f = [predicted(theta + k * step)[0] for k in (-2, -1, 1, 2)]
        quotient = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        # h^4 f^(5) / 30, and the table cut off at 3e-12 of N divided by h; the points keep mass edges off the joins of
        # the Crystal Ball, where the second derivative by ln alpha jumps
        assert_allclose(dmu[a], quotient, rtol=2e-6, atol=(3e-12 / h + 2e-6) * np.abs(dmu[a]).max() + 1e-11 / h)


def test_gradient_is_that_of_the_likelihood():
    theta = DSCB_POINTS[0]
    counts = np.random.default_rng(1).poisson(predicted(theta)[0]).astype(float)
    at = theta + np.array([0.02, 0.002, 0.05, 0.1, 0.3, 0.05, -0.04])

    def minus_ln_l(x: FloatArray) -> float:
        mu = predicted(x)[0]
        return float((mu - counts * np.log(mu)).sum())

    mu, dmu = predicted(at)
    gradient, information = np.empty(7), np.empty((7, 7))
    scoring.gradient_and_information(counts, mu, dmu, np.empty((gradient.size + 1, mu.size)), gradient, information)
    for a in range(7):
        step = 1e-4 * np.eye(7)[a]
        f = [minus_ln_l(at + k * step) for k in (-2, -1, 1, 2)]
        assert_allclose(gradient[a], (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / 12e-4, rtol=1e-5, atol=1e-4)
    expected = np.tril(dmu @ np.diag(1 / mu) @ dmu.T)
    assert_allclose(np.tril(information), expected, rtol=1e-9, atol=1e-9 * counts.sum())


def test_secant_update_maps_the_step_on_the_change_of_gradient():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 8))
    information, excess = root @ root.T, np.tril(0.1 * rng.normal(size=(5, 5)))
    delta, turned = rng.normal(size=5), np.zeros(5)
    turned = 1.7 * information @ delta
    scoring.update_excess(excess, np.tril(information), delta, turned, np.empty((3, 5)))
    full = excess + np.tril(excess, -1).T
    assert_allclose((information + full) @ delta, turned, rtol=1e-10)


def test_deviance_merges_to_five_expected_events():
    # 1 + 1 + 3 = 5 | 6 | 7 + 2, since the last 2 alone would be too few
    mu = np.array([1.0, 1.0, 3.0, 6.0, 7.0, 2.0])
    counts = np.array([0.0, 2.0, 5.0, 6.0, 0.0, 0.0])
    dmu = np.array([mu, [1.0, 0.0, -1.0, 2.0, 0.0, 1.0]])
    information = np.empty((2, 2))
    deviance, expectation, n_merged = rows.merged_deviance(counts, mu, dmu, information)
    assert n_merged == 3
    assert_allclose(deviance, 2 * (5 - 7 + 7 * math.log(7 / 5)) + 2 * 9)
    assert_allclose(expectation, 3 + (1 / 5 + 1 / 6 + 1 / 9) / 6 + (1 / 25 + 1 / 36 + 1 / 81) / 6)
    merged = np.array([[5.0, 6.0, 9.0], [0.0, 2.0, 1.0]])
    assert_allclose(information, (merged / merged[0]) @ merged.T)


def test_parameters_used_by_the_fit_against_the_matrix_form():
    rng = np.random.default_rng(4)
    f_merged, f = (m @ m.T for m in rng.normal(size=(2, 4, 9)))
    precision, active = np.array([0.0, 0.0, 3.0, 0.5]), np.ones(4, dtype=np.int64)
    cov = np.linalg.inv(f + np.diag(precision))
    expected = 2 * np.trace(f_merged @ cov) - np.trace(f_merged @ cov @ f @ cov)
    assert_allclose(rows.parameters_used(f_merged, cov, precision, active), expected)
    # nothing merged, nothing constrained: every parameter counts as one
    assert_allclose(rows.parameters_used(f, np.linalg.inv(f), np.zeros(4), active), 4.0)


def test_unusable_parameters_are_refused():
    theta = TEMPLATE_POINTS[0].copy()
    theta[2] = math.nan
    model, point = model_and_point(5)
    assert not models.predict(theta, *model, *point)
