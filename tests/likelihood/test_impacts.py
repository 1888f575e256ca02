"""Sum rules of the impacts, and refits that do what an impact says."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import NotCertified
from mucal.likelihood import (
    FitConfig,
    Impacts,
    expected_events,
    fit,
    from_arrays,
    global_impacts,
    nominal_impacts,
    observe,
)

from .models import rich_model, small_model

MODEL = small_model()
DATA = observe(MODEL, np.random.default_rng(9).poisson(expected_events(MODEL)))
MC_STATS = ["gamma", "normal", "none"]


@pytest.mark.parametrize("mc_stat", MC_STATS)
@pytest.mark.parametrize("poi", ["mass", "mu"])
def test_global_impacts_add_in_quadrature(mc_stat, poi):
    result = fit(MODEL, DATA, FitConfig(mc_stat=mc_stat))
    found = global_impacts(MODEL, DATA, result, poi)
    parts = [found.data_stat, found.mc_stat, *found.groups.values()]
    assert found.data_stat > 0
    assert_allclose(np.linalg.norm(parts), result.error(poi), rtol=1e-10)


@pytest.mark.parametrize("mc_stat", MC_STATS)
def test_global_impact_agrees_with_refits_to_shifted_centres(mc_stat):
    config, h = FitConfig(mc_stat=mc_stat), 1e-2
    found = global_impacts(MODEL, DATA, fit(MODEL, DATA, config), "mass")
    for j in np.flatnonzero(MODEL.precision):
        shift = h * (np.arange(MODEL.centre.size) == j)
        up, down = (fit(MODEL, replace(DATA, centre=MODEL.centre + s), config).value("mass") for s in (shift, -shift))
        assert_allclose((up - down) / (2 * h), found.single[j], rtol=1e-3, atol=1e-5 * found.total)


@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
@pytest.mark.parametrize("per", ["bin", "process"])
@pytest.mark.parametrize("exact", [False, True])
def test_impacts_of_everything_at_once_add_up_and_agree_with_refits(mc_stat, per, exact):
    model = rich_model(exact=exact)
    shape = model.nominal.shape if per == "process" else (model.n_bins,)
    data = observe(model, expected_events(model), beta=np.ones(shape))
    config, h = FitConfig(mc_stat=mc_stat, per=per), 1e-4
    result = fit(model, data, config)
    found = global_impacts(model, data, result, "mass")
    assert_allclose(
        np.linalg.norm([found.data_stat, found.mc_stat, *found.groups.values()]), result.error("mass"), rtol=1e-10
    )
    assert found.data_stat > 0
    k = np.divide(model.nominal**2, model.sumw2, out=np.full(model.nominal.shape, np.inf), where=model.sumw2 > 0)
    k = k if per == "process" else model.effective_events
    responses = []
    for place in np.argwhere(np.isfinite(k) & (k > 0)):
        shift = np.zeros(shape)
        shift[tuple(place)] = h
        up, down = (fit(model, replace(data, beta=data.beta + s), config).value("mass") for s in (shift, -shift))
        responses.append((up - down) / (2 * h) / np.sqrt(k[tuple(place)]))
    assert_allclose(found.mc_stat, np.linalg.norm(responses), rtol=1e-5)


def test_impact_of_an_external_term_agrees_with_refits_to_a_shifted_gradient():
    model = rich_model()
    (term,) = model.external
    data = observe(model, expected_events(model))
    found = global_impacts(model, data, fit(model, data), "mass")
    root, h, responses = np.linalg.cholesky(term.hessian), 1e-3, []
    for j in range(2):
        ends = [replace(model, external=(replace(term, gradient=term.gradient + s * root[:, j]),)) for s in (h, -h)]
        up, down = (fit(m, data).value("mass") for m in ends)
        responses.append((up - down) / (2 * h))
    assert_allclose(found.groups["elsewhere"], np.linalg.norm(responses), rtol=1e-4)


@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
def test_simulation_impact_agrees_with_refits_to_shifted_beta(mc_stat):
    config, h, k = FitConfig(mc_stat=mc_stat), 1e-4, MODEL.effective_events
    found = global_impacts(MODEL, DATA, fit(MODEL, DATA, config), "mass")
    responses = []
    for b in range(MODEL.n_bins):
        shift = h * (np.arange(MODEL.n_bins) == b)
        up, down = (fit(MODEL, replace(DATA, beta=DATA.beta + s), config).value("mass") for s in (shift, -shift))
        responses.append((up - down) / (2 * h) / np.sqrt(k[b]))
    assert_allclose(found.mc_stat, np.linalg.norm(responses), rtol=1e-5)


def test_data_impact_agrees_with_the_response_to_counts_on_asimov():
    asimov = observe(MODEL, expected_events(MODEL))
    found = global_impacts(MODEL, asimov, fit(MODEL, asimov), "mass")
    responses = []
    for b in range(MODEL.n_bins):
        shift = 1e-2 * (np.arange(MODEL.n_bins) == b)
        up, down = (fit(MODEL, replace(asimov, counts=asimov.counts + s)).value("mass") for s in (shift, -shift))
        responses.append((up - down) / 2e-2 * np.sqrt(asimov.counts[b]))
    assert_allclose(found.data_stat, np.linalg.norm(responses), rtol=1e-5)


def test_nominal_group_impact_is_what_freezing_takes():
    asimov = observe(MODEL, expected_events(MODEL))
    full = fit(MODEL, asimov)
    found = nominal_impacts(MODEL, asimov, full, "mass")
    for name, members in MODEL.groups.items():
        frozen = fit(MODEL, asimov, FitConfig(frozen=members))
        assert_allclose(found.groups[name], np.sqrt(full.error("mass") ** 2 - frozen.error("mass") ** 2), rtol=1e-6)


def test_nominal_single_impact_is_the_shift_when_a_nuisance_is_held_one_error_up():
    full = fit(MODEL, DATA)
    found = nominal_impacts(MODEL, DATA, full, "mass")
    h = 1e-3
    for name in ("n1", "n2", "n3", "n4"):
        up, down = (
            fit(MODEL, DATA, FitConfig(frozen=(name,), start={name: full.value(name) + s * full.error(name)}))
            for s in (h, -h)
        )
        slope = (up.value("mass") - down.value("mass")) / (2 * h)
        assert_allclose(found.single[MODEL.parameters.index(name)], slope, rtol=1e-3, atol=1e-5 * found.total)


def test_nominal_statistics_are_errors_with_all_nuisances_frozen():
    asimov = observe(MODEL, expected_events(MODEL))
    found = nominal_impacts(MODEL, asimov, fit(MODEL, asimov), "mass")
    frozen = ("n1", "n2", "n3", "n4")
    with_simulation = fit(MODEL, asimov, FitConfig(frozen=frozen)).error("mass")
    data_only = fit(MODEL, asimov, FitConfig(frozen=frozen, mc_stat="none")).error("mass")
    assert_allclose(found.data_stat, data_only, rtol=1e-9)
    assert_allclose(found.mc_stat, np.sqrt(with_simulation**2 - data_only**2), rtol=1e-9)


def test_parameters_without_constraint_have_no_global_impact():
    found = global_impacts(MODEL, DATA, fit(MODEL, DATA), "mass")
    assert found.single[MODEL.index(["mu", "mass"])].tolist() == [0.0, 0.0]


def test_the_ranking_begins_with_the_largest():
    found = global_impacts(MODEL, DATA, fit(MODEL, DATA), "mass")
    ordered = np.abs(found.single[MODEL.index(found.ranking)])
    assert np.all(np.diff(ordered) <= 0)


def test_impacts_of_a_failed_fit_are_refused():
    model = from_arrays(np.full((3, 1), 9.0), np.zeros((3, 1, 1)), parameters=("m",), processes=("W",), free=("m",))
    counts = np.array([9.0, 8, 7])
    for impacts in (global_impacts, nominal_impacts):
        with pytest.raises(NotCertified):
            impacts(model, counts, fit(model, counts), "m")


def test_impacts_come_back_from_their_file(tmp_path):
    found = nominal_impacts(MODEL, DATA, fit(MODEL, DATA), "mass")
    assert Impacts.load(found.save(tmp_path / "impacts.h5")).groups == found.groups
