"""Modules that stand in each other: found along tracks, named before a fit stumbles over them."""

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.navigation import Crossings, NavigationIndex, cross, navigation_index
from mucal.detector.table import Detector, Modules

CLEARANCE: Final = 0.01
"""cm, modules nearer than this along their normals overlap; a sensor is 0.03 cm thick."""

COINCIDENT: Final = 1e-3
"""cm, modules with centres nearer than this (in each coordinate, after rounding) are one module entered twice."""

MAX_ETA: Final = 4.0
PAIRS_NAMED = 5


def find_overlaps(
    detector: Detector,
    index: NavigationIndex | None = None,
    *,
    n_tracks: int = 6000,
    bz: float = 3.8,
    clearance: float = CLEARANCE,
) -> IntArray:
    """Pairs of modules that overlap, found along a fixed set of straight and bent probe tracks, and by their outlines.

    Two modules overlap if their outlines cut each other or their centres coincide, which is found exactly; or if a
    probe crosses both within `clearance` of each other, measured along the nearer normal.  The probes cover azimuth
    and abs(eta) < 4 evenly and start along the beam line, half of them straight, half with 0.7 to 20 GeV of
    transverse momentum.  Parallel modules that share less than the distance between probes can escape; more probes
    find them.

    index     :      of the detector, if it is at hand
    n_tracks  :      number of probes
    bz        : T    that bends the bent ones
    clearance : cm

    Returns (K, 2) module ids, the lower one first, each pair once.
    """
    index = navigation_index(detector) if index is None else index
    crossings = cross(index, *_probes(n_tracks, _reach(detector)), bz)
    pairs = np.concatenate([_near_pairs(crossings, clearance), _coincident(detector), _cutting(detector.modules)])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def require_no_overlaps(detector: Detector, index: NavigationIndex | None = None, *, n_tracks: int = 6000) -> None:
    """Raise ValueError that names the first overlapping modules, if there are any."""
    pairs = find_overlaps(detector, index, n_tracks=n_tracks)
    if len(pairs):
        named = "; ".join(" and ".join(detector.module_names(pair)) for pair in pairs[:PAIRS_NAMED])
        more = f"; and {len(pairs) - PAIRS_NAMED} more" if len(pairs) > PAIRS_NAMED else ""
        raise ValueError(
            f"{len(pairs)} pairs of modules overlap, nearer than {CLEARANCE:g} cm: {named}{more}; move them apart"
        )


def unhit_modules(detector: Detector, crossings: Crossings) -> IntArray:
    """Modules that no track of a sample crossed: their parameters need a constraint or have to be frozen.

    Returns their ids; `Detector.module_names` gives their names.
    """
    hits = np.bincount(crossings.element[crossings.on_module], minlength=detector.n_modules)
    return np.flatnonzero(hits == 0)


def _reach(detector: Detector) -> float:
    """cm, how far along the beam the probes start: a tenth of the length of the detector."""
    return 0.1 * float(np.abs(detector.modules.centre[:, 2]).max(initial=0.0))


def _probes(n: int, reach: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Starts, directions and q/p from the additive sequence of the generalised golden ratio in four dimensions.

    Source: M. Roberts, The unreasonable effectiveness of quasirandom sequences (2018); root of x^5 = x + 1.
    """
    ratio = 1.1673039782614187 ** -np.arange(1.0, 5.0)
    where = (0.5 + np.outer(np.arange(1, n + 1), ratio)) % 1.0
    eta, phi = (2.0 * where[:, 0] - 1.0) * MAX_ETA, 2.0 * np.pi * where[:, 1]
    pt = 0.7 * (20.0 / 0.7) ** (np.abs(4.0 * where[:, 3] - 2.0) % 1.0)
    charge = np.where(where[:, 3] < 0.25, 1.0, -1.0) * (where[:, 3] < 0.5)
    position = np.zeros((n, 3))
    position[:, 2] = (2.0 * where[:, 2] - 1.0) * reach
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1)
    return position, direction, charge / (pt * np.cosh(eta))


def _near_pairs(crossings: Crossings, clearance: float) -> IntArray:
    """Neighbours along a track that are nearer than the clearance; chains of them pairwise."""
    keep = crossings.on_module
    element, path, cosine, track = (
        crossings.element[keep],
        crossings.path[keep],
        crossings.cosine[keep],
        crossings.track[keep],
    )
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for step in range(1, element.size):
        apart = (path[step:] - path[:-step]) * np.maximum(cosine[step:], cosine[:-step])
        near = (track[step:] == track[:-step]) & (apart < clearance) & (element[step:] != element[:-step])
        if not near.any():
            break
        pairs.append(np.column_stack([element[:-step][near], element[step:][near]]))
    return np.concatenate(pairs)


def _coincident(detector: Detector) -> IntArray:
    """Pairs of modules with the same centre."""
    _, which = np.unique(np.round(detector.modules.centre / COINCIDENT), axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    same = which[order][1:] == which[order][:-1]
    return np.column_stack([order[:-1][same], order[1:][same]])


def _cutting(modules: Modules) -> IntArray:
    """Pairs of modules of which one's edge passes through the other."""
    corners = modules.corners()
    reach = np.linalg.norm(corners - modules.centre[:, None], axis=2).max(axis=1, initial=0.0)
    pairs = cKDTree(modules.centre).query_pairs(2.0 * float(reach.max(initial=0.0)), output_type="ndarray")
    a, b = pairs.astype(np.int64).reshape(-1, 2).T
    near = np.linalg.norm(modules.centre[a] - modules.centre[b], axis=1) < reach[a] + reach[b]
    a, b = a[near], b[near]
    for _ in range(2):  # each must have corners on both sides of the other's plane
        above = np.einsum("nci,ni->nc", corners[a] - modules.centre[b][:, None], modules.rotation[b, 2])
        both = (above.min(axis=1) < 0.0) & (above.max(axis=1) > 0.0)
        a, b = b[both], a[both]
    cut = _edge_passes(modules, corners, a, b) | _edge_passes(modules, corners, b, a)
    return np.column_stack([a[cut], b[cut]])


def _edge_passes(modules: Modules, corners: FloatArray, a: IntArray, b: IntArray) -> BoolArray:
    """(K,) whether an edge of module a passes through module b."""
    local = np.einsum("nij,ncj->nci", modules.rotation[b], corners[a] - modules.centre[b][:, None])
    ends = np.roll(local, -1, axis=1)
    rise = ends[..., 2] - local[..., 2]
    crosses = local[..., 2] * ends[..., 2] < 0.0
    part = np.where(crosses, -local[..., 2] / np.where(crosses, rise, 1.0), 0.0)
    u, v = (local[..., i] + part * (ends[..., i] - local[..., i]) for i in (0, 1))
    half_v = modules.half_v[b][:, None]
    low, high = modules.half_u[b, :1], modules.half_u[b, 1:]
    width = 0.5 * (low + high) + 0.5 * (high - low) * np.clip(v / half_v, -1.0, 1.0)
    passes: BoolArray = (crosses & (np.abs(v) <= half_v) & (np.abs(u) <= width)).any(axis=1)
    return passes
