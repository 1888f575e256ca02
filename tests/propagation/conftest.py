"""Tracks, surfaces and fields that the propagation tests share, and the slow twin of the kernels."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mucal.detector.field import (
    MagneticField,
    evaluate,
    harmonic_field,
    harmonic_modes,
    map_field_rz,
    map_field_xyz,
    solenoid_field,
    uniform_field,
    with_modes,
)
from mucal.propagation import Surfaces, cylinders, free_states, planes
from mucal.units import CURVATURE

RADII = np.array([4.42, 7.31, 10.17, 17.6, 25.6, 34.0, 41.8, 49.8, 60.8, 69.2, 78.0, 86.8, 96.5, 108.0])
DISCS = np.array([35.5, 48.5, 65.0, 79.8, 92.6, 105.6, 131.3, 145.3, 159.3, 173.9, 187.8, 205.4, 224.0, 244.4, 266.3])


def start_states(n: int, region: str, seed: int = 7, low: float = 1.5) -> np.ndarray:
    """Muons from near the origin: (N, 7)."""
    rng = np.random.default_rng(seed)
    pt, phi, charge = rng.uniform(low, 20, n), rng.uniform(-np.pi, np.pi, n), rng.choice([-1, 1], n)
    eta = rng.uniform(-1, 1, n) if region == "barrel" else rng.uniform(1.8, 2.3, n)
    lam = np.arctan(np.sinh(eta))
    state = np.column_stack([charge * np.cos(lam) / pt, lam, phi, rng.normal(size=(n, 2)) * 0.02])
    return free_states(state, np.array([0.1, 0.2, 0.3]))


def layers(region: str, x_over_x0: float = 0.03, xi: float = 4e-5) -> Surfaces:
    """The layers of a barrel or of an endcap."""
    if region == "barrel":
        return cylinders(RADII, x_over_x0=x_over_x0, xi=xi)
    centre = np.column_stack([0 * DISCS, 0 * DISCS, DISCS])
    return planes(centre, np.broadcast_to(np.eye(3), (DISCS.size, 3, 3)), x_over_x0=x_over_x0, xi=xi)


def _fields() -> dict[str, MagneticField]:
    truth = harmonic_field(r_max=220.0)
    r, x, z = np.linspace(0, 140, 29), np.linspace(-125, 125, 26), np.linspace(-290, 290, 59)
    plane = np.stack(np.meshgrid(r, [0.0], z, indexing="ij"), axis=-1)
    space = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1)
    b_plane = evaluate(truth, plane.reshape(-1, 3)).bfield.reshape(*plane.shape)[:, 0]
    b_space = evaluate(truth, space.reshape(-1, 3)).bfield.reshape(space.shape)
    modes = harmonic_modes(2)
    return {
        "uniform": uniform_field(np.array([0.3, 0.2, 3.8])),
        "harmonic": harmonic_field(),
        "solenoid": solenoid_field(),
        "map_rz": map_field_rz(r, z, b_plane[..., 0], b_plane[..., 2]),
        "map_xyz": map_field_xyz(x, x, z, b_space),
        "modes": with_modes(harmonic_field(), modes, np.linspace(-0.02, 0.02, len(modes.names))),
    }


@pytest.fixture(scope="session")
def magnets() -> dict[str, MagneticField]:
    return _fields()


@pytest.fixture(scope="session")
def tracker() -> SimpleNamespace:
    """What test files cannot import from each other."""
    return SimpleNamespace(start_states=start_states, layers=layers, exact_path=exact_path, radii=RADII, discs=DISCS)


def exact_path(magnet: MagneticField, start: np.ndarray, length: float) -> np.ndarray:
    """The equations of motion integrated by an eighth-order method at a tolerance of 1e-13: (7,) -> (7,)."""

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        b = evaluate(magnet, y[None, :3]).bfield[0]
        return np.concatenate([y[3:6], CURVATURE * y[6] * np.cross(y[3:6], b), [0.0]])

    return solve_ivp(slope, (0, length), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
