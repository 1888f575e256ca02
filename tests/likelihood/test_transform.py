"""Frozen, rescaled and decorrelated parameters against models written out."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.likelihood import FitConfig, Part, decorrelate, expected_events, fit, freeze, observe, rescale

from .models import rich_model, slow_nu, small_model

MODEL = small_model()
DATA = observe(MODEL, np.random.default_rng(9).poisson(expected_events(MODEL)))


def test_freezing_holds_a_parameter_at_a_value():
    found = fit(freeze(MODEL, {"n2": 0.5}), DATA.counts)
    expected = fit(MODEL, DATA, FitConfig(frozen=("n2",), start={"n2": 0.5}))
    assert found.value("n2") == 0.5
    assert_allclose(found.value("mass"), expected.value("mass"), rtol=1e-10)
    assert_allclose(found.error("mass"), expected.error("mass"), rtol=1e-10)


def test_a_prior_rescaled_to_nothing_freezes_and_to_much_frees():
    tight, loose = (fit(rescale(MODEL, {"n1": f}), DATA) for f in (1e-4, 1e4))
    frozen = fit(freeze(MODEL, {"n1": 0.0}), DATA)
    free = fit(replace(MODEL, precision=np.where(np.isin(MODEL.parameters, "n1"), 0.0, MODEL.precision)), DATA)
    assert_allclose(tight.value("mass"), frozen.value("mass"), atol=1e-6)
    assert_allclose(loose.value("mass"), free.value("mass"), atol=1e-5)
    assert_allclose(loose.error("mass"), free.error("mass"), rtol=1e-5)


@pytest.mark.parametrize(("name", "factor"), [("mass", 2.0), ("n1", 0.0), ("n1", np.nan)])
def test_a_prior_that_cannot_be_rescaled_is_refused(name, factor):
    with pytest.raises(InputError, match=f"the prior of '{name}'"):
        rescale(MODEL, {name: factor})


def test_parts_moved_together_are_the_whole():
    model = rich_model()
    first = np.arange(model.n_bins) < 5
    parts = [
        Part(name="low", bins=first),
        Part(name="high_W", bins=~first, processes=("W",)),
        Part(name="high_rest", bins=~first, processes=("Z", "fake")),
    ]
    for name, value in (("n1", 0.7), ("n3", -1.2)):
        split = decorrelate(model, name, parts)
        x, y = model.centre.copy(), split.centre.copy()
        x[model.index([name])] = value
        y[split.index(["low", "high_W", "high_rest"])] = value
        assert_allclose(slow_nu(split, y), slow_nu(model, x), rtol=1e-14)
        assert_allclose(expected_events(split, y), slow_nu(model, x), rtol=1e-13)
    assert split.groups["second"] == ("low", "high_W", "high_rest", "n4")
    assert_array_equal(split.precision[split.index(["low", "high_W", "high_rest"])], 1.0)


def test_one_part_moves_its_bins_only():
    first = np.arange(MODEL.n_bins) < 5
    split = decorrelate(MODEL, "n4", [Part(name="low", bins=first), Part(name="high", bins=~first)])
    y = split.centre.copy()
    y[split.index(["low"])] = 1.0
    moved = expected_events(split, y) != expected_events(split)
    assert_array_equal(moved, first)


def test_parts_that_overlap_or_leave_something_out_are_refused():
    low, everything = Part(name="low", bins=np.arange(MODEL.n_bins) < 5), Part(name="all")
    with pytest.raises(InputError, match="belongs to 2 parts"):
        decorrelate(MODEL, "n4", [low, everything])
    with pytest.raises(InputError, match="belongs to 0 parts"):
        decorrelate(MODEL, "n4", [low])


@pytest.mark.parametrize(("name", "reason"), [("mu", "a rate"), ("n4", "in external term 'elsewhere'")])
def test_rates_and_external_parameters_are_not_decorrelated(name, reason):
    with pytest.raises(InputError, match=reason):
        decorrelate(rich_model(), name, [Part(name="one")])


def test_a_part_of_an_unknown_channel_is_refused():
    with pytest.raises(InputError, match="plus"):
        decorrelate(MODEL, "n4", [Part(name="one", channels=("plus",))])
