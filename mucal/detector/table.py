"""The detector as tables: one row a sensitive module, one row a passive cylinder or disc."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector.field import MagneticField
from mucal.store import Result

STRIP: Final = 1
PIXEL: Final = 2
CYLINDER: Final = 0
DISC: Final = 1
ORTHONORMAL: Final = 1e-9
"""How far rotation times its transpose may be from the unit matrix."""

APART: Final = 1e-3
"""cm, passive surfaces nearer than this, over a common range, are one surface entered twice."""

ROWS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules(Result):
    """M sensitive modules: rectangles and trapezoids in space, what each measures, and how much material it is.

    module_id          : (M,)        0 .. M-1, in order
    subdet             : (M,)        small integer, indexes `Detector.subdet_names`
    layer              : (M,)        layer or disc inside the subdetector, from 1
    side               : (M,)        0 in the barrel, -1 and +1 for the discs at negative and positive z
    ladder             : (M,)        ladder or rod of a barrel layer, ring of a disc
    stereo             : (M,)        True for the tilted sensor of a double module
    centre             : (M, 3) cm
    rotation           : (M, 3, 3)   rows u (precise), v, w = u x v, the normal, in the global frame
    half_u             : (M, 2) cm   half width at v = -half_v and at v = +half_v; unequal for a trapezoid
    half_v             : (M,) cm
    n_meas             : (M,)        1 strip, 2 pixel
    sigma_u, sigma_v   : (M,) cm     resolution; sigma_v is NaN on strips
    strip_angle        : (M,) rad    of the measured coordinate in the module's frame; 0 where u itself is measured
    focus              : (M,) cm     v of the module centre seen from the point where wedge strips meet (negative if
                                     they meet at positive v); 0 where the strips are parallel
    x_over_x0          : (M,)        at normal incidence
    xi_mev             : (M,) MeV    Landau scale (K/2)(Z/A) rho x at beta = 1, at normal incidence
    """

    module_id: IntArray
    subdet: IntArray
    layer: IntArray
    side: IntArray
    ladder: IntArray
    stereo: BoolArray
    centre: FloatArray
    rotation: FloatArray
    half_u: FloatArray
    half_v: FloatArray
    n_meas: IntArray
    sigma_u: FloatArray
    sigma_v: FloatArray
    strip_angle: FloatArray
    focus: FloatArray
    x_over_x0: FloatArray
    xi_mev: FloatArray

    def __post_init__(self) -> None:
        m = self.n_modules
        scalars = dict.fromkeys(
            ("subdet", "layer", "side", "ladder", "stereo", "half_v", "n_meas", "sigma_u", "sigma_v", "strip_angle",
             "focus", "x_over_x0", "xi_mev"), (m,),
        )  # fmt: skip
        check_shapes(self, **scalars, centre=(m, 3), rotation=(m, 3, 3), half_u=(m, 2))
        for found, expected in _module_faults(self):
            refuse_rows("modules", found, expected)

    @property
    def n_modules(self) -> int:
        """M."""
        return int(self.module_id.size)

    @property
    def is_wedge(self) -> BoolArray:
        """(M,) whether the strips of the module run towards a common point"""
        wedge: BoolArray = self.focus != 0.0
        return wedge

    def corners(self) -> FloatArray:
        """(M, 4, 3) cm, the corners of every module in the global frame, in order around it"""
        low, high = self.half_u[:, 0], self.half_u[:, 1]
        u = np.stack([-low, low, high, -high], axis=1)
        v = self.half_v[:, None] * np.array([-1.0, -1.0, 1.0, 1.0])
        axes = self.rotation
        corners: FloatArray = self.centre[:, None] + u[..., None] * axes[:, None, 0] + v[..., None] * axes[:, None, 1]
        return corners


@dataclass(frozen=True, slots=True, kw_only=True)
class Passive(Result):
    """P surfaces of material that measure nothing: cylinders about the beam, and discs across it.

    subdet    : (P,)       the subdetector whose material it is, indexes `Detector.subdet_names`
    kind      : (P,)       0 cylinder, 1 disc
    position  : (P,) cm    radius of a cylinder, z of a disc
    low, high : (P,) cm    range in z of a cylinder, in radius of a disc
    x_over_x0 : (P,)       at normal incidence
    xi_mev    : (P,) MeV   at normal incidence and beta = 1
    """

    subdet: IntArray
    kind: IntArray
    position: FloatArray
    low: FloatArray
    high: FloatArray
    x_over_x0: FloatArray
    xi_mev: FloatArray

    def __post_init__(self) -> None:
        p = self.n_surfaces
        check_shapes(self, subdet=(p,), kind=(p,), low=(p,), high=(p,), x_over_x0=(p,), xi_mev=(p,))
        for found, expected in _passive_faults(self):
            refuse_rows("passive", found, expected)
        self._refuse_doubles()

    @property
    def n_surfaces(self) -> int:
        """P."""
        return int(self.position.size)

    def _refuse_doubles(self) -> None:
        """No two surfaces lie on each other: their material would count twice."""
        order = np.lexsort((self.position, self.kind))
        for i, row in enumerate(order):
            for other in order[i + 1 :]:
                if self.kind[other] != self.kind[row] or self.position[other] - self.position[row] > APART:
                    break
                if min(self.high[row], self.high[other]) - max(self.low[row], self.low[other]) > APART:
                    first, second = sorted((int(row), int(other)))
                    raise ValueError(
                        f"rows {first} and {second} of passive lie on each other: both at {self.position[row]:g} cm, "
                        f"ranges {self.low[first]:g} to {self.high[first]:g} and {self.low[second]:g} to "
                        f"{self.high[second]:g} cm; merge them or move one"
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector(Result):
    """Everything a track can meet: the modules, the passive surfaces, and the field between them.

    An *element* is a module or a passive surface: elements 0 .. M-1 are the modules, M .. M+P-1 the passive surfaces.

    name         :  of the detector
    subdet_names :  indexed by the columns `subdet`; number 0 is what belongs to none
    field        :  the magnetic field it stands in, if it is known
    """

    name: str
    subdet_names: tuple[str, ...]
    modules: Modules
    passive: Passive
    field: MagneticField | None = None

    def __post_init__(self) -> None:
        known = len(self.subdet_names)
        for table, subdet in (("modules", self.modules.subdet), ("passive", self.passive.subdet)):
            wrong = (subdet < 0) | (subdet >= known)
            refuse_rows(table, {"subdet": (wrong, subdet)}, f"a number of one of the {known} subdetectors, from 0")

    @property
    def n_modules(self) -> int:
        """M."""
        return self.modules.n_modules

    @property
    def n_elements(self) -> int:
        """M + P."""
        return self.modules.n_modules + self.passive.n_surfaces

    @property
    def element_subdet(self) -> IntArray:
        """(M+P,) subdetector of every element"""
        return np.concatenate([self.modules.subdet, self.passive.subdet])

    @property
    def element_x_over_x0(self) -> FloatArray:
        """(M+P,) thickness of every element at normal incidence, in radiation lengths"""
        return np.concatenate([self.modules.x_over_x0, self.passive.x_over_x0])

    @property
    def element_xi_mev(self) -> FloatArray:
        """(M+P,) MeV, Landau scale of every element at normal incidence and beta = 1"""
        return np.concatenate([self.modules.xi_mev, self.passive.xi_mev])

    def layer_number(self) -> IntArray:
        """(M,) dense number of the layer that each module belongs to, the same for equal (subdet, layer, side)"""
        m = self.modules
        keys = np.stack([m.subdet, m.layer, m.side], axis=1)
        return np.unique(keys, axis=0, return_inverse=True)[1].ravel().astype(np.int64)

    def module_names(self, module_id: Sequence[int] | IntArray) -> list[str]:
        """Readable names of modules, as `TOB-L3/ladder07/module 9123` or `TEC-D4+/ring2/stereo/module 15001`."""
        return [self._module_name(int(i)) for i in np.asarray(module_id, dtype=np.int64).ravel()]

    def _module_name(self, i: int) -> str:
        m = self.modules
        side = int(m.side[i])
        place = (
            f"{self.subdet_names[m.subdet[i]]}-{'D' if side else 'L'}{m.layer[i]}{'' if not side else '+-'[side < 0]}"
        )
        row = f"ring{m.ladder[i]}" if side else f"ladder{m.ladder[i]:02d}"
        return "/".join([place, row, *(["stereo"] if m.stereo[i] else []), f"module {i}"])


# ------------------------------------------------------------------------------------------------ validation

Fault = tuple[dict[str, tuple[Any, Any]], str]


def refuse_rows(table: str, found: dict[str, tuple[Any, Any]], expected: str) -> None:
    """Raise ValueError if any row of a column is wrong.

    table    : name of the table
    found    : column -> (which rows are wrong, the column's values)
    expected : what a good row holds
    """
    for column, (wrong, values) in found.items():
        rows = np.flatnonzero(wrong)
        if rows.size:
            named = ", ".join(f"{column}[{row}] = {_short(values[row])}" for row in rows[:ROWS_NAMED])
            more = f", and {rows.size - ROWS_NAMED} more" if rows.size > ROWS_NAMED else ""
            raise ValueError(
                f"{rows.size} of {wrong.size} rows of {table} are wrong: {named}{more}; expected {expected}"
            )


def _short(value: np.ndarray) -> str:
    if np.ndim(value) == 0:
        return str(value)
    return np.array2string(np.asarray(value), precision=6, separator=", ").replace("\n", "")


def _module_faults(m: Modules) -> list[Fault]:
    finite = {
        name: (~np.isfinite(values).all(axis=tuple(range(1, values.ndim))), values)
        for name in ("centre", "rotation", "half_u", "half_v", "sigma_u", "strip_angle", "focus", "x_over_x0", "xi_mev")
        for values in [np.asarray(getattr(m, name), dtype=np.float64)]
    }
    gram = np.einsum("mik,mjk->mij", m.rotation, m.rotation)
    with np.errstate(invalid="ignore"):
        skewed = np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0) > ORTHONORMAL
        mirrored = np.linalg.det(m.rotation) < 0
        pixel = m.n_meas == PIXEL
        return [
            ({"module_id": (m.module_id != np.arange(m.n_modules), m.module_id)}, "dense ids, 0, 1, 2, ... in order"),
            (finite, "finite numbers"),
            ({"rotation": (mirrored, m.rotation)}, "right-handed axes, w = u x v; this is a reflection"),
            ({"rotation": (skewed, m.rotation)}, f"orthonormal rows, to {ORTHONORMAL:g}"),
            ({"half_u": ((m.half_u <= 0).any(axis=1), m.half_u)}, "lengths above 0 cm"),
            ({"half_v": (m.half_v <= 0, m.half_v)}, "a length above 0 cm"),
            ({"n_meas": (~pixel & (m.n_meas != STRIP), m.n_meas)}, "1 (strip) or 2 (pixel)"),
            ({"sigma_u": (m.sigma_u <= 0, m.sigma_u)}, "a resolution above 0 cm"),
            ({"sigma_v": (pixel & ~(m.sigma_v > 0), m.sigma_v)}, "a resolution above 0 cm on a pixel module"),
            ({"side": (np.abs(m.side) > 1, m.side)}, "-1, 0 or +1"),
            ({"focus": (m.is_wedge & (np.abs(m.focus) <= m.half_v), m.focus)}, "0, or a point outside the module"),
            ({"strip_angle": ((m.strip_angle != 0) & (m.is_wedge | pixel), m.strip_angle)}, "0 on wedges and pixels"),
            (_thickness(m), "a thickness above 0"),
        ]  # fmt: skip


def _passive_faults(p: Passive) -> list[Fault]:
    finite = {
        name: (~np.isfinite(values), values)
        for name in ("position", "low", "high", "x_over_x0", "xi_mev")
        for values in [np.asarray(getattr(p, name), dtype=np.float64)]
    }
    disc = p.kind == DISC
    with np.errstate(invalid="ignore"):
        return [
            ({"kind": (~disc & (p.kind != CYLINDER), p.kind)}, "0 (cylinder) or 1 (disc)"),
            (finite, "finite numbers"),
            ({"position": (~disc & (p.position <= 0), p.position)}, "a radius above 0 cm"),
            ({"low": (disc & (p.low < 0), p.low)}, "a radius of 0 cm or more"),
            ({"high": (p.high <= p.low, p.high)}, "more than `low`"),
            (_thickness(p), "a thickness above 0"),
        ]


def _thickness(table: Modules | Passive) -> dict[str, tuple[Any, Any]]:
    return {name: (~(getattr(table, name) > 0), getattr(table, name)) for name in ("x_over_x0", "xi_mev")}
