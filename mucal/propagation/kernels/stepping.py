"""Compiled steps through the field: Runge-Kutta-Nystroem of fourth order, and the helix where B is uniform.

A muon is y = (x, y, z, t_x, t_y, t_z, q) with |t| = 1 and q = charge/momentum; it obeys
    dr/ds = t,   dt/ds = kappa q t x B(r),   dq/ds = g(q).
A step stores what each of its four stages saw; `step_columns` carries the derivatives through the very same stages, so
they are the derivatives of the numerical map, not an approximation to it.

Derivatives come in blocks of LANES columns: a flat array of BLOCK numbers, of which row r and column j is at
LANES r + j.  Rows 0-6 are dy, the next 16 the sources (stage by stage: what drives dt and dq of each column directly),
the last 5 the projection on a surface.  With all of it in one array at constant distances the compiler proves that the
columns do not overlap and does a block with vector instructions, twice as fast as rows of a matrix.
"""

from math import cos, sin, sqrt

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import INSIDE, evaluate
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.losses import thick_loss
from mucal.units import CURVATURE

LANES = 8
SOURCES = 7 * LANES
ROWS = 23 * LANES
BLOCK = 28 * LANES

# One row a stage: direction, q, field and gradient, and dq/ds with its derivatives by q and by the loss scale.
TX, TY, TZ, Q, BX, BY, BZ, GRADIENT = 0, 1, 2, 3, 4, 5, 6, 7
LOSS, LOSS_Q, LOSS_K, STAGE = 16, 17, 18, 19

STOPPED = 2
"""What `step_state` returns, beside INSIDE and OUTSIDE, for a muon that falls below SLOWEST."""

SLOWEST = 0.05
"""GeV; a muon of less momentum has a few mm of range left in a solid."""

# The medium of a leg, in the order in which the kernels pass it; XI = 0 is vacuum.
XI, SCALE, CUT, ROW = 0, 1, 2, 3


@borrowing
def _enter(stages: FloatArray, i: int, t0: float, t1: float, t2: float, q: float, f: FloatArray) -> None:
    stages[i, TX], stages[i, TY], stages[i, TZ], stages[i, Q] = t0, t1, t2, q
    for j in range(12):
        stages[i, BX + j] = f[j]


@borrowing
def _lose(stages: FloatArray, i: int, q: float, medium: FloatArray, media: FloatArray) -> float:
    """dq/ds of a stage, stored; NaN for a muon that is too slow."""
    if not abs(q) * SLOWEST < 1.0:
        return float("nan")
    g, stages[i, LOSS_Q], stages[i, LOSS_K], _ = thick_loss(
        q, medium[XI], medium[SCALE], medium[CUT], media[int(medium[ROW])]
    )
    stages[i, LOSS] = g
    return g


@borrowing
def step_state(
    field: FloatArray, y: FloatArray, h: float, f: FloatArray, offset: FloatArray, medium: FloatArray,
    media: FloatArray, stages: FloatArray, f_work: FloatArray, table: FloatArray,
) -> int:  # fmt: skip
    """One step of length h (cm) of y (7,), in place.  Returns INSIDE, OUTSIDE or STOPPED.

    f         : (12,)       field (with the leg's offset) and gradient at y
    offset    : (3,) T      constant field added on this leg
    medium    : (4,)        xi per cm, scale, cut, row of media (K, 12), the constants of `detector.kernels`
    stages    : (4, STAGE)  filled
    """
    x, y1, z, t0, t1, t2, q = y[0], y[1], y[2], y[3], y[4], y[5], y[6]
    half, eighth, sixth = 0.5 * h, 0.125 * h * h, h / 6.0
    lossy = medium[XI] > 0.0
    g1, g2, g3, g4 = 0.0, 0.0, 0.0, 0.0
    # start
    _enter(stages, 0, t0, t1, t2, q, f)
    if lossy:
        g1 = _lose(stages, 0, q, medium, media)
    w, b0, b1, b2 = CURVATURE * q, f[0], f[1], f[2]
    a0, a1, a2 = w * (t1 * b2 - t2 * b1), w * (t2 * b0 - t0 * b2), w * (t0 * b1 - t1 * b0)
    # middle, twice at the same point
    where = evaluate(
        field, x + half * t0 + eighth * a0, y1 + half * t1 + eighth * a1, z + half * t2 + eighth * a2, f_work, table
    )
    if where != INSIDE:
        return where
    b0, b1, b2 = f_work[0] + offset[0], f_work[1] + offset[1], f_work[2] + offset[2]
    f_work[0], f_work[1], f_work[2] = b0, b1, b2
    u0, u1, u2, p = t0 + half * a0, t1 + half * a1, t2 + half * a2, q + half * g1
    _enter(stages, 1, u0, u1, u2, p, f_work)
    if lossy:
        g2 = _lose(stages, 1, p, medium, media)
    w = CURVATURE * p
    c0, c1, c2 = w * (u1 * b2 - u2 * b1), w * (u2 * b0 - u0 * b2), w * (u0 * b1 - u1 * b0)
    u0, u1, u2, p = t0 + half * c0, t1 + half * c1, t2 + half * c2, q + half * g2
    _enter(stages, 2, u0, u1, u2, p, f_work)
    if lossy:
        g3 = _lose(stages, 2, p, medium, media)
    w = CURVATURE * p
    d0, d1, d2 = w * (u1 * b2 - u2 * b1), w * (u2 * b0 - u0 * b2), w * (u0 * b1 - u1 * b0)
    # end
    where = evaluate(
        field, x + h * (t0 + half * d0), y1 + h * (t1 + half * d1), z + h * (t2 + half * d2), f_work, table
    )
    if where != INSIDE:
        return where
    b0, b1, b2 = f_work[0] + offset[0], f_work[1] + offset[1], f_work[2] + offset[2]
    f_work[0], f_work[1], f_work[2] = b0, b1, b2
    u0, u1, u2, p = t0 + h * d0, t1 + h * d1, t2 + h * d2, q + h * g3
    _enter(stages, 3, u0, u1, u2, p, f_work)
    if lossy:
        g4 = _lose(stages, 3, p, medium, media)
    w = CURVATURE * p
    e0, e1, e2 = w * (u1 * b2 - u2 * b1), w * (u2 * b0 - u0 * b2), w * (u0 * b1 - u1 * b0)
    p = q + sixth * (g1 + 2.0 * (g2 + g3) + g4)
    if not p * q > 0.0:
        return STOPPED
    y[0] = x + h * (t0 + sixth * (a0 + c0 + d0))
    y[1] = y1 + h * (t1 + sixth * (a1 + c1 + d1))
    y[2] = z + h * (t2 + sixth * (a2 + c2 + d2))
    t0 = t0 + sixth * (a0 + 2.0 * (c0 + d0) + e0)
    t1 = t1 + sixth * (a1 + 2.0 * (c1 + d1) + e1)
    t2 = t2 + sixth * (a2 + 2.0 * (c2 + d2) + e2)
    norm = 1.0 / sqrt(t0 * t0 + t1 * t1 + t2 * t2)
    y[3], y[4], y[5], y[6] = t0 * norm, t1 * norm, t2 * norm, p
    return INSIDE


@borrowing
def field_sources(block: FloatArray, stages: FloatArray) -> None:
    """Sources of columns 5, 6, 7 of the first block, the offsets of B_x, B_y, B_z: kappa q t x e_j at each stage."""
    for i in range(4):
        w = CURVATURE * stages[i, Q]
        a0, a1, a2 = w * stages[i, TX], w * stages[i, TY], w * stages[i, TZ]
        row = SOURCES + 4 * LANES * i
        block[row + 5], block[row + LANES + 5], block[row + 2 * LANES + 5] = 0.0, a2, -a1
        block[row + 6], block[row + LANES + 6], block[row + 2 * LANES + 6] = -a2, 0.0, a0
        block[row + 7], block[row + LANES + 7], block[row + 2 * LANES + 7] = a1, -a0, 0.0


@borrowing
def mode_sources(block: FloatArray, lane: int, stages: FloatArray, mode_b: FloatArray, mode: int) -> None:
    """Sources of one column of a field mode, whose fields at the three points of the step are mode_b (9, M)."""
    for i in range(4):
        w = CURVATURE * stages[i, Q]
        a0, a1, a2 = w * stages[i, TX], w * stages[i, TY], w * stages[i, TZ]
        point = 3 * ((i + 1) // 2)
        bx, by, bz = mode_b[point, mode], mode_b[point + 1, mode], mode_b[point + 2, mode]
        row = SOURCES + 4 * LANES * i + lane
        block[row] = a1 * bz - a2 * by
        block[row + LANES] = a2 * bx - a0 * bz
        block[row + 2 * LANES] = a0 * by - a1 * bx


@borrowing
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


@borrowing
def step_columns(block: FloatArray, h: float, stages: FloatArray) -> None:
    """A block of derivatives through one step of length h whose stages are stored; in place."""
    half, eighth, sixth = 0.5 * h, 0.125 * h * h, h / 6.0
    m1, m2 = _stage_matrix(stages, 0), _stage_matrix(stages, 1)
    m3, m4 = _stage_matrix(stages, 2), _stage_matrix(stages, 3)
    for j in range(LANES):
        x, y, z, u, v, w, q = (
            block[j],
            block[8 + j],
            block[16 + j],
            block[24 + j],
            block[32 + j],
            block[40 + j],
            block[48 + j],
        )
        a0 = m1[0] * x + m1[1] * y + m1[2] * z + m1[9] * q + v * m1[14] - w * m1[13] + block[56 + j]
        a1 = m1[3] * x + m1[4] * y + m1[5] * z + m1[10] * q + w * m1[12] - u * m1[14] + block[64 + j]
        a2 = m1[6] * x + m1[7] * y + m1[8] * z + m1[11] * q + u * m1[13] - v * m1[12] + block[72 + j]
        aq = m1[15] * q + block[80 + j]
        # stages 2 and 3 share their point
        xm, ym, zm = x + half * u + eighth * a0, y + half * v + eighth * a1, z + half * w + eighth * a2
        us, vs, ws, qs = u + half * a0, v + half * a1, w + half * a2, q + half * aq
        b0 = m2[0] * xm + m2[1] * ym + m2[2] * zm + m2[9] * qs + vs * m2[14] - ws * m2[13] + block[88 + j]
        b1 = m2[3] * xm + m2[4] * ym + m2[5] * zm + m2[10] * qs + ws * m2[12] - us * m2[14] + block[96 + j]
        b2 = m2[6] * xm + m2[7] * ym + m2[8] * zm + m2[11] * qs + us * m2[13] - vs * m2[12] + block[104 + j]
        bq = m2[15] * qs + block[112 + j]
        us, vs, ws, qs = u + half * b0, v + half * b1, w + half * b2, q + half * bq
        c0 = m3[0] * xm + m3[1] * ym + m3[2] * zm + m3[9] * qs + vs * m3[14] - ws * m3[13] + block[120 + j]
        c1 = m3[3] * xm + m3[4] * ym + m3[5] * zm + m3[10] * qs + ws * m3[12] - us * m3[14] + block[128 + j]
        c2 = m3[6] * xm + m3[7] * ym + m3[8] * zm + m3[11] * qs + us * m3[13] - vs * m3[12] + block[136 + j]
        cq = m3[15] * qs + block[144 + j]
        xm, ym, zm = x + h * (u + half * c0), y + h * (v + half * c1), z + h * (w + half * c2)
        us, vs, ws, qs = u + h * c0, v + h * c1, w + h * c2, q + h * cq
        e0 = m4[0] * xm + m4[1] * ym + m4[2] * zm + m4[9] * qs + vs * m4[14] - ws * m4[13] + block[152 + j]
        e1 = m4[3] * xm + m4[4] * ym + m4[5] * zm + m4[10] * qs + ws * m4[12] - us * m4[14] + block[160 + j]
        e2 = m4[6] * xm + m4[7] * ym + m4[8] * zm + m4[11] * qs + us * m4[13] - vs * m4[12] + block[168 + j]
        eq = m4[15] * qs + block[176 + j]
        block[j] = x + h * (u + sixth * (a0 + b0 + c0))
        block[8 + j] = y + h * (v + sixth * (a1 + b1 + c1))
        block[16 + j] = z + h * (w + sixth * (a2 + b2 + c2))
        block[24 + j] = u + sixth * (a0 + 2.0 * (b0 + c0) + e0)
        block[32 + j] = v + sixth * (a1 + 2.0 * (b1 + c1) + e1)
        block[40 + j] = w + sixth * (a2 + 2.0 * (b2 + c2) + e2)
        block[48 + j] = q + sixth * (aq + 2.0 * (bq + cq) + eq)


@borrowing
def shift_columns(block: FloatArray, s: float, stages: FloatArray) -> None:
    """A block of derivatives through a Taylor step of small length s at the end of a step whose stages are stored."""
    m = _stage_matrix(stages, 3)
    for j in range(LANES):
        x, y, z, u, v, w, q = (
            block[j],
            block[8 + j],
            block[16 + j],
            block[24 + j],
            block[32 + j],
            block[40 + j],
            block[48 + j],
        )
        a0 = m[0] * x + m[1] * y + m[2] * z + m[9] * q + v * m[14] - w * m[13] + block[152 + j]
        a1 = m[3] * x + m[4] * y + m[5] * z + m[10] * q + w * m[12] - u * m[14] + block[160 + j]
        a2 = m[6] * x + m[7] * y + m[8] * z + m[11] * q + u * m[13] - v * m[12] + block[168 + j]
        block[j] = x + s * (u + 0.5 * s * a0)
        block[8 + j] = y + s * (v + 0.5 * s * a1)
        block[16 + j] = z + s * (w + 0.5 * s * a2)
        block[24 + j] = u + s * a0
        block[32 + j] = v + s * a1
        block[40 + j] = w + s * a2
        block[48 + j] = q + s * (m[15] * q + block[176 + j])


@borrowing
def shift_state(y: FloatArray, s: float, k: FloatArray, loss: float) -> None:
    """A Taylor step of small length s of y (7,), in place; k (6,) is dt/ds and its derivative."""
    for i in range(3):
        y[i] += s * (y[3 + i] + s * (0.5 * k[i] + s * k[3 + i] / 6.0))
    for i in range(3):
        y[3 + i] += s * (k[i] + 0.5 * s * k[3 + i])
    y[6] += loss * s


# ------------------------------------------------------------------------------------------------ helix


@borrowing
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


@borrowing
def helix_step(y: FloatArray, h: float, b: FloatArray, block: FloatArray, with_columns: bool) -> None:
    """One step of any length in a uniform field b (3,), without loss: y (7,) and the first block, in place.

    With e = B/|B|, w = kappa q |B|:
        t(s) = (e.t) e + cos(ws) t_perp - sin(ws) e x t,
        r(s) = r + s (e.t) e + sin(ws)/w t_perp - (1 - cos(ws))/w e x t.
    """
    size = sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2])
    if size == 0.0:
        _straight_step(y, h, block, with_columns)
        return
    e0, e1, e2 = b[0] / size, b[1] / size, b[2] / size
    c, sn, s_w, c_w, ds_w, dc_w = helix_integrals(CURVATURE * y[6] * size * h, h)
    t0, t1, t2 = y[3], y[4], y[5]
    along = e0 * t0 + e1 * t1 + e2 * t2
    p0, p1, p2 = t0 - along * e0, t1 - along * e1, t2 - along * e2
    x0, x1, x2 = e1 * t2 - e2 * t1, e2 * t0 - e0 * t2, e0 * t1 - e1 * t0
    f0, f1, f2 = along * e0 + c * p0 - sn * x0, along * e1 + c * p1 - sn * x1, along * e2 + c * p2 - sn * x2
    if with_columns:
        # by w: dt = -s e x t(s), dr = (d sin/w) t_perp - (d (1-cos)/w) e x t
        k0, k1, k2 = -h * (e1 * f2 - e2 * f1), -h * (e2 * f0 - e0 * f2), -h * (e0 * f1 - e1 * f0)
        r0, r1, r2 = ds_w * p0 - dc_w * x0, ds_w * p1 - dc_w * x1, ds_w * p2 - dc_w * x2
        q_scale = CURVATURE * size
        for j in range(LANES):
            u, v, w, dw = block[24 + j], block[32 + j], block[40 + j], q_scale * block[48 + j]
            a = e0 * u + e1 * v + e2 * w
            g0, g1, g2 = e1 * w - e2 * v, e2 * u - e0 * w, e0 * v - e1 * u
            u, v, w = u - a * e0, v - a * e1, w - a * e2
            block[j] += h * a * e0 + s_w * u - c_w * g0 + r0 * dw
            block[8 + j] += h * a * e1 + s_w * v - c_w * g1 + r1 * dw
            block[16 + j] += h * a * e2 + s_w * w - c_w * g2 + r2 * dw
            block[24 + j] = a * e0 + c * u - sn * g0 + k0 * dw
            block[32 + j] = a * e1 + c * v - sn * g1 + k1 * dw
            block[40 + j] = a * e2 + c * w - sn * g2 + k2 * dw
        for k in range(3):
            # dB = e_k: |B| grows by e.dB, the axis turns by the rest over |B|
            grow = b[k] / size
            dw = CURVATURE * y[6] * grow
            d0, d1, d2 = (
                (1.0 * (k == 0) - grow * e0) / size,
                (1.0 * (k == 1) - grow * e1) / size,
                (1.0 * (k == 2) - grow * e2) / size,
            )
            a = d0 * t0 + d1 * t1 + d2 * t2
            v0, v1, v2 = t1 * d2 - t2 * d1, t2 * d0 - t0 * d2, t0 * d1 - t1 * d0
            j = 5 + k
            block[j] += r0 * dw + (h - s_w) * (e0 * a + along * d0) + c_w * v0
            block[8 + j] += r1 * dw + (h - s_w) * (e1 * a + along * d1) + c_w * v1
            block[16 + j] += r2 * dw + (h - s_w) * (e2 * a + along * d2) + c_w * v2
            block[24 + j] += k0 * dw + (1.0 - c) * (e0 * a + along * d0) + sn * v0
            block[32 + j] += k1 * dw + (1.0 - c) * (e1 * a + along * d1) + sn * v1
            block[40 + j] += k2 * dw + (1.0 - c) * (e2 * a + along * d2) + sn * v2
    y[0] += h * along * e0 + s_w * p0 - c_w * x0
    y[1] += h * along * e1 + s_w * p1 - c_w * x1
    y[2] += h * along * e2 + s_w * p2 - c_w * x2
    norm = 1.0 / sqrt(f0 * f0 + f1 * f1 + f2 * f2)
    y[3], y[4], y[5] = f0 * norm, f1 * norm, f2 * norm


@borrowing
def _straight_step(y: FloatArray, h: float, block: FloatArray, with_columns: bool) -> None:
    """A step where there is no field; its field columns are dt = kappa q h t x dB and dr = half of h times that."""
    for i in range(3):
        y[i] += h * y[3 + i]
    if not with_columns:
        return
    for j in range(3 * LANES):
        block[j] += h * block[3 * LANES + j]
    w = CURVATURE * y[6] * h
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        for row, change in ((i, w * y[3 + j]), (j, -w * y[3 + i])):
            block[LANES * (3 + row) + 5 + k] += change
            block[LANES * row + 5 + k] += 0.5 * h * change
