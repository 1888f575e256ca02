"""The fit against the truth, a peer, toys and itself written otherwise."""

from dataclasses import replace

import iminuit
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError, InputError, NotCertified
from mucal.likelihood import (
    FitConfig,
    FitResult,
    Status,
    expected_events,
    fit,
    freeze,
    from_arrays,
    from_estimate,
    global_impacts,
    observe,
)
from mucal.likelihood.objective import objective

from .models import quotient, rich_model, slow_nu, small_model


def toy(model, seed, truth=None):
    """Counts, centres and beta that fluctuate."""
    rng = np.random.default_rng(seed)
    nu = expected_events(model, truth)
    k = model.effective_events
    centre = rng.normal(model.centre, model.precision)
    beta = rng.poisson(k) / k
    return observe(model, rng.poisson(nu), centre=np.where(model.precision > 0, centre, model.centre), beta=beta)


@pytest.mark.parametrize("mc_stat", ["gamma", "normal", "none"])
def test_asimov_returns_the_truth(mc_stat):
    model = small_model()
    truth = model.centre.copy()
    truth[:2] = 1.2, 0.7
    result = fit(model, slow_nu(model, truth), FitConfig(mc_stat=mc_stat))
    result.require_converged()
    assert_allclose(result.values, truth, atol=1e-9)
    assert abs(result.nll) < 1e-12
    assert result.edm < 1e-12


@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
@pytest.mark.parametrize("per", ["bin", "process"])
def test_everything_at_once_agrees_with_iminuit(mc_stat, per):
    model = rich_model(exact=True)
    data = observe(model, np.random.default_rng(2).poisson(1.1 * expected_events(model)))
    result = fit(model, data, FitConfig(mc_stat=mc_stat, per=per))
    function = objective(model, data, mc_stat, per=per)
    minuit = iminuit.Minuit(
        lambda x: function.value_and_gradient(x)[0], model.centre, grad=lambda x: function.value_and_gradient(x)[1]
    )
    minuit.errordef, minuit.tol, minuit.strategy = 0.5, 1e-5, 2
    minuit.migrad()
    errors = np.sqrt(np.diag(result.cov))
    assert_allclose((np.array(minuit.values) - result.values) / errors, 0, atol=1e-4)
    slow = quotient(lambda x: function.value_and_gradient(x)[1], result.values)
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(slow))), rtol=1e-6)
    assert result.beta.shape == ((12, 3) if per == "process" else (12,))


@pytest.mark.parametrize("n_bins", [6, 40])
def test_an_external_measurement_acts_like_a_constraint(n_bins):
    plain = small_model(n_bins=n_bins, n_shapes=8)
    names, data = ("n1", "n3"), toy(plain, 5)
    data = replace(data, centre=plain.centre)
    free = np.isin(plain.parameters, names)
    term = from_estimate("elsewhere", names, np.zeros(2), np.eye(2))
    moved = replace(plain, precision=np.where(free, 0.0, plain.precision), external=(term,))
    one, two = fit(plain, data), fit(moved, data)
    assert_allclose(two.values, one.values, atol=1e-8)
    assert_allclose(two.cov, one.cov, atol=1e-8)
    assert_allclose(two.nll, one.nll, rtol=1e-10)


@pytest.mark.parametrize("n_bins", [6, 40])
def test_the_covariance_of_a_calibration_is_a_term_or_nuisances_along_its_eigenvectors(n_bins):
    # A, e, M in four bins: log-ratios are linear in them, so that both are the same likelihood
    rng, names = np.random.default_rng(8), tuple(f"{kind}_{i}" for kind in "AeM" for i in range(4))
    nominal, root = rng.uniform(2e3, 9e3, (n_bins, 2)), 0.2 * rng.normal(size=(12, 12)) + np.eye(12)
    of_mass, of_scale = 0.02 * rng.normal(size=(n_bins, 2, 1)), 0.01 * rng.normal(size=(n_bins, 2, 12))
    values, vectors = np.linalg.eigh(root @ root.T)
    given = {"parameters": ("mass", *names), "processes": ("W", "Z"), "pois": ("mass",), "sumw2": 0.3 * nominal}
    along = np.concatenate([of_mass, of_scale @ (vectors * np.sqrt(values))], axis=2)
    term = from_estimate("calibration", names, np.zeros(12), root @ root.T)
    eigen = from_arrays(nominal, along, free=["mass"], groups={"calibration": names}, **given)
    raw = from_arrays(nominal, np.concatenate([of_mass, of_scale], axis=2), free=["mass", *names], **given)
    raw = replace(raw, external=(term,))
    data = rng.poisson(nominal.sum(axis=1)).astype(float)
    one, two = fit(eigen, data), fit(raw, data)
    assert_allclose(two.value("mass"), one.value("mass"), atol=1e-8 * one.error("mass"))
    assert_allclose(two.error("mass"), one.error("mass"), rtol=1e-8)
    assert_allclose(two.values[1:], vectors * np.sqrt(values) @ one.values[1:], atol=1e-7)
    group, whole = (global_impacts(m, data, r, "mass").groups for m, r in ((eigen, one), (raw, two)))
    assert_allclose(whole["calibration"], group["calibration"], rtol=1e-7)


def test_a_frozen_parameter_of_the_model_stays_at_its_centre():
    model = small_model()
    data = toy(model, 6)
    by_model = fit(freeze(model, {"n2": 0.5}), data)
    by_config = fit(model, data, FitConfig(frozen=("n2",), start={"n2": 0.5}))
    assert_array_equal(by_model.values, by_config.values)
    # what a toy draws for its centre is no measurement of what is known
    plain = fit(freeze(model, {"n2": 0.5}), replace(data, centre=np.where(np.arange(6) == 3, 0.5, data.centre)))
    assert model.parameters[3] == "n2"
    assert by_model.saturated == plain.saturated


@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
def test_h11_twenty_parameters_agree_with_iminuit(mc_stat):
    model = small_model(n_bins=30, n_shapes=19)
    data = toy(model, 8)
    result = fit(model, data, FitConfig(mc_stat=mc_stat))
    function = objective(model, data, mc_stat)
    minuit = iminuit.Minuit(
        lambda x: function.value_and_gradient(x)[0], model.centre, grad=lambda x: function.value_and_gradient(x)[1]
    )
    minuit.errordef, minuit.tol, minuit.strategy = 0.5, 1e-5, 2
    minuit.migrad()
    minuit.hesse()
    errors = np.sqrt(np.diag(result.cov))
    assert_allclose((np.array(minuit.values) - result.values) / errors, 0, atol=1e-4)
    assert_allclose(np.array(minuit.errors), errors, rtol=5e-4)  # HESSE differences gradients over long steps
    slow = quotient(lambda x: function.value_and_gradient(x)[1], result.values)
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(slow))), rtol=1e-6)


def test_more_parameters_than_bins_end_where_parameter_space_does():
    model = small_model(n_bins=10, n_shapes=25)
    result = fit(model, toy(model, 4))
    result.require_converged()
    _, gradient = objective(model, toy(model, 4), "gamma").value_and_gradient(result.values)
    assert_allclose(gradient, 0, atol=1e-7)


def test_a_toy_is_fitted_from_the_better_centres():
    # measured centres two errors away, which the counts deny: 40 bins of 1e5 events, effects of a tenth
    rng = np.random.default_rng(4)
    kappa = rng.normal(0, 0.1, (40, 2, 20))
    model = from_arrays(
        np.full((40, 2), 1e5), kappa, parameters=tuple(f"n{j}" for j in range(20)), processes=("a", "b")
    )
    counts, centre = rng.poisson(model.nominal.sum(axis=1)).astype(float), rng.normal(0, 2, 20)
    data = observe(model, counts, centre=centre)
    found = fit(model, data)
    there = fit(model, data, FitConfig(start=dict(zip(model.parameters, centre, strict=True))))
    assert found.n_steps < 0.5 * there.n_steps
    assert_allclose(found.values, there.values, atol=1e-6 * np.sqrt(np.diag(found.cov)).min())


def test_pulls_of_toys_are_standard_normal():
    model = small_model(n_bins=20, scale=3000.0)
    results = [fit(model, toy(model, seed)) for seed in range(150)]
    pulls = np.array([[(r.value(p) - t) / r.error(p) for p, t in (("mu", 1.0), ("mass", 0.0))] for r in results])
    assert_allclose(pulls.mean(axis=0), 0, atol=3.5 / np.sqrt(150))
    assert_allclose(pulls.std(axis=0), 1, atol=3.5 / np.sqrt(300))


def test_a_null_nuisance_keeps_its_prior():
    kappa = np.zeros((5, 1, 2))
    kappa[:, 0, 0] = np.linspace(-0.1, 0.1, 5)
    model = from_arrays(np.full((5, 1), 100.0), kappa, parameters=("shape", "null"), processes=("W",))
    result = fit(model, np.array([90.0, 95, 100, 105, 130]))
    assert (result.value("null"), result.error("null")) == (0.0, 1.0)


def test_splitting_a_nuisance_changes_nothing():
    rng = np.random.default_rng(2)
    nominal, kappa = rng.uniform(50, 90, (9, 1)), rng.normal(0, 0.1, (9, 1, 2))
    counts = rng.poisson(nominal[:, 0]).astype(float)
    halves = np.concatenate([kappa, kappa[..., 1:]], axis=2)
    halves[..., 1:] /= np.sqrt(2)
    options = {"processes": ("W",), "free": ("m",)}
    one = fit(from_arrays(nominal, kappa, parameters=("m", "n"), **options), counts)
    two = fit(from_arrays(nominal, halves, parameters=("m", "n1", "n2"), **options), counts)
    assert_allclose([two.value("m"), two.error("m"), two.nll], [one.value("m"), one.error("m"), one.nll], rtol=1e-7)


def test_a_frozen_parameter_stays_and_the_others_are_conditional():
    model = small_model()
    data = toy(model, 6)
    full = fit(model, expected_events(model))
    frozen = fit(model, data, FitConfig(frozen=("n2",), start={"n2": 0.5}))
    assert frozen.value("n2") == 0.5
    assert frozen.error("n2") == 0.0
    conditional = fit(model, expected_events(model), FitConfig(frozen=("n2",)))
    keep = np.arange(6) != full.parameters.index("n2")
    precision = np.linalg.inv(full.cov)
    assert_allclose(conditional.cov[np.ix_(keep, keep)], np.linalg.inv(precision[np.ix_(keep, keep)]), rtol=1e-9)


def test_a_free_parameter_without_effect_is_refused():
    model = from_arrays(np.full((3, 1), 9.0), np.zeros((3, 1, 1)), parameters=("m",), processes=("W",), free=("m",))
    result = fit(model, np.array([9.0, 8, 7]))
    assert result.status == Status.HESSIAN_NOT_PD
    assert np.isnan(result.values).all()
    with pytest.raises(NotCertified, match="constrain or freeze"):
        result.require_converged()


def test_too_few_steps_are_not_called_converged():
    model = small_model(scale=1e6)
    far = {"mass": 25.0}
    assert fit(model, expected_events(model), FitConfig(max_steps=1, start=far)).status == Status.NOT_CONVERGED
    assert fit(model, expected_events(model), FitConfig(start=far)).status == Status.OK


def test_a_start_outside_the_domain_says_so():
    result = fit(small_model(), np.full(12, 300.0), FitConfig(start={"mu": -50.0}))
    assert result.status == Status.OUTSIDE


def test_bad_counts_are_refused_with_their_bin():
    counts = np.full(12, 300.0)
    counts[7] = np.nan
    with pytest.raises(InputError, match=r"the first is nan(.|\n)*bin 7: bin 7\.\.8"):
        fit(small_model(), counts)


def test_an_unknown_constraint_of_the_simulation_is_refused():
    with pytest.raises(ConfigError, match="mc_stat is 'poisson', expected gamma or normal or none"):
        FitConfig(mc_stat="poisson")


def test_a_result_comes_back_from_its_file(tmp_path):
    result = fit(small_model(), np.full(12, 500.0))
    read = FitResult.load(result.save(tmp_path / "fit.h5"))
    assert_array_equal(read.cov, result.cov)
    assert replace(read, values=result.values).groups == result.groups
