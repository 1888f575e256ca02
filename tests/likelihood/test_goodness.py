"""The saturated test of a projection."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from mucal.likelihood import (
    Goodness,
    Projection,
    Variation,
    build,
    expected_events,
    fit,
    observe,
    project,
    projected_goodness,
    toy,
)
from mucal.likelihood.channel import Channel

ETA, PT = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(0, 1, 5), indexing="ij")
SHAPE = 4e4 * (1 + 0.3 * ETA**2) * (1.5 - PT)


def eta_pt_model(background=True):
    """A free shape in pt, a nuisance in eta and a rate."""
    nominal = {"c": {"W": SHAPE} | ({"Z": 0.1 * SHAPE * (1 + ETA)} if background else {})}
    return build(
        nominal,
        [
            Variation(name="mass", up={"c": {"W": SHAPE * (1 + 0.01 * (PT - 0.4))}}, constrained=False),
            Variation(name="tilt", up={"c": {"W": SHAPE * (1 + 0.01 * ETA)}}),
        ],
        rates={"mu": ["W"]},
        pois=["mass"],
    )


def test_all_bins_free_is_the_saturated_test():
    model = eta_pt_model()
    data = observe(model, np.random.default_rng(1).poisson(expected_events(model)))
    result = fit(model, data)
    found = projected_goodness(model, data, result, project(model, "c"))
    assert_allclose(found.q, result.saturated, atol=1e-4)
    assert found.ndof == result.ndof == 28


def test_a_projection_has_as_many_degrees_as_the_model_leaves_it():
    model = eta_pt_model(background=False)
    data = observe(model, np.random.default_rng(1).poisson(expected_events(model)))
    result = fit(model, data)
    in_eta = projected_goodness(model, data, result, project(model, "c", ("axis0",)))
    in_pt = projected_goodness(model, data, result, project(model, "c", ("axis1",)))
    assert in_eta.ndof == 5  # six bins less the rate
    assert in_pt.ndof == 3  # five bins less rate and mass


def test_p_values_of_toys_are_uniform():
    model, rng = eta_pt_model(), np.random.default_rng(5)
    onto = project(model, "c", ("axis0",))
    p_values = []
    for _ in range(100):
        data = toy(model, rng)
        p_values.append(projected_goodness(model, data, fit(model, data), onto).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_a_mismodelling_in_eta_is_found_in_eta():
    model = eta_pt_model()
    bent = expected_events(model) * (1 + 0.01 * np.cos(np.pi * ETA)).ravel()
    data = observe(model, bent)
    result = fit(model, data)
    assert projected_goodness(model, data, result, project(model, "c", ("axis0",))).p_value < 1e-3
    assert projected_goodness(model, data, result, project(model, "c", ("axis1",))).p_value > 0.1


def test_rows_nobody_fills_do_not_count():
    model = eta_pt_model()
    data = observe(model, np.random.default_rng(1).poisson(expected_events(model)))
    row = np.where(ETA.ravel() < 0, 0, -1)
    half = Projection(row=row, channel=Channel(name="c", axes=("low",), edges=((-1.0, 0.0),)))
    found = projected_goodness(model, data, fit(model, data), half)
    assert found.ndof == 1


@pytest.mark.parametrize("q", [0.0, 3.0])
def test_p_value_by_hand(q):
    assert_allclose(Goodness(q=q, ndof=2).p_value, np.exp(-q / 2))
