"""A telescope of pixel planes across x in a uniform field along z, and what muons from the origin leave in it."""

import numpy as np

from mucal.detector import SILICON, Detector, Modules, Passive
from mucal.detector.field import uniform_field
from mucal.track import Hits

SIGMA_U, SIGMA_V = 1e-3, 2e-3
"""cm."""

AXES = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
"""Rows u, v, w of a plane."""


def telescope(n: int, spacing: float, thickness: float, tesla: float) -> Detector:
    """n planes of silicon, at x = spacing (i + 1/2); lengths in cm."""
    one, none = np.ones(n), np.zeros(0)
    x0 = SILICON.radiation_length / SILICON.density
    return Detector(
        name="telescope", subdet_names=("none", "planes"), field=uniform_field(tesla),
        modules=Modules(
            module_id=np.arange(n), subdet=np.ones(n, int), layer=np.arange(n) + 1, side=np.zeros(n, int),
            ladder=np.ones(n, int), stereo=np.zeros(n, bool), rotation=np.repeat(AXES[None], n, axis=0),
            centre=np.outer(spacing * (np.arange(n) + 0.5), [1.0, 0.0, 0.0]), half_u=90.0 * np.ones((n, 2)),
            half_v=90.0 * one, n_meas=2 * np.ones(n, int), sigma_u=SIGMA_U * one, sigma_v=SIGMA_V * one,
            strip_angle=0 * one, focus=0 * one, x_over_x0=thickness / x0 * one,
            xi_mev=1e3 * SILICON.xi_per_radiation_length * thickness / x0 * one,
        ),
        passive=Passive(subdet=none.astype(int), kind=none.astype(int), position=none, low=none, high=none,
                        x_over_x0=none, xi_mev=none),
    )  # fmt: skip


def recorded(crossings: np.ndarray, states: np.ndarray, seed: int) -> Hits:
    """Hits with Gaussian errors; seeds off by 1 % in q/p, 1 mrad and 100 um.

    crossings : (N, L, 2) cm  of every plane
    states    : (N, 5)        true, about the origin
    """
    errors = np.random.default_rng(seed).normal(size=crossings.shape) * [SIGMA_U, SIGMA_V]
    return measured(crossings + errors, states, seed + 1, (SIGMA_U, SIGMA_V))


def measured(places: np.ndarray, states: np.ndarray, seed: int, sigmas: tuple[float, float]) -> Hits:
    """Hits as they were measured (N, L, 2) cm on every plane, with these errors (cm); seeds as in `recorded`."""
    n, planes, _ = places.shape
    errors = np.random.default_rng(seed).normal(size=(n, 5)) * [1.0, 1e-3, 1e-3, 0.01, 0.01]
    errors[:, 0] *= 0.01 * np.abs(states[:, 0])
    number, total = np.arange(n), n * planes
    return Hits(
        run=np.ones(n, int), lumi=np.ones(n, int), event=number, pair=np.full(n, -1),
        charge=np.sign(states[:, 0]).astype(int), seed=states + errors, seed_ref=np.zeros((n, 3)),
        offsets=planes * np.arange(n + 1), module_id=np.tile(np.arange(planes), n), u=places[..., 0].ravel(),
        v=places[..., 1].ravel(), sigma_u=np.full(total, sigmas[0]), sigma_v=np.full(total, sigmas[1]),
    )  # fmt: skip
