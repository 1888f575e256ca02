"""Angular coefficients: their projections, their positivity, and the decays drawn from them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.theory import harmonics, kernels

PT = np.array([0.0, 0.3, 2.0, 8.0, 25.0, 80.0, 300.0])
Y = np.linspace(0.0, 5.0, 11)


def quadrature() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cos(theta), phi and weights of a rule that is exact for spherical harmonics far above the second degree."""
    c, w = np.polynomial.legendre.leggauss(12)
    phi = 2 * np.pi * np.arange(16) / 16
    return np.repeat(c, 16), np.tile(phi, 12), np.repeat(w, 16) * 2 * np.pi / 16


def grid_of_coefficients() -> np.ndarray:
    pt, y, forward = (a.ravel() for a in np.meshgrid(PT, Y, [-2.0, -0.5, 0.0, 1.0, 1.9, 2.0]))
    return kernels.all_coefficients(pt, np.full(pt.size, 80.4), y, forward)


def test_projections_return_every_coefficient():
    c, phi, w = quadrature()
    a = np.array([0.11, 0.07, 0.09, 0.05, 0.6, 0.013, -0.02, 0.017])
    density = harmonics.density(np.broadcast_to(a, (c.size, 8)), c, phi)
    assert_allclose(3 / (16 * np.pi) * (w @ density), 1.0, rtol=1e-12)
    assert_allclose(harmonics.project(c, phi, w * density), a, atol=1e-10)


def test_shares_add_to_one_and_scale_one_coefficient():
    c, phi, _ = quadrature()
    a = np.broadcast_to(np.array([0.11, 0.07, 0.09, 0.05, 0.6, 0.013, -0.02, 0.017]), (c.size, 8))
    h = harmonics.shares(a, c, phi)
    assert_allclose(h.sum(axis=1), 1.0, rtol=1e-13)
    for i in range(8):
        scaled = a * np.where(np.arange(8) == i, 1.3, 1.0)
        ratio = harmonics.density(scaled, c, phi) / harmonics.density(a, c, phi)
        assert_allclose(1 + 0.3 * h[:, i + 1], ratio, rtol=1e-12)


def test_left_handed_limit_at_rest():
    # valence quarks only, no pT: 1 + c^2 + 2c
    a = kernels.all_coefficients(np.zeros(1), np.full(1, 80.4), np.zeros(1), np.full(1, 2.0))
    c = np.linspace(-1, 1, 9)
    assert_allclose(harmonics.density(np.repeat(a, 9, axis=0), c, np.zeros(9)), (1 + c) ** 2, atol=1e-14)


def test_density_is_nowhere_negative():
    a = grid_of_coefficients()
    c, phi = (x.ravel() for x in np.meshgrid(np.linspace(-1, 1, 201), 2 * np.pi * np.arange(24) / 24))
    lowest = min(harmonics.density(np.broadcast_to(row, (c.size, 8)), c, phi).min() for row in a)
    assert lowest > -1e-12


def test_interference_is_untouched_where_muons_are_seen():
    pt, y = (a.ravel() for a in np.meshgrid(PT[1:], Y[Y <= 2.5]))
    a = kernels.all_coefficients(pt, np.full(pt.size, 80.4), y, 0.3 * y)
    assert_allclose(a[:, 3], 0.10 * (pt / 80.4) ** 2 / ((pt / 80.4) ** 2 + 0.3), rtol=1e-13)


@pytest.mark.parametrize("u", [1e-9, 0.1, 0.37, 0.5, 0.83, 1 - 1e-9])
def test_drawn_angles_invert_the_distribution_function(u):
    nodes, w = np.polynomial.legendre.leggauss(40)
    for a in grid_of_coefficients()[::17]:
        c = kernels.polar(u, a)
        x = -1 + 0.5 * (c + 1) * (nodes + 1)
        flat = 1 + x**2 + 0.5 * a[0] * (1 - 3 * x**2) + a[4] * x
        assert_allclose(0.375 * 0.5 * (c + 1) * (w @ flat), u, atol=1e-13)
        phi = kernels.azimuth(u, c, a)
        parts = []
        for end in (phi, 2 * np.pi):
            angles = 0.5 * end * (nodes + 1)
            parts.append(0.5 * end * (w @ harmonics.density(np.broadcast_to(a, (40, 8)), np.full(40, c), angles)))
        assert_allclose(parts[0], u * parts[1], atol=1e-11)


def test_kernel_shares_are_those_of_the_formula():
    a, out = grid_of_coefficients()[20], np.empty(9)
    kernels.shares(0.3, 2.1, a, out)
    assert_allclose(out, harmonics.shares(a[None], np.array([0.3]), np.array([2.1]))[0], rtol=1e-12, atol=1e-15)
