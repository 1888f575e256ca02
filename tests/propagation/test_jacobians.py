"""Every derivative that propagation returns is the difference quotient of what propagation returns."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mucal.detector.field import MagneticField
from mucal.propagation import Legs, StepConfig, Surfaces, compose, curvilinear_axes, propagate, with_gaps

N = 8
FIELDS = ["uniform", "harmonic", "solenoid", "map_rz", "map_xyz", "modes"]
GEOMETRIES = ["barrel", "endcap", "barrel with gaps", "endcap with gaps"]


def geometry(tracker: SimpleNamespace, name: str) -> tuple[Surfaces, np.ndarray]:
    region = name.split()[0]
    surfaces = tracker.layers(region)
    if "gaps" in name:
        surfaces = with_gaps(surfaces, x_over_x0=1e-3, xi=2e-6, cut=1e-3)
    return surfaces, tracker.start_states(N, region)


def displaced(y: np.ndarray, j: int, step: float) -> np.ndarray:
    """Start states moved along curvilinear coordinate j of their own frame."""
    u, v = curvilinear_axes(y[:, 3:6])
    lam, phi = np.arcsin(y[:, 5]), np.arctan2(y[:, 4], y[:, 3])
    lam, phi = lam + step * (j == 1), phi + step * (j == 2)
    moved = y.copy()
    moved[:, :3] += step * (j == 3) * u + step * (j == 4) * v
    moved[:, 3:6] = np.column_stack([np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam)])
    moved[:, 6] += step * (j == 0)
    return moved


def frozen_local(legs: Legs, reference: Legs, surfaces: Surfaces) -> np.ndarray:
    """(N, L, 5) local coordinates in the axes at the reference's own points."""
    n, n_legs = reference.path.shape
    axes = np.empty((n, n_legs, 3, 3))
    for i in range(n_legs):
        if surfaces.is_cylinder[i]:
            w = reference.free[:, i, :3] * [1, 1, 0] / np.hypot(*reference.free[:, i, :2].T)[:, None]
            z = np.broadcast_to([0.0, 0, 1], w.shape)
            axes[:, i] = np.stack([np.cross(z, w), z, w], axis=1)
        else:
            axes[:, i] = surfaces.rotation[i]
    r = np.einsum("nlij,nlj->nli", axes, legs.free[..., :3] - reference.free[..., :3])
    t = np.einsum("nlij,nlj->nli", axes, legs.free[..., 3:6])
    slopes = t[..., :2] / t[..., 2:]
    return np.concatenate([legs.free[..., 6:], slopes, r[..., :2]], axis=-1)


def check(run: Callable[[float], Legs], reference: Legs, surfaces: Surfaces, analytic: np.ndarray, step: float) -> None:
    """Fourth-order central differences against the analytic column (N, L, 5), to 1e-6 of the largest in its row.

    The floor is the rounding of the coordinates (1 for q and slopes, 100 cm for positions) over the step.
    """
    a, b, c, d = (frozen_local(run(k * step), reference, surfaces) for k in (-2, -1, 1, 2))
    difference = (8 * (c - b) - (d - a)) / (12 * step)
    floor = 1e-14 * np.array([0.3, 3, 3, 100, 100]) / step
    error = np.abs(difference - analytic).max(axis=(0, 1))
    assert np.all(error <= 1e-6 * np.abs(analytic).max(axis=(0, 1)) + floor)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("where", GEOMETRIES)
def test_start_columns_agree_with_differences(
    name: str, where: str, magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    surfaces, y = geometry(tracker, where)
    route = np.arange(surfaces.n_surfaces)
    legs = propagate(magnets[name], surfaces, y, route)
    assert (legs.status == 0).all()
    by_start = compose(legs).by_start
    for j, step in enumerate((2e-5, 2e-4, 2e-4, 2e-2, 2e-2)):

        def run(e: float, j: int = j) -> Legs:
            return propagate(magnets[name], surfaces, displaced(y, j, e), route)

        check(run, legs, surfaces, by_start[..., j], step)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("where", GEOMETRIES)
def test_offset_and_loss_columns_agree_with_differences(
    name: str, where: str, magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    surfaces, y = geometry(tracker, where)
    route = np.arange(surfaces.n_surfaces)
    legs = propagate(magnets[name], surfaces, y, route)
    by_leg = compose(legs).by_leg
    acted = slice(2, 6)
    for j in range(5 if "gaps" in where else 4):

        def run(e: float, j: int = j) -> Legs:
            offsets, ln_loss = np.zeros((route.size, 3)), np.zeros((route.size, 2))
            if j < 3:
                offsets[acted, j] = e
            else:
                ln_loss[acted, j - 3] = e
            return propagate(magnets[name], surfaces, y, route, offsets=offsets, ln_loss=ln_loss)

        check(run, legs, surfaces, by_leg[:, :, acted, :, j].sum(axis=2), 0.02)


@pytest.mark.parametrize("where", GEOMETRIES)
def test_field_mode_columns_agree_with_differences(
    where: str, magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    surfaces, y = geometry(tracker, where)
    route = np.arange(surfaces.n_surfaces)
    magnet = magnets["modes"]
    legs = propagate(magnet, surfaces, y, route)
    by_leg = compose(legs).by_leg.sum(axis=2)
    for j in range(magnet.amplitudes.size):

        def run(e: float, j: int = j) -> Legs:
            moved = magnet.amplitudes + e * (np.arange(magnet.amplitudes.size) == j)
            return propagate(replace(magnet, amplitudes=moved), surfaces, y, route)

        check(run, legs, surfaces, by_leg[..., 5 + j], 0.01)


def test_momentum_and_field_scale_are_one_direction_without_loss(
    magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    # (q/p) d/d(q/p) = B . d/dB in a uniform field; the row of q/p itself is the momentum
    surfaces, y = tracker.layers("barrel", 0.0, 0.0), tracker.start_states(N, "barrel")
    composed = compose(propagate(magnets["uniform"], surfaces, y, np.arange(surfaces.n_surfaces)))
    by_field = composed.by_leg.sum(axis=2)[..., 1:, :3] @ np.array([0.3, 0.2, 3.8])
    by_momentum = composed.by_start[..., 1:, 0] * y[:, None, None, 6]
    assert np.abs(by_field - by_momentum).max() <= 1e-12 * np.abs(by_momentum).max()


def test_two_legs_composed_are_the_longer_leg(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    surfaces, y = tracker.layers("barrel", 0.0, 0.0), tracker.start_states(N, "barrel")
    # exact in a uniform field; elsewhere the Runge-Kutta error of 1e-7 cm at 10 cm steps falls by 5^4 at 2 cm
    for name, tolerance in (("uniform", 1e-10), ("harmonic", 1e-9)):
        config = StepConfig(longest_step=2.0)
        through = compose(propagate(magnets[name], surfaces, y, np.array([4, 5]), config=config))
        direct = propagate(magnets[name], surfaces, y, np.array([5]), config=config)
        scale = np.abs(direct.transport[:, 0]).max(axis=(0, 2))[:, None]
        assert np.all(np.abs(through.by_start[:, 1] - direct.transport[:, 0]).max(axis=0) <= tolerance * scale)
