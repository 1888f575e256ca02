"""Weak modes known beforehand: coherent distortions of detector, field and material that tracks see badly.

An alignment template is a displacement field d(r) of the whole tracker: modules are shifted by d and turned by half its
curl.  Its unit is 1 cm at a radius of 108 cm or at 109 cm along the beam; that of a field template 1 T there; that of
the material one in ln of the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.detector import CYLINDER, Detector
from mucal.detector.field import FieldModes, evaluate, uniform_field, with_modes
from mucal.globalcor.constraints import Constraint
from mucal.globalcor.registry import Registry
from mucal.store import Result

RADIUS: Final = 108.0
LENGTH: Final = 109.0
STEP: Final = 1e-3
"""cm, of the differences that give the curl; the fields are polynomials in space away from the axis."""
ROUNDING: Final = 1e-9
"""cm or rad, of a template of 1 cm: what is left of shifts that cancel and of curls that vanish."""

Cylindrical = Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""r, phi, z -> displacement along r, along phi, along z."""

DISTORTIONS: Final[dict[str, Cylindrical]] = {
    "radial": lambda r, phi, z: (r / RADIUS, 0 * r, 0 * r),
    "telescope": lambda r, phi, z: (0 * r, 0 * r, r / RADIUS),
    "layer rotation": lambda r, phi, z: (0 * r, r / RADIUS, 0 * r),
    "curl": lambda r, phi, z: (0 * r, (r / RADIUS) ** 2, 0 * r),
    "twist": lambda r, phi, z: (0 * r, r * z / (RADIUS * LENGTH), 0 * r),
    "z expansion": lambda r, phi, z: (0 * r, 0 * r, z / LENGTH),
    "skew": lambda r, phi, z: (0 * r, 0 * r, r * np.cos(phi) / RADIUS),
    "elliptic": lambda r, phi, z: (r * np.cos(2.0 * phi) / RADIUS, 0 * r, 0 * r),
    "sagitta": lambda r, phi, z: (0 * r, r * np.cos(phi) / RADIUS, 0 * r),
    "bowing": lambda r, phi, z: ((z / LENGTH) ** 2, 0 * r, 0 * r),
}

RIGID: Final = ("translation x", "translation y", "translation z", "rotation x", "rotation y", "rotation z")

FIELDS: Final[dict[str, tuple[int, Callable[[FloatArray, FloatArray], FloatArray]]]] = {
    "uniform field": (1, lambda r, z: 1.0 + 0 * r),
    "field gradient": (2, lambda r, z: z / LENGTH),
    "field l = 3": (3, lambda r, z: (z**2 - 0.5 * r**2) / LENGTH**2),
}
"""Degree of the mode, and B_z of one unit."""
MATERIAL: Final = "material scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates(Result):
    """K patterns over the P parameters of a registry; those that none of its parameters can follow are left out.

    digest  :        of the registry
    names   : K
    vectors : (P, K) in the units of the parameters
    """

    digest: str
    names: tuple[str, ...]
    vectors: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, vectors=(self.vectors.shape[0], len(self.names)))


def templates(registry: Registry, detector: Detector) -> Templates:
    """All templates of the families that a registry has.

    A parameter shared by several elements gets the mean over them.
    """
    found: dict[str, FloatArray] = {}
    for i, name in enumerate(RIGID):
        found[name] = alignment_template(registry, detector, lambda points, i=i: _rigid(points, i))  # type: ignore[misc]
    for name, shape in DISTORTIONS.items():
        found[name] = alignment_template(registry, detector, lambda points, shape=shape: _cartesian(points, shape))  # type: ignore[misc]
    r, z = _places(detector)
    for name, (degree, bz) in FIELDS.items():
        found[name] = _field_template(registry, r, z, degree, bz)
    loss = np.where(registry.map.eloss >= 0, 1.0, 0.0)
    found[MATERIAL] = _mean(registry, registry.map.eloss, loss)
    kept = {name: vector for name, vector in found.items() if np.any(vector != 0)}
    vectors = np.stack(list(kept.values()), axis=1) if kept else np.zeros((len(registry), 0))
    return Templates(digest=registry.map.digest, names=tuple(kept), vectors=vectors)


def alignment_template(
    registry: Registry, detector: Detector, displacement: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """A displacement field as alignment parameters (P,).

    displacement : (N, 3) cm -> (N, 3) cm, smooth

    Where the shifts of the modules of one parameter cancel, it is zero: it cannot follow.
    """
    m = detector.modules
    turn = 0.5 * _curl(displacement, m.centre)
    shift = displacement(m.centre)
    local = np.concatenate(
        [np.einsum("mij,mj->mi", m.rotation, shift), np.einsum("mij,mj->mi", m.rotation, turn)], axis=1
    )
    vector = _mean(registry, registry.map.alignment, local)
    return np.where(np.abs(vector) > ROUNDING, vector, 0.0)


def gauges(registry: Registry, detector: Detector) -> list[Constraint]:
    """The six rigid motions of the whole tracker held at 0: sum over modules of template times correction."""
    rows = []
    for i, name in enumerate(RIGID):
        vector = alignment_template(registry, detector, lambda points, i=i: _rigid(points, i))  # type: ignore[misc]
        # the product of shift and template, in cm; rotations weigh with the size of a module
        units = np.where(registry.component < 3, 1.0, TYPICAL_SIZE**2)
        at = np.flatnonzero(vector)
        if at.size:
            rows.append(Constraint(name=name, index=at, factor=(vector * units)[at]))
    return rows


TYPICAL_SIZE: Final = 5.0
"""cm, half a module: a rotation by 1 rad moves its edge by as much."""


def _rigid(points: FloatArray, i: int) -> FloatArray:
    """Translations along x, y, z by 1 cm, rotations about them by 1 cm at RADIUS."""
    axis = np.zeros(3)
    axis[i % 3] = 1.0
    return np.broadcast_to(axis, points.shape) if i < 3 else np.cross(axis / RADIUS, points)


def _cartesian(points: FloatArray, shape: Cylindrical) -> FloatArray:
    r, phi = np.hypot(points[:, 0], points[:, 1]), np.arctan2(points[:, 1], points[:, 0])
    along_r, along_phi, along_z = shape(r, phi, points[:, 2])
    c, s = np.cos(phi), np.sin(phi)
    return np.stack([along_r * c - along_phi * s, along_r * s + along_phi * c, along_z], axis=1)


def _curl(displacement: Callable[[FloatArray], FloatArray], points: FloatArray) -> FloatArray:
    slope = np.empty((len(points), 3, 3))  # d d_i / d x_j
    for j in range(3):
        step = np.zeros(3)
        step[j] = STEP
        slope[:, :, j] = (displacement(points + step) - displacement(points - step)) / (2.0 * STEP)
    return np.stack(
        [slope[:, 2, 1] - slope[:, 1, 2], slope[:, 0, 2] - slope[:, 2, 0], slope[:, 1, 0] - slope[:, 0, 1]], axis=1
    )


def _places(detector: Detector) -> tuple[FloatArray, FloatArray]:
    """r and z (M+P,) of every element: centres of modules, middles of passive surfaces"""
    m, p = detector.modules, detector.passive
    cylinder = p.kind == CYLINDER
    middle = 0.5 * (p.low + p.high)
    r = np.concatenate([np.hypot(m.centre[:, 0], m.centre[:, 1]), np.where(cylinder, p.position, middle)])
    return r, np.concatenate([m.centre[:, 2], np.where(cylinder, middle, p.position)])


def _field_template(
    registry: Registry, r: FloatArray, z: FloatArray, degree: int, bz: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """B_z on the legs; in the modes, the one of the degree without dependence on phi."""
    legs = np.zeros((r.size, 3))
    legs[:, 2] = bz(r, z)
    vector = _mean(registry, registry.map.bfield, legs)
    if registry.modes is not None:
        amplitudes = np.zeros(registry.map.modes.size)
        for i, (l, m, _) in enumerate(registry.modes.index.tolist()):
            if (l, m) == (degree, 0):
                amplitudes[i] = 1.0 / _bz_of_mode(registry.modes, i)
        vector += _mean(registry, registry.map.modes, amplitudes)
    return vector


def _bz_of_mode(modes: FieldModes, i: int) -> float:
    """T, B_z of one unit of a mode on the axis at LENGTH."""
    unit = np.zeros(modes.index.shape[0])
    unit[i] = 1.0
    field = with_modes(uniform_field(0.0), modes, unit)
    return float(evaluate(field, np.array([[0.0, 0.0, LENGTH]])).bfield[0, 2])


def _mean(registry: Registry, index: IntArray, values: FloatArray) -> FloatArray:
    """The mean of the values (of the shape of `index`) over the places of each parameter: (P,)."""
    used = index >= 0
    count = np.bincount(index[used], minlength=len(registry))
    total = np.bincount(index[used], weights=values[used], minlength=len(registry))
    return np.where(count > 0, total / np.maximum(count, 1), 0.0)
