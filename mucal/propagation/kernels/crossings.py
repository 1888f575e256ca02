"""Compiled crossings of surfaces: how far away they are, and the local coordinates on them.

A surface is one row of a packed table (S, SURFACE): a plane with axes u, v, w (w its normal), or a cylinder about the
z axis, whose local frame at a point is w radial, u along phi, v along z.
"""

from math import atan2, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.stepping import BLOCK, LANES, ROWS, SOURCES

PLANE, CYLINDER = 0.0, 1.0

# One row a surface: what it is, then what a muon meets on it, then what fills the leg that ends on it.
(SHAPE, RADIUS, CENTRE, AXES, X_OVER_X0, XI, MEDIUM, GAP_X_OVER_X0, GAP_XI, GAP_CUT, GAP_MEDIUM,
 SURFACE) = (0, 1, 2, 5, 14, 15, 16, 17, 18, 19, 20, 21)  # fmt: skip


@borrowing
def path_to(surfaces: FloatArray, i: int, y: FloatArray, k: FloatArray, sense: float, near: bool) -> tuple[float, bool]:
    """Path length (cm) to surface i along the third-order path r + s t + s^2 k/2 + s^3 k'/6, and whether it exists.

    y     : (7,)  muon
    k     : (6,)  dt/ds and its derivative
    sense : +1 forwards, -1 backwards: which of a cylinder's two crossings is meant
    near  : whether the muon was stepped to the surface and may stand on either side of it
    """
    x, v, z, t0, t1, t2 = y[0], y[1], y[2], y[3], y[4], y[5]
    if surfaces[i, SHAPE] == PLANE:
        n0, n1, n2 = surfaces[i, AXES + 6], surfaces[i, AXES + 7], surfaces[i, AXES + 8]
        f = n0 * (x - surfaces[i, CENTRE]) + n1 * (v - surfaces[i, CENTRE + 1]) + n2 * (z - surfaces[i, CENTRE + 2])
        c1 = n0 * t0 + n1 * t1 + n2 * t2
        c2 = 0.5 * (n0 * k[0] + n1 * k[1] + n2 * k[2])
        c3 = (n0 * k[3] + n1 * k[4] + n2 * k[5]) / 6.0
        if c1 == 0.0:
            return 0.0, False
        s = -f / c1
        for _ in range(6):
            slope = c1 + s * (2.0 * c2 + 3.0 * s * c3)
            if slope * c1 <= 0.0:
                return -f / c1, True
            change = (f + s * (c1 + s * (c2 + s * c3))) / slope
            s -= change
            if abs(change) < 1e-6:  # the next change would be its square
                break
        return s, True
    radius = surfaces[i, RADIUS]
    a = t0 * t0 + t1 * t1
    b = x * t0 + v * t1
    f = x * x + v * v - radius * radius
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
    for _ in range(6):
        px = x + s * (t0 + s * (0.5 * k[0] + s * k[3] / 6.0))
        pv = v + s * (t1 + s * (0.5 * k[1] + s * k[4] / 6.0))
        ux = t0 + s * (k[0] + 0.5 * s * k[3])
        uv = t1 + s * (k[1] + 0.5 * s * k[4])
        slope = 2.0 * (px * ux + pv * uv)
        if slope == 0.0:
            return first, True
        change = (px * px + pv * pv - radius * radius) / slope
        s -= change
        if abs(change) < 1e-6:  # the next change would be its square
            return s, True
    return first, True


@borrowing
def local_axes(surfaces: FloatArray, i: int, y: FloatArray, axes: FloatArray) -> None:
    """The local frame at a point of surface i: rows u, v, w into axes (9,)."""
    if surfaces[i, SHAPE] == PLANE:
        for j in range(9):
            axes[j] = surfaces[i, AXES + j]
        return
    r = sqrt(y[0] * y[0] + y[1] * y[1])
    c, s = y[0] / r, y[1] / r
    axes[0], axes[1], axes[2] = -s, c, 0.0
    axes[3], axes[4], axes[5] = 0.0, 0.0, 1.0
    axes[6], axes[7], axes[8] = c, s, 0.0


@borrowing
def to_local(surfaces: FloatArray, i: int, y: FloatArray, axes: FloatArray, local: FloatArray, at: int) -> None:
    """(q, u', v', u, v) of a muon on surface i, into row `at` of local (L, 5); on a cylinder u = R phi, v = z."""
    tu = axes[0] * y[3] + axes[1] * y[4] + axes[2] * y[5]
    tv = axes[3] * y[3] + axes[4] * y[4] + axes[5] * y[5]
    tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
    local[at, 0], local[at, 1], local[at, 2] = y[6], tu / tw, tv / tw
    if surfaces[i, SHAPE] == PLANE:
        x, v, z = y[0] - surfaces[i, CENTRE], y[1] - surfaces[i, CENTRE + 1], y[2] - surfaces[i, CENTRE + 2]
        local[at, 3] = axes[0] * x + axes[1] * v + axes[2] * z
        local[at, 4] = axes[3] * x + axes[4] * v + axes[5] * z
    else:
        local[at, 3] = surfaces[i, RADIUS] * atan2(y[1], y[0])
        local[at, 4] = y[2]


@borrowing
def open_curvilinear(y: FloatArray, block: FloatArray) -> None:
    """Start derivatives by (q/p, lambda, phi, x_perp, y_perp) in columns 0-4 of a block; the others are 0."""
    for j in range(SOURCES):
        block[j] = 0.0
    cl = sqrt(y[3] * y[3] + y[4] * y[4])
    sl, c, s = y[5], y[3] / cl, y[4] / cl
    v0, v1 = -sl * c, -sl * s
    block[6 * LANES] = 1.0
    block[3 * LANES + 1], block[4 * LANES + 1], block[5 * LANES + 1] = v0, v1, cl  # V
    block[3 * LANES + 2], block[4 * LANES + 2] = -s * cl, c * cl  # U cos(lambda)
    block[3], block[LANES + 3] = -s, c
    block[4], block[LANES + 4], block[2 * LANES + 4] = v0, v1, cl


@borrowing
def open_local(y: FloatArray, axes: FloatArray, block: FloatArray) -> None:
    """Start derivatives by the local (q, u', v', u, v) in columns 0-4 of a block; the others are 0.

    With t = t_w (u' e_u + v' e_v + e_w):  dt/du' = t_w (e_u - t t_u).
    """
    for j in range(SOURCES):
        block[j] = 0.0
    tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
    tu = axes[0] * y[3] + axes[1] * y[4] + axes[2] * y[5]
    tv = axes[3] * y[3] + axes[4] * y[4] + axes[5] * y[5]
    block[6 * LANES] = 1.0
    for i in range(3):
        block[(3 + i) * LANES + 1] = tw * (axes[i] - y[3 + i] * tu)
        block[(3 + i) * LANES + 2] = tw * (axes[3 + i] - y[3 + i] * tv)
        block[i * LANES + 3] = axes[i]
        block[i * LANES + 4] = axes[3 + i]


@borrowing
def project(y: FloatArray, k: FloatArray, loss: float, axes: FloatArray, block: FloatArray) -> None:
    """Derivatives at fixed path length to those of the local (q, u', v', u, v), in the block's last rows.

    The path to the surface changes by ds = -(w.dr)/(w.t): dr += t ds, dt += k ds, dq += loss ds.
    """
    tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
    inverse = 1.0 / tw
    us = (axes[0] * y[3] + axes[1] * y[4] + axes[2] * y[5]) * inverse
    vs = (axes[3] * y[3] + axes[4] * y[4] + axes[5] * y[5]) * inverse
    # rows of the slopes: (e_u - u' e_w) / t_w
    n0, n1, n2 = axes[6] * inverse, axes[7] * inverse, axes[8] * inverse
    p0, p1, p2 = axes[0] * inverse - us * n0, axes[1] * inverse - us * n1, axes[2] * inverse - us * n2
    r0, r1, r2 = axes[3] * inverse - vs * n0, axes[4] * inverse - vs * n1, axes[5] * inverse - vs * n2
    pk = p0 * k[0] + p1 * k[1] + p2 * k[2]
    rk = r0 * k[0] + r1 * k[1] + r2 * k[2]
    a0, a1, a2, a3, a4, a5 = axes[0], axes[1], axes[2], axes[3], axes[4], axes[5]
    tu, tv = us * tw, vs * tw
    for j in range(LANES):
        x, v, z = block[j], block[8 + j], block[16 + j]
        t0, t1, t2 = block[24 + j], block[32 + j], block[40 + j]
        ds = -(n0 * x + n1 * v + n2 * z)
        block[184 + j] = block[48 + j] + loss * ds
        block[192 + j] = p0 * t0 + p1 * t1 + p2 * t2 + pk * ds
        block[200 + j] = r0 * t0 + r1 * t1 + r2 * t2 + rk * ds
        block[208 + j] = a0 * x + a1 * v + a2 * z + tu * ds
        block[216 + j] = a3 * x + a4 * v + a5 * z + tv * ds


@njit(cache=True)
def local_from_curvilinear(y: FloatArray, k: FloatArray, loss: float, axes: FloatArray, out: FloatArray) -> None:
    """H (5, 5): derivatives of the local by the curvilinear coordinates at the same point of the path."""
    block = np.zeros(BLOCK)
    open_curvilinear(y, block)
    project(y, k, loss, axes, block)
    for r in range(5):
        for c in range(5):
            out[r, c] = block[ROWS + LANES * r + c]
