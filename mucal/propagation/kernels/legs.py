"""The compiled leg: a muon and its derivatives from where they are to a surface."""

from math import ceil, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import (
    INSIDE,
    evaluate,
    mode_fields,
    table_size,
)
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.crossings import (
    GAP_CUT,
    GAP_MEDIUM,
    GAP_X_OVER_X0,
    GAP_XI,
    path_to,
)
from mucal.propagation.kernels.losses import thick_loss
from mucal.propagation.kernels.stepping import (
    BLOCK,
    BX,
    BY,
    BZ,
    CUT,
    LANES,
    LOSS,
    LOSS_K,
    LOSS_Q,
    ROW,
    SCALE,
    SOURCES,
    STAGE,
    STOPPED,
    TX,
    TY,
    TZ,
    XI,
    Q,
    field_sources,
    helix_step,
    mode_sources,
    shift_columns,
    shift_state,
    step_columns,
    step_state,
)
from mucal.units import CURVATURE

OK, LOOPER, RANGED_OUT, OUTSIDE_FIELD, MISSED, STEP_CAP, BAD_START, TOO_FORWARD = range(8)

MOST_REVERSALS = 5
"""A crossing that exists is met after one or two."""

LAST_SHIFT = 1e-3
"""cm; what is left to a surface below this is covered by a Taylor step: errors are of order (curvature)^3 s^4 / 24."""


@borrowing
def curvature(y: FloatArray, f: FloatArray, k: FloatArray) -> None:
    """dt/ds = kappa q t x B and its derivative along the path (loss left out), into k (6,); f (12,) is the field."""
    w = CURVATURE * y[6]
    t0, t1, t2 = y[3], y[4], y[5]
    b0, b1, b2 = f[0], f[1], f[2]
    k0, k1, k2 = w * (t1 * b2 - t2 * b1), w * (t2 * b0 - t0 * b2), w * (t0 * b1 - t1 * b0)
    c0 = f[3] * t0 + f[4] * t1 + f[5] * t2
    c1 = f[6] * t0 + f[7] * t1 + f[8] * t2
    c2 = f[9] * t0 + f[10] * t1 + f[11] * t2
    k[0], k[1], k[2] = k0, k1, k2
    k[3] = w * (k1 * b2 - k2 * b1 + t1 * c2 - t2 * c1)
    k[4] = w * (k2 * b0 - k0 * b2 + t2 * c0 - t0 * c2)
    k[5] = w * (k0 * b1 - k1 * b0 + t0 * c1 - t1 * c0)


@njit(cache=True)
def workspace(n_columns: int, n_modes: int, n_legs: int, degree: int) -> tuple[FloatArray, ...]:
    """Scratch arrays of one thread."""
    return (
        np.zeros(((n_columns + LANES - 1) // LANES, BLOCK)),
        np.zeros((9, n_modes)),  # fields of the modes at the points of a step
        np.zeros((4, STAGE)),
        np.zeros((n_legs, 5, 5)),  # straggling part of the noise
        np.zeros(table_size(degree)),
        np.zeros((10, 12)),  # small vectors, one a row
    )


@borrowing
def _mode_points(
    field: FloatArray, before: FloatArray, h: float, stages: FloatArray, mode_b: FloatArray, table: FloatArray
) -> None:
    """Fields of all modes at the three points of a step of length h that began at `before`: mode_b (9, M)."""
    for i in range(3):
        a1, a2, s = 0.5 * i * h, 0.125 * i * i * h * h, 2 * (i // 2)  # stages 0, 0, 2 bend the way to points 0, 1, 2
        w = CURVATURE * stages[s, Q]
        u0, u1, u2 = stages[s, TX], stages[s, TY], stages[s, TZ]
        b0, b1, b2 = stages[s, BX], stages[s, BY], stages[s, BZ]
        mode_fields(
            field,
            before[0] + a1 * before[3] + a2 * w * (u1 * b2 - u2 * b1),
            before[1] + a1 * before[4] + a2 * w * (u2 * b0 - u0 * b2),
            before[2] + a1 * before[5] + a2 * w * (u0 * b1 - u1 * b0),
            mode_b[3 * i : 3 * i + 3],
            table,
        )


@borrowing
def _uniform_path(
    surfaces: FloatArray, i: int, y: FloatArray, f: FloatArray, s: float, sense: float, trial: FloatArray,
    k: FloatArray, block: FloatArray,
) -> float:  # fmt: skip
    """The exact path length to surface i along the helix, from its third-order estimate s."""
    total = s
    for _ in range(6):
        for j in range(7):
            trial[j] = y[j]
        helix_step(trial, total, f, block, False)
        curvature(trial, f, k)
        rest, found = path_to(surfaces, i, trial, k, sense, True)
        if not found or abs(rest) > 0.5 * abs(total) + 1.0:
            break
        total += rest
        if abs(rest) < 1e-3:  # what is left is of order (curvature)^3 rest^4
            break
    return total


@borrowing
def _carry(
    field: FloatArray, before: FloatArray, h: float, first: FloatArray, blocks: FloatArray, first_mode: int,
    stages: FloatArray, mode_b: FloatArray, table: FloatArray,
) -> None:  # fmt: skip
    """All blocks of derivatives through a step that began at `before` and whose stages are stored."""
    field_sources(first, stages)
    step_columns(first, h, stages)
    if blocks.shape[0] == 1:
        return
    if first_mode > LANES:
        for i in range(4):
            blocks[1, SOURCES + LANES * (4 * i + 3)] = stages[i, LOSS_K]
    if mode_b.shape[1] > 0:
        _mode_points(field, before, h, stages, mode_b, table)
        for mode in range(mode_b.shape[1]):
            column = first_mode + mode
            mode_sources(blocks[column // LANES], column % LANES, stages, mode_b, mode)
    for j in range(1, blocks.shape[0]):
        step_columns(blocks[j], h, stages)


@borrowing
def _variance_rate(q: float, medium: FloatArray, media: FloatArray) -> float:
    """d(variance of q)/ds from straggling in the medium of a leg."""
    return thick_loss(q, medium[XI], 1.0, medium[CUT], media[int(medium[ROW])])[3]


@borrowing
def _add_offset(base: FloatArray, offset: FloatArray, f: FloatArray) -> None:
    """f (12,) is the field base (12,) with a constant offset (3,)."""
    for j in range(12):
        f[j] = base[j]
    for j in range(3):
        f[j] += offset[j]


@borrowing
def _next_step(s: float, found: bool, bend: float, sense: float, h_max: float, at_start: bool) -> float:
    """Length of the next step towards a surface at path length s; 0 if it will not be reached."""
    limit = h_max
    if bend > 0.0:
        limit = min(limit, 0.3 / bend)
    if not found:
        # a muon straighter than a radius of 100 m will not come back
        return 0.0 if bend * 1e4 < 1.0 else sense * limit
    if at_start and s * sense < -1e-6:
        return 0.0
    if abs(s) <= limit:
        return s if s != 0.0 else 1e-12 * sense
    return s / ceil(abs(s) / limit)


@borrowing
def _last_shift(
    y: FloatArray, s: float, k: FloatArray, loss: float, base: FloatArray, first: FloatArray, blocks: FloatArray,
    stages: FloatArray,
) -> None:  # fmt: skip
    """The muon, its derivatives, its curvature and the field at it, over what is left to the surface."""
    shift_columns(first, s, stages)
    for j in range(1, blocks.shape[0]):
        shift_columns(blocks[j], s, stages)
    for j in range(3):
        base[j] += s * (base[3 * j + 3] * y[3] + base[3 * j + 4] * y[4] + base[3 * j + 5] * y[5])
        k[j] += s * k[3 + j]
    shift_state(y, s, k, loss)


@borrowing
def propagate_leg(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, i: int, y: FloatArray, offset: FloatArray,
    thick_scale: float, h_max: float, sense: float, steps_left: int, first_mode: int, exact: bool, known: bool,
    first: FloatArray, blocks: FloatArray, mode_b: FloatArray, stages: FloatArray, table: FloatArray, k: FloatArray,
    base: FloatArray, f: FloatArray, f_work: FloatArray, medium: FloatArray, trial: FloatArray, summary: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """A muon y (7,) and its derivatives to surface i, in place.  Returns a status and the steps taken.

    known : whether base (12,) holds the field at y already, without offset, as this function leaves it
    first : blocks[0]; views of an array cost as much as a projection, so the callers make them once a track
    On return k (6,) is dt/ds and its derivative, and summary (8,) holds: path length, path length to the middle kink
    or -1, q there, dq/ds, d(variance of q)/ds at start, middle and end, angle turned.
    """
    lossy = surfaces[i, GAP_XI] > 0.0
    thick = lossy or surfaces[i, GAP_X_OVER_X0] > 0.0
    medium[XI], medium[SCALE], medium[CUT] = surfaces[i, GAP_XI], thick_scale, surfaces[i, GAP_CUT]
    medium[ROW] = surfaces[i, GAP_MEDIUM]
    path, middle, target, turned, loss, steps, reversals = 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0
    summary[1], summary[2] = -1.0, y[6]
    if lossy:
        summary[4] = _variance_rate(y[6], medium, media)
    for j in range(4):
        stages[j, LOSS], stages[j, LOSS_Q], stages[j, LOSS_K] = 0.0, 0.0, 0.0
    while True:
        if not known and evaluate(field, y[0], y[1], y[2], base, table) != INSIDE:
            return OUTSIDE_FIELD, steps
        known = False
        _add_offset(base, offset, f)
        curvature(y, f, k)
        bend = sqrt(k[0] * k[0] + k[1] * k[1] + k[2] * k[2])
        s, found = path_to(surfaces, i, y, k, sense, steps > 0)
        if lossy:
            loss = thick_loss(y[6], medium[XI], medium[SCALE], medium[CUT], media[int(medium[ROW])])[0]
        if steps > 0 and found and abs(s) <= (1e-9 if exact else LAST_SHIFT):
            if not exact:
                _last_shift(y, s, k, loss, base, first, blocks, stages)
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
        h = _next_step(s, found, bend, sense, 1e4 if exact else h_max, steps == 0)
        if h == 0.0:
            return MISSED, steps
        if thick and found and middle == 0.0:
            if target == 0.0:
                target = path + 0.5 * s
            if abs(path + h) >= 0.999 * abs(target):
                h = target - path
        if exact:
            if found and h == s:
                h = _uniform_path(surfaces, i, y, f, s, sense, trial, k, first)
            helix_step(y, h, f, first, True)
        else:
            for j in range(7):
                trial[j] = y[j]
            where = step_state(field, y, h, f, offset, medium, media, stages, f_work, table)
            if where != INSIDE:
                return RANGED_OUT if where == STOPPED else OUTSIDE_FIELD, steps
            _carry(field, trial, h, first, blocks, first_mode, stages, mode_b, table)
        steps += 1
        path += h
        turned += abs(h) * bend
        if thick and middle == 0.0 and target != 0.0 and abs(path) >= 0.999 * abs(target):
            middle = path
            _open_kinks(y, blocks[1])
            summary[1], summary[2] = middle, y[6]
            if lossy:
                summary[5] = _variance_rate(y[6], medium, media)
    if lossy:
        summary[6] = _variance_rate(y[6], medium, media)
    summary[0], summary[3], summary[7] = path, loss, turned
    return OK, steps


@borrowing
def _open_kinks(y: FloatArray, block: FloatArray) -> None:
    """Columns 9, 10, 11 (1, 2, 3 of the second block): a kink along V, one along U, and a change of q, here."""
    cl = sqrt(y[3] * y[3] + y[4] * y[4])
    c, s = y[3] / cl, y[4] / cl
    block[3 * LANES + 1], block[4 * LANES + 1], block[5 * LANES + 1] = -y[5] * c, -y[5] * s, cl
    block[3 * LANES + 2], block[4 * LANES + 2] = -s, c
    block[6 * LANES + 3] = 1.0
