"""Recorded hits on the routes of their tracks, and which tracks cannot be fitted."""

from typing import Final

import numpy as np

from mucal.arrays import IntArray
from mucal.detector import PIXEL, Detector
from mucal.refit.kernels import placing
from mucal.refit.status import FitStatus
from mucal.track import QOP, Hits

FEWEST: Final = 6
"""Measurements of a track, one more than its parameters."""


def hit_status(detector: Detector, hits: Hits) -> IntArray:
    """(N,) OK, BAD_HIT, BAD_SEED, DOUBLE_HIT or TOO_FEW_HITS of every track, before any fit."""
    status = np.full(len(hits), int(FitStatus.OK), dtype=np.int64)
    known = (hits.module_id >= 0) & (hits.module_id < detector.n_modules)
    pixel = detector.modules.n_meas[np.where(known, hits.module_id, 0)] == PIXEL
    with np.errstate(invalid="ignore"):
        good = known & np.isfinite(hits.u) & (hits.sigma_u > 0) & np.isfinite(hits.sigma_u)
        good &= ~pixel | (np.isfinite(hits.v) & (hits.sigma_v > 0) & np.isfinite(hits.sigma_v))
        seeded = np.isfinite(hits.seed).all(axis=1) & np.isfinite(hits.seed_ref).all(axis=1)
        seeded &= np.sign(hits.seed[:, QOP]) == hits.charge
    reasons = np.array([FitStatus.TOO_FEW_HITS, FitStatus.DOUBLE_HIT, FitStatus.BAD_HIT], dtype=np.int64)
    placing.judge_tracks(hits.offsets, hits.module_id, good, 1 + pixel.astype(np.int64), FEWEST, reasons, status)
    status[~seeded] = FitStatus.BAD_SEED
    return status


def hit_places(routes: IntArray, hits: Hits, rows: IntArray) -> IntArray:
    """(N, L) the hit measured on each element of the route of the tracks `rows`, -1 where there is none."""
    places = np.full(routes.shape, -1, dtype=np.int64)
    placing.place_hits(np.ascontiguousarray(routes), rows, hits.offsets, hits.module_id, places)
    return places


def placed_status(detector: Detector, hits: Hits, routes: IntArray) -> tuple[IntArray, IntArray]:
    """`hit_status`, BAD_HIT too where a hit lies beside the route (N,); and `hit_places` of the tracks that are OK."""
    status = hit_status(detector, hits)
    places = hit_places(routes, hits, np.flatnonzero(status == FitStatus.OK))
    found = np.count_nonzero(places >= 0, axis=1)
    status[(status == FitStatus.OK) & (found < hits.n_hits)] = FitStatus.BAD_HIT
    return status, places
