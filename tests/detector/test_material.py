"""Losses, straggling and scattering against published values and against integrals of the collision spectrum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad

from mucal.detector import kernels
from mucal.detector.material import (
    CARBON,
    SILICON,
    additive_scattering_variance,
    mean_loss,
    most_probable_loss,
    radiative_loss,
    scattering_variance,
    stopping_power,
    straggling,
)
from mucal.units import MUON_MASS, MeV

P = np.array([1.0, 5.0, 20.0, 40.0, 100.0])
SIX_PERCENT = 0.06 * SILICON.xi_per_radiation_length  # GeV, xi of 6 % X0 of silicon at beta = 1


def test_silicon_stopping_power_table():
    # Bethe with the Sternheimer density effect, MeV cm2/g, evaluated independently to four digits
    assert_allclose(stopping_power(P, SILICON) / MeV, [1.783, 2.058, 2.237, 2.306, 2.387], atol=6e-4)


def test_carbon_stopping_power_table():
    assert_allclose(stopping_power(P, CARBON) / MeV, [1.837, 2.086, 2.255, 2.323, 2.404], atol=6e-4)


def test_silicon_dedx_pdg():
    # PDG, muon energy-loss tables for silicon: minimum ionisation 1.664 MeV cm2/g at p = 363.9 MeV
    assert_allclose(stopping_power(np.array([0.3639]), SILICON) / MeV, 1.664, rtol=2e-3)


@pytest.mark.parametrize("medium", [SILICON, CARBON], ids=lambda m: m.name)
@pytest.mark.parametrize("p", [0.05, 0.15, 0.3, 1.0, 5.0, 40.0, 90.0, 1000.0])
def test_derivative_of_stopping_power_is_its_difference_quotient(medium, p):
    # pieces of the density effect: below x0, between, above x1.  h = 1e-3 p: truncation h^4, rounding 1e-16 / h
    h = 1e-3 * p
    at = np.array([p - 2 * h, p - h, p + h, p + 2 * h])
    s = stopping_power(at, medium)
    slope = (s[0] - 8 * s[1] + 8 * s[2] - s[3]) / (12 * h)
    assert_allclose(kernels.stopping_power(p, medium.constants)[1], slope, rtol=1e-8, atol=1e-12 * s[0] / p)


@pytest.mark.parametrize("medium", [SILICON, CARBON], ids=lambda m: m.name)
@pytest.mark.parametrize("x", ["x0", "x1"])
def test_density_effect_is_continuous(medium, x):
    p = MUON_MASS * 10 ** getattr(medium, x)
    below, above = (kernels.density_effect(p * f, medium.constants)[0] for f in (1 - 1e-9, 1 + 1e-9))
    # the published parameters join to about 0.01 (their rounding)
    assert abs(above - below) < 0.02


def test_loss_in_a_thick_element_is_stopping_power_times_thickness():
    thickness = 3.0  # g/cm2
    xi = SILICON.xi_per_radiation_length * thickness / SILICON.radiation_length
    assert_allclose(mean_loss(P, np.full(5, xi)), stopping_power(P) * thickness, rtol=1e-13)


def test_mean_loss_at_3_gev_by_hand():
    # beta gamma 28.393, gamma 28.411, beta^2 0.998761; T_max = 823.90 MeV / 1.27483 = 646.28 MeV
    # ln(823.90 MeV x 646.28 MeV / (173 eV)^2) = 30.5087; delta = 6.6933 - 4.4355 + 0.14921 x 1.4184^3.2546 = 2.7232
    # mean / xi = (30.5087 - 1.9975 - 2.7232) / 0.998761 = 25.820
    assert_allclose(mean_loss(np.array([3.0]), np.ones(1)), 25.820, rtol=2e-4)


@pytest.mark.parametrize(("alpha", "mean", "sigma"), [(0.99, 2.29, 1.0), (0.999, 2.51, 3.1), (0.9999, 2.69, 8.3)])
def test_truncated_moments_of_six_percent_silicon_at_5_gev(alpha, mean, sigma):
    m, v = straggling(np.array([5.0]), np.array([SIX_PERCENT]), alpha=alpha)
    assert_allclose(m / MeV, mean, atol=0.011)
    assert_allclose(np.sqrt(v) / MeV, sigma, atol=0.06)


def test_full_straggling_of_six_percent_silicon_at_5_gev():
    m, v = straggling(np.array([5.0]), np.array([SIX_PERCENT]), alpha=1.0)
    assert_allclose(m / MeV, 2.69, atol=0.01)
    assert_allclose(np.sqrt(v) / MeV, 8.9, atol=0.06)
    assert_allclose(most_probable_loss(np.array([5.0]), np.array([SIX_PERCENT])) / MeV, 1.85, atol=0.01)


@pytest.mark.parametrize("p", [1.0, 5.0, 40.0])
@pytest.mark.parametrize("alpha", [0.9, 0.99, 0.999])
def test_truncation_removes_the_integral_of_the_collision_spectrum(p, alpha):
    # density of collisions xi / T^2 (1 - beta^2 T / T_max)
    xi = 1e-4
    beta2 = p**2 / (p**2 + MUON_MASS**2)
    t_max = kernels.max_transfer(p)
    t_cut = min(t_max, xi / beta2 / (1 - alpha))
    full, kept = (straggling(np.array([p]), np.array([xi]), alpha=a) for a in (1.0, alpha))
    for power, index in ((1, 0), (2, 1)):
        lost, _ = quad(lambda t, k=power: xi / beta2 * t ** (k - 2) * (1 - beta2 * t / t_max), t_cut, t_max)
        assert_allclose(full[index] - kept[index], lost, rtol=1e-7, atol=1e-18)


def test_variance_grows_with_the_fraction_of_collisions_kept():
    alphas = [0.5, 0.9, 0.99, 0.999, 1.0]
    v = [straggling(np.array([10.0]), np.array([1e-4]), alpha=a)[1][0] for a in alphas]
    assert np.all(np.diff(v) > 0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, 1.01, float("nan")])
def test_a_meaningless_fraction_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        straggling(P, np.full(5, 1e-4), alpha=alpha)


def test_scattering_of_six_percent_silicon_at_5_gev():
    # as a part of the 0.4 X0 of a central track: 13.6/5000 sqrt(0.06) (1 + 0.038 ln 0.4) = 0.643 mrad
    assert_allclose(np.sqrt(scattering_variance(np.array([5.0]), np.array([0.06]), 0.4)), 0.643e-3, rtol=0.001)
    assert_allclose(np.sqrt(additive_scattering_variance(np.array([5.0]), np.array([0.06]))), 0.735e-3, rtol=0.01)


def test_scattering_variances_of_the_elements_add_up_to_the_path():
    parts = np.array([0.01, 0.02, 0.05, 0.3])
    p = np.full(4, 3.0)
    whole = scattering_variance(p[:1], parts.sum(keepdims=True), parts.sum())
    assert_allclose(scattering_variance(p, parts, parts.sum()).sum(), whole[0], rtol=1e-14)
    whole = additive_scattering_variance(p[:1], parts.sum(keepdims=True), SILICON)
    assert_allclose(additive_scattering_variance(p, parts, SILICON).sum(), whole[0], rtol=1e-14)


def test_scattering_length_of_silicon_by_hand():
    # 15/14 ln(287/sqrt 14) / ln(159/14^(1/3)) = 1.071429 * 4.339907 / 4.189194 = 1.109975
    assert_allclose(SILICON.scattering_ratio, 1.109975, rtol=1e-5)


def test_radiative_loss_is_a_few_percent_of_ionisation_at_50_gev():
    p = np.array([50.0])
    fraction = radiative_loss(p, np.ones(1)) / stopping_power(p)
    assert 0.03 < fraction[0] < 0.04


def test_radiative_loss_over_20_g_is_3e_5_of_the_momentum():
    assert_allclose(radiative_loss(np.array([40.0]), np.array([20.0])) / 40.0, 3.2e-5, rtol=0.01)


@given(p=st.floats(0.5, 500.0), xi=st.floats(1e-6, 1e-2), alpha=st.floats(0.5, 1.0))
def test_twice_the_material_loses_twice_and_fluctuates_more(p, xi, alpha):
    one, two = (straggling(np.array([p]), np.array([f * xi]), alpha=alpha) for f in (1.0, 2.0))
    assert_allclose(
        mean_loss(np.array([p]), np.array([2 * xi])), 2 * mean_loss(np.array([p]), np.array([xi])), rtol=1e-14
    )
    assert two[1] > one[1]
    assert two[0] > 2 * one[0] * (1 - 1e-14)  # truncation moves up with the thickness


@given(p=st.floats(0.5, 500.0), x=st.floats(1e-5, 0.5))
def test_no_material_no_scattering_and_stiffer_muons_scatter_less(p, x):
    assert scattering_variance(np.array([p]), np.zeros(1), 0.4)[0] == 0.0
    soft, stiff = (scattering_variance(np.array([q]), np.array([x]), 0.4)[0] for q in (p, 1.1 * p))
    assert soft > stiff > 0


@given(p=st.floats(0.2, 1000.0), xi=st.floats(1e-6, 1e-3))
def test_the_truncated_mean_lies_below_the_mean(p, xi):
    full, cut = (straggling(np.array([p]), np.array([xi]), alpha=a) for a in (1.0, 0.99))
    assert cut[0] <= full[0]
    assert cut[1] <= full[1]
