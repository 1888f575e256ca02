"""Expected events and their covariance against models in which every factor of the simulation is a parameter."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.likelihood import (
    Channel,
    FitConfig,
    Prediction,
    Projection,
    build,
    expected_events,
    fit,
    global_impacts,
    observe,
    predict_postfit,
    predict_prefit,
    project,
)

from .models import explicit_model, quotient, rich_model, slow_nu, slow_yields

CASES = [(per, exact) for per in ("bin", "process") for exact in (False, True)]


def fitted(per, exact, mc_stat="normal"):
    model = rich_model(exact=exact)
    data = observe(model, np.random.default_rng(9).poisson(expected_events(model)).astype(float))
    return model, data, fit(model, data, FitConfig(mc_stat=mc_stat, per=per))


@pytest.mark.parametrize(("per", "exact"), CASES)
def test_fit_with_factors_of_the_simulation_as_parameters_is_the_same(per, exact):
    model, data, result = fitted(per, exact)
    slow = explicit_model(model, per)
    other = fit(slow, data.counts, FitConfig(mc_stat="none"))
    s = len(model.parameters)
    assert_allclose(result.values, other.values[:s], atol=1e-8)
    assert_allclose(result.cov, other.cov[:s, :s], rtol=1e-7, atol=1e-12)
    assert_allclose(result.nll, other.nll, rtol=1e-10)
    one, two = (global_impacts(m, data.counts, r, "mass") for m, r in ((model, result), (slow, other)))
    assert_allclose(one.mc_stat, np.linalg.norm(two.single[s:]), rtol=1e-7)
    assert_allclose(one.single, two.single[:s], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("per", "exact"), CASES)
def test_postfit_covariance_agrees_with_all_factors_as_parameters(per, exact):
    model, data, result = fitted(per, exact)
    slow = explicit_model(model, per)
    other = fit(slow, data.counts, FitConfig(mc_stat="none"))
    one = predict_postfit(model, data, result, project(model, "bins"))
    two = predict_postfit(slow, data.counts, other, project(slow, "bins"))
    assert_allclose(one.total, slow_nu(slow, other.values), rtol=1e-8)
    assert_allclose(one.cov, two.cov, rtol=1e-6, atol=1e-7 * one.cov.max())
    assert_allclose(one.single, two.single[:, : len(model.parameters)], rtol=1e-6, atol=1e-8)
    jacobian = quotient(lambda x: slow_nu(slow, x), other.values)
    assert_allclose(two.cov, jacobian.T @ other.cov @ jacobian, rtol=1e-6, atol=1e-7 * two.cov.max())


def test_postfit_covariance_with_gamma_factors_nearly_is_that_with_normal_ones():
    one, two = (predict_postfit(m, d, r, project(m, "bins")) for m, d, r in (fitted("bin", False, k) for k in KINDS))
    assert_allclose(one.errors, two.errors, rtol=0.1)


KINDS = ("gamma", "normal")


def test_prefit_errors_by_hand():
    nominal = {"c": {"W": np.array([100.0, 50.0]), "Z": np.array([10.0, 20.0])}}
    model = build(nominal, rates={"mu": ["Z"]})
    found = predict_prefit(model, project(model, "c"))
    assert_array_equal(found.total, [110, 70])
    assert_array_equal(found.errors, [0, 0])
    rich = rich_model()
    found = predict_prefit(rich, project(rich, "bins"))
    (term,) = rich.external
    inside = rich.index(term.parameters)
    full = np.diag(np.where(rich.precision > 0, rich.precision, np.inf))
    full[np.ix_(inside, inside)] = term.hessian + np.diag(rich.precision[inside])
    held = rich.index(["n1", "n2", "n3", "n4", "lumi"])
    jacobian = quotient(lambda x: slow_nu(rich, x), rich.centre)[held]
    expected = jacobian.T @ np.linalg.inv(full[np.ix_(held, held)]) @ jacobian + np.diag(rich.sumw2.sum(axis=1))
    assert_allclose(found.cov, expected, rtol=1e-7, atol=1e-7)


def test_projections_add_the_bins():
    rng = np.random.default_rng(2)
    model = build({"plus": {"W": rng.uniform(5, 9, (2, 3))}, "minus": {"W": rng.uniform(5, 9, (2, 2))}})
    found = project(model, "minus", ("axis1",))
    assert_array_equal(found.row, [-1] * 6 + [0, 1, 0, 1])
    assert found.channel == Channel(name="minus", axes=("axis1",), edges=((0.0, 1.0, 2.0),))
    assert_allclose(found.sum(model.nominal)[:, 0], model.nominal[6:, 0].reshape(2, 2).sum(axis=0))


@pytest.mark.parametrize(("channel", "axes"), [("pluss", None), ("plus", ("eta",)), ("plus", ())])
def test_a_projection_onto_nothing_is_refused(channel, axes):
    with pytest.raises(InputError):
        project(build({"plus": {"W": np.ones((2, 3))}}), channel, axes)


def test_a_projected_covariance_is_the_projection_of_the_covariance():
    model, data, result = fitted("bin", False)
    whole = predict_postfit(model, data, result, project(model, "bins"))
    row = np.arange(12) // 6
    halves = Projection(row=row, channel=Channel(name="bins", axes=("half",), edges=((0.0, 1.0, 2.0),)))
    found = predict_postfit(model, data, result, halves)
    add = (row == np.arange(2)[:, None]).astype(float)
    assert_allclose(found.cov, add @ whole.cov @ add.T, rtol=1e-9)
    assert_allclose(found.by_process, add @ whole.by_process, rtol=1e-12)
    assert_allclose(found.group(("n1", "n2")), np.hypot(*(add @ whole.single)[:, model.index(["n1", "n2"])].T))


def test_by_process_contains_the_factors_of_the_simulation():
    model, data, result = fitted("process", True)
    found = predict_postfit(model, data, result, project(model, "bins"))
    assert_allclose(found.by_process, result.beta * slow_yields(model, result.values), rtol=1e-12)


def test_a_prediction_comes_back_from_its_file(tmp_path):
    model, data, result = fitted("bin", False)
    found = predict_postfit(model, data, result, project(model, "bins"))
    assert_array_equal(Prediction.load(found.save(tmp_path / "p.h5")).cov, found.cov)
