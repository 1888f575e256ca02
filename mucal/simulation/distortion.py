"""How the true detector differs from the assumed one: displacements of modules, modes of the field, scaled material."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector, Modules
from mucal.detector.field import MagneticField, evaluate, whitened_modes, with_modes
from mucal.errors import ConfigError, nearest
from mucal.numerics import normal

SIZE: Final = 100.0
"""cm; a coherent pattern reaches its amplitude at r = 100 cm, at z = 100 cm, or where both are."""

STILL: Final = 57.0
"""cm, the radius that a rotation of layers leaves alone; those outside turn one way, those inside the other."""


def random_misalignment(modules: Modules, widths: FloatArray, seed: int) -> FloatArray:
    """Gaussian displacements of every module on its own: (M, 6), as `ALIGNMENT`.

    widths : (6,)  r.m.s. along u, v, w (cm) and about them (rad)
    seed   : of the random numbers, keyed by module and parameter
    """
    keys = modules.module_id[:, None], np.arange(6)[None, :]
    parameters: FloatArray = np.asarray(widths, dtype=np.float64) * normal(seed, "distortion/module", *keys)
    return parameters


def _shift(modules: Modules, phase: float) -> dict[str, Callable[[], FloatArray]]:
    """Displacements (M, 3) of unit amplitude along x, y, z."""
    x, y, z = modules.centre.T / SIZE
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    c, s, zero = np.cos(phi), np.sin(phi), np.zeros_like(x)

    def outwards(dr: FloatArray) -> FloatArray:
        return np.stack([c * dr, s * dr, zero], axis=1)

    def around(r_dphi: FloatArray) -> FloatArray:
        return np.stack([-s * r_dphi, c * r_dphi, zero], axis=1)

    def along(dz: FloatArray) -> FloatArray:
        return np.stack([zero, zero, dz], axis=1)

    return {
        "curl": lambda: around(r**2),
        "twist": lambda: around(r * z),
        "layer_rotation": lambda: around(r * (r - STILL / SIZE)),
        "sagitta": lambda: around(r * np.cos(phi + phase)),
        "radial": lambda: outwards(r),
        "elliptic": lambda: outwards(r * np.cos(2 * phi + phase)),
        "bowing": lambda: outwards(z**2),
        "z_scale": lambda: along(z),
        "telescope": lambda: along(r),
        "skew": lambda: along(r * np.cos(phi + phase)),
    }


COHERENT: Final = (
    "curl", "twist", "layer_rotation", "sagitta", "radial", "elliptic", "bowing", "z_scale", "telescope", "skew",
)  # fmt: skip


def coherent_misalignment(modules: Modules, pattern: str, amplitude: float, phase: float = 0.0) -> FloatArray:
    """A smooth displacement of all modules: (M, 6), as `ALIGNMENT`; axes are not turned.

    With r, z in units of 100 cm:

    around the beam     r dphi   curl r^2, twist r z, layer_rotation r (r - 0.57), sagitta r cos(phi + phase)
    away from the beam  dr       radial r, elliptic r cos(2 phi + phase), bowing z^2
    along the beam      dz       z_scale z, telescope r, skew r cos(phi + phase)

    each times `amplitude`.

    amplitude : cm
    phase     : rad  of sagitta, elliptic and skew

    Raises ConfigError for an unknown pattern, with the nearest.
    """
    if pattern not in COHERENT:
        near = ", ".join(nearest(pattern, COHERENT) or COHERENT)
        raise ConfigError(
            f"no pattern '{pattern}'; the nearest are {near}",
            kind="config.unknown_pattern",
            where={"known": ", ".join(COHERENT)},
        )
    return _in_modules(modules, amplitude * _shift(modules, phase)[pattern](), np.zeros(3))


def rigid_misalignment(modules: Modules, translation: FloatArray, rotation: FloatArray) -> FloatArray:
    """All modules moved as one body, to first order in the rotation: (M, 6), as `ALIGNMENT`.

    translation : (3,) cm   along x, y, z
    rotation    : (3,) rad  rotation vector about the origin
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    return _in_modules(modules, np.asarray(translation) + np.cross(rotation, modules.centre), rotation)


def _in_modules(modules: Modules, shift: FloatArray, rotation: FloatArray) -> FloatArray:
    """Global displacements (M, 3) and rotations (3,) or (M, 3) along and about each module's axes."""
    turn = np.broadcast_to(rotation, (modules.n_modules, 3))
    return np.concatenate([np.einsum("mij,mj->mi", modules.rotation, v) for v in (shift, turn)], axis=1)


def structure_misalignment(
    modules: Modules, structure: IntArray, shift: FloatArray, turn: FloatArray, seed: int
) -> FloatArray:
    """Structures moved as bodies, each at random on its own, to first order in the rotation: (M, 6), as `ALIGNMENT`.

    structure   : (M,)      number of the structure that each module belongs to, at least 0
    shift, turn : (3,)      r.m.s. along x, y, z (cm), and about them (rad) through the mean of the modules' centres
    seed        :           of the random numbers, keyed by structure and parameter
    """
    number, inverse, count = np.unique(structure, return_inverse=True, return_counts=True)
    drawn = normal(seed, "distortion/structure", number[:, None], np.arange(6)[None, :]) * np.concatenate([shift, turn])
    centre = np.stack([np.bincount(inverse, modules.centre[:, i]) / count for i in range(3)], axis=1)
    translation, rotation = drawn[inverse, :3], drawn[inverse, 3:]
    moved = translation + np.cross(rotation, modules.centre - centre[inverse])
    return _in_modules(modules, moved, rotation)


def scaled_material(detector: Detector, scale: Mapping[str, float]) -> Detector:
    """The detector with the material of some subdetectors scaled.

    scale : "TOB", modules and passive surfaces alike, or "TOB/modules" or "TOB/passive" -> factor on thickness and
            energy loss; factors multiply

    Raises ConfigError for an unknown name, with the nearest, and for a factor that is not positive.
    """
    known = [f"{name}{part}" for name in detector.subdet_names for part in ("", "/modules", "/passive")]
    factor = {part: np.ones(len(detector.subdet_names)) for part in ("modules", "passive")}
    for name, value in scale.items():
        if name not in known:
            near = ", ".join(nearest(name, known) or detector.subdet_names)
            raise ConfigError(f"no material '{name}'; the nearest are {near}", kind="config.unknown_material")
        if not 0.0 < value < np.inf:
            raise ConfigError(f"material of '{name}' times {value}, expected above 0", kind="config.bad_value")
        subdet, _, part = name.partition("/")
        for which in factor:
            if part in ("", which):
                factor[which][detector.subdet_names.index(subdet)] *= value
    m, p = detector.modules, detector.passive
    of_m, of_p = factor["modules"][m.subdet], factor["passive"][p.subdet]
    return replace(
        detector,
        modules=replace(m, x_over_x0=m.x_over_x0 * of_m, xi_mev=m.xi_mev * of_m),
        passive=replace(p, x_over_x0=p.x_over_x0 * of_p, xi_mev=p.xi_mev * of_p),
    )


def distorted_field(magnet: MagneticField, share: Mapping[str, float]) -> MagneticField:
    """The field with harmonic modes added to it.

    share : "bias" (a uniform B_z), "gradient" (B_z along z), or any mode as "l3m1s" -> r.m.s. over the tracker as a
            share of B_z at the origin

    Raises ConfigError for a name that is no mode, ValueError for a field that has modes already.
    """
    if not share:
        return magnet
    if magnet.modes is not None and np.any(magnet.amplitudes != 0.0):
        raise ValueError("the field has harmonic modes already; distort the one without")
    index = np.array([_mode(name) for name in share], dtype=np.int64)
    bz = float(evaluate(magnet, np.zeros((1, 3))).bfield[0, 2])
    return with_modes(magnet, whitened_modes(index), bz * np.array(list(share.values())))


def _mode(name: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"l(\d+)m(\d+)([cs])", {"bias": "l1m0c", "gradient": "l2m0c"}.get(name, name))
    l, m, phase = (int(found[1]), int(found[2]), int(found[3] == "s")) if found else (0, 0, 0)
    if not 1 <= l <= 12 or m > l or (m == 0 and phase):
        raise ConfigError(
            f"'{name}' is no mode of the field; expected bias, gradient, or as l3m1s: 1 <= l <= 12, m <= l, c or s",
            kind="config.unknown_mode",
        )
    return l, m, phase
