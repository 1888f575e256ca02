"""Value and derivatives against slow twins and difference quotients."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import from_arrays, kernels, observe, products
from mucal.likelihood.curvature import hessian
from mucal.likelihood.interpolation import bent, bent_curvature, bent_slope
from mucal.likelihood.objective import objective

from .models import quotient, rich_model, slow_bin, slow_nu, slow_value, slow_yields, small_model

X = np.array([1.1, 0.4, -0.3, 0.2, 1.7, -0.6])
MC_STATS = ["gamma", "normal", "none"]


RICH = [(m, per, exact) for m in ("gamma", "normal") for per in ("bin", "process") for exact in (False, True)]
Y = np.array([1.1, 0.9, 0.4, -0.3, 0.2, 1.7, -0.6])


def rich(mc_stat, per, exact):
    model = rich_model(exact=exact)
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    counts[4] = 0.0
    return objective(model, observe(model, counts), mc_stat, per=per)


@pytest.mark.parametrize(("mc_stat", "per", "exact"), RICH)
def test_everything_at_once_agrees_with_loops_and_brute_force(mc_stat, per, exact):
    function = rich(mc_stat, per, exact)
    slow = slow_value(function.model, function.observation, Y, mc_stat, per)
    assert_allclose(function.value_and_gradient(Y)[0], slow, rtol=1e-9)


@pytest.mark.parametrize(("mc_stat", "per", "exact"), RICH)
def test_derivatives_of_everything_at_once_agree_with_difference_quotients(mc_stat, per, exact):
    function = rich(mc_stat, per, exact)
    slow = quotient(lambda x: function.value_and_gradient(x)[0], Y)
    assert_allclose(function.value_and_gradient(Y)[1], slow, rtol=1e-8, atol=1e-6)
    slow = quotient(lambda x: function.value_and_gradient(x)[1], Y)
    h = hessian(function, Y, function.expand(Y))
    assert_allclose(h, slow, rtol=1e-7, atol=1e-7 * np.abs(slow).max())


def test_change_along_a_direction_agrees_with_a_difference_quotient():
    function, direction = rich("gamma", "bin", False), np.random.default_rng(1).normal(size=Y.size)
    slow = quotient(lambda t: slow_yields(function.model, Y + t[0] * direction), np.zeros(1))[0]
    assert_allclose(function.along(Y, function.expand(Y), direction), slow, rtol=1e-7, atol=1e-7)


def at(mc_stat, n_threads=1, **options):
    model = small_model(**options)
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    counts[4] = 0.0
    return objective(model, observe(model, counts), mc_stat, n_threads)


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_value_agrees_with_loops(mc_stat):
    function = at(mc_stat)
    model, nu = function.model, slow_nu(function.model, X)
    betas = function.expand(X).profile.beta if mc_stat != "none" else np.ones(nu.size)
    k = function.bins.k if mc_stat != "none" else np.ones(nu.size)
    bins = sum(slow_bin(*args, 1.0, beta, mc_stat) for *args, beta in zip(nu, function.bins.n, k, betas, strict=True))
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
    h = hessian(function, X, function.expand(X))
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


def test_bins_whose_processes_have_the_same_columns_agree_with_difference_quotients():
    rng = np.random.default_rng(4)
    nominal, kappa = rng.uniform(50, 90, (5, 3)), rng.normal(0, 0.05, (5, 3, 7))
    model = from_arrays(nominal, kappa, parameters=tuple("abcdefg"), processes=("W", "Z", "fake"), sumw2=0.3 * nominal)
    function = objective(model, observe(model, rng.poisson(nominal.sum(axis=1)).astype(float)), "gamma")
    assert all(kernels.alike(function.table, 3 * b, 3 * b + 3) for b in range(5))
    x = rng.normal(size=7)
    slow = quotient(lambda y: function.value_and_gradient(y)[0], x)
    assert_allclose(function.value_and_gradient(x)[1], slow, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("events", "faint"), [(4e4, True), (4.0, False)])
def test_second_derivatives_that_are_faint_are_single_and_move_no_error(events, faint, monkeypatch):
    rng = np.random.default_rng(4)
    nominal, kappa = events * rng.uniform(0.5, 1.5, (300, 3)), 2e-3 * rng.normal(size=(300, 3, 100))
    model = from_arrays(nominal, kappa, parameters=tuple(f"n{j}" for j in range(100)), processes=("a", "b", "c"),
                        sumw2=0.4 * nominal, free=("n0",))  # fmt: skip
    function, x = objective(model, observe(model, rng.poisson(nominal.sum(axis=1))), "gamma"), rng.normal(size=100)
    double = hessian(function, x, function.expand(x))
    monkeypatch.setattr(products, "LARGE", 0.0)
    single = hessian(function, x, function.expand(x))
    assert np.array_equal(double, single) != faint
    one, other = (np.sqrt(np.diag(np.linalg.inv(h))) for h in (double, single))
    rounding = products.FAINT * np.finfo(np.float32).eps  # 2.4e-9 of a diagonal element
    assert_allclose(other, one, rtol=4 * rounding)
