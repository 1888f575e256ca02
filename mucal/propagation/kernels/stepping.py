"""Compiled steps through the field: Runge-Kutta-Nystroem of fourth order, and the helix where B is uniform.

A muon obeys dr/ds = t, dt/ds = kappa q t x B(r), dq/ds = g(q).  A step stores what each of its four stages saw;
`step_columns` carries the derivatives through the very same stages, so they are the derivatives of the numerical map,
not an approximation to it.  The muon, its fields and stages are in the scratch array w of `layout`.
"""

from math import cos, sin, sqrt

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import INSIDE, N_R, evaluate_into
from mucal.numerics.borrowing import INDEX, borrowing
from mucal.propagation.kernels.layout import (
    CUT,
    END,
    FIELDS,
    LANES,
    LOSS,
    LOSS_K,
    LOSS_Q,
    MEDIUM,
    MIDDLE,
    NOW,
    OFFSET,
    PLACE_1,
    PLACE_2,
    ROW,
    SCALE,
    SINCE,
    STAGE,
    STAGES,
    TX,
    TY,
    TZ,
    XI,
    K,
    Q,
    Y,
    place,
)  # fmt: skip
from mucal.propagation.kernels.losses import thick_loss
from mucal.units import CURVATURE

STOPPED = 2
"""What `step_state` returns, beside INSIDE and OUTSIDE, for a muon that falls below SLOWEST."""

SLOWEST = 0.05
"""GeV; a muon of less momentum has a few mm of range left in a solid."""

NEAR = 0.5
"""cm; over less than this the field is continued by its gradient: between two sensors of a module it is not looked up.
With B'' = 4e-6 T/cm^2, as in the CMS solenoid, that is wrong by 5e-7 T at most."""

CONTINUED = 5e-4
"""cm; nearer than this to the last stage of a step, the field at its end is continued too: the change of the gradient,
1e-5 T/cm^2 times this, does not show in the derivatives.  Muons above 3 GeV are spared an evaluation a step."""


@borrowing
def enter_stage(w: FloatArray, i: int, t0: float, t1: float, t2: float, q: float) -> None:
    """Direction and q of stage i."""
    at = STAGES + STAGE * i
    w[at + TX], w[at + TY], w[at + TZ], w[at + Q] = t0, t1, t2, q


@borrowing
def _lose(w: FloatArray, i: int, q: float, media: FloatArray) -> float:
    """dq/ds of stage i, stored; NaN for a muon that is too slow."""
    if not abs(q) * SLOWEST < 1.0:
        return float("nan")
    at = STAGES + STAGE * i
    g, w[at + LOSS_Q], w[at + LOSS_K], _ = thick_loss(
        q, w[MEDIUM + XI], w[MEDIUM + SCALE], w[MEDIUM + CUT], media[int(w[MEDIUM + ROW])]
    )
    w[at + LOSS] = g
    return g


@borrowing
def _field_at(
    field: FloatArray, w: FloatArray, near: bool, x: float, y: float, z: float, at: int, table: FloatArray
) -> int:
    """Field (with the leg's offset) and gradient at a point, into w[at:]; near the muon continued from its place."""
    at &= INDEX
    if near:
        now = place(w)
        x, y, z = x - w[Y], y - w[Y + 1], z - w[Y + 2]
        for j in range(3):
            w[at + j] = w[now + j] + (w[now + 3 * j + 3] * x + w[now + 3 * j + 4] * y + w[now + 3 * j + 5] * z)
        for j in range(3, 12):
            w[at + j] = w[now + j]
        return INSIDE
    where = evaluate_into(field, x, y, z, w, at, table)
    w[at] += w[OFFSET]
    w[at + 1] += w[OFFSET + 1]
    w[at + 2] += w[OFFSET + 2]
    return where


@borrowing
def step_state(field: FloatArray, media: FloatArray, w: FloatArray, h: float, table: FloatArray) -> int:
    """One step of length h (cm) of the muon in w, and the field where it ends.  Returns INSIDE, OUTSIDE or STOPPED.

    media : (K, 12)  the constants of `detector.kernels`
    """
    x, y, z, t0, t1, t2, q = w[Y], w[Y + 1], w[Y + 2], w[Y + 3], w[Y + 4], w[Y + 5], w[Y + 6]
    half, eighth, sixth = 0.5 * h, 0.125 * h * h, h / 6.0
    since = w[SINCE] + abs(h)
    near = since <= NEAR and field[N_R] == 0.0
    w[SINCE] = since if near else 0.0
    lossy = w[MEDIUM + XI] > 0.0
    g1, g2, g3, g4 = 0.0, 0.0, 0.0, 0.0
    # start, where dt/ds is known
    enter_stage(w, 0, t0, t1, t2, q)
    if lossy:
        g1 = _lose(w, 0, q, media)
    a0, a1, a2 = w[K], w[K + 1], w[K + 2]
    # middle, twice at the same point
    where = _field_at(
        field, w, near, x + half * t0 + eighth * a0, y + half * t1 + eighth * a1, z + half * t2 + eighth * a2, MIDDLE,
        table,
    )  # fmt: skip
    if where != INSIDE:
        return where
    b0, b1, b2 = w[MIDDLE], w[MIDDLE + 1], w[MIDDLE + 2]
    u0, u1, u2, p = t0 + half * a0, t1 + half * a1, t2 + half * a2, q + half * g1
    enter_stage(w, 1, u0, u1, u2, p)
    if lossy:
        g2 = _lose(w, 1, p, media)
    r = CURVATURE * p
    c0, c1, c2 = r * (u1 * b2 - u2 * b1), r * (u2 * b0 - u0 * b2), r * (u0 * b1 - u1 * b0)
    u0, u1, u2, p = t0 + half * c0, t1 + half * c1, t2 + half * c2, q + half * g2
    enter_stage(w, 2, u0, u1, u2, p)
    if lossy:
        g3 = _lose(w, 2, p, media)
    r = CURVATURE * p
    d0, d1, d2 = r * (u1 * b2 - u2 * b1), r * (u2 * b0 - u0 * b2), r * (u0 * b1 - u1 * b0)
    # end
    xe, ye, ze = x + h * (t0 + half * d0), y + h * (t1 + half * d1), z + h * (t2 + half * d2)
    where = _field_at(field, w, near, xe, ye, ze, END, table)
    if where != INSIDE:
        return where
    b0, b1, b2 = w[END], w[END + 1], w[END + 2]
    u0, u1, u2, p = t0 + h * d0, t1 + h * d1, t2 + h * d2, q + h * g3
    enter_stage(w, 3, u0, u1, u2, p)
    if lossy:
        g4 = _lose(w, 3, p, media)
    r = CURVATURE * p
    e0, e1, e2 = r * (u1 * b2 - u2 * b1), r * (u2 * b0 - u0 * b2), r * (u0 * b1 - u1 * b0)
    p = q + sixth * (g1 + 2.0 * (g2 + g3) + g4)
    if not p * q > 0.0:
        return STOPPED
    w[Y] = x + h * (t0 + sixth * (a0 + c0 + d0))
    w[Y + 1] = y + h * (t1 + sixth * (a1 + c1 + d1))
    w[Y + 2] = z + h * (t2 + sixth * (a2 + c2 + d2))
    t0 = t0 + sixth * ((a0 + e0) + 2.0 * (c0 + d0))
    t1 = t1 + sixth * ((a1 + e1) + 2.0 * (c1 + d1))
    t2 = t2 + sixth * ((a2 + e2) + 2.0 * (c2 + d2))
    norm = 1.0 / sqrt(t0 * t0 + t1 * t1 + t2 * t2)
    w[Y + 3], w[Y + 4], w[Y + 5], w[Y + 6] = t0 * norm, t1 * norm, t2 * norm, p
    return _field_behind(field, w, near, w[Y] - xe, w[Y + 1] - ye, w[Y + 2] - ze, table)


@borrowing
def _field_behind(
    field: FloatArray, w: FloatArray, near: bool, dx: float, dy: float, dz: float, table: FloatArray
) -> int:
    """Field and gradient at the end of a step, (dx, dy, dz) from its last stage, in the place not used before it."""
    at = PLACE_2 if w[NOW] == 0.0 else PLACE_1
    w[NOW] = 1.0 - w[NOW]
    if not near and dx * dx + dy * dy + dz * dz > CONTINUED * CONTINUED:
        return _field_at(field, w, False, w[Y], w[Y + 1], w[Y + 2], at, table)
    for j in range(3):
        w[at + j] = w[END + j] + (w[END + 3 * j + 3] * dx + w[END + 3 * j + 4] * dy + w[END + 3 * j + 5] * dz)
    for j in range(3, 12):
        w[at + j] = w[END + j]
    return INSIDE


@borrowing
def mode_fields_in(block: FloatArray, lane: int, mode_b: FloatArray, mode: int) -> None:
    """The fields of one mode at the three points of the step, mode_b (9, M), into its column."""
    for i in range(9):
        block[FIELDS + LANES * i + lane] = mode_b[i, mode]


@borrowing
def _stage_numbers(w: FloatArray, i: int, f: int) -> tuple[float, ...]:
    """Of stage i in the field at w[f:]: kappa q t, kappa t x B, kappa q B (3 each), and dg/dq."""
    at = STAGES + STAGE * i
    q = CURVATURE * w[at + Q]
    t0, t1, t2 = w[at + TX], w[at + TY], w[at + TZ]
    bx, by, bz = w[f], w[f + 1], w[f + 2]
    return (
        q * t0,
        q * t1,
        q * t2,
        CURVATURE * (t1 * bz - t2 * by),
        CURVATURE * (t2 * bx - t0 * bz),
        CURVATURE * (t0 * by - t1 * bx),
        q * bx,
        q * by,
        q * bz,
        w[at + LOSS_Q],
    )


@borrowing
def _gradient(w: FloatArray, f: int) -> tuple[float, ...]:
    """dB_i/dx_j (9) of the field at w[f:]."""
    return w[f + 3], w[f + 4], w[f + 5], w[f + 6], w[f + 7], w[f + 8], w[f + 9], w[f + 10], w[f + 11]


@borrowing
def step_columns(block: FloatArray, h: float, w: FloatArray, start: int) -> None:
    """A block of derivatives through the step of length h whose stages and fields are in w; in place.

    At each stage d(dt/ds) = kappa [q t x (G dr + B_theta) + (dq t + q dt) x B].  Sums are written in pairs, because
    what costs time is how long one number waits for the other.

    start : where the field at the start of the step is
    """
    start &= INDEX
    half, eighth, sixth = 0.5 * h, 0.125 * h * h, h / 6.0
    n1, n2 = _stage_numbers(w, 0, start), _stage_numbers(w, 1, MIDDLE)
    n3, n4 = _stage_numbers(w, 2, MIDDLE), _stage_numbers(w, 3, END)
    f1, f2, f4 = _gradient(w, start), _gradient(w, MIDDLE), _gradient(w, END)
    for j in range(LANES):
        x, y, z, u = block[j], block[8 + j], block[16 + j], block[24 + j]
        v, s, q = block[32 + j], block[40 + j], block[48 + j]
        gx = (f1[0] * x + f1[1] * y) + (f1[2] * z + block[56 + j])
        gy = (f1[3] * x + f1[4] * y) + (f1[5] * z + block[64 + j])
        gz = (f1[6] * x + f1[7] * y) + (f1[8] * z + block[72 + j])
        a0 = (n1[1] * gz - n1[2] * gy) + (n1[3] * q + (v * n1[8] - s * n1[7]))
        a1 = (n1[2] * gx - n1[0] * gz) + (n1[4] * q + (s * n1[6] - u * n1[8]))
        a2 = (n1[0] * gy - n1[1] * gx) + (n1[5] * q + (u * n1[7] - v * n1[6]))
        aq = n1[9] * q + block[128 + j]
        # stages 2 and 3 share their point
        xm, ym, zm = (x + half * u) + eighth * a0, (y + half * v) + eighth * a1, (z + half * s) + eighth * a2
        gx = (f2[0] * xm + f2[1] * ym) + (f2[2] * zm + block[80 + j])
        gy = (f2[3] * xm + f2[4] * ym) + (f2[5] * zm + block[88 + j])
        gz = (f2[6] * xm + f2[7] * ym) + (f2[8] * zm + block[96 + j])
        us, vs, ws, qs = u + half * a0, v + half * a1, s + half * a2, q + half * aq
        b0 = (n2[1] * gz - n2[2] * gy) + (n2[3] * qs + (vs * n2[8] - ws * n2[7]))
        b1 = (n2[2] * gx - n2[0] * gz) + (n2[4] * qs + (ws * n2[6] - us * n2[8]))
        b2 = (n2[0] * gy - n2[1] * gx) + (n2[5] * qs + (us * n2[7] - vs * n2[6]))
        bq = n2[9] * qs + block[136 + j]
        us, vs, ws, qs = u + half * b0, v + half * b1, s + half * b2, q + half * bq
        c0 = (n3[1] * gz - n3[2] * gy) + (n3[3] * qs + (vs * n3[8] - ws * n3[7]))
        c1 = (n3[2] * gx - n3[0] * gz) + (n3[4] * qs + (ws * n3[6] - us * n3[8]))
        c2 = (n3[0] * gy - n3[1] * gx) + (n3[5] * qs + (us * n3[7] - vs * n3[6]))
        cq = n3[9] * qs + block[144 + j]
        xm, ym, zm = x + h * (u + half * c0), y + h * (v + half * c1), z + h * (s + half * c2)
        gx = (f4[0] * xm + f4[1] * ym) + (f4[2] * zm + block[104 + j])
        gy = (f4[3] * xm + f4[4] * ym) + (f4[5] * zm + block[112 + j])
        gz = (f4[6] * xm + f4[7] * ym) + (f4[8] * zm + block[120 + j])
        us, vs, ws, qs = u + h * c0, v + h * c1, s + h * c2, q + h * cq
        d0 = (n4[1] * gz - n4[2] * gy) + (n4[3] * qs + (vs * n4[8] - ws * n4[7]))
        d1 = (n4[2] * gx - n4[0] * gz) + (n4[4] * qs + (ws * n4[6] - us * n4[8]))
        d2 = (n4[0] * gy - n4[1] * gx) + (n4[5] * qs + (us * n4[7] - vs * n4[6]))
        dq = n4[9] * qs + block[152 + j]
        bc0, bc1, bc2 = b0 + c0, b1 + c1, b2 + c2
        block[j] = x + h * (u + sixth * (a0 + bc0))
        block[8 + j] = y + h * (v + sixth * (a1 + bc1))
        block[16 + j] = z + h * (s + sixth * (a2 + bc2))
        block[24 + j] = u + sixth * ((a0 + d0) + 2.0 * bc0)
        block[32 + j] = v + sixth * ((a1 + d1) + 2.0 * bc1)
        block[40 + j] = s + sixth * ((a2 + d2) + 2.0 * bc2)
        block[48 + j] = q + sixth * ((aq + dq) + 2.0 * (bq + cq))


@borrowing
def shift_columns(block: FloatArray, h: float, w: FloatArray, f: int) -> None:
    """Derivatives through a Taylor step of small length h in the field at w[f:], at the last of the stages."""
    f &= INDEX
    n, g = _stage_numbers(w, 3, f), _gradient(w, f)
    half = 0.5 * h * h
    for j in range(LANES):
        x, y, z, u = block[j], block[8 + j], block[16 + j], block[24 + j]
        v, s, q = block[32 + j], block[40 + j], block[48 + j]
        gx = (g[0] * x + g[1] * y) + (g[2] * z + block[104 + j])
        gy = (g[3] * x + g[4] * y) + (g[5] * z + block[112 + j])
        gz = (g[6] * x + g[7] * y) + (g[8] * z + block[120 + j])
        a0 = (n[1] * gz - n[2] * gy) + (n[3] * q + (v * n[8] - s * n[7]))
        a1 = (n[2] * gx - n[0] * gz) + (n[4] * q + (s * n[6] - u * n[8]))
        a2 = (n[0] * gy - n[1] * gx) + (n[5] * q + (u * n[7] - v * n[6]))
        block[j] = x + (h * u + half * a0)
        block[8 + j] = y + (h * v + half * a1)
        block[16 + j] = z + (h * s + half * a2)
        block[24 + j] = u + h * a0
        block[32 + j] = v + h * a1
        block[40 + j] = s + h * a2
        block[48 + j] = q + h * (n[9] * q + block[152 + j])


@borrowing
def shift_state(w: FloatArray, s: float, loss: float) -> None:
    """A Taylor step of small length s of the muon, in place; loss is dq/ds."""
    for i in range(3):
        w[Y + i] += s * (w[Y + 3 + i] + s * (0.5 * w[K + i] + s * w[K + 3 + i] / 6.0))
    for i in range(3):
        w[Y + 3 + i] += s * (w[K + i] + 0.5 * s * w[K + 3 + i])
    w[Y + 6] += loss * s


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
        return 1.0 - a2 * cosc, angle * sinc, s * sinc, s * angle * cosc, s * s * slope_s, s * s * slope_c
    c, sn = cos(angle), sin(angle)
    w = angle / s
    return c, sn, sn / w, (1.0 - c) / w, (angle * c - sn) / (w * w), (c + angle * sn - 1.0) / (w * w)


@borrowing
def helix_step(w: FloatArray, h: float, block: FloatArray) -> None:
    """One step of any length in a uniform field, without loss: the muon and the first block, in place.

    With e = B/|B|, k = kappa q |B|:
        t(s) = (e.t) e + cos(ks) t_perp - sin(ks) e x t,
        r(s) = r + s (e.t) e + sin(ks)/k t_perp - (1 - cos(ks))/k e x t.
    """
    now = place(w)
    b0, b1, b2 = w[now], w[now + 1], w[now + 2]
    size = sqrt(b0 * b0 + b1 * b1 + b2 * b2)
    if size == 0.0:
        _straight_step(w, h, block)
        return
    inverse, turn = 1.0 / size, CURVATURE * w[Y + 6]
    e0, e1, e2 = b0 * inverse, b1 * inverse, b2 * inverse
    c, sn, s_w, c_w, ds_w, dc_w = helix_integrals(turn * size * h, h)
    t0, t1, t2 = w[Y + 3], w[Y + 4], w[Y + 5]
    along = e0 * t0 + e1 * t1 + e2 * t2
    p0, p1, p2 = t0 - along * e0, t1 - along * e1, t2 - along * e2
    x0, x1, x2 = e1 * t2 - e2 * t1, e2 * t0 - e0 * t2, e0 * t1 - e1 * t0
    f0, f1, f2 = along * e0 + c * p0 - sn * x0, along * e1 + c * p1 - sn * x1, along * e2 + c * p2 - sn * x2
    # by k: dt = -s e x t(s), dr = (d sin/k) t_perp - (d (1-cos)/k) e x t
    k0, k1, k2 = -h * (e1 * f2 - e2 * f1), -h * (e2 * f0 - e0 * f2), -h * (e0 * f1 - e1 * f0)
    r0, r1, r2 = ds_w * p0 - dc_w * x0, ds_w * p1 - dc_w * x1, ds_w * p2 - dc_w * x2
    rest, lack = h - s_w, 1.0 - c
    for j in range(LANES):
        # dB: |B| grows by e.dB, the axis turns by the rest over |B|
        d0, d1, d2 = block[56 + j], block[64 + j], block[72 + j]
        grow = e0 * d0 + e1 * d1 + e2 * d2
        dk = turn * grow + CURVATURE * size * block[48 + j]
        d0, d1, d2 = (d0 - grow * e0) * inverse, (d1 - grow * e1) * inverse, (d2 - grow * e2) * inverse
        ad = d0 * t0 + d1 * t1 + d2 * t2
        v0, v1, v2 = t1 * d2 - t2 * d1, t2 * d0 - t0 * d2, t0 * d1 - t1 * d0
        d0, d1, d2 = e0 * ad + along * d0, e1 * ad + along * d1, e2 * ad + along * d2
        # dt
        u, v, s = block[24 + j], block[32 + j], block[40 + j]
        a = e0 * u + e1 * v + e2 * s
        g0, g1, g2 = e1 * s - e2 * v, e2 * u - e0 * s, e0 * v - e1 * u
        u, v, s = u - a * e0, v - a * e1, s - a * e2
        block[j] += (h * a * e0 + s_w * u) + (r0 * dk - c_w * g0) + (rest * d0 + c_w * v0)
        block[8 + j] += (h * a * e1 + s_w * v) + (r1 * dk - c_w * g1) + (rest * d1 + c_w * v1)
        block[16 + j] += (h * a * e2 + s_w * s) + (r2 * dk - c_w * g2) + (rest * d2 + c_w * v2)
        block[24 + j] = (a * e0 + c * u) + (k0 * dk - sn * g0) + (lack * d0 + sn * v0)
        block[32 + j] = (a * e1 + c * v) + (k1 * dk - sn * g1) + (lack * d1 + sn * v1)
        block[40 + j] = (a * e2 + c * s) + (k2 * dk - sn * g2) + (lack * d2 + sn * v2)
    w[Y] += h * along * e0 + s_w * p0 - c_w * x0
    w[Y + 1] += h * along * e1 + s_w * p1 - c_w * x1
    w[Y + 2] += h * along * e2 + s_w * p2 - c_w * x2
    norm = 1.0 / sqrt(f0 * f0 + f1 * f1 + f2 * f2)
    w[Y + 3], w[Y + 4], w[Y + 5] = f0 * norm, f1 * norm, f2 * norm


@borrowing
def _straight_step(w: FloatArray, h: float, block: FloatArray) -> None:
    """A step where there is no field; its field columns are dt = kappa q h t x dB and dr = half of h times that."""
    t0, t1, t2, turn = w[Y + 3], w[Y + 4], w[Y + 5], CURVATURE * w[Y + 6] * h
    for i in range(3):
        w[Y + i] += h * w[Y + 3 + i]
    for j in range(LANES):
        d0, d1, d2 = block[56 + j], block[64 + j], block[72 + j]
        v0, v1, v2 = turn * (t1 * d2 - t2 * d1), turn * (t2 * d0 - t0 * d2), turn * (t0 * d1 - t1 * d0)
        block[j] += h * (block[24 + j] + 0.5 * v0)
        block[8 + j] += h * (block[32 + j] + 0.5 * v1)
        block[16 + j] += h * (block[40 + j] + 0.5 * v2)
        block[24 + j] += v0
        block[32 + j] += v1
        block[40 + j] += v2
