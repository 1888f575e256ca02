"""Regions of a detector: which elements share a parameter, and what the region is called."""

from typing import Final

import numpy as np

from mucal.arrays import BoolArray, IntArray
from mucal.detector import CYLINDER, Detector, Modules
from mucal.globalcor.families import GROUP_PRIORS

NONE: Final = -1
MATERIALS: Final = tuple(GROUP_PRIORS)


def regions(detector: Detector, by: str, *, pairs: bool) -> tuple[IntArray, list[str]]:
    """The region of every element and the names of the regions, in the order of their first elements.

    by    : module, ladder, layer, half barrel, subdet, whole or group
    pairs : the two sensors of a stereo module share a region; only for `module`

    Returns (M+P,) and R names.
    """
    m = detector.modules
    if by == "module":
        own = np.arange(m.n_modules)
        if pairs:
            own = np.where(m.stereo, stereo_partners(m), own)
        keys = np.concatenate([own, np.arange(m.n_modules, detector.n_elements)])
        first, region = _numbered(keys)
        names = detector.module_names(first[first < m.n_modules])
        return region, names + [_passive_name(detector, i) for i in first[first >= m.n_modules]]
    columns = {
        "ladder": (m.subdet, m.layer, m.side, m.ladder),
        "layer": (m.subdet, m.layer, m.side),
        "half barrel": (m.subdet, m.side, np.where(m.side == 0, np.sign(m.centre[:, 0]).astype(np.int64), 0)),
        "subdet": (m.subdet,),
        "group": (m.subdet, np.zeros_like(m.subdet)),  # the second is the index in GROUP_PRIORS
        "whole": (np.zeros_like(m.subdet),),
    }[by]
    passive = _passive_columns(detector, by)
    keys = np.concatenate([np.stack(columns, axis=1), np.stack(passive, axis=1)])
    first, region = _numbered(np.unique(keys, axis=0, return_inverse=True)[1].ravel())
    return region, [_name(detector, by, int(i)) for i in first]


def group_priors(names: list[str]) -> list[float]:
    """The prior width of each group of material, by its name."""
    return [GROUP_PRIORS[name.rpartition("/")[2]] for name in names]


def stereo_partners(modules: Modules) -> IntArray:
    """(M,) for each stereo sensor its partner, the nearest of its layer and ladder; else -1."""
    partner = np.full(modules.n_modules, NONE, dtype=np.int64)
    keys = np.stack([modules.subdet, modules.layer, modules.side, modules.ladder], axis=1)
    cell = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    for one in np.unique(cell[modules.stereo]):
        here = np.flatnonzero(cell == one)
        first, sister = here[~modules.stereo[here]], here[modules.stereo[here]]
        if first.size == 0:
            raise ValueError(f"stereo module {sister[0]} has no sensor to stand behind in its ladder or ring")
        distance = np.linalg.norm(modules.centre[sister, None] - modules.centre[None, first], axis=2)
        partner[sister] = first[np.argmin(distance, axis=1)]
    return partner


def measures_v(modules: Modules) -> BoolArray:
    """(M,) whether a module measures along v: pixels, and wedges, whose strips are not parallel"""
    measured: BoolArray = (modules.n_meas == 2) | modules.is_wedge
    return measured


def _numbered(keys: IntArray) -> tuple[IntArray, IntArray]:
    """First element of each region, and the region of each element, numbered by first elements."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(order.size, dtype=np.int64)
    number[order] = np.arange(order.size)
    return first[order].astype(np.int64), number[inverse.ravel()]


def _passive_columns(detector: Detector, by: str) -> tuple[IntArray, ...]:
    """The keys of the passive surfaces; where modules are told apart more finely each surface is its own region."""
    p = detector.passive
    own, zero = np.arange(p.n_surfaces) + 1, np.zeros_like(p.subdet)
    if by == "whole":
        return (zero,)
    if by == "subdet":
        return (p.subdet,)
    if by == "group":
        return (p.subdet, _materials(detector)[detector.n_modules :])
    width = {"ladder": 4, "layer": 3, "half barrel": 3}[by]
    return (p.subdet, *[zero - 100] * (width - 2), own)


def _name(detector: Detector, by: str, i: int) -> str:
    """The name of the region of element i."""
    m = detector.modules
    if by == "whole":
        return "tracker"
    subdet: str = detector.subdet_names[detector.element_subdet[i]]
    if by == "subdet":
        return subdet
    if by == "group":
        return f"{subdet}/{MATERIALS[_materials(detector)[i]]}"
    if i >= m.n_modules:
        return _passive_name(detector, i)
    if by == "half barrel":
        return f"{subdet}/{'z' if m.side[i] else 'x'}{'-' if (m.side[i] or m.centre[i, 0]) < 0 else '+'}"
    parts: list[str] = detector.module_names([i])[0].split("/")
    return "/".join(parts[: 1 if by == "layer" else 2])


def _materials(detector: Detector) -> IntArray:
    """(M+P,) index in GROUP_PRIORS; what belongs to no subdetector is services, and its innermost cylinder the pipe"""
    m, p = detector.n_modules, detector.passive
    material = np.zeros(detector.n_elements, dtype=np.int64)
    outside = p.subdet == 0
    material[m:] = np.where(outside, MATERIALS.index("services"), MATERIALS.index("supports"))
    cylinders = outside & (p.kind == CYLINDER)
    if cylinders.any():
        inner = cylinders & (p.position == p.position[cylinders].min())
        material[m:][inner] = MATERIALS.index("beam pipe")
    return material


def _passive_name(detector: Detector, i: int) -> str:
    subdet: str = detector.subdet_names[detector.element_subdet[i]]
    return f"{subdet}/passive {i - detector.modules.n_modules}"
