"""The compiled walk: a muon from element to element of a detector, in the order in which it really meets them.

Navigation follows a helix and gives candidates, a little out of order and too many.  Of the candidates that the helix
meets within WINDOW of the first one left, the walk takes the one that the true path meets next.  If the third-order
path leaves it well aside it is dropped; else the walk steps there and keeps it if the muon is inside its outline.
"""

from math import ceil, pi, sqrt

import numpy as np
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE, INSIDE, evaluate_into
from mucal.numerics.borrowing import INDEX, borrowing, inlined
from mucal.propagation.kernels.crossings import (
    AXES,
    CENTRE,
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

LATE = 40.0
"""cm; a candidate that lies this much further than its helix said is not met inside its outline."""

EARLY, MOVED = 3.0, 0.3
"""cm by which a candidate may be met sooner than its helix said, and sooner than was found at an earlier step."""

BESIDE = 0.2
"""cm; a candidate that the third-order path misses by more is not stepped to."""

NEVER = 1e29


@borrowing
def enter(field: FloatArray, w: FloatArray, table: FloatArray) -> int:
    """Field at a muon that was put into w.  Returns a status."""
    w[NOW], w[SINCE] = 0.0, 0.0
    return OK if evaluate_into(field, w[Y], w[Y + 1], w[Y + 2], w, PLACE_1, table) == INSIDE else OUTSIDE_FIELD


@inlined
def _settle(w: FloatArray, s: float) -> None:
    """The muon and the field at it over the last s cm to a surface, at most LAST_SHIFT."""
    now = place(w)
    for j in range(3):
        w[now + j] += s * (
            w[now + 3 * j + 3] * w[Y + 3] + w[now + 3 * j + 4] * w[Y + 4] + w[now + 3 * j + 5] * w[Y + 5]
        )
        w[K + j] += s * w[K + 3 + j]
    shift_state(w, s, 0.0)


@inlined
def misses(surfaces: FloatArray, outlines: FloatArray, i: int, w: FloatArray, s: float, margin: float) -> bool:
    """Whether the third-order path of the muon in w leaves element i aside by more than `margin` after s cm."""
    i &= INDEX
    x = w[Y] + s * (w[Y + 3] + s * (0.5 * w[K] + s * w[K + 3] / 6.0))
    y = w[Y + 1] + s * (w[Y + 4] + s * (0.5 * w[K + 1] + s * w[K + 4] / 6.0))
    z = w[Y + 2] + s * (w[Y + 5] + s * (0.5 * w[K + 2] + s * w[K + 5] / 6.0))
    if outlines[i, 0] == 0.0:
        where = z if surfaces[i, SHAPE] == CYLINDER else sqrt(x * x + y * y)
        return bool(where < outlines[i, 1] - margin or where > outlines[i, 2] + margin)
    x, y, z = x - surfaces[i, CENTRE], y - surfaces[i, CENTRE + 1], z - surfaces[i, CENTRE + 2]
    v = surfaces[i, AXES + 3] * x + surfaces[i, AXES + 4] * y + surfaces[i, AXES + 5] * z
    if abs(v) > outlines[i, 3] + margin:
        return True
    u = surfaces[i, AXES] * x + surfaces[i, AXES + 1] * y + surfaces[i, AXES + 2] * z
    return bool(abs(u) > half_width(outlines, i, v) + margin)


@inlined
def half_width(outlines: FloatArray, i: int, v: float) -> float:
    """Of a module at v (cm)."""
    share = v / outlines[i, 3]
    return float(0.5 * (outlines[i, 1] * (1.0 - share) + outlines[i, 2] * (1.0 + share)))


@inlined
def next_element(
    surfaces: FloatArray, outlines: FloatArray, w: FloatArray, candidates: IntArray, paths: FloatArray,
    due: FloatArray, looked: IntArray, done: BoolArray, first: int, path: float, now: int,
) -> tuple[int, float, int]:  # fmt: skip
    """Which candidate the muon in w meets next, its distance along the path (cm); -1 if none is left; and how many
    were inside their outline but behind the muon.

    due    : (C,) cm  path at which each is met, as far as is known; at first its helix's, less EARLY
    looked : (C,)     number of the step at which that was found
    done   : (C,)     candidates behind the muon are marked
    path   : cm       of the muon; now: number of its step

    Candidates are looked at in the order in which they may come, until the first of them has been looked at now.
    """
    passed = 0
    while True:
        best, least, horizon = -1, NEVER, NEVER
        for c in range(first, candidates.size):
            if done[c]:
                continue
            if paths[c] > horizon:
                break
            if horizon == NEVER:
                horizon = paths[c] + WINDOW
            at = due[c] if looked[c] == now else due[c] - MOVED
            if at < least:
                best, least = c, at
        if best < 0:
            return -1, 0.0, passed
        if looked[best] == now:
            return best, least - path, passed
        s, found = path_to(surfaces, candidates[best], w, 1.0, False)
        looked[best] = now
        if not found:
            due[best] = NEVER
        elif s < -GONE or path + s > paths[best] + LATE:
            done[best] = True
            if -1.0 < s < 0.0 and not misses(surfaces, outlines, candidates[best], w, s, 0.0):
                passed += 1
        else:
            due[best] = path + s


@inlined
def leaves(envelope: FloatArray, w: FloatArray, s: float) -> bool:
    """Whether the third-order path of the muon in w is outside all elements after s cm, to 1e-2 cm.

    envelope (3,): radius, lowest and highest z (cm).
    """
    x = w[Y] + s * (w[Y + 3] + s * (0.5 * w[K] + s * w[K + 3] / 6.0))
    y = w[Y + 1] + s * (w[Y + 4] + s * (0.5 * w[K + 1] + s * w[K + 4] / 6.0))
    z = w[Y + 2] + s * (w[Y + 5] + s * (0.5 * w[K + 2] + s * w[K + 5] / 6.0))
    return bool(sqrt(x * x + y * y) > envelope[0] - 1e-2 or z < envelope[1] + 1e-2 or z > envelope[2] - 1e-2)


@borrowing
def go_to(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, outlines: FloatArray, envelope: FloatArray,
    w: FloatArray,
    candidates: IntArray, paths: FloatArray, due: FloatArray, looked: IntArray, done: BoolArray, needed: BoolArray,
    first: int, begun: float, now: int, h_max: float, steps_left: int, table: FloatArray,
) -> tuple[int, int, float, int, float, int]:  # fmt: skip
    """The muon in w, after `begun` cm, onto the next candidate.

    The field may end where the detector does: a muon that would leave both on its way has no next candidate.

    needed : (C,)  candidates that are stepped to even where the path leaves them aside
    now    : a number beyond those of earlier calls; every step adds 1

    Returns a status, the candidate or -1 if none is left, the path, the steps taken, the angle turned, and the number
    of candidates that were found to have been passed.
    """
    path, turned, steps, target, passed = 0.0, 0.0, 0, -1, 0
    while True:
        curvature(w)
        bend2 = w[K] * w[K] + w[K + 1] * w[K + 1] + w[K + 2] * w[K + 2]
        limit = 0.3 / sqrt(bend2) if bend2 > 0.0 else 1e30
        if target >= 0:
            s, found = path_to(surfaces, candidates[target], w, 1.0, True)
            if not found:
                return MISSED, target, path, steps, turned, passed
        else:
            while True:
                target, s, behind = next_element(
                    surfaces, outlines, w, candidates, paths, due, looked, done, first, begun + path, now + steps
                )
                passed += behind
                if target < 0:
                    return OK, -1, path, steps, turned, passed
                if needed[target] or s > min(limit, 30.0):
                    break
                if not misses(surfaces, outlines, candidates[target], w, s, BESIDE):
                    break
                done[target] = True
        if abs(s) <= LAST_SHIFT:
            _settle(w, s)
            return OK, target, path + s, steps, turned, passed
        if steps >= steps_left:
            return STEP_CAP, target, path, steps, turned, passed
        h, longest = s, min(h_max, limit)
        if abs(s) > longest:
            h = s / ceil(abs(s) / longest)
        where = step_state(field, media, w, h, table)
        if where == STOPPED:
            return RANGED_OUT, target, path, steps, turned, passed
        if where != INSIDE:
            if leaves(envelope, w, s):
                return OK, -1, path, steps, turned, passed
            return OUTSIDE_FIELD, target, path, steps, turned, passed
        if h != s:
            target = -1
        steps += 1
        path += h
        turned += abs(h) * sqrt(bend2)


@borrowing
def begin(paths: FloatArray, due: FloatArray, looked: IntArray, done: BoolArray) -> None:
    """Every candidate of a muon as its helix has it."""
    for c in range(paths.size):
        due[c], looked[c], done[c] = paths[c] - EARLY + MOVED, -1, False


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
    x, y, z = w[Y] - surfaces[i, CENTRE], w[Y + 1] - surfaces[i, CENTRE + 1], w[Y + 2] - surfaces[i, CENTRE + 2]
    u = w[FRAME] * x + w[FRAME + 1] * y + w[FRAME + 2] * z
    v = w[FRAME + 3] * x + w[FRAME + 4] * y + w[FRAME + 5] * z
    return abs(v) <= outlines[i, 3] and abs(u) <= half_width(outlines, i, v), u, v


@njit(cache=True, nogil=True)
def find_all(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, outlines: FloatArray, envelope: FloatArray,
    alpha: float, starts: FloatArray, offsets: IntArray, candidates: IntArray, paths: FloatArray, required: IntArray,
    h_max: float, max_steps: int,
    kept: BoolArray, rank: IntArray, u: FloatArray, v: FloatArray, length: IntArray, thickness: FloatArray,
    status: IntArray, passed: IntArray,
) -> None:  # fmt: skip
    """The walk of N tracks with mean loss.  Candidates offsets[i] .. offsets[i+1] belong to track i.

    required : (N, R)  modules that are kept even outside their outline, -1 for none
    kept, rank, u, v : (C,)  of every candidate: whether it is in the route, its place there, and where it was met
    length, thickness, status, passed : (N,)
    """
    _, _, _, table, w = workspace(8, 0, 1, int(field[DEGREE]))
    for t in range(starts.shape[0]):
        own, along = candidates[offsets[t] : offsets[t + 1]], paths[offsets[t] : offsets[t + 1]]
        due, looked = np.empty(own.size), np.empty(own.size, dtype=np.int64)
        done, needed = np.empty(own.size, dtype=np.bool_), np.zeros(own.size, dtype=np.bool_)
        begin(along, due, looked, done)
        for c in range(own.size):
            for r in range(required.shape[1]):
                needed[c] |= required[t, r] == own[c]
        first, steps, now, turned, path = 0, 0, 0, 0.0, 0.0
        length[t], thickness[t], passed[t] = 0, 0.0, 0
        for j in range(7):
            w[Y + j] = starts[t, j]
        status[t] = bad_start(starts[t])
        if status[t] == OK:
            status[t] = enter(field, w, table)
        while status[t] == OK:
            while first < own.size and done[first]:
                first += 1
            status[t], c, moved, taken, angle, behind = go_to(
                field, surfaces, media, outlines, envelope, w, own, along, due, looked, done, needed, first, path,
                now, h_max, max_steps - steps, table,
            )  # fmt: skip
            now += taken + 1
            steps += taken
            path += moved
            turned += angle
            passed[t] += behind
            if status[t] != OK or c < 0:
                break
            if turned > pi:
                status[t] = LOOPER
                break
            done[c] = True
            i, at = own[c], offsets[t] + c
            within, u[at], v[at] = inside(surfaces, outlines, i, w)
            slant = abs(against_axis(w, 2))
            if not (within or needed[c]) or slant < 1e-3:
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
