"""The compiled loop over a track's legs: state, Jacobian, parameter columns and process noise of each.

A leg leaves a surface through its thin material and ends on the next surface, before that one's material.  Local
coordinates are (q, u', v', u, v).  With thick material the scattering on the way is represented by three kinks, at the
start, at a fraction f and at the end of the leg, of weights
    w_f = 1 / (6 f (1-f)),   w_1 = 1/2 - w_f f,   w_0 = 1 - w_f - w_1,
which integrates the quadratic growth of the offset variance exactly: L^3/3, L^2/2, L.
"""

from math import ceil, exp, log, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import (
    CORRECTED,
    DEGREE,
    INSIDE,
    KIND,
    N_R,
    UNIFORM,
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
    MEDIUM,
    X_OVER_X0,
    local_axes,
    open_curvilinear,
    open_local,
    path_to,
    project,
    to_local,
)
from mucal.propagation.kernels.crossings import XI as THIN_XI
from mucal.propagation.kernels.losses import scattering, thick_loss, thin_loss
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
    ROWS,
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

LAST_SHIFT = 1e-3
"""cm; what is left to a surface below this is covered by a Taylor step: errors are of order (curvature)^3 s^4 / 24."""

STEEPEST = 0.0366189934736865
"""cos(lambda) at |eta| = 4."""

# columns of a leg's parameters: offsets of B, ln of the thin and of the thick loss, field modes
DB, K_THIN, K_THICK, MODES = 0, 3, 4, 5


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
    path, middle, target, turned, loss, steps = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    summary[1], summary[2] = -1.0, y[6]
    if lossy:
        summary[4] = _variance_rate(y[6], medium, media)
    for j in range(4):
        stages[j, LOSS], stages[j, LOSS_Q], stages[j, LOSS_K] = 0.0, 0.0, 0.0
    while True:
        if not known and evaluate(field, y[0], y[1], y[2], base, table) != INSIDE:
            return OUTSIDE_FIELD, steps
        known = False
        for j in range(12):
            f[j] = base[j]
        for j in range(3):
            f[j] += offset[j]
        curvature(y, f, k)
        bend = sqrt(k[0] * k[0] + k[1] * k[1] + k[2] * k[2])
        s, found = path_to(surfaces, i, y, k, sense, steps > 0)
        if lossy:
            loss = thick_loss(y[6], medium[XI], medium[SCALE], medium[CUT], media[int(medium[ROW])])[0]
        if steps > 0 and found and abs(s) <= (1e-9 if exact else LAST_SHIFT):
            if not exact:
                shift_columns(first, s, stages)
                for j in range(1, blocks.shape[0]):
                    shift_columns(blocks[j], s, stages)
                for j in range(3):
                    change = base[3 * j + 3] * y[3] + base[3 * j + 4] * y[4] + base[3 * j + 5] * y[5]
                    base[j] += s * change
                    k[j] += s * k[3 + j]
                shift_state(y, s, k, loss)
                path += s
            break
        if steps >= steps_left:
            return STEP_CAP, steps
        if turned > np.pi:
            return LOOPER, steps
        limit = 1e4 if exact else h_max
        if bend > 0.0:
            limit = min(limit, 0.3 / bend)
        if not found:
            if bend * 1e4 < 1.0:  # straighter than a radius of 100 m: it will not come back
                return MISSED, steps
            h = sense * limit
        elif s * sense < -1e-6 and steps == 0:
            return MISSED, steps
        elif abs(s) <= limit:
            h = s
        else:
            h = s / ceil(abs(s) / limit)
        if thick and found and middle == 0.0:
            if steps == 0:
                target = 0.5 * s
            if abs(path + h) >= 0.999 * abs(target):
                h = target - path
        if exact:
            if found and abs(s) <= limit:
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


@borrowing
def _add_pair(noise: FloatArray, at: int, block: FloatArray, j: int, k: int, value: float) -> None:
    """noise[at] (5, 5) += value (c_j c_k^T + c_k c_j^T) / 2 of projected columns of a block."""
    half = 0.5 * value
    for r in range(5):
        row = ROWS + LANES * r
        left, right = half * block[row + j], half * block[row + k]
        for c in range(5):
            noise[at, r, c] += left * block[ROWS + LANES * c + k] + right * block[ROWS + LANES * c + j]


@borrowing
def _gap_noise(
    surfaces: FloatArray, i: int, block: FloatArray, local: FloatArray, leg: int, q_start: float, q_end: float,
    summary: FloatArray, noise: FloatArray, straggling: FloatArray,
) -> tuple[float, float, float]:  # fmt: skip
    """Noise from the middle and the end of a gap; returns its thickness and what its start adds to the layer left."""
    length = abs(summary[0])
    f = summary[1] / summary[0]
    w_f = 1.0 / (6.0 * f * (1.0 - f))
    w_1 = 0.5 - w_f * f
    w_0 = 1.0 - w_f - w_1
    gap = surfaces[i, GAP_X_OVER_X0] * length
    kink = w_f * scattering(summary[2], gap)
    _add_pair(noise, leg, block, 1, 1, kink)
    _add_pair(noise, leg, block, 2, 2, kink)
    us, vs = local[leg, 1], local[leg, 2]
    kink = w_1 * scattering(q_end, gap) * (1.0 + us * us + vs * vs)
    noise[leg, 1, 1] += kink * (1.0 + us * us)
    noise[leg, 1, 2] += kink * us * vs
    noise[leg, 2, 1] += kink * us * vs
    noise[leg, 2, 2] += kink * (1.0 + vs * vs)
    variance = 0.0
    if surfaces[i, GAP_XI] > 0.0:
        _add_pair(straggling, leg, block, 3, 3, w_f * length * summary[5])
        straggling[leg, 0, 0] += w_1 * length * summary[6]
        variance = w_0 * length * summary[4]
    return gap, w_0 * scattering(q_start, gap), variance


@borrowing
def propagate_track(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, alpha: float, y: FloatArray, route: IntArray,
    offsets: FloatArray, ln_loss: FloatArray, h_max: float, sense: float, max_steps: int, gaps: bool,
    free: FloatArray, local: FloatArray, transport: FloatArray, theta: FloatArray, noise: FloatArray,
    path: FloatArray, work: tuple[FloatArray, ...],
) -> tuple[int, int, float]:  # fmt: skip
    """One track through its route; y (7,) is changed.  Returns status, surfaces reached, radiation lengths crossed.

    route   : (L,)       surfaces in order, -1 ends it
    offsets : (L, 3)     T, field added on each leg; (0, 3) for none
    ln_loss : (L, 2)     ln of the scale of the mean loss in the layer left and in the leg's gap; (0, 2) for none
    gaps    :            whether any leg holds thick material
    free, local, transport, theta, noise, path : (L, 7), (L, 5), (L, 5, 5), (L, 5, 5+M), (L, 5, 5), (L,)  filled
    """
    blocks, mode_b, stages, straggling, table, small = work
    first = blocks[0]
    n_modes = mode_b.shape[1]
    first_mode = 12 if gaps else LANES
    exact = int(field[KIND]) == UNIFORM and field[CORRECTED] == 0.0 and field[N_R] == 0.0 and n_modes == 0 and not gaps
    k, base, f, f_work, medium, trial = small[0], small[1], small[2], small[3], small[4], small[5]
    axes, offset, summary = small[6], small[7], small[8]
    n_legs = route.size
    total, status, reached, steps, turned = 0.0, OK, 0, 0, 0.0
    # where the leg begins: slope covariance of a unit kink, thickness and straggling of the layer left
    c11, c12, c22 = 1.0, 0.0, 1.0
    if not (np.isfinite(y[0] + y[1] + y[2] + y[3] + y[4] + y[5] + y[6]) and y[6] != 0.0):
        status = BAD_START
    elif y[3] * y[3] + y[4] * y[4] < STEEPEST * STEEPEST:
        status = TOO_FORWARD
    for leg in range(n_legs):
        i = route[leg]
        if i < 0 or status != OK:
            break
        by_q, by_u, by_v, by_x, by_k = 1.0, 0.0, 0.0, 0.0, 0.0
        theta2, q_variance = 0.0, 0.0
        if leg == 0:
            open_curvilinear(y, first)
            c22 = 1.0 / (y[3] * y[3] + y[4] * y[4])
        else:
            last = route[leg - 1]
            tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
            us, vs = local[leg - 1, 1], local[leg - 1, 2]
            inverse = 1.0 / (tw * tw)
            c11, c12, c22 = (1.0 + us * us) * inverse, us * vs * inverse, (1.0 + vs * vs) * inverse
            thickness = surfaces[last, X_OVER_X0] / abs(tw)
            total += thickness
            theta2 = scattering(y[6], thickness)
            if surfaces[last, THIN_XI] > 0.0:
                scale = exp(ln_loss[leg, 0]) if ln_loss.shape[0] > 0 else 1.0
                q_out, by_q, by_xi, by_k, q_variance = thin_loss(
                    y[6], surfaces[last, THIN_XI] / abs(tw), scale, alpha, media[int(surfaces[last, MEDIUM])]
                )
                if q_out == 0.0:
                    status = RANGED_OUT
                    break
                y[6] = q_out
                by_u, by_v = by_xi * us * tw * tw, by_xi * vs * tw * tw
                if surfaces[last, 0] != 0.0:  # the normal of a cylinder turns with the point
                    by_x = -by_xi * us / surfaces[last, 1]
            open_local(y, axes, first)
        if offsets.shape[0] > 0:
            for j in range(3):
                offset[j] = offsets[leg, j]
        else:
            offset[0], offset[1], offset[2] = 0.0, 0.0, 0.0
        thick_scale = exp(ln_loss[leg, 1]) if ln_loss.shape[0] > 0 else 1.0
        q_start = y[6]
        for j in range(1, blocks.shape[0]):
            blocks[j, :SOURCES] = 0.0
        status, taken = propagate_leg(
            field, surfaces, media, i, y, offset, thick_scale, h_max, sense, max_steps - steps, first_mode, exact,
            leg > 0, first, blocks, mode_b, stages, table, k, base, f, f_work, medium, trial, summary,
        )  # fmt: skip
        steps += taken
        turned += summary[7]
        if status == OK and turned > np.pi:
            status = LOOPER
        if status != OK:
            break
        local_axes(surfaces, i, y, axes)
        if abs(axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]) < 1e-3:
            status = MISSED
            break
        to_local(surfaces, i, y, axes, local, leg)
        project(y, k, summary[3], axes, first)
        for j in range(1, blocks.shape[0]):
            project(y, k, summary[3], axes, blocks[j])
        for j in range(7):
            free[leg, j] = y[j]
        path[leg] = summary[0]
        for r in range(5):
            for c in range(5):
                noise[leg, r, c] = 0.0
                straggling[leg, r, c] = 0.0
            row = ROWS + LANES * r
            theta[leg, r, DB], theta[leg, r, DB + 1] = first[row + 5], first[row + 6]
            theta[leg, r, DB + 2], theta[leg, r, K_THIN] = first[row + 7], first[row] * by_k
            theta[leg, r, K_THICK] = blocks[1, row] if gaps else 0.0
            for m in range(n_modes):
                column = first_mode + m
                theta[leg, r, MODES + m] = blocks[column // LANES, row + column % LANES]
            transport[leg, r, 0] = first[row] * by_q
            transport[leg, r, 1] = first[row + 1] + first[row] * by_u
            transport[leg, r, 2] = first[row + 2] + first[row] * by_v
            transport[leg, r, 3] = first[row + 3] + first[row] * by_x
            transport[leg, r, 4] = first[row + 4]
        if gaps and summary[1] >= 0.0:
            gap, start2, start_q = _gap_noise(
                surfaces, i, blocks[1], local, leg, q_start, y[6], summary, noise, straggling
            )
            total, theta2, q_variance = total + gap, theta2 + start2, q_variance + start_q
        if theta2 > 0.0:
            _add_pair(noise, leg, first, 1, 1, theta2 * c11)
            _add_pair(noise, leg, first, 1, 2, 2.0 * theta2 * c12)
            _add_pair(noise, leg, first, 2, 2, theta2 * c22)
        if q_variance > 0.0:
            _add_pair(straggling, leg, first, 0, 0, q_variance)
        reached = leg + 1
    highland = 1.0
    if total > 0.0:
        highland = (1.0 + 0.038 * log(total)) ** 2
    for leg in range(reached):
        for r in range(5):
            for c in range(5):
                noise[leg, r, c] = highland * noise[leg, r, c] + straggling[leg, r, c]
    return status, reached, total


@njit(cache=True, nogil=True)
def propagate_all(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, alpha: float, starts: FloatArray, routes: IntArray,
    offsets: FloatArray, ln_loss: FloatArray, h_max: float, sense: float, max_steps: int, gaps: bool,
    free: FloatArray, local: FloatArray, transport: FloatArray, theta: FloatArray, noise: FloatArray,
    path: FloatArray, thickness: FloatArray, reached: IntArray, status: IntArray,
) -> None:  # fmt: skip
    """`propagate_track` for N tracks; what a track does not reach is NaN.  offsets and ln_loss may be (0, 0, .)."""
    n_tracks, n_legs = routes.shape
    n_modes = theta.shape[3] - MODES
    work = workspace((12 if gaps else LANES) + n_modes, n_modes, n_legs, int(field[DEGREE]))
    y = np.empty(7)
    for i in range(n_tracks):
        for j in range(7):
            y[j] = starts[i, j]
        own_offsets = offsets[min(i, offsets.shape[0])] if offsets.shape[0] > 0 else np.zeros((0, 3))
        own_loss = ln_loss[i] if ln_loss.shape[0] > 0 else np.zeros((0, 2))
        status[i], reached[i], thickness[i] = propagate_track(
            field, surfaces, media, alpha, y, routes[i], own_offsets, own_loss, h_max, sense, max_steps, gaps,
            free[i], local[i], transport[i], theta[i], noise[i], path[i], work,
        )  # fmt: skip
        for leg in range(reached[i], n_legs):
            free[i, leg] = np.nan
            local[i, leg] = np.nan
            transport[i, leg] = np.nan
            theta[i, leg] = np.nan
            noise[i, leg] = np.nan
            path[i, leg] = np.nan
