"""Impacts by refits against fits done from the start, and against linear impacts where those hold."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.likelihood import (
    FitConfig,
    Shifts,
    expected_events,
    fit,
    global_impacts,
    global_shifts,
    interval,
    nominal_impacts,
    nominal_shifts,
    observe,
    unprofiled_shifts,
)
from mucal.likelihood.conditional import profiler

from .models import rich_model, small_model

MODEL = small_model()
DATA = observe(MODEL, np.random.default_rng(9).poisson(expected_events(MODEL)))
RESULT = fit(MODEL, DATA)
NAMES = ("n1", "n2", "n3", "n4")


def test_global_shifts_agree_with_fits_to_moved_centres():
    found = global_shifts(MODEL, DATA, RESULT, "mass")
    assert found.parameters == NAMES
    for i, name in enumerate(NAMES):
        unit = (np.array(MODEL.parameters) == name).astype(float)
        for sign, changes in ((1, found.up), (-1, found.down)):
            refit = fit(MODEL, replace(DATA, centre=MODEL.centre + sign * unit))
            assert_allclose(changes[i], refit.value("mass") - RESULT.value("mass"), atol=3e-6 * RESULT.error("mass"))


def test_nominal_shifts_agree_with_fits_at_the_ends_of_the_interval():
    found = nominal_shifts(MODEL, DATA, RESULT, "mass", ["n1", "mu"])
    for i, name in enumerate(("n1", "mu")):
        ends = interval(MODEL, DATA, RESULT, name)
        for value, changes in ((ends.best + ends.up, found.up), (ends.best - ends.down, found.down)):
            refit = fit(MODEL, DATA, FitConfig(frozen=(name,), start={name: value}))
            assert_allclose(changes[i], refit.value("mass") - RESULT.value("mass"), atol=3e-6 * RESULT.error("mass"))


def test_shifts_become_impacts_where_the_model_is_nearly_linear():
    model = small_model(asymmetric=False, scale=3e6)
    data = observe(model, expected_events(model))
    result = fit(model, data)
    refits, linear = global_shifts(model, data, result, "mass"), global_impacts(model, data, result, "mass")
    single = linear.single[model.index(refits.parameters)]
    assert_allclose(0.5 * (refits.up - refits.down), single, atol=0.01 * np.abs(single).max())
    refits, linear = nominal_shifts(model, data, result, "mass"), nominal_impacts(model, data, result, "mass")
    single = linear.single[model.index(refits.parameters)]
    assert_allclose(0.5 * (refits.up - refits.down), single, atol=0.01 * np.abs(single).max())
    assert refits.kind == "nominal"


def test_unprofiled_shifts_agree_with_fits_of_frozen_parameters():
    names = ("n1", "n3")
    found = unprofiled_shifts(MODEL, DATA, "mass", names)
    base = fit(MODEL, DATA, FitConfig(frozen=names))
    for i, name in enumerate(names):
        for sign, changes in ((1.0, found.up), (-1.0, found.down)):
            moved = fit(MODEL, DATA, FitConfig(frozen=names, start={name: sign}))
            assert_allclose(changes[i], moved.value("mass") - base.value("mass"), atol=3e-6 * base.error("mass"))


def test_envelope_and_quadrature_by_hand():
    found = Shifts(poi="m", parameters=("a", "b"), up=np.array([3.0, -1.0]), down=np.array([-2.0, 4.0]), kind="global")
    assert found.envelope == (-2.0, 4.0)
    assert_allclose(found.quadrature, (-np.hypot(2, 1), 5.0))


def test_a_free_parameter_has_no_prior_to_move_in():
    with pytest.raises(InputError, match="parameter 'mass' is free"):
        global_shifts(MODEL, DATA, RESULT, "mu", ["mass"])


def test_a_centre_far_away_is_reached_by_the_full_fit():
    model = rich_model()
    data = observe(model, expected_events(model))
    centre = model.centre + 6.0 * (np.array(model.parameters) == "n3")
    result = fit(model, data)
    found = fit(model, replace(data, centre=centre))
    nearby = profiler(model, data, result).with_data(replace(data, centre=centre))
    assert_allclose(nearby.x, found.values, atol=1e-4)
    assert_allclose(nearby.value, found.nll, atol=1e-9)
