"""Value and derivatives against slow twins and difference quotients."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from mucal.likelihood import kernels, observe
from mucal.likelihood.objective import KIND, bent, bent_curvature, bent_slope, objective

from .models import quotient, slow_bin, slow_nu, small_model

X = np.array([1.1, 0.4, -0.3, 0.2, 1.7, -0.6])
MC_STATS = ["gamma", "normal", "none"]


def at(mc_stat, n_threads=1, **options):
    model = small_model(**options)
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    counts[4] = 0.0
    return objective(model, observe(model, counts), mc_stat, n_threads)


@pytest.mark.parametrize("mc_stat", MC_STATS)
@pytest.mark.parametrize(("nu", "n", "k", "b0"), [(90, 110, 40, 1), (30, 0, 9, 1.2), (5, 9, 4000, 0.9), (70, 20, 2, 1)])
def test_beta_is_the_minimum_found_by_brute_force(mc_stat, nu, n, k, b0):
    found = kernels.profiled(float(nu), float(n), float(k), float(b0), KIND[mc_stat])
    if mc_stat == "none":
        assert_allclose(found[:2], [slow_bin(nu, n, k, b0, 1.0, mc_stat), 1.0], rtol=1e-13)
        return
    best = minimize_scalar(
        lambda beta: slow_bin(nu, n, k, b0, beta, mc_stat), bounds=(1e-9, 8), method="bounded", options={"xatol": 1e-12}
    )
    if mc_stat == "normal" and n == 0 and nu > k * b0:
        assert found[1] == 0.0
        return
    assert_allclose(found[1], best.x, rtol=1e-7)
    assert_allclose(found[0], slow_bin(nu, n, k, b0, found[1], mc_stat), rtol=1e-12)
    assert found[0] <= best.fun + 1e-12


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_derivatives_of_a_bin_agree_with_difference_quotients(mc_stat):
    def slope(which):
        return lambda nu: kernels.profiled(nu[0], 60.0, 30.0, 1.1, KIND[mc_stat])[which]

    _, _, first, second, _ = kernels.profiled(50.0, 60.0, 30.0, 1.1, KIND[mc_stat])
    assert_allclose(first, quotient(slope(0), np.array([50.0]))[0], rtol=1e-8)
    assert_allclose(second, quotient(slope(2), np.array([50.0]))[0], rtol=1e-8)


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_value_agrees_with_loops(mc_stat):
    function = at(mc_stat)
    model, nu = function.model, slow_nu(function.model, X)
    betas = kernels.profile_all(nu, function.bins, function.kind)[1]
    bins = sum(slow_bin(*args, 1.0, beta, mc_stat) for *args, beta in zip(nu, *function.bins[:2], betas, strict=True))
    expected = bins + 0.5 * np.sum(model.precision * (X - model.centre) ** 2)
    assert_allclose(function.value_and_gradient(X)[0], expected, rtol=1e-13)


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_gradient_agrees_with_difference_quotients(mc_stat):
    function = at(mc_stat)
    slow = quotient(lambda x: function.value_and_gradient(x)[0], X)
    assert_allclose(function.value_and_gradient(X)[1], slow, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_hessian_agrees_with_difference_quotients(mc_stat):
    function = at(mc_stat)
    slow = quotient(lambda x: function.value_and_gradient(x)[1], X)
    h = function.hessian(X, function.expand(X))
    assert_allclose(h, slow, rtol=1e-7, atol=1e-7 * np.abs(slow).max())


def test_expected_events_and_jacobian_agree_with_loops():
    function = at("gamma")
    expansion = function.expand(X)
    assert_allclose(expansion.nu, slow_nu(function.model, X), rtol=1e-13)
    assert_allclose(expansion.jacobian.T, quotient(lambda x: slow_nu(function.model, x), X), rtol=1e-8, atol=1e-7)


def test_any_number_of_threads_gives_the_same_bytes():
    one, three = (at("gamma", n_threads=n).value_and_gradient(X) for n in (1, 3))
    assert one[0] == three[0]
    assert one[1].tobytes() == three[1].tobytes()


def test_interpolation_meets_the_templates_with_two_derivatives():
    assert_allclose(bent(np.array([-1.0, 1.0])), 1.0)
    for side in (-0.5, 0.5):
        inside, outside = np.array([side * (1 - 1e-9)]), np.array([side])
        for function in (bent, bent_slope, bent_curvature):
            assert_allclose(function(inside), function(outside), atol=1e-7)


def test_a_negative_expectation_is_outside_the_domain():
    assert at("gamma").value_and_gradient(np.array([-9.0, 0, 0, 0, 0, 0]))[0] == np.inf
