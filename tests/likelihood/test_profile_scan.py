"""Scans, intervals and contours against refits, and against what Gaussian errors say."""

import numpy as np
import pytest
from iminuit import Minuit
from numpy.testing import assert_allclose

from mucal.errors import NotCertified
from mucal.likelihood import FitConfig, contour, expected_events, fit, from_arrays, interval, observe, scan
from mucal.likelihood.objective import objective

from .models import rich_model, small_model

MODEL = small_model()
DATA = observe(MODEL, np.random.default_rng(9).poisson(expected_events(MODEL)))


@pytest.mark.parametrize("per", ["bin", "process"])
def test_scan_agrees_with_fits_with_the_parameter_frozen(per):
    model = rich_model(exact=True)
    data = observe(model, np.random.default_rng(9).poisson(expected_events(model)))
    result = fit(model, data, FitConfig(per=per))
    points = result.value("mass") + result.error("mass") * np.array([-2.0, -0.5, 0.0, 1.5])
    found = scan(model, data, result, "mass", points)
    for point, q, values in zip(points, found.q, found.values, strict=True):
        refit = fit(model, data, FitConfig(per=per, frozen=("mass",), start={"mass": point}))
        assert_allclose(q, 2 * (refit.nll - result.nll), atol=1e-9)
        assert_allclose(values, refit.values, atol=1e-4)
    assert_allclose(found.q[2], 0, atol=1e-10)


def test_interval_agrees_with_minos():
    result = fit(MODEL, DATA)
    function = objective(MODEL, DATA, "gamma")
    minuit = Minuit(
        lambda x: function.value_and_gradient(x)[0], MODEL.centre, grad=lambda x: function.value_and_gradient(x)[1]
    )
    minuit.errordef, minuit.tol, minuit.strategy = 0.5, 1e-4, 2
    minuit.migrad()
    minuit.minos(1)
    found = interval(MODEL, DATA, result, "mass")
    assert_allclose([-found.down, found.up], [minuit.merrors[0].lower, minuit.merrors[0].upper], rtol=2e-3)
    for sign, length in ((-1, found.down), (1, found.up)):
        end = found.best + sign * length
        refit = fit(MODEL, DATA, FitConfig(frozen=("mass",), start={"mass": end}))
        assert_allclose(refit.nll - result.nll, 0.5, rtol=1e-5)


def test_intervals_are_gaussian_where_the_model_is_linear():
    kappa = np.zeros((4, 1, 1))
    model = from_arrays(
        np.full((4, 1), 1e8), kappa, parameters=("n",), processes=("W",), rates={"mu": ["W"]}, pois=("mu",)
    )
    data = observe(model, np.full(4, 1e8))
    result = fit(model, data)
    found = interval(model, data, result, "mu", z=2.0)
    assert_allclose([found.down, found.up], 2 * result.error("mu"), rtol=1e-3)


def test_contour_points_have_the_height_of_their_level():
    result = fit(MODEL, DATA)
    found = contour(MODEL, DATA, result, ("mass", "mu"), n_points=6)
    for level, q in zip(found.levels, (2.2958, 6.1801), strict=True):
        points = found.points[list(found.levels).index(level)]
        for mass, mu in points:
            refit = fit(MODEL, DATA, FitConfig(frozen=("mass", "mu"), start={"mass": mass, "mu": mu}))
            assert_allclose(2 * (refit.nll - result.nll), q, rtol=1e-3)


def test_an_end_that_is_not_there_is_refused():
    model = from_arrays(
        np.array([[100.0, 1.0]]), np.zeros((1, 2, 0)), parameters=(), processes=("W", "Z"), rates={"mu": ["Z"]}
    )
    data = observe(model, np.array([100.5]))
    with pytest.raises(NotCertified):
        interval(model, data, fit(model, data), "mu", z=30.0)
