"""Pseudo-data: what fluctuates and by how much; linear toys against fits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.likelihood import (
    FitConfig,
    LinearToys,
    asimov,
    bootstrap,
    expected_events,
    fit,
    linear_toys,
    observe,
    prior_toy,
    toy,
)
from mucal.likelihood.impacts import scores
from mucal.likelihood.profile_fit import function_of

from .models import rich_model, small_model


def test_asimov_data_return_the_parameters_they_were_made_with():
    model = small_model()
    truth = model.centre + np.array([0.1, 0.3, -0.5, 1.0, 0.2, -2.0])
    result = fit(model, asimov(model, truth))
    assert_allclose(result.values, truth, atol=1e-8)
    assert abs(result.nll) < 1e-12


@pytest.mark.parametrize(("mc_stat", "per"), [("gamma", "bin"), ("gamma", "process"), ("normal", "process")])
def test_everything_measured_fluctuates_as_it_should(mc_stat, per):
    model, rng, n = rich_model(), np.random.default_rng(2), 1000
    toys = [toy(model, rng, mc_stat=mc_stat, per=per) for _ in range(n)]
    nu = expected_events(model)
    counts = np.array([t.counts for t in toys])
    assert np.abs((counts.mean(axis=0) - nu) / np.sqrt(nu / n)).max() < 4.5
    centres = np.array([t.centre for t in toys])
    assert_allclose(centres.std(axis=0), np.where(model.precision > 0, 1.0, 0.0), atol=4 / np.sqrt(2 * n))
    betas = np.array([t.beta for t in toys])
    has = (model.sumw2 > 0) & (model.nominal > 0)
    k = np.divide(model.nominal**2, model.sumw2, out=np.ones(has.shape), where=has)
    k = k if per == "process" else model.effective_events
    pull = (betas - 1) * np.sqrt(k)
    assert betas.shape[1:] == k.shape
    assert_allclose(pull.std(axis=0)[has if per == "process" else slice(None)], 1.0, atol=5 / np.sqrt(2 * n))


def test_what_is_switched_off_stays():
    model, rng = small_model(), np.random.default_rng(2)
    found = toy(model, rng, counts=False, centres=False, simulation=False)
    assert_allclose(found.counts, expected_events(model), rtol=1e-14)
    assert_array_equal(found.centre, model.centre)
    assert_array_equal(found.beta, 1.0)


def test_true_factors_of_the_simulation_move_the_counts():
    model, beta = small_model(), np.linspace(0.8, 1.2, 12)
    found = toy(model, np.random.default_rng(1), beta=beta, counts=False, simulation=False)
    assert_allclose(found.counts, beta * expected_events(model), rtol=1e-14)


def test_prior_toys_spread_as_prior_and_poisson_together():
    model, rng, n = small_model(sumw2=False), np.random.default_rng(4), 600
    truths = model.centre + (model.precision > 0) * rng.normal(size=(n, 6))
    counts = np.array([prior_toy(model, rng).counts for _ in range(n)])
    draws = np.array([expected_events(model, truth) for truth in truths])
    expected = draws.var(axis=0) + draws.mean(axis=0)
    assert_allclose(counts.var(axis=0), expected, rtol=6 * np.sqrt(2 / n))


def test_bootstraps_keep_all_but_the_counts():
    model = small_model()
    data = toy(model, np.random.default_rng(1))
    many = [bootstrap(model, data, np.random.default_rng(s)) for s in range(400)]
    assert_array_equal(many[0].centre, data.centre)
    counts = np.array([b.counts for b in many])
    assert_allclose(counts.mean(axis=0), data.counts, atol=4.5 * np.sqrt(data.counts.max() / 400))


@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
@pytest.mark.parametrize("per", ["bin", "process"])
def test_responses_agree_with_fits_to_moved_measurements(mc_stat, per):
    model = rich_model(exact=True)
    shape = model.nominal.shape if per == "process" else (12,)
    data = observe(model, np.random.default_rng(3).poisson(expected_events(model)).astype(float), beta=np.ones(shape))
    config = FitConfig(mc_stat=mc_stat, per=per)
    result = fit(model, data, config)
    function = function_of(model, data, result)
    at = function.expand(result.values)
    of_counts, of_beta, of_centre = scores(function, result.values, at)
    mixed = np.random.default_rng(8)
    by_counts, by_beta, by_centre = mixed.normal(size=12), mixed.normal(size=shape), mixed.normal(size=7)
    packed = by_beta[(model.sumw2 > 0) & (model.nominal > 0)] if per == "process" else by_beta[model.sumw2.any(axis=1)]

    def moved(h, what):
        centre = data.centre + (h * by_centre if what == 2 else 0.0)
        beta = data.beta + (1e-2 * h * by_beta if what == 1 else 0.0)
        counts = data.counts + (h * by_counts if what == 0 else 0.0)
        return fit(model, observe(model, counts, centre=centre, beta=beta), config).values

    h, errors = 1e-2, np.sqrt(np.diag(result.cov))
    for what, score in enumerate((by_counts @ of_counts, 1e-2 * packed @ of_beta, by_centre * of_centre)):
        expected = result.cov @ score
        slope = (8 * (moved(h, what) - moved(-h, what)) - moved(2 * h, what) + moved(-2 * h, what)) / (12 * h)
        assert_allclose(expected / errors, slope / errors, atol=1e-5)


def test_linear_toys_have_the_covariance_of_the_fit():
    model = small_model(n_bins=20, scale=3e4)
    data = asimov(model)
    result, n = fit(model, data), 4000
    found = linear_toys(model, data, result, n, np.random.default_rng(7))
    cov = np.cov(found.values.T)
    outer = np.sqrt(np.outer(np.diag(result.cov), np.diag(result.cov)))
    assert_allclose(cov / outer, result.cov / outer, atol=5 / np.sqrt(n))
    assert np.abs((found.values.mean(axis=0) - result.values) / found.errors).max() < 4.5 / np.sqrt(n)


def test_linear_toys_of_some_parameters_come_back_from_their_file(tmp_path):
    model = small_model()
    found = linear_toys(model, asimov(model), fit(model, asimov(model)), 5, np.random.default_rng(7), ["mass"])
    assert found.values.shape == (5, 1)
    assert_array_equal(LinearToys.load(found.save(tmp_path / "t.h5")).values, found.values)
