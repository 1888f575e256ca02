"""Compiled crossings of surfaces: how far away they are, and the local coordinates on them.

A surface is one row of a packed table (S, SURFACE): a plane with axes u, v, w (w its normal), or a cylinder about the
z axis, whose local frame at a point is w radial, u along phi, v along z.
"""

from math import atan2, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import INDEX, borrowing, inlined
from mucal.propagation.kernels.layout import BLOCK, FRAME, LANES, ROWS, K, Y, unit_lanes

PLANE, CYLINDER = 0.0, 1.0

# One row a surface: what it is, then what a muon meets on it, then what fills the leg that ends on it.
(SHAPE, RADIUS, CENTRE, AXES, X_OVER_X0, XI, MEDIUM, GAP_X_OVER_X0, GAP_XI, GAP_CUT, GAP_MEDIUM,
 SURFACE) = (0, 1, 2, 5, 14, 15, 16, 17, 18, 19, 20, 21)  # fmt: skip


@borrowing
def path_to(surfaces: FloatArray, i: int, w: FloatArray, sense: float, near: bool) -> tuple[float, bool]:
    """Path length (cm) of the muon in w to surface i along the third-order path r + s t + s^2 k/2 + s^3 k'/6, to about
    1e-6 cm, and whether it exists.

    sense : +1 forwards, -1 backwards: which of a cylinder's two crossings is meant
    near  : whether the muon was stepped to the surface and may stand on either side of it
    """
    i &= INDEX
    if surfaces[i, SHAPE] == PLANE:
        return _path_to_plane(surfaces, i, w)
    return _path_to_cylinder(surfaces[i, RADIUS], w, sense, near)


@inlined
def _path_to_plane(surfaces: FloatArray, i: int, w: FloatArray) -> tuple[float, bool]:
    i &= INDEX
    n0, n1, n2 = surfaces[i, AXES + 6], surfaces[i, AXES + 7], surfaces[i, AXES + 8]
    f = (
        n0 * (w[Y] - surfaces[i, CENTRE])
        + n1 * (w[Y + 1] - surfaces[i, CENTRE + 1])
        + n2 * (w[Y + 2] - surfaces[i, CENTRE + 2])
    )
    c1 = n0 * w[Y + 3] + n1 * w[Y + 4] + n2 * w[Y + 5]
    c2 = 0.5 * (n0 * w[K] + n1 * w[K + 1] + n2 * w[K + 2])
    c3 = (n0 * w[K + 3] + n1 * w[K + 4] + n2 * w[K + 5]) / 6.0
    if c1 == 0.0:
        return 0.0, False
    s = -f / c1
    for _ in range(6):
        slope = c1 + s * (2.0 * c2 + 3.0 * s * c3)
        if slope * c1 <= 0.0:
            return -f / c1, True
        change = (f + s * (c1 + s * (c2 + s * c3))) / slope
        s -= change
        if abs(change) < 1e-3:  # the next change would be its square times the curvature
            break
    return s, True


@borrowing
def _path_to_cylinder(radius: float, w: FloatArray, sense: float, near: bool) -> tuple[float, bool]:
    x, y, t0, t1 = w[Y], w[Y + 1], w[Y + 3], w[Y + 4]
    a = t0 * t0 + t1 * t1
    b = x * t0 + y * t1
    f = x * x + y * y - radius * radius
    if near and abs(f) < 1e-2 * abs(b):
        # within 50 um of it: the root of f + 2 b s + (t.t + r.k) s^2 by one step of Newton's and its correction
        s = -0.5 * f / b
        return s - 0.5 * (a + x * w[K] + y * w[K + 1]) * s * s / b, True
    root = b * b - a * f
    if root < 0.0 or a == 0.0:
        return 0.0, False
    root = sqrt(root)
    ahead = sense * b
    if ahead >= 0.0 or (near and abs(f) < 0.05 * radius):
        # moving outwards, or already within 0.25 mm of it: the root close by, in the form without cancellation
        s = -f / (b + root) if b >= 0.0 else f / (root - b)
    elif f <= 0.0:
        s = sense * (root - ahead) / a
    else:
        s = sense * f / (root - ahead)
    first = s
    k0, k1, h0, h1 = 0.5 * w[K], 0.5 * w[K + 1], w[K + 3] / 6.0, w[K + 4] / 6.0
    for _ in range(6):
        px, py = x + s * (t0 + s * (k0 + s * h0)), y + s * (t1 + s * (k1 + s * h1))
        ux, uy = t0 + s * (2.0 * k0 + 3.0 * s * h0), t1 + s * (2.0 * k1 + 3.0 * s * h1)
        slope = 2.0 * (px * ux + py * uy)
        if slope == 0.0:
            return first, True
        change = (px * px + py * py - radius * radius) / slope
        s -= change
        if abs(change) < 1e-3:  # the next change would be its square over the radius
            return s, True
    return first, True


@borrowing
def local_axes(surfaces: FloatArray, i: int, w: FloatArray) -> None:
    """The local frame at the muon's point of surface i: rows u, v, w into w[FRAME:]."""
    i &= INDEX
    if surfaces[i, SHAPE] == PLANE:
        for j in range(9):
            w[FRAME + j] = surfaces[i, AXES + j]
        return
    inverse = 1.0 / sqrt(w[Y] * w[Y] + w[Y + 1] * w[Y + 1])
    c, s = w[Y] * inverse, w[Y + 1] * inverse
    w[FRAME], w[FRAME + 1], w[FRAME + 2] = -s, c, 0.0
    w[FRAME + 3], w[FRAME + 4], w[FRAME + 5] = 0.0, 0.0, 1.0
    w[FRAME + 6], w[FRAME + 7], w[FRAME + 8] = c, s, 0.0


@borrowing
def against_axis(w: FloatArray, row: int) -> float:
    """Component of the muon's direction along axis `row` (0 u, 1 v, 2 w) of the surface."""
    at = FRAME + 3 * row
    return float(w[at] * w[Y + 3] + w[at + 1] * w[Y + 4] + w[at + 2] * w[Y + 5])


@borrowing
def to_local(surfaces: FloatArray, i: int, w: FloatArray, local: FloatArray, at: int) -> None:
    """(q, u', v', u, v) of the muon on surface i, into row `at` of local (L, 5); on a cylinder u = R phi, v = z."""
    i &= INDEX
    at &= INDEX
    inverse = 1.0 / against_axis(w, 2)
    local[at, 0], local[at, 1], local[at, 2] = w[Y + 6], against_axis(w, 0) * inverse, against_axis(w, 1) * inverse
    if surfaces[i, SHAPE] == PLANE:
        x, y, z = w[Y] - surfaces[i, CENTRE], w[Y + 1] - surfaces[i, CENTRE + 1], w[Y + 2] - surfaces[i, CENTRE + 2]
        local[at, 3] = w[FRAME] * x + w[FRAME + 1] * y + w[FRAME + 2] * z
        local[at, 4] = w[FRAME + 3] * x + w[FRAME + 4] * y + w[FRAME + 5] * z
    else:
        local[at, 3] = surfaces[i, RADIUS] * atan2(w[Y + 1], w[Y])
        local[at, 4] = w[Y + 2]


@borrowing
def open_curvilinear(w: FloatArray, block: FloatArray) -> None:
    """Start derivatives by (q/p, lambda, phi, x_perp, y_perp) in columns 0-4 of the first block; the others are 0."""
    cl = sqrt(w[Y + 3] * w[Y + 3] + w[Y + 4] * w[Y + 4])
    sl, c, s = w[Y + 5], w[Y + 3] / cl, w[Y + 4] / cl
    v0, v1 = -sl * c, -sl * s
    for j in range(LANES):
        by_q, by_lam, by_phi = block[224 + j], block[232 + j], block[240 + j]
        by_x, by_y = block[248 + j], block[256 + j]
        block[j], block[8 + j], block[16 + j] = v0 * by_y - s * by_x, v1 * by_y + c * by_x, cl * by_y  # U, V
        block[24 + j] = v0 * by_lam - s * cl * by_phi  # V, U cos(lambda)
        block[32 + j] = v1 * by_lam + c * cl * by_phi
        block[40 + j] = cl * by_lam
        block[48 + j] = by_q


@borrowing
def open_local(w: FloatArray, block: FloatArray) -> None:
    """Start derivatives by the local (q, u', v', u, v) in columns 0-4 of the first block; the others are 0.

    With t = t_w (u' e_u + v' e_v + e_w):  dt/du' = t_w (e_u - t t_u).
    """
    tu, tv, tw = against_axis(w, 0), against_axis(w, 1), against_axis(w, 2)
    a0, a1, a2, b0, b1, b2 = w[FRAME], w[FRAME + 1], w[FRAME + 2], w[FRAME + 3], w[FRAME + 4], w[FRAME + 5]
    t0, t1, t2 = w[Y + 3], w[Y + 4], w[Y + 5]
    p0, p1, p2 = tw * (a0 - t0 * tu), tw * (a1 - t1 * tu), tw * (a2 - t2 * tu)
    r0, r1, r2 = tw * (b0 - t0 * tv), tw * (b1 - t1 * tv), tw * (b2 - t2 * tv)
    for j in range(LANES):
        by_q, by_us, by_vs = block[224 + j], block[232 + j], block[240 + j]
        by_u, by_v = block[248 + j], block[256 + j]
        block[j], block[8 + j], block[16 + j] = a0 * by_u + b0 * by_v, a1 * by_u + b1 * by_v, a2 * by_u + b2 * by_v
        block[24 + j], block[32 + j] = p0 * by_us + r0 * by_vs, p1 * by_us + r1 * by_vs
        block[40 + j] = p2 * by_us + r2 * by_vs
        block[48 + j] = by_q


@borrowing
def project(w: FloatArray, loss: float, block: FloatArray) -> None:
    """Derivatives at fixed path length to those of the local (q, u', v', u, v), in the block's rows from ROWS on.

    The path to the surface changes by ds = -(w.dr)/(w.t): dr += t ds, dt += k ds, dq += loss ds.
    """
    tu, tv = against_axis(w, 0), against_axis(w, 1)
    inverse = 1.0 / against_axis(w, 2)
    us, vs = tu * inverse, tv * inverse
    a0, a1, a2, a3, a4, a5 = w[FRAME], w[FRAME + 1], w[FRAME + 2], w[FRAME + 3], w[FRAME + 4], w[FRAME + 5]
    # rows of the slopes: (e_u - u' e_w) / t_w
    n0, n1, n2 = w[FRAME + 6] * inverse, w[FRAME + 7] * inverse, w[FRAME + 8] * inverse
    p0, p1, p2 = a0 * inverse - us * n0, a1 * inverse - us * n1, a2 * inverse - us * n2
    r0, r1, r2 = a3 * inverse - vs * n0, a4 * inverse - vs * n1, a5 * inverse - vs * n2
    pk = p0 * w[K] + p1 * w[K + 1] + p2 * w[K + 2]
    rk = r0 * w[K] + r1 * w[K + 1] + r2 * w[K + 2]
    for j in range(LANES):
        x, y, z = block[j], block[8 + j], block[16 + j]
        t0, t1, t2 = block[24 + j], block[32 + j], block[40 + j]
        ds = -(n0 * x + n1 * y + n2 * z)
        block[184 + j] = block[48 + j] + loss * ds
        block[192 + j] = p0 * t0 + p1 * t1 + p2 * t2 + pk * ds
        block[200 + j] = r0 * t0 + r1 * t1 + r2 * t2 + rk * ds
        block[208 + j] = a0 * x + a1 * y + a2 * z + tu * ds
        block[216 + j] = a3 * x + a4 * y + a5 * z + tv * ds


@njit(cache=True)
def local_from_curvilinear(w: FloatArray, loss: float, out: FloatArray) -> None:
    """H (5, 5): derivatives of the local by the curvilinear coordinates at the same point of the path.

    w : scratch with the muon, its curvature and the axes; see `layout`
    """
    block = np.zeros(BLOCK)
    unit_lanes(block)
    open_curvilinear(w, block)
    project(w, loss, block)
    for r in range(5):
        for c in range(5):
            out[r, c] = block[ROWS + LANES * r + c]
