"""Compiled steps through the field: Runge-Kutta-Nystroem of fourth order, and the helix where B is uniform.

A muon is y = (x, y, z, t_x, t_y, t_z, q) with |t| = 1 and q = charge/momentum; it obeys
    dr/ds = t,   dt/ds = kappa q t x B(r),   dq/ds = g(q).
A step stores what each of its four stages saw; `step_columns` carries the derivatives D (7, n) through the very same
stages, so D is the derivative of the numerical map, not an approximation to it.  The loop over columns is innermost:
the compiler turns it into vector instructions.
"""

from math import cos, sin, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import INSIDE, evaluate
from mucal.propagation.kernels.losses import thick_loss
from mucal.units import CURVATURE

# One row a stage: direction, q, field, gradient, and dq/ds with its derivatives by q and by the loss scale.
TX, TY, TZ, Q, BX, BY, BZ, GRADIENT = 0, 1, 2, 3, 4, 5, 6, 7
LOSS, LOSS_Q, LOSS_K, STAGE = 16, 17, 18, 19

STOPPED = 2
"""What `step_state` returns, beside INSIDE and OUTSIDE, for a muon that falls below SLOWEST."""

SLOWEST = 0.05
"""GeV; a muon of less momentum has a few mm of range left in a solid."""

# The medium of a leg, in the order in which the kernels pass it; XI = 0 is vacuum.
XI, SCALE, CUT, MEDIUM_SIZE = 0, 1, 2, 3


@njit(cache=True)
def step_state(
    field: FloatArray, y: FloatArray, h: float, b: FloatArray, g: FloatArray, offset: FloatArray,
    medium: FloatArray, constants: FloatArray, stages: FloatArray, b_work: FloatArray, g_work: FloatArray,
    table: FloatArray,
) -> int:  # fmt: skip
    """One step of length h (cm) of y (7,), in place; the field at its start is given.  Returns INSIDE, OUTSIDE or STOPPED.

    b, g      : (3,), (9,)  field (with the leg's offset) and gradient at y
    offset    : (3,) T      constant field added on this leg
    medium    : (3,)        xi per cm, scale, cut; constants those of `detector.kernels`
    stages    : (4, STAGE)  filled
    """
    x0, y0, z0, t0, t1, t2, q0 = y[0], y[1], y[2], y[3], y[4], y[5], y[6]
    lossy = medium[XI] > 0.0
    half = 0.5 * h
    kx, ky, kz, kq = 0.0, 0.0, 0.0, 0.0
    sum_rx, sum_ry, sum_rz, sum_tx, sum_ty, sum_tz, sum_q = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(4):
        # position and direction at which the stage is evaluated
        u0, u1, u2, q = t0, t1, t2, q0
        if i == 1 or i == 2:
            u0, u1, u2, q = t0 + half * kx, t1 + half * ky, t2 + half * kz, q0 + half * kq
        elif i == 3:
            u0, u1, u2, q = t0 + h * kx, t1 + h * ky, t2 + h * kz, q0 + h * kq
        if i == 0:
            for j in range(3):
                stages[0, BX + j] = b[j]
            for j in range(9):
                stages[0, GRADIENT + j] = g[j]
        elif i == 2:  # the same point as stage 1
            for j in range(12):
                stages[2, BX + j] = stages[1, BX + j]
        else:
            if i == 1:
                a1, a2 = half, 0.125 * h * h
            else:
                a1, a2 = h, 0.5 * h * h
            where = evaluate(
                field, x0 + a1 * t0 + a2 * kx, y0 + a1 * t1 + a2 * ky, z0 + a1 * t2 + a2 * kz, b_work, g_work, table
            )
            if where != INSIDE:
                return where
            for j in range(3):
                stages[i, BX + j] = b_work[j] + offset[j]
            for j in range(9):
                stages[i, GRADIENT + j] = g_work[j]
        stages[i, TX], stages[i, TY], stages[i, TZ], stages[i, Q] = u0, u1, u2, q
        bx, by, bz = stages[i, BX], stages[i, BY], stages[i, BZ]
        w = CURVATURE * q
        kx, ky, kz = w * (u1 * bz - u2 * by), w * (u2 * bx - u0 * bz), w * (u0 * by - u1 * bx)
        kq, stages[i, LOSS_Q], stages[i, LOSS_K] = 0.0, 0.0, 0.0
        if lossy:
            if not abs(q) * SLOWEST < 1.0 or q * q0 < 0.0:
                return STOPPED
            kq, stages[i, LOSS_Q], stages[i, LOSS_K], _ = thick_loss(
                q, medium[XI], medium[SCALE], medium[CUT], constants
            )
        stages[i, LOSS] = kq
        if i < 3:
            sum_rx, sum_ry, sum_rz = sum_rx + kx, sum_ry + ky, sum_rz + kz
        weight = 2.0 if i == 1 or i == 2 else 1.0
        sum_tx, sum_ty, sum_tz = sum_tx + weight * kx, sum_ty + weight * ky, sum_tz + weight * kz
        sum_q += weight * kq
    sixth = h / 6.0
    y[0] = x0 + h * (t0 + sixth * sum_rx)
    y[1] = y0 + h * (t1 + sixth * sum_ry)
    y[2] = z0 + h * (t2 + sixth * sum_rz)
    t0, t1, t2 = t0 + sixth * sum_tx, t1 + sixth * sum_ty, t2 + sixth * sum_tz
    norm = 1.0 / sqrt(t0 * t0 + t1 * t1 + t2 * t2)
    y[3], y[4], y[5] = t0 * norm, t1 * norm, t2 * norm
    y[6] = q0 + sixth * sum_q
    return INSIDE


@njit(cache=True)
def fill_sources(sources: FloatArray, stages: FloatArray, mode_b: FloatArray, first_mode: int) -> None:
    """What drives each column directly: sources (16, n), rows stage * 4 + (dt_x, dt_y, dt_z, dq).

    Columns 5, 6, 7 are the offsets of B_x, B_y, B_z; column 8, where legs can hold material, is ln(loss scale); from
    `first_mode` on they are field modes, whose fields at the three distinct points are mode_b (9, M).
    """
    n_modes = mode_b.shape[1]
    for i in range(4):
        w = CURVATURE * stages[i, Q]
        a0, a1, a2 = w * stages[i, TX], w * stages[i, TY], w * stages[i, TZ]
        row = 4 * i
        # a x e_j
        sources[row, 5], sources[row + 1, 5], sources[row + 2, 5] = 0.0, a2, -a1
        sources[row, 6], sources[row + 1, 6], sources[row + 2, 6] = -a2, 0.0, a0
        sources[row, 7], sources[row + 1, 7], sources[row + 2, 7] = a1, -a0, 0.0
        if first_mode > 8:
            sources[row + 3, 8] = stages[i, LOSS_K]
        point = 3 * ((i + 1) // 2)
        for k in range(n_modes):
            bx, by, bz = mode_b[point, k], mode_b[point + 1, k], mode_b[point + 2, k]
            sources[row, first_mode + k] = a1 * bz - a2 * by
            sources[row + 1, first_mode + k] = a2 * bx - a0 * bz
            sources[row + 2, first_mode + k] = a0 * by - a1 * bx


@njit(cache=True)
def _stage_matrix(stages: FloatArray, i: int) -> tuple[float, ...]:
    """d(dt/ds) of stage i by r (kappa q [t]x G, 9), by q (kappa t x B, 3), by t (kappa q B, 3), and dg/dq."""
    q = CURVATURE * stages[i, Q]
    t0, t1, t2 = stages[i, TX], stages[i, TY], stages[i, TZ]
    a0, a1, a2 = q * t0, q * t1, q * t2
    bx, by, bz = stages[i, BX], stages[i, BY], stages[i, BZ]
    g = GRADIENT
    return (
        a1 * stages[i, g + 6] - a2 * stages[i, g + 3],
        a1 * stages[i, g + 7] - a2 * stages[i, g + 4],
        a1 * stages[i, g + 8] - a2 * stages[i, g + 5],
        a2 * stages[i, g] - a0 * stages[i, g + 6],
        a2 * stages[i, g + 1] - a0 * stages[i, g + 7],
        a2 * stages[i, g + 2] - a0 * stages[i, g + 8],
        a0 * stages[i, g + 3] - a1 * stages[i, g],
        a0 * stages[i, g + 4] - a1 * stages[i, g + 1],
        a0 * stages[i, g + 5] - a1 * stages[i, g + 2],
        CURVATURE * (t1 * bz - t2 * by),
        CURVATURE * (t2 * bx - t0 * bz),
        CURVATURE * (t0 * by - t1 * bx),
        q * bx,
        q * by,
        q * bz,
        stages[i, LOSS_Q],
    )


@njit(cache=True)
def step_columns(d: FloatArray, n: int, h: float, stages: FloatArray, sources: FloatArray) -> None:
    """The derivatives d (7, n) of the muon, through one step of length h whose stages are stored; in place."""
    half, eighth, sixth = 0.5 * h, 0.125 * h * h, h / 6.0
    m1, m2 = _stage_matrix(stages, 0), _stage_matrix(stages, 1)
    m3, m4 = _stage_matrix(stages, 2), _stage_matrix(stages, 3)
    for j in range(n):
        x, y, z, u, v, w, q = d[0, j], d[1, j], d[2, j], d[3, j], d[4, j], d[5, j], d[6, j]
        a0 = m1[0] * x + m1[1] * y + m1[2] * z + m1[9] * q + v * m1[14] - w * m1[13] + sources[0, j]
        a1 = m1[3] * x + m1[4] * y + m1[5] * z + m1[10] * q + w * m1[12] - u * m1[14] + sources[1, j]
        a2 = m1[6] * x + m1[7] * y + m1[8] * z + m1[11] * q + u * m1[13] - v * m1[12] + sources[2, j]
        aq = m1[15] * q + sources[3, j]
        # stages 2 and 3 share their point
        xm, ym, zm = x + half * u + eighth * a0, y + half * v + eighth * a1, z + half * w + eighth * a2
        us, vs, ws, qs = u + half * a0, v + half * a1, w + half * a2, q + half * aq
        b0 = m2[0] * xm + m2[1] * ym + m2[2] * zm + m2[9] * qs + vs * m2[14] - ws * m2[13] + sources[4, j]
        b1 = m2[3] * xm + m2[4] * ym + m2[5] * zm + m2[10] * qs + ws * m2[12] - us * m2[14] + sources[5, j]
        b2 = m2[6] * xm + m2[7] * ym + m2[8] * zm + m2[11] * qs + us * m2[13] - vs * m2[12] + sources[6, j]
        bq = m2[15] * qs + sources[7, j]
        us, vs, ws, qs = u + half * b0, v + half * b1, w + half * b2, q + half * bq
        c0 = m3[0] * xm + m3[1] * ym + m3[2] * zm + m3[9] * qs + vs * m3[14] - ws * m3[13] + sources[8, j]
        c1 = m3[3] * xm + m3[4] * ym + m3[5] * zm + m3[10] * qs + ws * m3[12] - us * m3[14] + sources[9, j]
        c2 = m3[6] * xm + m3[7] * ym + m3[8] * zm + m3[11] * qs + us * m3[13] - vs * m3[12] + sources[10, j]
        cq = m3[15] * qs + sources[11, j]
        xm, ym, zm = x + h * (u + half * c0), y + h * (v + half * c1), z + h * (w + half * c2)
        us, vs, ws, qs = u + h * c0, v + h * c1, w + h * c2, q + h * cq
        e0 = m4[0] * xm + m4[1] * ym + m4[2] * zm + m4[9] * qs + vs * m4[14] - ws * m4[13] + sources[12, j]
        e1 = m4[3] * xm + m4[4] * ym + m4[5] * zm + m4[10] * qs + ws * m4[12] - us * m4[14] + sources[13, j]
        e2 = m4[6] * xm + m4[7] * ym + m4[8] * zm + m4[11] * qs + us * m4[13] - vs * m4[12] + sources[14, j]
        eq = m4[15] * qs + sources[15, j]
        d[0, j] = x + h * (u + sixth * (a0 + b0 + c0))
        d[1, j] = y + h * (v + sixth * (a1 + b1 + c1))
        d[2, j] = z + h * (w + sixth * (a2 + b2 + c2))
        d[3, j] = u + sixth * (a0 + 2.0 * (b0 + c0) + e0)
        d[4, j] = v + sixth * (a1 + 2.0 * (b1 + c1) + e1)
        d[5, j] = w + sixth * (a2 + 2.0 * (b2 + c2) + e2)
        d[6, j] = q + sixth * (aq + 2.0 * (bq + cq) + eq)


@njit(cache=True)
def shift(
    y: FloatArray, d: FloatArray, n: int, s: float, k: FloatArray, loss: float, stages: FloatArray, sources: FloatArray
) -> None:
    """A Taylor step of a small length s at the end of a step whose stages are stored; y (7,) and d (7, n), in place.

    k : (6,)  dt/ds and its derivative at y
    """
    m = _stage_matrix(stages, 3)
    for j in range(n):
        x, v, z, t0, t1, t2, q = d[0, j], d[1, j], d[2, j], d[3, j], d[4, j], d[5, j], d[6, j]
        a0 = m[0] * x + m[1] * v + m[2] * z + m[9] * q + t1 * m[14] - t2 * m[13] + sources[12, j]
        a1 = m[3] * x + m[4] * v + m[5] * z + m[10] * q + t2 * m[12] - t0 * m[14] + sources[13, j]
        a2 = m[6] * x + m[7] * v + m[8] * z + m[11] * q + t0 * m[13] - t1 * m[12] + sources[14, j]
        d[0, j] = x + s * (t0 + 0.5 * s * a0)
        d[1, j] = v + s * (t1 + 0.5 * s * a1)
        d[2, j] = z + s * (t2 + 0.5 * s * a2)
        d[3, j] = t0 + s * a0
        d[4, j] = t1 + s * a1
        d[5, j] = t2 + s * a2
        d[6, j] = q + s * (m[15] * q + sources[15, j])
    for i in range(3):
        y[i] += s * (y[3 + i] + s * (0.5 * k[i] + s * k[3 + i] / 6.0))
    for i in range(3):
        y[3 + i] += s * (k[i] + 0.5 * s * k[3 + i])
    y[6] += loss * s


# ------------------------------------------------------------------------------------------------ helix


@njit(cache=True)
def helix_integrals(angle: float, s: float) -> tuple[float, float, float, float, float, float]:
    """cos, sin, sin/w, (1-cos)/w, and d/dw of the last two, for angle = w s; series where the angle is small.

    The derivatives are (angle cos - sin)/w^2 and (cos + angle sin - 1)/w^2.
    """
    a2 = angle * angle
    if abs(angle) < 0.05:  # the next terms are below 1e-16
        sinc = 1.0 - a2 / 6.0 * (1.0 - a2 / 20.0 * (1.0 - a2 / 42.0 * (1.0 - a2 / 72.0)))
        cosc = 0.5 * (1.0 - a2 / 12.0 * (1.0 - a2 / 30.0 * (1.0 - a2 / 56.0)))
        slope_s = -angle / 3.0 * (1.0 - a2 / 10.0 * (1.0 - a2 / 28.0 * (1.0 - a2 / 54.0)))
        slope_c = 0.5 * (1.0 - a2 / 4.0 * (1.0 - a2 / 18.0 * (1.0 - a2 / 40.0)))
        return cos(angle), sin(angle), s * sinc, s * angle * cosc, s * s * slope_s, s * s * slope_c
    c, sn = cos(angle), sin(angle)
    w = angle / s
    return c, sn, sn / w, (1.0 - c) / w, (angle * c - sn) / (w * w), (c + angle * sn - 1.0) / (w * w)


@njit(cache=True)
def helix_step(y: FloatArray, h: float, b: FloatArray, d: FloatArray, n: int) -> None:
    """One step of any length in a uniform field b (3,), without loss: y (7,) and its derivatives d (7, n), in place.

    With e = B/|B|, w = kappa q |B|:
        t(s) = (e.t) e + cos(ws) t_perp - sin(ws) e x t,
        r(s) = r + s (e.t) e + sin(ws)/w t_perp - (1 - cos(ws))/w e x t.
    Columns 5, 6, 7 of d are driven by dB; n may be 0.
    """
    size = sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2])
    if size == 0.0:
        for i in range(3):
            y[i] += h * y[3 + i]
            for j in range(n):
                d[i, j] += h * d[3 + i, j]
        if n > 5:
            _straight_sources(y, h, d)
        return
    e0, e1, e2 = b[0] / size, b[1] / size, b[2] / size
    w = CURVATURE * y[6] * size
    c, sn, s_w, c_w, ds_w, dc_w = helix_integrals(w * h, h)
    t0, t1, t2 = y[3], y[4], y[5]
    along = e0 * t0 + e1 * t1 + e2 * t2
    p0, p1, p2 = t0 - along * e0, t1 - along * e1, t2 - along * e2
    x0, x1, x2 = e1 * t2 - e2 * t1, e2 * t0 - e0 * t2, e0 * t1 - e1 * t0
    f0, f1, f2 = along * e0 + c * p0 - sn * x0, along * e1 + c * p1 - sn * x1, along * e2 + c * p2 - sn * x2
    # by w: dt = -s e x t(s), dr = (d sin/w) t_perp - (d (1-cos)/w) e x t
    tw0, tw1, tw2 = -h * (e1 * f2 - e2 * f1), -h * (e2 * f0 - e0 * f2), -h * (e0 * f1 - e1 * f0)
    rw0, rw1, rw2 = ds_w * p0 - dc_w * x0, ds_w * p1 - dc_w * x1, ds_w * p2 - dc_w * x2
    q_scale = CURVATURE * size
    for j in range(n):
        u0, u1, u2, dw = d[3, j], d[4, j], d[5, j], q_scale * d[6, j]
        a = e0 * u0 + e1 * u1 + e2 * u2
        v0, v1, v2 = e1 * u2 - e2 * u1, e2 * u0 - e0 * u2, e0 * u1 - e1 * u0
        u0, u1, u2 = u0 - a * e0, u1 - a * e1, u2 - a * e2
        d[0, j] += h * a * e0 + s_w * u0 - c_w * v0 + rw0 * dw
        d[1, j] += h * a * e1 + s_w * u1 - c_w * v1 + rw1 * dw
        d[2, j] += h * a * e2 + s_w * u2 - c_w * v2 + rw2 * dw
        d[3, j] = a * e0 + c * u0 - sn * v0 + tw0 * dw
        d[4, j] = a * e1 + c * u1 - sn * v1 + tw1 * dw
        d[5, j] = a * e2 + c * u2 - sn * v2 + tw2 * dw
    if n > 5:
        for k in range(3):
            # dB = e_k: |B| grows by e.dB, the axis turns by the rest over |B|
            b0, b1, b2 = 1.0 * (k == 0), 1.0 * (k == 1), 1.0 * (k == 2)
            grow = e0 * b0 + e1 * b1 + e2 * b2
            dw = CURVATURE * y[6] * grow
            g0, g1, g2 = (b0 - grow * e0) / size, (b1 - grow * e1) / size, (b2 - grow * e2) / size
            gt = g0 * t0 + g1 * t1 + g2 * t2
            v0, v1, v2 = t1 * g2 - t2 * g1, t2 * g0 - t0 * g2, t0 * g1 - t1 * g0  # t x de = -(de x t)
            d[3, 5 + k] += tw0 * dw + (1.0 - c) * (e0 * gt + along * g0) + sn * v0
            d[4, 5 + k] += tw1 * dw + (1.0 - c) * (e1 * gt + along * g1) + sn * v1
            d[5, 5 + k] += tw2 * dw + (1.0 - c) * (e2 * gt + along * g2) + sn * v2
            d[0, 5 + k] += rw0 * dw + (h - s_w) * (e0 * gt + along * g0) + c_w * v0
            d[1, 5 + k] += rw1 * dw + (h - s_w) * (e1 * gt + along * g1) + c_w * v1
            d[2, 5 + k] += rw2 * dw + (h - s_w) * (e2 * gt + along * g2) + c_w * v2
    y[0] += h * along * e0 + s_w * p0 - c_w * x0
    y[1] += h * along * e1 + s_w * p1 - c_w * x1
    y[2] += h * along * e2 + s_w * p2 - c_w * x2
    norm = 1.0 / sqrt(f0 * f0 + f1 * f1 + f2 * f2)
    y[3], y[4], y[5] = f0 * norm, f1 * norm, f2 * norm


@njit(cache=True)
def _straight_sources(y: FloatArray, h: float, d: FloatArray) -> None:
    """The field columns where there is no field: dt = kappa q h t x dB, dr = half of h times that."""
    w = CURVATURE * y[6] * h
    a = np.array([w * y[3], w * y[4], w * y[5]])
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        d[3 + i, 5 + k] += a[j]
        d[3 + j, 5 + k] -= a[i]
        d[i, 5 + k] += 0.5 * h * a[j]
        d[j, 5 + k] -= 0.5 * h * a[i]
