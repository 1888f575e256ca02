"""Distortions as data: all that a true detector differs in from the assumed one, under one name and one seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Detector, Modules, displaced
from mucal.errors import ConfigError, InputError, nearest
from mucal.simulation.distortion import (
    coherent_misalignment,
    distorted_field,
    random_misalignment,
    rigid_misalignment,
    scaled_material,
    structure_misalignment,
)

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomMisalignment:
    """Gaussian displacements of modules or of larger structures.

    of     : "module": along and about its own u, v, w; "layer" (each side of a disc by itself) and "subdetector": along
             and about x, y, z, as one body
    shift  : cm   r.m.s. along the three axes
    turn   : rad  r.m.s. about them
    subdet : only in these subdetectors; none named: in all
    """

    of: Literal["module", "layer", "subdetector"] = "module"
    shift: Three = (0.0, 0.0, 0.0)
    turn: Three = (0.0, 0.0, 0.0)
    subdet: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(*self.shift, *self.turn) < 0:
            raise ValueError(f"shift = {self.shift}, turn = {self.turn}; expected r.m.s. of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoherentMisalignment:
    """One smooth pattern; see `coherent_misalignment`.

    pattern   : as "curl"
    amplitude : cm   at r = 100 cm or z = 100 cm
    phase     : rad  of sagitta, elliptic and skew
    subdet    : only in these subdetectors; none named: in all
    """

    pattern: str
    amplitude: float
    phase: float = 0.0
    subdet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RigidMisalignment:
    """Subdetectors moved as one body; the rotation is about the origin.

    translation : cm   along x, y, z
    rotation    : rad  rotation vector
    subdet      : none named: the whole detector
    """

    translation: Three = (0.0, 0.0, 0.0)
    rotation: Three = (0.0, 0.0, 0.0)
    subdet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """What is wrong with the assumed detector; displacements add.

    seed     : of all that is random
    random   : `RandomMisalignment`s
    coherent : `CoherentMisalignment`s
    rigid    : `RigidMisalignment`s
    material : "TOB", "TOB/modules" or "TOB/passive" -> true material over the assumed one
    field    : "bias", "gradient" or a mode as "l3m0c" -> r.m.s. over the tracker, as a share of B_z at the origin
    """

    seed: int = 1
    random: tuple[RandomMisalignment, ...] = ()
    coherent: tuple[CoherentMisalignment, ...] = ()
    rigid: tuple[RigidMisalignment, ...] = ()
    material: Mapping[str, float] = field(default_factory=dict)
    field: Mapping[str, float] = field(default_factory=dict)


def misalignment(detector: Detector, distortion: Distortion) -> FloatArray:
    """Displacements of the true modules from where the assumed detector has them: (M, 6), as `ALIGNMENT`.

    Raises ConfigError for a pattern or subdetector that is not known.
    """
    modules = detector.modules
    total = np.zeros((modules.n_modules, 6))
    for i, r in enumerate(distortion.random):
        total += _in(detector, r.subdet)[:, None] * _random(modules, r, 1000 * distortion.seed + i)
    for c in distortion.coherent:
        moved = coherent_misalignment(modules, c.pattern, c.amplitude, c.phase)
        total += _in(detector, c.subdet)[:, None] * moved
    for b in distortion.rigid:
        moved = rigid_misalignment(modules, np.array(b.translation), np.array(b.rotation))
        total += _in(detector, b.subdet)[:, None] * moved
    return total


def distorted(detector: Detector, distortion: Distortion) -> Detector:
    """The true detector: modules displaced, modes added to the field, material scaled.

    detector : as it is assumed to be

    Raises ConfigError for a name that is not known, InputError for a distorted field where there is none.
    """
    true = replace(detector, modules=displaced(detector.modules, misalignment(detector, distortion)))
    true = scaled_material(true, distortion.material)
    if not distortion.field:
        return true
    if detector.field is None:
        raise InputError(f"{detector.name} stands in no field that could be distorted", kind="input.no_field")
    return replace(true, field=distorted_field(detector.field, distortion.field))


def _random(modules: Modules, wanted: RandomMisalignment, seed: int) -> FloatArray:
    shift, turn = np.array(wanted.shift), np.array(wanted.turn)
    if wanted.of == "module":
        return random_misalignment(modules, np.concatenate([shift, turn]), seed)
    return structure_misalignment(modules, _structures(modules, wanted.of), shift, turn, seed)


def _structures(modules: Modules, of: str) -> IntArray:
    """(M,) a number of each module's structure that does not depend on which others there are."""
    number: IntArray = modules.subdet * 3 + modules.side + 1
    return number if of == "subdetector" else number * 1000 + modules.layer


def _in(detector: Detector, subdet: tuple[str, ...]) -> BoolArray:
    """(M,) whether a module is in one of the subdetectors named."""
    for name in subdet:
        if name not in detector.subdet_names:
            near = ", ".join(nearest(name, detector.subdet_names) or detector.subdet_names)
            raise ConfigError(
                f"no subdetector '{name}' in {detector.name}; the nearest are {near}", kind="config.unknown_subdetector"
            )
    chosen = [detector.subdet_names.index(name) for name in subdet or detector.subdet_names]
    inside: BoolArray = np.isin(detector.modules.subdet, chosen)
    return inside
