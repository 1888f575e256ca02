"""Process noise: its closed forms, its signs against a Monte Carlo, and its independence of how a leg is cut."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector.field import MagneticField, uniform_field
from mucal.propagation import StepConfig, Surfaces, compose, cylinders, free_states, planes, propagate, with_gaps
from mucal.units import MUON_MASS

P = 5.0
LENGTH = 20.0


def beam_of_one(lam: float = 0.6, phi: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """A muon and the axes (U, V, T) of its direction."""
    y = free_states(np.array([[1 / P, lam, phi, 0, 0]]), np.zeros(3))
    t = y[0, 3:6]
    u = np.array([-np.sin(phi), np.cos(phi), 0.0])
    return y, np.stack([u, np.cross(t, u), t])


def thick_leg(x_over_x0_per_cm: float) -> tuple[np.ndarray, Surfaces, np.ndarray]:
    y, axes = beam_of_one()
    surface = planes(y[:, :3] + LENGTH * axes[2], axes[None])
    return y, with_gaps(surface, x_over_x0=x_over_x0_per_cm, xi=0.0), axes


def highland(x_over_x0: float, total: float) -> float:
    return (0.0136 / P) ** 2 * (1 + MUON_MASS**2 / P**2) * x_over_x0 * (1 + 0.038 * np.log(total)) ** 2


def test_thick_scattering_has_its_closed_form() -> None:
    y, surfaces, _ = thick_leg(0.01)
    q = propagate(uniform_field(0.0), surfaces, y, np.array([0])).noise[0, 0]
    theta = highland(0.01 * LENGTH, 0.01 * LENGTH) / LENGTH
    expected = np.zeros((5, 5))
    for slope, offset in ((1, 3), (2, 4)):
        expected[slope, slope] = theta * LENGTH
        expected[offset, offset] = theta * LENGTH**3 / 3
        expected[slope, offset] = expected[offset, slope] = theta * LENGTH**2 / 2
    assert_allclose(q, expected, rtol=1e-12, atol=1e-20)


def test_thick_scattering_agrees_with_a_monte_carlo_in_both_projections() -> None:
    y, surfaces, axes = thick_leg(0.01)
    q = propagate(uniform_field(0.0), surfaces, y, np.array([0])).noise[0, 0]
    rng, n, slices = np.random.default_rng(11), 20_000, 100
    r, t = np.tile(y[0, :3], (n, 1)), np.tile(y[0, 3:6], (n, 1))
    kick = np.sqrt(highland(0.01 * LENGTH, 0.01 * LENGTH) / slices)
    for _ in range(slices):
        r = r + 0.5 * LENGTH / slices * t
        t = t + kick * (rng.normal(size=(n, 1)) * axes[0] + rng.normal(size=(n, 1)) * axes[1])
        t = t / np.linalg.norm(t, axis=1)[:, None]
        r = r + 0.5 * LENGTH / slices * t
    r = r + t * ((surfaces.centre[0] - r) @ axes[2] / (t @ axes[2]))[:, None]
    ends = np.column_stack([(t @ axes[:2].T) / (t @ axes[2])[:, None], (r - surfaces.centre[0]) @ axes[:2].T])
    sample = np.cov(ends.T)
    model = q[1:, 1:]
    error = np.sqrt((np.outer(np.diag(model), np.diag(model)) + model**2) / n)
    assert np.all(np.abs(sample - model) < 4.5 * error + 1e-3 * np.abs(model))
    assert sample[0, 2] > 0
    assert sample[1, 3] > 0


@pytest.mark.parametrize(("tesla", "tolerance"), [(0.0, 1e-12), (3.8, 1e-4)])
def test_cutting_a_leg_changes_no_noise(tesla: float, tolerance: float) -> None:
    # exact where nothing bends; else the three kinks of a leg miss terms of (length x curvature)^2
    y, axes = beam_of_one()
    steps = np.array([0.3, 0.7, 1.0]) * LENGTH
    surfaces = with_gaps(
        planes(y[:, :3] + steps[:, None] * axes[2], np.broadcast_to(axes, (3, 3, 3))), x_over_x0=0.01, xi=1e-5
    )
    config = StepConfig(longest_step=1.0)
    cut = compose(propagate(uniform_field(tesla), surfaces, y, np.arange(3), config=config)).noise[0, 2]
    whole = propagate(uniform_field(tesla), surfaces, y, np.array([2]), config=config).noise[0, 0]
    size = np.sqrt(np.outer(np.diag(whole), np.diag(whole)))
    # ln(thickness) is that of the same path, and the loss makes the later kinks larger by 1e-3 of 1e-3
    assert np.all(np.abs(cut - whole) <= max(tolerance, 2e-5) * size)


def test_thin_scattering_turns_the_direction_alike_both_ways(tracker: SimpleNamespace) -> None:
    y = tracker.start_states(10, "barrel")
    surfaces = cylinders(np.array([20.0, 21.0]), x_over_x0=np.array([0.05, 0.0]))
    legs = propagate(uniform_field(3.8), surfaces, y, np.array([0, 1]))
    for i in range(10):
        r, t = legs.free[i, 0, :3], legs.free[i, 0, 3:6]
        w = r * [1, 1, 0] / np.hypot(r[0], r[1])
        axes = np.stack([np.cross([0.0, 0, 1], w), [0, 0, 1], w])
        flat = np.eye(3) - np.outer(t, t)
        slopes = np.stack([(axes[j] - axes[j] @ t / (w @ t) * w) / (w @ t) for j in range(2)])
        p, thickness = 1 / abs(y[i, 6]), 0.05 / abs(w @ t)
        variance = (0.0136 / p) ** 2 * (1 + MUON_MASS**2 / p**2) * thickness * (1 + 0.038 * np.log(thickness)) ** 2
        start = np.zeros((5, 5))
        start[1:3, 1:3] = variance * slopes @ flat @ slopes.T
        expected = legs.transport[i, 1] @ start @ legs.transport[i, 1].T
        assert_allclose(legs.noise[i, 1], expected, rtol=1e-10, atol=1e-20)


def test_no_material_makes_no_noise(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    surfaces = tracker.layers("barrel", 0.0, 0.0)
    legs = propagate(magnets["harmonic"], surfaces, tracker.start_states(5, "barrel"), np.arange(14))
    assert (legs.noise == 0).all()
    assert (legs.thickness == 0).all()


def test_twice_the_material_makes_more_noise(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    y = tracker.start_states(5, "barrel")
    one, two = (
        compose(propagate(magnets["harmonic"], tracker.layers("barrel", x, 0.0), y, np.arange(14))).noise[:, -1]
        for x in (0.02, 0.04)
    )
    assert np.all(np.diagonal(two, axis1=1, axis2=2)[:, 1:] > 2 * np.diagonal(one, axis1=1, axis2=2)[:, 1:])


def test_noise_is_symmetric_and_not_negative(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    surfaces = with_gaps(tracker.layers("endcap"), x_over_x0=1e-3, xi=1e-6)
    legs = propagate(magnets["harmonic"], surfaces, tracker.start_states(10, "endcap"), np.arange(15))
    noise = compose(legs).noise[:, 5:]
    scale = np.sqrt(np.diagonal(noise, axis1=2, axis2=3))
    correlation = noise / scale[..., :, None] / scale[..., None, :]
    assert_allclose(correlation, np.swapaxes(correlation, 2, 3), atol=1e-12)
    assert np.linalg.eigvalsh(correlation).min() > -1e-9
