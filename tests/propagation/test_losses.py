"""Losses in the kernels against the plain formulas of `detector`, their derivatives against differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from mucal.detector import CARBON, SILICON, Medium, mean_loss, straggling
from mucal.detector import kernels as detector
from mucal.detector.field import uniform_field
from mucal.propagation import cylinders, free_states, propagate
from mucal.propagation.kernels import losses
from mucal.units import MUON_MASS

MOMENTA = (0.12, 0.3, 1.0, 5.0, 30.0, 77.0, 200.0, 1000.0)  # below x0, between x0 and x1, and above x1


@pytest.mark.parametrize("medium", [SILICON, CARBON], ids=lambda m: m.name)
@pytest.mark.parametrize("p", MOMENTA)
def test_the_whole_loss_is_that_of_the_detector(medium: Medium, p: float) -> None:
    ours = losses.restricted_loss(p, 1e-4, 1e9, medium.constants)[0]
    assert_allclose(ours, mean_loss(np.array([p]), np.array([1e-4]), medium)[0], rtol=1e-13)


@pytest.mark.parametrize("medium", [SILICON, CARBON], ids=lambda m: m.name)
@pytest.mark.parametrize("p", MOMENTA)
@pytest.mark.parametrize("alpha", [0.99, 0.999])
def test_the_truncated_moments_are_those_of_the_detector(medium: Medium, p: float, alpha: float) -> None:
    beta2 = p * p / (p * p + MUON_MASS**2)
    mean, _, _, variance = losses.restricted_loss(p, 1e-4, 1e-4 / beta2 / (1 - alpha), medium.constants)
    expected = detector.truncated_moments(p, 1e-4, medium.constants, alpha)
    assert_allclose((mean, variance), expected, rtol=1e-13)


@pytest.mark.parametrize("p", [0.15, 0.5, 3.0, 40.0, 300.0])
@pytest.mark.parametrize("cut", [1e-3, 0.05, 1e9])
def test_derivatives_are_difference_quotients(p: float, cut: float) -> None:
    c = SILICON.constants

    def mean(p: float, cut: float) -> float:
        return losses.restricted_loss(p, 1e-4, cut, c)[0]

    _, by_p, by_cut, _ = losses.restricted_loss(p, 1e-4, cut, c)
    h = 1e-3 * p
    difference = (8 * (mean(p + h, cut) - mean(p - h, cut)) - (mean(p + 2 * h, cut) - mean(p - 2 * h, cut))) / (12 * h)
    assert_allclose(by_p, difference, rtol=1e-6, atol=1e-9 * mean(p, cut) / p)
    if cut < detector.max_transfer(p):
        h = 1e-3 * cut
        difference = (8 * (mean(p, cut + h) - mean(p, cut - h)) - mean(p, cut + 2 * h) + mean(p, cut - 2 * h)) / 12 / h
        assert_allclose(by_cut, difference, rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 5.0, 40.0])
def test_variance_is_the_integral_of_the_collision_spectrum(p: float) -> None:
    # xi/beta^2 dT / T^2 (1 - beta^2 T/T_max), each collision counted with T^2
    cut, beta2, t_max = 0.02, p * p / (p * p + MUON_MASS**2), detector.max_transfer(p)
    top = min(cut, t_max)
    expected = 1e-4 / beta2 * quad(lambda t: 1 - beta2 * t / t_max, 0, top)[0]
    assert_allclose(losses.restricted_loss(p, 1e-4, cut, SILICON.constants)[3], expected, rtol=1e-12)


def test_straggling_of_a_leg_is_that_of_its_layer() -> None:
    # sigma(q) = E/p^3 sigma_E with the truncated variance, at the momentum behind the layer
    p, xi = 4.0, 3e-4
    y = free_states(np.array([[1 / p, 0.0, 0.0, 0, 0]]), np.zeros(3))
    surfaces = cylinders(np.array([10.0, 20.0]), xi=np.array([xi, 0.0]))
    legs = propagate(uniform_field(0.0), surfaces, y, np.array([0, 1]))
    variance = straggling(np.array([p]), np.array([xi]), alpha=0.999)[1][0]
    out = 1 / legs.free[0, 1, 6]
    assert_allclose(legs.noise[0, 1, 0, 0], (out**2 + MUON_MASS**2) / out**6 * variance, rtol=1e-12)
