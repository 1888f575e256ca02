"""The compiled leg: a muon and its derivatives from where they are to a surface."""

from math import ceil, sqrt

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import INSIDE, evaluate_into, mode_fields
from mucal.numerics.borrowing import INDEX, borrowing
from mucal.propagation.kernels.crossings import (
    GAP_CUT,
    GAP_MEDIUM,
    GAP_X_OVER_X0,
    GAP_XI,
    path_to,
)
from mucal.propagation.kernels.layout import (
    BEFORE,
    CUT,
    LANES,
    LOSS,
    LOSS_K,
    LOSS_Q,
    LOSSES,
    MEDIUM,
    MIDDLE,
    NOW,
    OFFSET,
    PLACE_1,
    ROW,
    SCALE,
    SINCE,
    STAGE,
    STAGES,
    SUMMARY,
    TX,
    TY,
    TZ,
    XI,
    K,
    Q,
    Y,
    place,
    workspace,
)  # fmt: skip
from mucal.propagation.kernels.losses import thick_loss
from mucal.propagation.kernels.stepping import (
    STOPPED,
    enter_stage,
    helix_step,
    mode_fields_in,
    shift_columns,
    shift_state,
    step_columns,
    step_state,
)
from mucal.units import CURVATURE

__all__ = ["propagate_leg", "workspace"]

OK, LOOPER, RANGED_OUT, OUTSIDE_FIELD, MISSED, STEP_CAP, BAD_START, TOO_FORWARD = range(8)

BEHIND = 1.0
"""cm; where sensors overlap, two of a known route may stand in the other order for a track that is slightly elsewhere:
a leg then goes back by as much.  What lies further behind is missed."""

MOST_REVERSALS = 5
"""A crossing that exists is met after one or two."""

LAST_SHIFT = 1e-3
"""cm; what is left to a surface below this is covered by a Taylor step: errors are of order (curvature)^3 s^4 / 24."""

# w[SUMMARY:] of a leg: path length; path length to the middle kink or -1, and q there; dq/ds at the end; d(variance of
# q)/ds at the start, in the middle and at the end; angle turned.
(PATH, KINK, Q_KINK, LOSS_END, VARIANCE_START, VARIANCE_KINK, VARIANCE_END, TURNED) = range(8)


@borrowing
def curvature(w: FloatArray) -> None:
    """dt/ds = kappa q t x B of the muon in w and its derivative along the path (loss left out), into w[K:]."""
    f, r = place(w), CURVATURE * w[Y + 6]
    t0, t1, t2 = w[Y + 3], w[Y + 4], w[Y + 5]
    b0, b1, b2 = w[f], w[f + 1], w[f + 2]
    k0, k1, k2 = r * (t1 * b2 - t2 * b1), r * (t2 * b0 - t0 * b2), r * (t0 * b1 - t1 * b0)
    c0 = w[f + 3] * t0 + w[f + 4] * t1 + w[f + 5] * t2
    c1 = w[f + 6] * t0 + w[f + 7] * t1 + w[f + 8] * t2
    c2 = w[f + 9] * t0 + w[f + 10] * t1 + w[f + 11] * t2
    w[K], w[K + 1], w[K + 2] = k0, k1, k2
    w[K + 3] = r * (k1 * b2 - k2 * b1 + t1 * c2 - t2 * c1)
    w[K + 4] = r * (k2 * b0 - k0 * b2 + t2 * c0 - t0 * c2)
    w[K + 5] = r * (k0 * b1 - k1 * b0 + t0 * c1 - t1 * c0)


@borrowing
def _mode_points(field: FloatArray, w: FloatArray, h: float, start: int, mode_b: FloatArray, table: FloatArray) -> None:
    """Fields of all modes at the three points of a step of length h that began at w[BEFORE:]: mode_b (9, M)."""
    for i in range(3):
        # stages 0, 0, 2 bend the way to points 0, 1, 2
        a1, a2, s, f = 0.5 * i * h, 0.125 * i * i * h * h, STAGES + STAGE * (2 * (i // 2)), MIDDLE if i == 2 else start
        r = CURVATURE * w[s + Q]
        u0, u1, u2 = w[s + TX], w[s + TY], w[s + TZ]
        b0, b1, b2 = w[f], w[f + 1], w[f + 2]
        mode_fields(
            field,
            w[BEFORE] + a1 * w[BEFORE + 3] + a2 * r * (u1 * b2 - u2 * b1),
            w[BEFORE + 1] + a1 * w[BEFORE + 4] + a2 * r * (u2 * b0 - u0 * b2),
            w[BEFORE + 2] + a1 * w[BEFORE + 5] + a2 * r * (u0 * b1 - u1 * b0),
            mode_b[3 * i : 3 * i + 3],
            table,
        )


@borrowing
def _carry(
    field: FloatArray, w: FloatArray, h: float, start: int, blocks: FloatArray, first_mode: int, mode_b: FloatArray,
    table: FloatArray,
) -> None:  # fmt: skip
    """The blocks behind the first through a step that began at w[BEFORE:] in the field at w[start:]."""
    if first_mode > LANES:
        for i in range(4):
            blocks[1, LOSSES + LANES * i] = w[STAGES + STAGE * i + LOSS_K]
    if mode_b.shape[1] > 0:
        _mode_points(field, w, h, start, mode_b, table)
        for mode in range(mode_b.shape[1]):
            column = first_mode + mode
            mode_fields_in(blocks[column // LANES], column % LANES, mode_b, mode)
    for j in range(1, blocks.shape[0]):
        step_columns(blocks[j], h, w, start)


@borrowing
def _variance_rate(w: FloatArray, media: FloatArray) -> float:
    """d(variance of q)/ds from straggling in the medium of a leg."""
    return thick_loss(w[Y + 6], w[MEDIUM + XI], 1.0, w[MEDIUM + CUT], media[int(w[MEDIUM + ROW])])[3]


@borrowing
def _next_step(s: float, found: bool, bend2: float, sense: float, h_max: float, at_start: bool) -> float:
    """Length of the next step towards a surface at path length s; 0 if it will not be reached."""
    if found and not (at_start and s * sense < -BEHIND) and abs(s) <= h_max and s * s * bend2 <= 0.09:
        return s if s != 0.0 else 1e-12 * sense
    limit = h_max
    if bend2 > 0.0:
        limit = min(limit, 0.3 / sqrt(bend2))
    if not found:
        # a muon straighter than a radius of 100 m will not come back
        return 0.0 if bend2 * 1e8 < 1.0 else sense * limit
    if at_start and s * sense < -BEHIND:
        return 0.0
    return s / ceil(abs(s) / limit)


@borrowing
def _last_shift(w: FloatArray, s: float, loss: float, first: FloatArray, blocks: FloatArray) -> None:
    """The muon, its derivatives, its curvature and the field at it, over what is left to the surface."""
    now = place(w)
    shift_columns(first, s, w, now)
    for j in range(1, blocks.shape[0]):
        shift_columns(blocks[j], s, w, now)
    for j in range(3):
        w[now + j] += s * (
            w[now + 3 * j + 3] * w[Y + 3] + w[now + 3 * j + 4] * w[Y + 4] + w[now + 3 * j + 5] * w[Y + 5]
        )
        w[K + j] += s * w[K + 3 + j]
    shift_state(w, s, loss)


@borrowing
def _enter_medium(surfaces: FloatArray, i: int, thick_scale: float, w: FloatArray) -> None:
    """What fills the way to surface i; nothing is lost at any stage as yet."""
    w[MEDIUM + XI], w[MEDIUM + SCALE], w[MEDIUM + CUT] = surfaces[i, GAP_XI], thick_scale, surfaces[i, GAP_CUT]
    w[MEDIUM + ROW] = surfaces[i, GAP_MEDIUM]
    w[SUMMARY + KINK], w[SUMMARY + Q_KINK] = -1.0, w[Y + 6]
    for j in range(4):
        at = STAGES + STAGE * j
        w[at + LOSS], w[at + LOSS_Q], w[at + LOSS_K] = 0.0, 0.0, 0.0


@borrowing
def _step(
    field: FloatArray, media: FloatArray, w: FloatArray, h: float, first_mode: int, exact: bool, first: FloatArray,
    blocks: FloatArray, mode_b: FloatArray, table: FloatArray,
) -> int:  # fmt: skip
    """One step of the muon and all its derivatives.  Returns a status."""
    if exact:
        helix_step(w, h, first)
        enter_stage(w, 3, w[Y + 3], w[Y + 4], w[Y + 5], w[Y + 6])
        return OK
    start = place(w)
    if mode_b.shape[1] > 0:
        for j in range(7):
            w[BEFORE + j] = w[Y + j]
    where = step_state(field, media, w, h, table)
    if where != INSIDE:
        return RANGED_OUT if where == STOPPED else OUTSIDE_FIELD
    step_columns(first, h, w, start)
    if blocks.shape[0] > 1:
        _carry(field, w, h, start, blocks, first_mode, mode_b, table)
    return OK


@borrowing
def propagate_leg(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, i: int, w: FloatArray, thick_scale: float,
    h_max: float, sense: float, steps_left: int, first_mode: int, exact: bool, known: bool, first: FloatArray,
    blocks: FloatArray, mode_b: FloatArray, table: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """The muon in w and its derivatives to surface i, in place.  Returns a status and the steps taken.

    known : whether w[w[NOW]:] holds the field at the muon already, without offset, as this function leaves it
    first : blocks[0]; views of an array cost as much as a projection, so the callers make them once a track
    On return w[K:] is dt/ds and its derivative, and w[SUMMARY:] what the constants of this module say.
    """
    i &= INDEX
    lossy = surfaces[i, GAP_XI] > 0.0
    thick = lossy or surfaces[i, GAP_X_OVER_X0] > 0.0
    path, middle, target, turned, loss, steps, reversals = 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0
    _enter_medium(surfaces, i, thick_scale, w)
    if lossy:
        w[SUMMARY + VARIANCE_START] = _variance_rate(w, media)
    if not known:
        w[NOW], w[SINCE] = 0.0, 0.0
        if evaluate_into(field, w[Y], w[Y + 1], w[Y + 2], w, PLACE_1, table) != INSIDE:
            return OUTSIDE_FIELD, steps
    for j in range(3):
        w[place(w) + j] += w[OFFSET + j]
    while True:
        curvature(w)
        bend2 = w[K] * w[K] + w[K + 1] * w[K + 1] + w[K + 2] * w[K + 2]
        s, found = path_to(surfaces, i, w, sense, steps > 0)
        if lossy:
            loss = thick_loss(
                w[Y + 6], w[MEDIUM + XI], w[MEDIUM + SCALE], w[MEDIUM + CUT], media[int(w[MEDIUM + ROW])]
            )[0]
        if steps > 0 and found and abs(s) <= LAST_SHIFT:
            _last_shift(w, s, loss, first, blocks)
            path += s
            break
        if steps >= steps_left:
            return STEP_CAP, steps
        if turned > np.pi:
            return LOOPER, steps
        if s * sense < 0.0:  # a surface that the track only grazes is passed again and again
            reversals += 1
            if reversals > MOST_REVERSALS:
                return MISSED, steps
        h = _next_step(s, found, bend2, sense, 1e4 if exact else h_max, steps == 0)
        if h == 0.0:
            return MISSED, steps
        if thick and found and middle == 0.0:
            if target == 0.0:
                target = path + 0.5 * s
            if abs(path + h) >= 0.999 * abs(target):
                h = target - path
        status = _step(field, media, w, h, first_mode, exact, first, blocks, mode_b, table)
        if status != OK:
            return status, steps
        steps += 1
        path += h
        turned += abs(h) * sqrt(bend2)
        if thick and middle == 0.0 and target != 0.0 and abs(path) >= 0.999 * abs(target):
            middle = path
            _open_kinks(w, blocks[1])
            w[SUMMARY + KINK], w[SUMMARY + Q_KINK] = middle, w[Y + 6]
            if lossy:
                w[SUMMARY + VARIANCE_KINK] = _variance_rate(w, media)
    if lossy:
        w[SUMMARY + VARIANCE_END] = _variance_rate(w, media)
    w[SUMMARY + PATH], w[SUMMARY + LOSS_END], w[SUMMARY + TURNED] = path, loss, turned
    for j in range(3):
        w[place(w) + j] -= w[OFFSET + j]
    return OK, steps


@borrowing
def _open_kinks(w: FloatArray, block: FloatArray) -> None:
    """Columns 9, 10, 11 (1, 2, 3 of the second block): a kink along V, one along U, and a change of q, here."""
    cl = sqrt(w[Y + 3] * w[Y + 3] + w[Y + 4] * w[Y + 4])
    c, s = w[Y + 3] / cl, w[Y + 4] / cl
    block[3 * LANES + 1], block[4 * LANES + 1], block[5 * LANES + 1] = -w[Y + 5] * c, -w[Y + 5] * s, cl
    block[3 * LANES + 2], block[4 * LANES + 2] = -s, c
    block[6 * LANES + 3] = 1.0
