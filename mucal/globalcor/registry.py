"""The registry: every global parameter by index, with its name, unit and prior, and where it acts in the detector."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector import PIXEL, Detector
from mucal.detector.field import FieldModes
from mucal.errors import nearest
from mucal.globalcor.families import COMPONENTS, KINDS, PRIOR_V_STRIP, UNITS, Family
from mucal.globalcor.regions import group_priors, measures_v, regions
from mucal.numerics.blocks import BLOCK
from mucal.refit import ParameterMap
from mucal.store import Result

NONE = -1

EXACT: Final = 1e-9
"""GeV, the error of a mean mass that is taken for exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Result):
    """P global parameters, those of one module side by side, then modes of the field, then the mean mass.

    detector    :        name of the detector
    names       : P      as "alignment/TOB-L3/ladder07/module 9123/u", "bfield/l2m1c", "eloss/TOB/sensors"
    kind        : (P,)   index in `KINDS`
    component   : (P,)   index in `COMPONENTS` of its kind
    prior       : (P,)   width of the Gaussian prior on the total correction; inf is none
    min_entries : (P,)   candidates below which the parameter is frozen
    slot        : (P,)   its row in block-sparse matrices, increasing
    modes       :        the modes of the field that float
    map         :        where each acts
    """

    detector: str
    names: tuple[str, ...]
    kind: IntArray
    component: IntArray
    prior: FloatArray
    min_entries: IntArray
    slot: IntArray
    modes: FieldModes | None
    map: ParameterMap

    def __post_init__(self) -> None:
        p = len(self.names)
        shapes = dict.fromkeys(("kind", "component", "prior", "min_entries", "slot"), (p,))
        check_shapes(self, **shapes)
        if self.map.n_parameters != p or self.map.digest != self.digest:
            raise ValueError(f"Registry.map is of {self.map.n_parameters} parameters, digest {self.map.digest[:12]}; "
                             f"the registry has {p}, digest {self.digest[:12]}")  # fmt: skip
        if not np.all(self.prior > 0):
            i = int(np.argmin(self.prior > 0))
            raise ValueError(f"the prior of {self.names[i]} is {self.prior[i]}; expected a width, or inf for none")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Of names, units and where each parameter acts; not of priors, which may change between solves."""
        maps = {name: getattr(self.map, name) for name in (*_MAPS, "mass")}
        return _digest(self.names, self.units, maps, self.slot)

    @property
    def units(self) -> tuple[str, ...]:
        """P."""
        return tuple(UNITS[KINDS[k]][c] for k, c in zip(self.kind.tolist(), self.component.tolist(), strict=True))

    @property
    def n_groups(self) -> int:
        """Blocks of rows of the block-sparse matrix."""
        return int(self.slot[-1]) // BLOCK + 1 if len(self) else 0

    def of_kind(self, kind: str) -> BoolArray:
        """(P,) whether a parameter is of this kind"""
        chosen: BoolArray = self.kind == KINDS.index(kind)
        return chosen

    def index(self, name: str) -> int:
        """The index of a name.  Raises ValueError that names the nearest."""
        try:
            return self.names.index(name)
        except ValueError:
            near = ", ".join(repr(n) for n in nearest(name, self.names))
            raise ValueError(f"no parameter {name!r} in this registry; the nearest are {near}") from None

    def with_prior(self, prior: FloatArray) -> Self:
        """The same parameters with other priors (P,)."""
        return replace(self, prior=np.asarray(prior, dtype=np.float64))

    def with_mass_error(self, error: float) -> Self:
        """The same parameters, with this error (GeV) of the assumed mean mass; unchanged where it does not float."""
        chosen = self.of_kind("mass")
        return self.with_prior(np.where(chosen, max(error, EXACT), self.prior))


_MAPS = ("alignment", "bfield", "eloss", "modes", "hit_variance", "scattering", "straggling")
_PER_LEG = ("bfield", "eloss", "scattering", "straggling")


def build_registry(detector: Detector, families: Sequence[Family], modes: FieldModes | None = None) -> Registry:
    """The registry of some families on a detector.

    modes : of the family "modes", which must not be there without them

    Raises ValueError for two families of one kind and component, or a subdetector that does not exist.
    """
    rows = [row for family in families for row in _rows_of(detector, family, modes)]
    rows.sort(key=lambda row: (row.home, KINDS.index(row.kind), row.component))
    names = tuple(row.name for row in rows)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two families have the parameter {twice!r}; give each component of a kind to one family")
    maps = _maps(detector, rows, modes)
    slot = _slots(np.array([row.home for row in rows], dtype=np.int64))
    kind = np.array([KINDS.index(row.kind) for row in rows], dtype=np.int64)
    component = np.array([row.component for row in rows], dtype=np.int64)
    units = tuple(UNITS[row.kind][row.component] for row in rows)
    return Registry(
        detector=detector.name,
        names=names,
        kind=kind,
        component=component,
        prior=np.array([row.prior for row in rows], dtype=np.float64),
        min_entries=np.array([row.min_entries for row in rows], dtype=np.int64),
        slot=slot,
        modes=modes if any(row.kind == "modes" for row in rows) else None,
        map=_parameter_map(len(rows), _digest(names, units, maps, slot), maps),
    )


def _parameter_map(n: int, digest: str, maps: dict[str, IntArray]) -> ParameterMap:
    return ParameterMap(
        n_parameters=n, digest=digest, alignment=maps["alignment"], bfield=maps["bfield"], eloss=maps["eloss"],
        modes=maps["modes"], hit_variance=maps["hit_variance"], scattering=maps["scattering"],
        straggling=maps["straggling"], mass=maps["mass"],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    home: int
    kind: str
    component: int
    name: str
    prior: float
    min_entries: int
    elements: IntArray


def _rows_of(detector: Detector, family: Family, modes: FieldModes | None) -> list[_Row]:
    if family.kind == "modes":
        if modes is None:
            raise ValueError("a family of field modes needs the modes; give `modes`")
        return [
            _Row(detector.n_elements + i, "modes", 0, name, family.widths[0], family.min_entries, np.array([i]))
            for i, name in enumerate(modes.names)
        ]
    if family.kind == "mass":
        home = detector.n_elements + (0 if modes is None else modes.index.shape[0])
        return [_Row(home, "mass", 0, "mass/reference", family.widths[0], family.min_entries, np.array([0]))]
    region, names = regions(detector, family.by, pairs=family.kind in _PER_LEG)
    taking_part = _taking_part(detector, family)
    rows = []
    order = np.argsort(region, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(region, minlength=len(names)))[:-1])
    widths = _widths(family, names)
    for r, name in enumerate(names):
        elements = members[r][taking_part[members[r]]]
        for k, component in enumerate(family.floating):
            acting = _acting(detector, family, component, elements)
            if acting.size:
                strip_v = family.kind == "alignment" and component == "v" and not family.prior
                wide = strip_v and not measures_v(detector.modules)[acting].any()
                rows.append(
                    _Row(int(acting[0]), family.kind, COMPONENTS[family.kind].index(component),
                         f"{family.kind}/{name}/{component}", PRIOR_V_STRIP if wide else widths[r][k],
                         family.min_entries, acting)
                )  # fmt: skip
    return rows


def _taking_part(detector: Detector, family: Family) -> BoolArray:
    unknown = sorted(set(family.subdets) - set(detector.subdet_names))
    if unknown:
        raise ValueError(f"no subdetector {unknown[0]!r}; there are {', '.join(detector.subdet_names)}")
    part = np.ones(detector.n_elements, dtype=bool)
    if family.subdets:
        part = np.isin(detector.element_subdet, [detector.subdet_names.index(s) for s in family.subdets])
    if family.kind not in _PER_LEG or not family.passive:
        part[detector.n_modules :] = False
    return part


def _acting(detector: Detector, family: Family, component: str, elements: IntArray) -> IntArray:
    """The elements of a region on which a component acts."""
    chosen = np.ones(elements.size, dtype=bool)
    if family.kind == "alignment" and component == "v" and family.measured_v:
        chosen = measures_v(detector.modules)[elements]
    elif family.kind == "hit_variance" and component == "v":
        chosen = detector.modules.n_meas[elements] == PIXEL
    acting: IntArray = elements[chosen]
    return acting


def _widths(family: Family, names: list[str]) -> list[tuple[float, ...]]:
    if family.by == "group" and not family.prior:
        return [(width,) for width in group_priors(names)]
    return [family.widths] * len(names)


def _maps(detector: Detector, rows: list[_Row], modes: FieldModes | None) -> dict[str, IntArray]:
    m, e = detector.n_modules, detector.n_elements
    n_modes = 0 if modes is None else modes.index.shape[0]
    maps = {
        "alignment": np.full((m, 6), NONE, dtype=np.int64),
        "bfield": np.full((e, 3), NONE, dtype=np.int64),
        "hit_variance": np.full((m, 2), NONE, dtype=np.int64),
        "modes": np.full(n_modes, NONE, dtype=np.int64),
        "mass": np.full(1, NONE, dtype=np.int64),
        **{name: np.full(e, NONE, dtype=np.int64) for name in ("eloss", "scattering", "straggling")},
    }
    for i, row in enumerate(rows):
        table = maps[row.kind]
        at = (row.elements, row.component) if table.ndim == 2 else (row.elements,)
        if np.any(table[at] != NONE):
            raise ValueError(f"{row.name} acts where {rows[int(table[at].max())].name} acts already")
        table[at] = i
    return maps


def _slots(home: IntArray) -> IntArray:
    """Rows of a block-sparse matrix: the parameters of one home stay together in one block where they fit."""
    slot: IntArray = np.empty(home.size, dtype=np.int64)
    _, first, count = np.unique(home, return_index=True, return_counts=True)
    at = 0
    for begin, size in zip(first.tolist(), count.tolist(), strict=True):
        if size <= BLOCK < at % BLOCK + size:
            at += BLOCK - at % BLOCK
        slot[begin : begin + size] = np.arange(at, at + size)
        at += size
    return slot


def _digest(names: Sequence[str], units: Sequence[str], maps: dict[str, IntArray], slot: IntArray) -> str:
    digest = hashlib.sha256("\n".join(f"{n} [{u}]" for n, u in zip(names, units, strict=True)).encode())
    for name in (*_MAPS, *(["mass"] if maps["mass"][0] != NONE else [])):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(maps[name]).tobytes())
    digest.update(slot.tobytes())
    return digest.hexdigest()
