"""The compiled loop over the legs of a track: what each leg starts with, what it returns, and its noise.

Local coordinates are (q, u', v', u, v).  In a gap the scattering on the way is represented by three kinks, at the
start, at a fraction f and at the end of the leg, of weights
    w_f = 1 / (6 f (1-f)),   w_1 = 1/2 - w_f f,   w_0 = 1 - w_f - w_1,
which integrates the quadratic growth of the offset variance exactly: L^3/3, L^2/2, L.
"""

from math import exp, log

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import CORRECTED, DEGREE, KIND, N_R, UNIFORM
from mucal.numerics.borrowing import INDEX, borrowing
from mucal.propagation.kernels.crossings import (
    GAP_X_OVER_X0,
    GAP_XI,
    MEDIUM,
    RADIUS,
    SHAPE,
    X_OVER_X0,
    XI,
    against_axis,
    local_axes,
    open_curvilinear,
    open_local,
    project,
    to_local,
)
from mucal.propagation.kernels.layout import BEGIN, FIELDS, LANES, OFFSET, ROWS, SUMMARY, Y
from mucal.propagation.kernels.legs import (
    BAD_START,
    KINK,
    LOOPER,
    LOSS_END,
    MISSED,
    OK,
    PATH,
    Q_KINK,
    RANGED_OUT,
    TOO_FORWARD,
    TURNED,
    VARIANCE_END,
    VARIANCE_KINK,
    VARIANCE_START,
    propagate_leg,
    workspace,
)
from mucal.propagation.kernels.losses import scattering, thin_loss

STEEPEST = 0.0366189934736865
"""cos(lambda) at |eta| = 4."""

# columns of a leg's parameters: offsets of B, ln of the thin and of the thick loss, field modes
DB, K_THIN, K_THICK, MODES = 0, 3, 4, 5

# what a leg starts with, from w[BEGIN] on: derivatives of q after the layer by (q, u', v', u) and by ln(loss scale);
# the slope covariance of a unit kink; variances of the kink and of q; radiation lengths
BY_Q, BY_U, BY_V, BY_X, BY_K, C_11, C_12, C_22, THETA2, Q_VARIANCE, THICKNESS = range(BEGIN, BEGIN + 11)


@borrowing
def _start_leg(w: FloatArray, block: FloatArray) -> None:
    """The first leg begins in curvilinear coordinates, and in no layer."""
    for j in range(11):
        w[BEGIN + j] = 0.0
    w[BY_Q], w[C_11] = 1.0, 1.0
    w[C_22] = 1.0 / (w[Y + 3] * w[Y + 3] + w[Y + 4] * w[Y + 4])
    open_curvilinear(w, block)


@borrowing
def _leave_layer(
    surfaces: FloatArray, media: FloatArray, last: int, alpha: float, scale: float, w: FloatArray, block: FloatArray
) -> bool:
    """The muon out of the thin material of surface `last`; fills w[BEGIN:] and opens the block.  False if it stops."""
    last &= INDEX
    inverse = 1.0 / against_axis(w, 2)
    us, vs = against_axis(w, 0) * inverse, against_axis(w, 1) * inverse
    w[BY_Q], w[BY_U], w[BY_V], w[BY_X], w[BY_K], w[Q_VARIANCE] = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    inverse2 = inverse * inverse
    w[C_11], w[C_12], w[C_22] = (1.0 + us * us) * inverse2, us * vs * inverse2, (1.0 + vs * vs) * inverse2
    w[THICKNESS], w[THETA2] = surfaces[last, X_OVER_X0] * abs(inverse), 0.0
    if w[THICKNESS] > 0.0:
        w[THETA2] = scattering(w[Y + 6], w[THICKNESS])
    if surfaces[last, XI] > 0.0:
        q_out, w[BY_Q], by_xi, w[BY_K], w[Q_VARIANCE] = thin_loss(
            w[Y + 6], surfaces[last, XI] * abs(inverse), scale, alpha, media[int(surfaces[last, MEDIUM])]
        )
        if q_out == 0.0:
            return False
        w[Y + 6] = q_out
        w[BY_U], w[BY_V] = by_xi * us / inverse2, by_xi * vs / inverse2
        if surfaces[last, SHAPE] != 0.0:  # the normal of a cylinder turns with the point
            w[BY_X] = -by_xi * us / surfaces[last, RADIUS]
    open_local(w, block)
    return True


@borrowing
def _write_leg(
    leg: int, w: FloatArray, first: FloatArray, blocks: FloatArray, first_mode: int, n_modes: int,
    transport: FloatArray, theta: FloatArray, noise: FloatArray, straggling: FloatArray,
) -> None:  # fmt: skip
    """The leg's Jacobian, parameter columns, and the noise of what it begins with, from the projected columns."""
    leg &= INDEX
    theta2, q_variance = w[THETA2], w[Q_VARIANCE]
    a11, a12, a22 = theta2 * w[C_11], theta2 * w[C_12], theta2 * w[C_22]
    for r in range(5):
        row = ROWS + LANES * r
        by_q, by_u, by_v = first[row], first[row + 1], first[row + 2]
        transport[leg, r, 0] = by_q * w[BY_Q]
        transport[leg, r, 1] = by_u + by_q * w[BY_U]
        transport[leg, r, 2] = by_v + by_q * w[BY_V]
        transport[leg, r, 3] = first[row + 3] + by_q * w[BY_X]
        transport[leg, r, 4] = first[row + 4]
        theta[leg, r, DB], theta[leg, r, DB + 1] = first[row + 5], first[row + 6]
        theta[leg, r, DB + 2], theta[leg, r, K_THIN] = first[row + 7], by_q * w[BY_K]
        theta[leg, r, K_THICK] = blocks[1, row] if first_mode > LANES else 0.0
        for m in range(n_modes):
            column = first_mode + m
            theta[leg, r, MODES + m] = blocks[column // LANES, row + column % LANES]
        left, right, energy = a11 * by_u + a12 * by_v, a12 * by_u + a22 * by_v, q_variance * by_q
        for c in range(5):
            column = ROWS + LANES * c
            noise[leg, r, c] = left * first[column + 1] + right * first[column + 2]
            straggling[leg, r, c] = energy * first[column]


@borrowing
def _add_square(noise: FloatArray, at: int, block: FloatArray, j: int, value: float) -> None:
    """noise[at] (5, 5) += value c c^T of projected column j of a block."""
    for r in range(5):
        left = value * block[ROWS + LANES * r + j]
        for c in range(5):
            noise[at, r, c] += left * block[ROWS + LANES * c + j]


@borrowing
def _gap_weights(w: FloatArray) -> tuple[float, float, float]:
    """Weights of the kinks at the start, in the middle and at the end of a gap."""
    f = w[SUMMARY + KINK] / w[SUMMARY + PATH]
    w_f = 1.0 / (6.0 * f * (1.0 - f))
    w_1 = 0.5 - w_f * f
    return 1.0 - w_f - w_1, w_f, w_1


@borrowing
def _gap_start(surfaces: FloatArray, i: int, q: float, w: FloatArray) -> None:
    """What the start of a gap adds to the layer that the leg leaves; the thickness is that of the whole gap."""
    w_0, _, _ = _gap_weights(w)
    length = abs(w[SUMMARY + PATH])
    gap = surfaces[i, GAP_X_OVER_X0] * length
    w[THICKNESS] += gap
    w[THETA2] += w_0 * scattering(q, gap)
    if surfaces[i, GAP_XI] > 0.0:
        w[Q_VARIANCE] += w_0 * length * w[SUMMARY + VARIANCE_START]


@borrowing
def _gap_noise(
    surfaces: FloatArray, i: int, block: FloatArray, local: FloatArray, leg: int, w: FloatArray, noise: FloatArray,
    straggling: FloatArray,
) -> None:  # fmt: skip
    """Noise from the middle of a gap (columns 1, 2, 3 of the block) and from its end."""
    _, w_f, w_1 = _gap_weights(w)
    length = abs(w[SUMMARY + PATH])
    gap = surfaces[i, GAP_X_OVER_X0] * length
    kink = w_f * scattering(w[SUMMARY + Q_KINK], gap)
    _add_square(noise, leg, block, 1, kink)
    _add_square(noise, leg, block, 2, kink)
    us, vs = local[leg, 1], local[leg, 2]
    kink = w_1 * scattering(w[Y + 6], gap) * (1.0 + us * us + vs * vs)
    noise[leg, 1, 1] += kink * (1.0 + us * us)
    noise[leg, 1, 2] += kink * us * vs
    noise[leg, 2, 1] += kink * us * vs
    noise[leg, 2, 2] += kink * (1.0 + vs * vs)
    if surfaces[i, GAP_XI] > 0.0:
        _add_square(straggling, leg, block, 3, w_f * length * w[SUMMARY + VARIANCE_KINK])
        straggling[leg, 0, 0] += w_1 * length * w[SUMMARY + VARIANCE_END]


@borrowing
def _finish_noise(noise: FloatArray, straggling: FloatArray, reached: int, thickness: float, straggles: bool) -> None:
    """Scattering times Highland's logarithm of the whole route, plus straggling."""
    highland = 1.0
    if thickness > 0.0:
        highland = (1.0 + 0.038 * log(thickness)) ** 2
    elif not straggles:
        return
    for leg in range(reached):
        for r in range(5):
            for c in range(5):
                noise[leg, r, c] = highland * noise[leg, r, c] + straggling[leg, r, c]


@borrowing
def bad_start(y: FloatArray) -> int:
    """OK, BAD_START or TOO_FORWARD."""
    if not (np.isfinite(y[0] + y[1] + y[2] + y[3] + y[4] + y[5] + y[6]) and y[6] != 0.0):
        return BAD_START
    if y[3] * y[3] + y[4] * y[4] < STEEPEST * STEEPEST:
        return TOO_FORWARD
    return OK


@borrowing
def propagate_track(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, alpha: float, y: FloatArray, route: IntArray,
    offsets: FloatArray, ln_loss: FloatArray, h_max: float, sense: float, max_steps: int, gaps: bool,
    free: FloatArray, local: FloatArray, transport: FloatArray, theta: FloatArray, noise: FloatArray,
    path: FloatArray, work: tuple[FloatArray, ...],
) -> tuple[int, int, float]:  # fmt: skip
    """One track through its route; y (7,) becomes the muon at its end.  Returns status, surfaces reached, X0 crossed.

    route   : (L,)       surfaces in order, -1 ends it
    offsets : (L, 3)     T, field added on each leg; (0, 3) for none
    ln_loss : (L, 2)     ln of the scale of the mean loss in the layer left and in the leg's gap; (0, 2) for none
    gaps    :            whether any leg holds thick material
    free, local, transport, theta, noise, path : (L, 7), (L, 5), (L, 5, 5), (L, 5, 5+M), (L, 5, 5), (L,)  filled
    """
    blocks, mode_b, straggling, table, w = work
    first = blocks[0]
    n_modes = mode_b.shape[1]
    first_mode = 12 if gaps else LANES
    exact = int(field[KIND]) == UNIFORM and field[CORRECTED] == 0.0 and field[N_R] == 0.0 and n_modes == 0 and not gaps
    w[OFFSET], w[OFFSET + 1], w[OFFSET + 2] = 0.0, 0.0, 0.0
    for j in range(7):
        w[Y + j] = y[j]
    thickness, reached, steps, turned, straggles = 0.0, 0, 0, 0.0, False
    status = bad_start(y)
    for leg in range(route.size):
        i = route[leg]
        if i < 0 or status != OK:
            break
        thin_scale, thick_scale = 1.0, 1.0
        if ln_loss.shape[0] > 0:
            thin_scale, thick_scale = exp(ln_loss[leg, 0]), exp(ln_loss[leg, 1])
        if offsets.shape[0] > 0:
            w[OFFSET], w[OFFSET + 1], w[OFFSET + 2] = offsets[leg, 0], offsets[leg, 1], offsets[leg, 2]
        if leg == 0:
            _start_leg(w, first)
        elif not _leave_layer(surfaces, media, route[leg - 1], alpha, thin_scale, w, first):
            status = RANGED_OUT
            break
        for j in range(1, blocks.shape[0]):
            blocks[j, :FIELDS] = 0.0
        q_start = w[Y + 6]
        status, taken = propagate_leg(
            field, surfaces, media, i, w, thick_scale, h_max, sense, max_steps - steps, first_mode, exact, leg > 0,
            first, blocks, mode_b, table,
        )  # fmt: skip
        if status != OK:
            break
        steps += taken
        turned += w[SUMMARY + TURNED]
        if turned > np.pi:
            status = LOOPER
            break
        local_axes(surfaces, i, w)
        if abs(against_axis(w, 2)) < 1e-3:
            status = MISSED
            break
        to_local(surfaces, i, w, local, leg)
        project(w, w[SUMMARY + LOSS_END], first)
        for j in range(1, blocks.shape[0]):
            project(w, w[SUMMARY + LOSS_END], blocks[j])
        for j in range(7):
            free[leg, j] = w[Y + j]
        path[leg] = w[SUMMARY + PATH]
        in_gap = gaps and w[SUMMARY + KINK] >= 0.0
        if in_gap:
            _gap_start(surfaces, i, q_start, w)
        _write_leg(leg, w, first, blocks, first_mode, n_modes, transport, theta, noise, straggling)
        if in_gap:
            _gap_noise(surfaces, i, blocks[1], local, leg, w, noise, straggling)
        thickness += w[THICKNESS]
        straggles = straggles or w[Q_VARIANCE] > 0.0
        reached = leg + 1
    for j in range(7):
        y[j] = w[Y + j]
    _finish_noise(noise, straggling, reached, thickness, straggles)
    return status, reached, thickness


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
        own_offsets = offsets[i] if offsets.shape[0] > 0 else np.zeros((0, 3))
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
