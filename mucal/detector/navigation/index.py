"""The navigation index: every layer as a box with bins, so that a helix finds its modules without asking all."""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.navigation.kernels.crossings import MARGIN
from mucal.detector.table import DISC, Detector, Modules, Passive

MAX_BINS: Final = 4096
"""Along either coordinate of a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationIndex:
    """What the navigation kernels read.

    envelope : (3,) cm       radius, lowest and highest z of all modules
    boxes    : (L, 4) cm     of the layers: r low, r high, z low, z high
    grids    : (L, 4)        1 for a disc; bins in azimuth; bins in z, or r for a disc; number of the first bin
    spans    : (L, 2)        first edge (cm) and inverse width (1/cm) of the bins in z or r
    bins     : (B+1,)        where the entries of every bin begin
    entries  : (E,)          module ids, bin after bin
    modules  : (M, 16)       rotation, w . centre, centre, half_u, half_v
    sheets   : (S, 2)        passive cylinders (0, r) and discs (1, z)
    ranges   : (S+1,)        where the rows of every sheet begin
    rows     : (P, 3)        low, high (cm) and number of every passive surface
    """

    envelope: FloatArray
    boxes: FloatArray
    grids: IntArray
    spans: FloatArray
    bins: IntArray
    entries: IntArray
    modules: FloatArray
    sheets: FloatArray
    ranges: IntArray
    rows: FloatArray


def navigation_index(detector: Detector) -> NavigationIndex:
    """The index of a detector; make it once and hand it to every call of `cross`."""
    modules = detector.modules
    extent = _extents(modules)
    layer = detector.layer_number()
    order = np.argsort(layer, kind="stable")
    starts = np.flatnonzero(np.diff(layer[order], prepend=-1))
    boxes, grids, spans, bins, entries = [], [], [], [np.zeros(1, dtype=np.int64)], []
    first_bin = 0
    for members in np.split(order, starts[1:]) if order.size else []:
        part = extent[members]
        disc = bool(np.mean(np.abs(modules.rotation[members, 2, 2])) > 0.7)
        grid, span, counts, listed = _layer_bins(part, disc)
        boxes.append([part[:, 2].min(), part[:, 3].max(), part[:, 4].min(), part[:, 5].max()])
        grids.append([int(disc), *grid, first_bin])
        spans.append(span)
        bins.append(bins[-1][-1] + np.cumsum(counts))
        entries.append(members[listed])
        first_bin += counts.size
    sheets, ranges, rows = _sheets(detector.passive)
    w = modules.rotation[:, 2]
    return NavigationIndex(
        envelope=np.array([part.max(initial=0.0) for part in (extent[:, 3], -extent[:, 4], extent[:, 5])]) * [1, -1, 1],
        boxes=np.array(boxes).reshape(-1, 4),
        grids=np.array(grids, dtype=np.int64).reshape(-1, 4),
        spans=np.array(spans).reshape(-1, 2),
        bins=np.concatenate(bins),
        entries=np.concatenate(entries) if entries else np.zeros(0, dtype=np.int64),
        modules=np.column_stack([
            modules.rotation.reshape(-1, 9), np.einsum("mi,mi->m", w, modules.centre), modules.centre,
            modules.half_u, modules.half_v,
        ]),
        sheets=sheets, ranges=ranges, rows=rows,
    )  # fmt: skip


def _extents(modules: Modules) -> FloatArray:
    """(M, 6) what every module covers: azimuth from and to (rad), radius from and to, z from and to (cm)."""
    corners = modules.corners()
    x, y, z = np.moveaxis(corners, 2, 0)
    radius = np.hypot(x, y)
    phi = np.arctan2(modules.centre[:, 1], modules.centre[:, 0])
    turn = np.angle(np.exp(1j * (np.arctan2(y, x) - phi[:, None])))
    low, high = phi + turn.min(axis=1), phi + turn.max(axis=1)
    inner = _distance_to_beam(x, y)
    round_beam = _holds_beam(x, y)
    return np.column_stack([
        np.where(round_beam, -np.pi, low), np.where(round_beam, np.pi, high),
        np.where(round_beam, 0.0, inner), radius.max(axis=1), z.min(axis=1), z.max(axis=1),
    ])  # fmt: skip


def _distance_to_beam(x: FloatArray, y: FloatArray) -> FloatArray:
    """(M,) cm, distance of the z axis from the outline of every module: corners (M, 4) -> (M,)"""
    dx, dy = np.roll(x, -1, axis=1) - x, np.roll(y, -1, axis=1) - y
    length2 = dx**2 + dy**2
    along = np.clip(-(x * dx + y * dy) / np.where(length2 > 0, length2, 1.0), 0.0, 1.0)
    distance: FloatArray = np.hypot(x + along * dx, y + along * dy).min(axis=1)
    return distance


def _holds_beam(x: FloatArray, y: FloatArray) -> BoolArray:
    """(M,) whether the z axis runs through the module."""
    cross = x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)
    held: BoolArray = np.abs(np.sign(cross).sum(axis=1)) == cross.shape[1]
    return held


def _layer_bins(extent: FloatArray, disc: bool) -> tuple[tuple[int, int], tuple[float, float], IntArray, IntArray]:
    """Bins of one layer: their numbers, edges in z or r, entries per bin, and the listed rows of `extent`."""
    low, high = (extent[:, 2], extent[:, 3]) if disc else (extent[:, 4], extent[:, 5])
    first, length = low.min() - 2 * MARGIN, high.max() - low.min() + 4 * MARGIN
    n_phi = _n_bins(2 * np.pi, float(np.median(extent[:, 1] - extent[:, 0])))
    n_other = _n_bins(length, float(np.median(high - low)))
    i_low = np.floor((extent[:, 0] + np.pi - 1e-9) * n_phi / (2 * np.pi)).astype(np.int64)
    i_high = np.floor((extent[:, 1] + np.pi + 1e-9) * n_phi / (2 * np.pi)).astype(np.int64)
    j_low = np.clip(np.floor((low - MARGIN - first) * n_other / length).astype(np.int64), 0, n_other - 1)
    j_high = np.clip(np.floor((high + MARGIN - first) * n_other / length).astype(np.int64), 0, n_other - 1)
    n_i, n_j = np.minimum(i_high - i_low + 1, n_phi), j_high - j_low + 1
    row = np.repeat(np.arange(extent.shape[0]), n_i * n_j)
    k = np.arange(row.size) - np.repeat(np.cumsum(n_i * n_j) - n_i * n_j, n_i * n_j)
    number = (i_low[row] + k // n_j[row]) % n_phi * n_other + j_low[row] + k % n_j[row]
    order = np.argsort(number, kind="stable")
    return (n_phi, n_other), (first, n_other / length), np.bincount(number, minlength=n_phi * n_other), row[order]


def _n_bins(length: float, size: float) -> int:
    """About two bins a module."""
    return int(min(MAX_BINS, max(1, ceil(2.0 * length / size)))) if size > 0 else 1


def _sheets(passive: Passive) -> tuple[FloatArray, IntArray, FloatArray]:
    """Passive surfaces gathered by cylinder and disc."""
    keys = np.column_stack([(passive.kind == DISC).astype(np.float64), passive.position])
    sheets, which = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    ranges = np.concatenate([[0], np.cumsum(np.bincount(which.ravel(), minlength=len(sheets)))]).astype(np.int64)
    rows = np.column_stack([passive.low, passive.high, np.arange(passive.n_surfaces, dtype=np.float64)])[order]
    return sheets, ranges, rows
