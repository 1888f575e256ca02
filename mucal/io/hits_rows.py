"""Which recorded tracks cannot be used, and why: each bad one is rejected under the first reason that it gives."""

from collections.abc import Iterator
from math import pi
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import PIXEL, Detector, to_global
from mucal.track.hits import Hits

BESIDE: Final = 1.0
"""cm by which a measurement may lie outside its module: outliers do."""
BACK: Final = 2.0
"""cm by which a hit may be nearer to the start than an earlier one: sensors overlap, and wedges are not quite u."""


def judge(hits: Hits, detector: Detector | None = None) -> tuple[tuple[str, ...], IntArray]:
    """Reasons, and for each of N tracks the number of its reason, -1 for a good one: (N,).

    detector : whose modules the hits lie on; without it modules are only known to be numbers of at least 0
    """
    reason = np.full(len(hits), -1, dtype=np.int64)
    names: list[str] = []
    with np.errstate(invalid="ignore"):
        for name, bad in _faults(hits, detector):
            reason[(reason < 0) & bad] = len(names)
            names.append(name)
    return tuple(names), reason


def _faults(hits: Hits, detector: Detector | None) -> Iterator[tuple[str, BoolArray]]:
    """Reason and (N,) tracks it applies to."""
    seed = hits.seed
    yield "nonfinite:seed", np.any(~np.isfinite(seed), axis=1)
    yield "nonfinite:seed_ref", np.any(~np.isfinite(hits.seed_ref), axis=1)
    yield "range:seed", (seed[:, 0] == 0) | (np.abs(seed[:, 1]) >= pi / 2) | (np.abs(seed[:, 2]) > 2 * pi)
    yield "charge", (np.abs(hits.charge) != 1) | (hits.charge * np.nan_to_num(seed[:, 0]) <= 0)
    yield "pair", _crowded(hits.pair)
    yield "no_hits", hits.n_hits == 0
    yield "nonfinite:u", _any(hits, ~np.isfinite(hits.u))
    yield "nonfinite:v", _any(hits, np.isinf(hits.v))
    yield "nonfinite:sigma", _any(hits, ~np.isfinite(hits.sigma_u) | np.isinf(hits.sigma_v))
    yield "range:sigma", _any(hits, (hits.sigma_u <= 0) | (hits.sigma_v <= 0))
    yield "v_without_sigma", _any(hits, np.isnan(hits.v) != np.isnan(hits.sigma_v))
    yield "double_hit", _twice(hits)
    known = hits.module_id >= 0
    if detector is not None:
        known &= hits.module_id < detector.n_modules
    yield "unknown_module", _any(hits, ~known)
    if detector is not None:
        yield from _against_modules(hits, detector, np.where(known, hits.module_id, 0))


def _against_modules(hits: Hits, detector: Detector, module: IntArray) -> Iterator[tuple[str, BoolArray]]:
    m = detector.modules
    yield "coordinates", _any(hits, (m.n_meas[module] == PIXEL) != np.isfinite(hits.v))
    widest = np.hypot(m.half_u.max(axis=1), m.half_v)[module] + BESIDE
    yield "range:u", _any(hits, np.abs(hits.u) > widest)
    yield "range:v", _any(hits, np.abs(hits.v) > m.half_v[module] + BESIDE)
    yield "unordered", _unordered(hits, detector, module)


def _any(hits: Hits, bad: BoolArray) -> BoolArray:
    """(K,) hits to (N,) tracks that have one."""
    found: BoolArray = np.bincount(hits.track[bad], minlength=len(hits)) > 0
    return found


def _twice(hits: Hits) -> BoolArray:
    """Tracks with two hits on one module."""
    track = hits.track
    order = np.lexsort((hits.module_id, track))
    again = (np.diff(track[order]) == 0) & (np.diff(hits.module_id[order]) == 0)
    found: BoolArray = np.bincount(track[order][1:][again], minlength=len(hits)) > 0
    return found


def _crowded(pair: IntArray) -> BoolArray:
    """Tracks whose pair has more than two."""
    _, inverse, count = np.unique(pair, return_inverse=True, return_counts=True)
    crowded: BoolArray = (count[inverse] > 2) & (pair >= 0)
    return crowded


def _unordered(hits: Hits, detector: Detector, module: IntArray) -> BoolArray:
    """Tracks with a hit that is certainly nearer to the seed's reference point than an earlier one.

    On a strip the point may be anywhere along it, so each hit has a least and a greatest distance.
    """
    reference = hits.seed_ref[hits.track]
    m = detector.modules
    half = np.where(m.n_meas[module] == PIXEL, 0.0, m.half_v[module])
    v = np.where(m.n_meas[module] == PIXEL, np.nan_to_num(hits.v), 0.0)
    zero = np.zeros_like(v)
    middle = to_global(m, module, np.stack([np.nan_to_num(hits.u), v, zero], axis=1)) - reference
    along = m.rotation[module, 1]
    nearest = np.clip(-np.einsum("ki,ki->k", middle, along), -half, half)
    low = np.linalg.norm(middle + nearest[:, None] * along, axis=1)
    high = np.maximum(*(np.linalg.norm(middle + sign * half[:, None] * along, axis=1) for sign in (-1, 1)))
    return _any(hits, high < _greatest_before(low, hits.offsets, hits.track) - BACK)


def _greatest_before(values: FloatArray, offsets: IntArray, track: IntArray) -> FloatArray:
    """(K,) greatest value among the earlier hits of the same track, -inf for the first."""
    # a span larger than all values keeps each track above the ones before it in one running maximum
    span = float(np.max(values, initial=0.0)) + 1.0
    lifted = np.maximum.accumulate(np.nan_to_num(values) + track * span)
    before = np.full(values.size, -np.inf)
    before[1:] = lifted[:-1] - track[1:] * span
    first = offsets[:-1][np.diff(offsets) > 0]
    before[first] = -np.inf
    return before
