"""Where the true modules stand: random and coherent displacements, as parameters for `detector.displaced`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import Detector, Modules
from mucal.numerics import normal

SIZE: Final = 100.0
"""cm; every coherent pattern has its amplitude at r = 100 cm or z = 100 cm."""


def random_misalignment(modules: Modules, widths: FloatArray, seed: int) -> FloatArray:
    """Gaussian displacements of every module on its own: (M, 6), as `ALIGNMENT`.

    widths : (6,)  r.m.s. along u, v, w (cm) and about them (rad)
    seed   : of the random numbers, keyed by module and parameter
    """
    keys = modules.module_id[:, None], np.arange(6)[None, :]
    parameters: FloatArray = np.asarray(widths, dtype=np.float64) * normal(seed, "distortion/module", *keys)
    return parameters


def _shift(modules: Modules) -> dict[str, Callable[[], FloatArray]]:
    x, y, z = modules.centre.T / SIZE
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    zero, c, s = np.zeros_like(x), np.cos(phi), np.sin(phi)
    return {
        "curl": lambda: np.stack([-s * r**2, c * r**2, zero], axis=1),
        "twist": lambda: np.stack([-s * r * z, c * r * z, zero], axis=1),
        "radial": lambda: np.stack([x, y, zero], axis=1),
        "z_scale": lambda: np.stack([zero, zero, z], axis=1),
        "elliptic": lambda: np.stack([c, s, zero], axis=1) * (r * np.cos(2 * phi))[:, None],
        "bowing": lambda: np.stack([c, s, zero], axis=1) * (z**2)[:, None],
    }


COHERENT: Final = ("curl", "twist", "radial", "z_scale", "elliptic", "bowing")


def coherent_misalignment(modules: Modules, pattern: str, amplitude: float) -> FloatArray:
    """A smooth displacement of all modules: (M, 6), as `ALIGNMENT`; axes are not turned.

    With r, z in units of 100 cm: curl r dphi = r^2, twist r dphi = r z, radial dr = r, z_scale dz = z,
    elliptic dr = r cos(2 phi), bowing dr = z^2, each times

    amplitude : cm

    Raises ValueError for an unknown pattern.
    """
    if pattern not in COHERENT:
        raise ValueError(f"no pattern {pattern!r}; there are {', '.join(COHERENT)}")
    return _in_modules(modules, amplitude * _shift(modules)[pattern](), np.zeros(3))


def rigid_misalignment(modules: Modules, translation: FloatArray, rotation: FloatArray) -> FloatArray:
    """All modules moved as one body, to first order in the rotation: (M, 6), as `ALIGNMENT`.

    translation : (3,) cm   along x, y, z
    rotation    : (3,) rad  rotation vector about the origin
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    return _in_modules(modules, np.asarray(translation) + np.cross(rotation, modules.centre), rotation)


def _in_modules(modules: Modules, shift: FloatArray, rotation: FloatArray) -> FloatArray:
    """Global displacements (M, 3) and one global rotation (3,) along and about each module's axes."""
    return np.concatenate([np.einsum("mij,mj->mi", modules.rotation, shift), modules.rotation @ rotation], axis=1)


def scaled_material(detector: Detector, scale: Mapping[str, float]) -> Detector:
    """The detector with the material of some subdetectors scaled, modules and passive surfaces alike.

    scale : subdetector -> factor on thickness and energy loss

    Raises ValueError for an unknown subdetector.
    """
    unknown = set(scale) - set(detector.subdet_names)
    if unknown:
        raise ValueError(f"no subdetector {sorted(unknown)}; there are {', '.join(detector.subdet_names)}")
    factor = np.array([scale.get(name, 1.0) for name in detector.subdet_names])
    m, p = detector.modules, detector.passive
    return replace(
        detector,
        modules=replace(m, x_over_x0=m.x_over_x0 * factor[m.subdet], xi_mev=m.xi_mev * factor[m.subdet]),
        passive=replace(p, x_over_x0=p.x_over_x0 * factor[p.subdet], xi_mev=p.xi_mev * factor[p.subdet]),
    )
