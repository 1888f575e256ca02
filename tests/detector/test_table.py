"""What a detector table refuses, and that it says which rows."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import Detector, barrel


@pytest.fixture(scope="module")
def small() -> Detector:
    return barrel()


def spoilt(table, column, row, value):
    values = getattr(table, column).copy()
    values[row] = value
    return replace(table, **{column: values})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("module_id", 9, "dense ids"),
        ("centre", np.nan, "finite"),
        ("half_v", 0.0, "above 0 cm"),
        ("half_v", -1.0, "above 0 cm"),
        ("half_u", -1.0, "above 0 cm"),
        ("n_meas", 3, "strip"),
        ("sigma_u", 0.0, "resolution"),
        ("sigma_v", np.nan, "pixel module"),
        ("side", 2, "-1, 0 or"),
        ("focus", 1.0, "outside the module"),
        ("strip_angle", 0.1, "wedges and pixels"),
        ("x_over_x0", 0.0, "thickness above 0"),
        ("x_over_x0", -0.01, "thickness above 0"),
        ("xi_mev", 0.0, "thickness above 0"),
    ],
)
def test_a_bad_module_is_refused_and_its_row_named(small, column, value, message):
    with pytest.raises(ValueError, match=message) as refusal:
        spoilt(small.modules, column, 17, value)
    assert f"{column}[17]" in str(refusal.value)
    assert "1 of 1288 rows of modules" in str(refusal.value)


@pytest.mark.parametrize("rows", [[3], [3, 4, 5, 6, 7, 8, 9]])
def test_a_reflection_is_refused_and_its_rows_named(small, rows):
    mirrored = small.modules.rotation[rows] * np.array([1.0, 1.0, -1.0])[:, None]
    with pytest.raises(ValueError, match="reflection") as refusal:
        spoilt(small.modules, "rotation", rows, mirrored)
    assert f"{len(rows)} of 1288 rows" in str(refusal.value)
    assert "rotation[3]" in str(refusal.value)
    assert ("and 2 more" in str(refusal.value)) == (len(rows) == 7)


def test_skewed_axes_are_refused(small):
    skewed = small.modules.rotation[5].copy()
    skewed[0] *= 1 + 1e-6
    with pytest.raises(ValueError, match=r"rotation\[5\].*orthonormal"):
        spoilt(small.modules, "rotation", 5, skewed)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("kind", 2, "cylinder"),
        ("position", -3.0, "radius above 0"),
        ("high", -500.0, "more than `low`"),
        ("x_over_x0", 0.0, "thickness above 0"),
        ("xi_mev", -1.0, "thickness above 0"),
        ("low", np.nan, "finite"),
    ],
)
def test_a_bad_passive_surface_is_refused_and_its_row_named(small, column, value, message):
    with pytest.raises(ValueError, match=message) as refusal:
        spoilt(small.passive, column, 2, value)
    assert f"{column}[2]" in str(refusal.value)


def test_passive_surfaces_on_each_other_are_refused_and_both_named(small):
    with pytest.raises(ValueError, match="rows 2 and 3 of passive lie on each other"):
        spoilt(small.passive, "position", 3, small.passive.position[2])


def test_a_subdetector_without_a_name_is_refused(small):
    with pytest.raises(ValueError, match=r"subdet\[4\] = 3; expected a number of one of the 3"):
        replace(small, modules=spoilt(small.modules, "subdet", 4, 3))


def test_columns_of_unequal_length_are_refused(small):
    with pytest.raises(ValueError, match=r"Modules.half_v has shape \(1287,\), expected \(1288,\)"):
        replace(small.modules, half_v=small.modules.half_v[1:])


def test_a_detector_comes_back_from_its_file_bit_for_bit(small, tmp_path):
    loaded = Detector.load(small.save(tmp_path / "barrel.h5"))
    assert loaded.name == "barrel"
    assert loaded.subdet_names == small.subdet_names
    assert loaded.modules.rotation.tobytes() == small.modules.rotation.tobytes()
    assert loaded.passive.x_over_x0.tobytes() == small.passive.x_over_x0.tobytes()


def test_names_say_where_a_module_is(small):
    names = small.module_names([0, small.n_modules - 1])
    assert names == ["pixel-L1/ladder01/module 0", "strips-L6/ladder38/module 1287"]


def test_layers_are_numbered_densely(small):
    number = small.layer_number()
    assert_array_equal(np.unique(number), np.arange(9))


def test_corners_span_the_module(small):
    m = small.modules
    corners = m.corners()
    assert_allclose(corners.mean(axis=1), m.centre, atol=1e-12)
    assert_allclose(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1), 2 * m.half_u[:, 0], rtol=1e-12)
    assert_allclose(np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1), 2 * m.half_v, rtol=1e-12)


def test_elements_are_modules_then_passive_surfaces(small):
    m = small.n_modules
    assert small.n_elements == m + small.passive.n_surfaces
    assert_array_equal(small.element_x_over_x0[m:], small.passive.x_over_x0)
    assert_array_equal(small.element_xi_mev[:m], small.modules.xi_mev)
    assert_array_equal(small.element_subdet[:m], small.modules.subdet)
