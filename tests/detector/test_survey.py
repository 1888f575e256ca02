"""A survey adds up what tracks cross; on a plain cylinder it is known by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import Detector, Passive, barrel, survey

EDGES = np.linspace(-0.8, 0.8, 9)


@pytest.fixture(scope="module")
def small() -> Detector:
    return barrel()


def test_a_cylinder_alone_is_its_thickness_over_the_sine(small):
    cylinder = Passive(
        subdet=np.zeros(1, dtype=np.int64), kind=np.zeros(1, dtype=np.int64), position=np.array([3.0]),
        low=np.array([-100.0]), high=np.array([100.0]), x_over_x0=np.array([0.02]), xi_mev=np.array([0.03]),
    )  # fmt: skip
    one, none = (
        survey(replace(small, passive=p), EDGES, qop_transverse=0.0)
        for p in (cylinder, replace(cylinder, position=np.array([1e6])))
    )
    # the mean of cosh eta over a bin: difference of sinh over the width
    mean = np.diff(np.sinh(EDGES)) / np.diff(EDGES)
    assert_allclose((one.x_over_x0 - none.x_over_x0)[:, 0], 0.02 * mean, rtol=1e-6)
    assert_allclose((one.xi_mev - none.xi_mev)[:, 0], 0.03 * mean, rtol=1e-6)


def test_every_layer_of_the_small_tracker_is_counted_once(small):
    found = survey(small, EDGES)
    # three pixel layers with gaps of 0.02 cm in 9, six strip layers that overlap
    assert_allclose(found.layers[:, 1], 3.0, atol=0.05)
    assert_allclose(found.layers[2:-2, 2], 6.0, atol=0.01)
    assert np.all(found.modules >= found.layers)


def test_the_lever_arm_is_that_of_the_layers(small):
    found = survey(small, EDGES, qop_transverse=0.0)
    # from 4.4 to 108 cm, modules staggered by 0.35 and 2 cm
    assert_allclose(found.lever_arm, 108.0 - 4.4, atol=2.4)


def test_the_survey_is_the_same_every_time(small):
    assert_array_equal(survey(small, EDGES).modules, survey(small, EDGES).modules)


def test_a_survey_comes_back_from_its_file(small, tmp_path):
    found = survey(small, EDGES, n_per_bin=10)
    loaded = type(found).load(found.save(tmp_path / "survey.h5"))
    assert loaded.subdet_names == found.subdet_names
    assert_array_equal(loaded.x_over_x0, found.x_over_x0)


def test_edges_that_do_not_increase_are_refused(small):
    with pytest.raises(ValueError, match="eta_edges must increase"):
        survey(small, np.array([0.0, 1.0, 0.5]))
