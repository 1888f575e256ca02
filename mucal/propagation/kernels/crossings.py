"""Compiled crossings of surfaces: how far away they are, and the local coordinates on them.

A surface is one row of a packed table (S, SURFACE): a plane with axes u, v, w (w its normal), or a cylinder about the
z axis, whose local frame at a point is w radial, u along phi, v along z.
"""

from math import atan2, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray

PLANE, CYLINDER = 0.0, 1.0

# One row a surface: what it is, then what a muon meets on it, then what fills the leg that ends on it.
(SHAPE, RADIUS, CENTRE, AXES, X_OVER_X0, XI, MEDIUM, GAP_X_OVER_X0, GAP_XI, GAP_CUT, GAP_MEDIUM,
 SURFACE) = (0, 1, 2, 5, 14, 15, 16, 17, 18, 19, 20, 21)  # fmt: skip


@njit(cache=True)
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
            if abs(change) < 1e-13 * (1.0 + abs(s)):
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
        if abs(change) < 1e-13 * (1.0 + abs(s)):
            return s, True
    return first, True


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
def open_curvilinear(y: FloatArray, d: FloatArray, n: int) -> None:
    """Start derivatives by (q/p, lambda, phi, x_perp, y_perp): d (7, n), columns 5 and later zero."""
    for i in range(7):
        for j in range(n):
            d[i, j] = 0.0
    cl = sqrt(y[3] * y[3] + y[4] * y[4])
    sl, c, s = y[5], y[3] / cl, y[4] / cl
    d[6, 0] = 1.0
    d[3, 1], d[4, 1], d[5, 1] = -sl * c, -sl * s, cl  # V
    d[3, 2], d[4, 2] = -s * cl, c * cl  # U cos(lambda)
    d[0, 3], d[1, 3] = -s, c
    d[0, 4], d[1, 4], d[2, 4] = -sl * c, -sl * s, cl


@njit(cache=True)
def open_local(y: FloatArray, axes: FloatArray, d: FloatArray, n: int) -> None:
    """Start derivatives by the local (q, u', v', u, v): d (7, n), columns 5 and later zero.

    With t = t_w (u' e_u + v' e_v + e_w):  dt/du' = t_w e_u - t u' t_w^2.
    """
    for i in range(7):
        for j in range(n):
            d[i, j] = 0.0
    tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
    tu = axes[0] * y[3] + axes[1] * y[4] + axes[2] * y[5]
    tv = axes[3] * y[3] + axes[4] * y[4] + axes[5] * y[5]
    d[6, 0] = 1.0
    for i in range(3):
        d[3 + i, 1] = tw * (axes[i] - y[3 + i] * tu)
        d[3 + i, 2] = tw * (axes[3 + i] - y[3 + i] * tv)
        d[i, 3] = axes[i]
        d[i, 4] = axes[3 + i]


@njit(cache=True)
def project(
    y: FloatArray, k: FloatArray, loss: float, axes: FloatArray, d: FloatArray, n: int, rows: FloatArray
) -> None:
    """Derivatives at fixed path length, d (7, n), to those of the local (q, u', v', u, v) on the surface: rows (5, n).

    The path to the surface changes by ds = -(w.dr)/(w.t): dr += t ds, dt += k ds, dq += loss ds.
    """
    tw = axes[6] * y[3] + axes[7] * y[4] + axes[8] * y[5]
    inverse = 1.0 / tw
    us = (axes[0] * y[3] + axes[1] * y[4] + axes[2] * y[5]) * inverse
    vs = (axes[3] * y[3] + axes[4] * y[4] + axes[5] * y[5]) * inverse
    # rows of the slopes: (e_u - u' e_w) / t_w
    p0, p1, p2 = (
        (axes[0] - us * axes[6]) * inverse,
        (axes[1] - us * axes[7]) * inverse,
        (axes[2] - us * axes[8]) * inverse,
    )
    r0, r1, r2 = (
        (axes[3] - vs * axes[6]) * inverse,
        (axes[4] - vs * axes[7]) * inverse,
        (axes[5] - vs * axes[8]) * inverse,
    )
    pk = p0 * k[0] + p1 * k[1] + p2 * k[2]
    rk = r0 * k[0] + r1 * k[1] + r2 * k[2]
    a0, a1, a2, a3, a4, a5 = axes[0], axes[1], axes[2], axes[3], axes[4], axes[5]
    n0, n1, n2 = -axes[6] * inverse, -axes[7] * inverse, -axes[8] * inverse
    for j in range(n):
        x, v, z = d[0, j], d[1, j], d[2, j]
        ds = n0 * x + n1 * v + n2 * z
        rows[0, j] = d[6, j] + loss * ds
        rows[1, j] = p0 * d[3, j] + p1 * d[4, j] + p2 * d[5, j] + pk * ds
        rows[2, j] = r0 * d[3, j] + r1 * d[4, j] + r2 * d[5, j] + rk * ds
        # e_u.t / t_w = u'
        rows[3, j] = a0 * x + a1 * v + a2 * z + us * tw * ds
        rows[4, j] = a3 * x + a4 * v + a5 * z + vs * tw * ds


@njit(cache=True)
def project_curvilinear(y: FloatArray, k: FloatArray, loss: float, d: FloatArray, n: int, rows: FloatArray) -> None:
    """Derivatives at fixed path length, d (7, n), to those of (q/p, lambda, phi, x_perp, y_perp): rows (5, n)."""
    cl = sqrt(y[3] * y[3] + y[4] * y[4])
    sl, c, s = y[5], y[3] / cl, y[4] / cl
    for j in range(n):
        ds = -(y[3] * d[0, j] + y[4] * d[1, j] + y[5] * d[2, j])
        t0, t1, t2 = d[3, j] + k[0] * ds, d[4, j] + k[1] * ds, d[5, j] + k[2] * ds
        rows[0, j] = d[6, j] + loss * ds
        rows[1, j] = -sl * (c * t0 + s * t1) + cl * t2
        rows[2, j] = (c * t1 - s * t0) / cl
        rows[3, j] = c * d[1, j] - s * d[0, j]
        rows[4, j] = -sl * (c * d[0, j] + s * d[1, j]) + cl * d[2, j]


@njit(cache=True)
def local_from_curvilinear(y: FloatArray, k: FloatArray, loss: float, axes: FloatArray, out: FloatArray) -> None:
    """H (5, 5): derivatives of the local by the curvilinear coordinates at the same point of the path."""
    d = np.zeros((7, 5))
    open_curvilinear(y, d, 5)
    project(y, k, loss, axes, d, 5, out)
