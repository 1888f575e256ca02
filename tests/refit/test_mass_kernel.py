"""The mass of a pair and its derivatives."""

import numpy as np
from numba import njit
from numpy.testing import assert_allclose

from mucal.propagation import free_states
from mucal.refit.kernels.mass import pair_mass
from mucal.track import invariant_mass


@njit
def evaluated(y1, y2):
    slope, curvature = np.empty(6), np.empty((6, 6))
    mass = pair_mass(y1, y2, slope, curvature, np.empty((2, 24)))
    return mass, slope, curvature


def mass_of(x):
    """From (q/p, lambda, phi) of both muons."""
    states = np.zeros((2, 5))
    states[:, :3] = x.reshape(2, 3)
    return evaluated(*free_states(states, np.zeros(3)))


PAIRS = [np.array([1 / 9.0, 0.3, 0.5, -1 / 6.0, 0.7, 0.2]), np.array([-1 / 40.0, -1.1, 3.0, 1 / 35.0, 0.4, 0.1])]


def test_mass_is_that_of_the_kinematics():
    for x in PAIRS:
        pt = np.cos(x[[1, 4]]) / np.abs(x[[0, 3]])
        expected = invariant_mass(pt[None], np.arcsinh(np.tan(x[None, [1, 4]])), x[None, [2, 5]])
        assert_allclose(mass_of(x)[0], expected[0], rtol=1e-12)


def test_derivatives_against_central_differences():
    for x in PAIRS:
        steps = np.array([1e-4 * abs(x[0]), 1e-4, 1e-4, 1e-4 * abs(x[3]), 1e-4, 1e-4])
        mass, slope, curvature = mass_of(x)
        for i in range(6):
            d = np.zeros(6)
            d[i] = steps[i]
            up, down = mass_of(x + d), mass_of(x - d)
            assert_allclose((up[0] - down[0]) / (2 * steps[i]), slope[i], rtol=1e-6, atol=1e-8 * mass)
            assert_allclose(
                (up[1] - down[1]) / (2 * steps[i]), curvature[i], rtol=1e-6, atol=1e-6 * abs(curvature).max()
            )


def test_leading_bias_of_the_mass():
    # b / m = 3/8 (s1^2 + s2^2) + rho s1 s2 / 4 for massless muons at fixed directions
    x = PAIRS[1]
    mass, _, curvature = mass_of(x)
    s1, s2, rho = 0.01, 0.02, 0.3
    cov = np.zeros((6, 6))
    cov[0, 0], cov[3, 3] = (s1 * x[0]) ** 2, (s2 * x[3]) ** 2
    cov[0, 3] = cov[3, 0] = rho * s1 * s2 * x[0] * x[3]
    bias = 0.5 * np.trace(curvature @ cov) / mass
    # both q/p are divided by their value: the signs of x cancel
    assert_allclose(bias, 3 / 8 * (s1**2 + s2**2) + rho * s1 * s2 / 4, rtol=2e-3)
