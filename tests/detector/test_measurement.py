"""Measurements and their derivatives, against difference quotients and against a module that is really moved."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import (
    Modules,
    alignment_derivatives,
    cms_like,
    local_slopes,
    predict,
    to_global,
    to_local,
)

PIXEL, STRIP, STEREO, WEDGE, TURNED_WEDGE = range(5)


@pytest.fixture(scope="module")
def modules() -> Modules:
    """A pixel, a strip, a strip at 100 mrad in its own frame, a wedge, and one whose strips meet at positive v."""
    n = 5
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    axes[:, 2] *= np.sign(np.linalg.det(axes))[:, None]
    whole = {name: np.zeros(n, dtype=np.int64) for name in ("subdet", "layer", "side", "ladder")}
    return Modules(
        module_id=np.arange(n),
        **whole,
        stereo=np.array([False, False, True, False, False]),
        centre=rng.normal(size=(n, 3)) * 40,
        rotation=axes,
        half_u=np.array([[1, 1], [3, 3], [3, 3], [3, 4], [4, 3]], dtype=float),
        half_v=np.full(n, 6.0),
        n_meas=np.array([2, 1, 1, 1, 1]),
        sigma_u=np.full(n, 0.003),
        sigma_v=np.array([0.003, np.nan, np.nan, np.nan, np.nan]),
        strip_angle=np.array([0.0, 0.0, 0.1, 0.0, 0.0]),
        focus=np.array([0.0, 0.0, 0.0, 42.0, -42.0]),
        x_over_x0=np.full(n, 0.01),
        xi_mev=np.full(n, 0.02),
    )


def crossing_points(n, seed=1):
    rng = np.random.default_rng(seed)
    return np.repeat(np.arange(5), n), rng.uniform(-3, 3, 5 * n), rng.uniform(-6, 6, 5 * n), rng.normal(size=(5 * n, 3))


def test_local_and_global_are_inverse(modules):
    ids, u, v, _ = crossing_points(20)
    local = np.stack([u, v, 0.1 * u], axis=1)
    assert_allclose(to_local(modules, ids, to_global(modules, ids, local)), local, atol=1e-12)


def test_local_frame_by_hand(modules):
    at = modules.centre[2] + 2 * modules.rotation[2, 0] - 3 * modules.rotation[2, 1]
    assert_allclose(to_local(modules, np.array([2]), at[None]), [[2.0, -3.0, 0.0]], atol=1e-12)


def test_measurements_by_hand(modules):
    at = np.arange(5), np.full(5, 2.0), np.full(5, 3.0)
    value, _ = predict(modules, *at)
    assert_allclose(value[PIXEL], [2.0, 3.0])
    assert_allclose(value[STRIP, 0], 2.0)
    assert_allclose(value[STEREO, 0], 2 * np.cos(0.1) + 3 * np.sin(0.1))
    assert_allclose(value[WEDGE, 0], 42 * np.arctan2(2, 45))  # 45 cm from the focus at negative v
    assert_allclose(value[TURNED_WEDGE, 0], 42 * np.arctan2(2, 39))  # 39 cm from the focus at positive v
    assert np.all(np.isnan(value[STRIP:, 1]))


def test_all_points_of_a_wedge_strip_measure_the_same(modules):
    r = np.linspace(-5, 5, 11) + 42.0  # distances from the focus
    for row, sign in ((WEDGE, 1.0), (TURNED_WEDGE, -1.0)):
        value, _ = predict(modules, np.full(11, row), r * np.sin(0.05), sign * (r * np.cos(0.05) - 42.0))
        assert_allclose(value[:, 0], 42 * 0.05, rtol=1e-13)


def test_a_wedge_measures_u_on_its_middle_line_to_third_order(modules):
    # f atan(u / f) = u - u^3 / (3 f^2): 2^3 / (3 x 42^2) = 1.5e-3 cm
    value, _ = predict(modules, np.array([WEDGE]), np.array([2.0]), np.zeros(1))
    assert_allclose(value[0, 0], 2.0 - 8 / (3 * 42**2), atol=2 * 32 / (5 * 42**4))


def test_derivatives_are_difference_quotients(modules):
    # fourth-order differences with h = 1e-2: truncation h^4 / f^4 ~ 1e-14, rounding 1e-15 / h = 1e-13
    ids, u, v, _ = crossing_points(50)
    h = 1e-2
    _, slope = predict(modules, ids, u, v)
    for column, (du, dv) in enumerate(((h, 0.0), (0.0, h))):
        m = [predict(modules, ids, u + k * du, v + k * dv)[0] for k in (-2, -1, 1, 2)]
        quotient = (m[0] - 8 * m[1] + 8 * m[2] - m[3]) / (12 * h)
        measured = np.isfinite(quotient)
        assert_allclose(slope[..., column][measured], quotient[measured], atol=1e-11)
        assert np.all(slope[..., column][~measured] == 0.0)


def moved(modules, parameter, step):
    """The modules displaced, or turned about their own axes, by `step` (right-handed)."""
    if parameter < 3:
        return replace(modules, centre=modules.centre + step * modules.rotation[:, parameter])
    i, j = (parameter - 3 + 1) % 3, (parameter - 3 + 2) % 3
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(step)
    turn[i, j], turn[j, i] = np.sin(step), -np.sin(step)  # rows are the new axes: e_i' = cos e_i + sin e_j
    return replace(modules, rotation=turn @ modules.rotation)


def crossed_by_lines(modules, ids, points, directions):
    """Measurements of straight lines by the modules as they stand."""
    w = modules.rotation[ids, 2]
    path = np.sum(w * (modules.centre[ids] - points), axis=1) / np.sum(w * directions, axis=1)
    local = to_local(modules, ids, points + path[:, None] * directions)
    return predict(modules, ids, local[:, 0], local[:, 1])[0]


@pytest.mark.parametrize("parameter", range(6), ids=["du", "dv", "dw", "a", "b", "c"])
def test_alignment_derivatives_agree_with_a_moved_plane(modules, parameter):
    ids, u, v, directions = crossing_points(40)
    directions += 3 * modules.rotation[ids, 2]
    slope_u, slope_v = local_slopes(modules, ids, directions)
    rows = alignment_derivatives(modules, ids, u, v, slope_u, slope_v)[..., parameter]
    points = to_global(modules, ids, np.stack([u, v, np.zeros(u.size)], axis=1))
    h = 1e-3
    m = [crossed_by_lines(moved(modules, parameter, k * h), ids, points, directions) for k in (-2, -1, 1, 2)]
    quotient = (m[0] - 8 * m[1] + 8 * m[2] - m[3]) / (12 * h)
    measured = np.isfinite(quotient)
    # rounding: 1e-14 of 100 cm coordinates over h = 1e-11 .. 1e-10; truncation h^4 u'^4 ~ 1e-10
    assert_allclose(rows[measured], quotient[measured], atol=1e-8)
    assert np.all(rows[~measured] == 0.0)


def test_a_displacement_along_the_strip_is_not_seen_by_a_strip(modules):
    rows = alignment_derivatives(modules, np.array([STRIP]), np.ones(1), np.ones(1), np.ones(1) * 0.3, np.zeros(1))
    assert rows[0, 0, 1] == 0.0


def test_wedges_of_the_built_in_tracker_measure_the_azimuth_about_the_beam():
    # the strips of a wedge meet on the beam line: f times the azimuth from the middle of the module
    m = cms_like().modules
    ids = np.flatnonzero(m.is_wedge & ~m.stereo)[::7]
    rng = np.random.default_rng(2)
    u, v = rng.uniform(-1, 1, ids.size) * m.half_u[ids].min(axis=1), rng.uniform(-1, 1, ids.size) * m.half_v[ids]
    x, y, _ = to_global(m, ids, np.stack([u, v, 0 * u], axis=1)).T
    middle = np.arctan2(m.centre[ids, 1], m.centre[ids, 0])
    azimuth = np.angle(np.exp(1j * (np.arctan2(y, x) - middle)))
    value, _ = predict(m, ids, u, v)
    along = np.sign(np.einsum("ni,ni->n", m.rotation[ids, 0, :2], np.stack([-np.sin(middle), np.cos(middle)], axis=1)))
    assert_allclose(value[:, 0], along * m.focus[ids] * azimuth, atol=1e-10)
