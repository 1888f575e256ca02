"""The compiled walk: a muon from element to element of a detector, in the order in which it really meets them.

Navigation follows a helix and gives candidates, a little out of order and too many.  Of the candidates that the helix
meets within WINDOW of the first one left, the walk takes the one that the true path meets next, steps there, and keeps
it if the muon is inside its outline.
"""

from math import ceil, pi, sqrt

import numpy as np
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE, INSIDE, evaluate_into
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.crossings import (
    CYLINDER,
    MEDIUM,
    SHAPE,
    X_OVER_X0,
    XI,
    against_axis,
    local_axes,
    path_to,
)
from mucal.propagation.kernels.layout import FRAME, NOW, PLACE_1, SINCE, K, Y, place, workspace
from mucal.propagation.kernels.legs import (
    LAST_SHIFT,
    LOOPER,
    MISSED,
    OK,
    OUTSIDE_FIELD,
    RANGED_OUT,
    STEP_CAP,
    curvature,
)
from mucal.propagation.kernels.losses import thin_loss
from mucal.propagation.kernels.stepping import STOPPED, shift_state, step_state
from mucal.propagation.kernels.tracks import bad_start

WINDOW = 10.0
"""cm of path within which a helix may have the order of elements wrong."""

GONE = 1e-5
"""cm; a candidate further behind than this has been passed."""


@borrowing
def enter(field: FloatArray, w: FloatArray, table: FloatArray) -> int:
    """Field at a muon that was put into w.  Returns a status."""
    w[NOW], w[SINCE] = 0.0, 0.0
    return OK if evaluate_into(field, w[Y], w[Y + 1], w[Y + 2], w, PLACE_1, table) == INSIDE else OUTSIDE_FIELD


@borrowing
def _settle(w: FloatArray, s: float) -> None:
    """The muon and the field at it over the last s cm to a surface, at most LAST_SHIFT."""
    now = place(w)
    for j in range(3):
        w[now + j] += s * (
            w[now + 3 * j + 3] * w[Y + 3] + w[now + 3 * j + 4] * w[Y + 4] + w[now + 3 * j + 5] * w[Y + 5]
        )
        w[K + j] += s * w[K + 3 + j]
    shift_state(w, s, 0.0)


@borrowing
def next_element(
    surfaces: FloatArray, w: FloatArray, candidates: IntArray, paths: FloatArray, done: BoolArray, first: int
) -> tuple[int, float]:
    """Which candidate the muon in w meets next, and its distance along the path (cm); -1 if none is left.

    Candidates behind the muon are marked as done.
    """
    best, nearest = -1, 1e30
    horizon = 1e30
    for c in range(first, candidates.size):
        if done[c]:
            continue
        if paths[c] > horizon:
            break
        s, found = path_to(surfaces, candidates[c], w, 1.0, False)
        if found and s < -GONE:
            done[c] = True
            continue
        if horizon == 1e30:
            horizon = paths[c] + WINDOW
        if found and s < nearest:
            best, nearest = c, s
    return best, nearest


@borrowing
def go_to(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, w: FloatArray, candidates: IntArray,
    paths: FloatArray, done: BoolArray, first: int, h_max: float, steps_left: int, table: FloatArray,
) -> tuple[int, int, float, int, float]:  # fmt: skip
    """The muon in w onto the next candidate.

    Returns a status, the candidate or -1 if none is left, the path, the steps taken, and the angle turned.
    """
    path, turned, steps, target = 0.0, 0.0, 0, -1
    while True:
        curvature(w)
        bend2 = w[K] * w[K] + w[K + 1] * w[K + 1] + w[K + 2] * w[K + 2]
        if target >= 0:
            s, found = path_to(surfaces, candidates[target], w, 1.0, True)
            if not found:
                return MISSED, target, path, steps, turned
        else:
            target, s = next_element(surfaces, w, candidates, paths, done, first)
            if target < 0:
                return OK, -1, path, steps, turned
        if abs(s) <= LAST_SHIFT:
            _settle(w, s)
            return OK, target, path + s, steps, turned
        if steps >= steps_left:
            return STEP_CAP, target, path, steps, turned
        limit = min(h_max, 0.3 / sqrt(bend2)) if bend2 > 0.0 else h_max
        h = s
        if abs(s) > limit:
            h = s / ceil(abs(s) / limit)
        where = step_state(field, media, w, h, table)
        if where != INSIDE:
            return RANGED_OUT if where == STOPPED else OUTSIDE_FIELD, target, path, steps, turned
        if h != s:
            target = -1
        steps += 1
        path += h
        turned += abs(h) * sqrt(bend2)


@borrowing
def inside(surfaces: FloatArray, outlines: FloatArray, i: int, w: FloatArray) -> tuple[bool, float, float]:
    """Whether the muon is inside the outline of the element it is on, and its u, v there (NaN on passive surfaces).

    outlines (S, 4): of a module 1, half_u at both ends, half_v; of a passive surface 0, low, high.
    Leaves the local axes in w[FRAME:].
    """
    local_axes(surfaces, i, w)
    if outlines[i, 0] == 0.0:
        where = w[Y + 2] if surfaces[i, SHAPE] == CYLINDER else sqrt(w[Y] * w[Y] + w[Y + 1] * w[Y + 1])
        return outlines[i, 1] <= where < outlines[i, 2], np.nan, np.nan
    x, y, z = w[Y] - surfaces[i, 2], w[Y + 1] - surfaces[i, 3], w[Y + 2] - surfaces[i, 4]
    u = w[FRAME] * x + w[FRAME + 1] * y + w[FRAME + 2] * z
    v = w[FRAME + 3] * x + w[FRAME + 4] * y + w[FRAME + 5] * z
    share = v / outlines[i, 3]
    half = 0.5 * (outlines[i, 1] * (1.0 - share) + outlines[i, 2] * (1.0 + share))
    return abs(v) <= outlines[i, 3] and abs(u) <= half, u, v


@njit(cache=True, nogil=True)
def find_all(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, outlines: FloatArray, alpha: float,
    starts: FloatArray, offsets: IntArray, candidates: IntArray, paths: FloatArray, required: IntArray,
    h_max: float, max_steps: int,
    kept: BoolArray, rank: IntArray, u: FloatArray, v: FloatArray, length: IntArray, thickness: FloatArray,
    status: IntArray,
) -> None:  # fmt: skip
    """The walk of N tracks with mean loss.  Candidates offsets[i] .. offsets[i+1] belong to track i.

    required : (N, R)  modules that are kept even outside their outline, -1 for none
    kept, rank, u, v : (C,)  of every candidate: whether it is in the route, its place there, and where it was met
    length, thickness, status : (N,)
    """
    _, _, _, table, w = workspace(8, 0, 1, int(field[DEGREE]))
    for t in range(starts.shape[0]):
        own, along = candidates[offsets[t] : offsets[t + 1]], paths[offsets[t] : offsets[t + 1]]
        done = np.zeros(own.size, dtype=np.bool_)
        first, steps, turned = 0, 0, 0.0
        length[t], thickness[t] = 0, 0.0
        for j in range(7):
            w[Y + j] = starts[t, j]
        status[t] = bad_start(starts[t])
        if status[t] == OK:
            status[t] = enter(field, w, table)
        while status[t] == OK:
            while first < own.size and done[first]:
                first += 1
            status[t], c, _, taken, angle = go_to(
                field, surfaces, media, w, own, along, done, first, h_max, max_steps - steps, table
            )
            steps += taken
            turned += angle
            if status[t] != OK or c < 0:
                break
            if turned > pi:
                status[t] = LOOPER
                break
            done[c] = True
            i, at = own[c], offsets[t] + c
            within, u[at], v[at] = inside(surfaces, outlines, i, w)
            for r in range(required.shape[1]):
                within = within or required[t, r] == i
            slant = abs(against_axis(w, 2))
            if not within or slant < 1e-3:
                continue
            kept[at], rank[at] = True, length[t]
            length[t] += 1
            thickness[t] += surfaces[i, X_OVER_X0] / slant
            if surfaces[i, XI] > 0.0:
                q = thin_loss(w[Y + 6], surfaces[i, XI] / slant, 1.0, alpha, media[int(surfaces[i, MEDIUM])])[0]
                if q == 0.0:
                    status[t] = RANGED_OUT
                else:
                    w[Y + 6] = q
