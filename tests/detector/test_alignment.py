"""Displaced modules: the exact displacement against its parts, its inverse and the alignment derivatives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from mucal.detector import (
    alignment_derivatives,
    barrel,
    cms_like,
    displaced,
    local_slopes,
    predict,
    to_global,
    to_local,
)


@pytest.fixture(scope="module")
def modules():
    return cms_like().modules


def random_parameters(n, size, seed=1):
    return np.random.default_rng(seed).normal(size=(n, 6)) * size


def test_nothing_moves_by_zero(modules):
    still = displaced(modules, np.zeros((modules.n_modules, 6)))
    assert_array_equal(still.centre, modules.centre)
    assert_array_equal(still.rotation, modules.rotation)


def test_large_displacements_are_rigid(modules):
    moved = displaced(modules, random_parameters(modules.n_modules, 1.0))
    gram = np.einsum("mik,mjk->mij", moved.rotation, moved.rotation)
    assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-14)


def test_rotation_agrees_with_scipy(modules):
    parameters = random_parameters(modules.n_modules, 0.7)
    moved = displaced(modules, parameters)
    vector = np.einsum("mi,mij->mj", parameters[:, 3:], modules.rotation)  # in the global frame
    axes = [Rotation.from_rotvec(vector).apply(modules.rotation[:, i]) for i in range(3)]
    assert_allclose(moved.rotation, np.stack(axes, axis=1), atol=1e-13)


def test_shift_by_hand(modules):
    parameters = np.zeros((modules.n_modules, 6))
    parameters[:, :3] = [0.1, -0.2, 0.3]
    local = to_local(modules, modules.module_id, displaced(modules, parameters).centre)
    assert_allclose(local, np.broadcast_to([0.1, -0.2, 0.3], local.shape), atol=1e-12)


def test_turning_back_restores_the_axes(modules):
    parameters = random_parameters(modules.n_modules, 0.3)
    parameters[:, :3] = 0.0
    there_and_back = displaced(displaced(modules, parameters), -parameters)
    assert_allclose(there_and_back.rotation, modules.rotation, atol=1e-14)


def test_measurements_of_displaced_modules_follow_the_derivatives(modules):
    # second order in displacements of 1e-4: 1e-8 times slopes and lengths of up to 10 cm is 1e-7 cm
    rng = np.random.default_rng(2)
    ids = rng.integers(modules.n_modules, size=4000)
    u, v = (rng.uniform(-0.9, 0.9, 4000) * half for half in (modules.half_u[ids].min(axis=1), modules.half_v[ids]))
    direction = modules.rotation[ids, 2] + rng.uniform(-0.5, 0.5, (4000, 3))
    points = to_global(modules, ids, np.stack([u, v, 0 * u], axis=1))
    parameters = random_parameters(modules.n_modules, 1e-4, seed=3)
    moved = displaced(modules, parameters)
    w = moved.rotation[ids, 2]
    path = np.sum(w * (moved.centre[ids] - points), axis=1) / np.sum(w * direction, axis=1)
    local = to_local(moved, ids, points + path[:, None] * direction)
    change = predict(moved, ids, local[:, 0], local[:, 1])[0] - predict(modules, ids, u, v)[0]
    rows = alignment_derivatives(modules, ids, u, v, *local_slopes(modules, ids, direction))
    linear = np.einsum("nij,nj->ni", rows, parameters[ids])
    measured = np.isfinite(change)
    assert np.abs(linear[measured]).max() > 1e-4
    assert_allclose(change[measured], linear[measured], atol=1e-6)


def test_parameters_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"parameters has shape \(3, 6\), expected \(1288, 6\)"):
        displaced(barrel().modules, np.zeros((3, 6)))


def test_parameters_that_are_not_finite_are_refused():
    parameters = np.zeros((1288, 6))
    parameters[9, 2] = np.nan
    with pytest.raises(ValueError, match="module 9 are not finite"):
        displaced(barrel().modules, parameters)
