"""Compiled field evaluation: one calling convention, `evaluate`, for every kind of field.

A field is one flat array (`MagneticField.packed`), because numba passes one array for nothing, and a tuple of ten for
ten times the cost of the evaluation.  `evaluate` writes B and G_ij = dB_i/dx_j, row by row, into f (12,) and returns
INSIDE or OUTSIDE.  Outside its domain a field is NaN: nothing is extrapolated.

Solid harmonics are R_lm = r^l P_l^m(cos theta) exp(i m phi) / (l+m)! without the Condon-Shortley phase, for which
    d/dz R_lm = R_{l-1,m},   (d/dx - i d/dy) R_lm = R_{l-1,m-1},   (d/dx + i d/dy) R_lm = -R_{l-1,m+1},
    R_{l,-m} = (-1)^m conj(R_lm),
so that a mode's field and gradient are sums of harmonics of lower degree and div B = curl B = 0 holds to rounding.
"""

from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import INDEX, borrowing

INSIDE: Final = 0
OUTSIDE: Final = 1

UNIFORM: Final = 0
HARMONIC: Final = 1
SOLENOID: Final = 2
MAP_RZ: Final = 3
MAP_XYZ: Final = 4

# The packed field: a header, whose numbers are read by these names, and blocks that start where the header says.
(KIND, CORRECTED, DEGREE, LOWER_0, LOWER_1, LOWER_2, UPPER_0, UPPER_1, UPPER_2, PER_STEP_0, PER_STEP_1, PER_STEP_2,
 N_0, N_1, N_2, PARAMETERS, N_PARAMETERS, SPLINE, MODES, N_MODES, REGIONS, N_R, N_Z, N_PHI, EXPANDS,
 EXPANSION) = range(26)  # fmt: skip

EXPANDED: Final = 9
"""Largest number of coefficients of a harmonic field that is evaluated as a polynomial in z and r^2."""

HEADER: Final = EXPANSION + 9 * EXPANDED
"""The header ends with the coefficients of `_expanded`, at a place that the compiler knows."""

MODE_WIDTH: Final = 5
"""A mode is l, m, phase (0 cos, 1 sin), scale, amplitude; see `modes.FieldModes`."""


@borrowing
def evaluate_into(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int, table: FloatArray) -> int:
    """`evaluate` into f[at] ... f[at + 11]."""
    at &= INDEX
    kind = int(field[KIND])
    low, high = field[LOWER_0], field[UPPER_0]
    if kind == MAP_XYZ:
        inside = low <= x <= high and field[LOWER_1] <= y <= field[UPPER_1]
    else:
        r2 = x * x + y * y
        inside = low * low <= r2 <= high * high
    if not (inside and field[LOWER_2] <= z <= field[UPPER_2]):
        for i in range(12):
            f[at + i] = np.nan
        return OUTSIDE
    if kind == HARMONIC:
        if field[EXPANDS] != 0.0:
            _expanded(field, x, y, z, f, at)
        else:
            _harmonic(field, x, y, z, f, at)
    elif kind == MAP_RZ:
        _map_rz(field, x, y, z, f, at)
    elif kind == MAP_XYZ:
        _map_xyz(field, x, y, z, f, at)
    elif kind == SOLENOID:
        _solenoid(field, x, y, z, f, at)
    else:
        for i in range(3):
            f[at + i] = field[int(field[PARAMETERS]) + i]
        for i in range(9):
            f[at + 3 + i] = 0.0
    if field[CORRECTED] != 0.0:
        _add_modes(field, x, y, z, f, at, table)
    if field[N_R] > 0.0:
        _add_region(field, x, y, z, f, at)
    return INSIDE


@borrowing
def evaluate(field: FloatArray, x: float, y: float, z: float, f: FloatArray, table: FloatArray) -> int:
    """Field and gradient at one point, cm -> T, T/cm; table is work space of `table_size(degree)` numbers."""
    return evaluate_into(field, x, y, z, f, 0, table)


@njit(cache=True)
def evaluate_all(field: FloatArray, points: FloatArray, f: FloatArray, status: IntArray) -> None:
    """`evaluate` at every point: points (N, 3) into f (N, 12), status (N,)."""
    table = np.empty(table_size(int(field[DEGREE])))
    for i in range(points.shape[0]):
        status[i] = evaluate(field, points[i, 0], points[i, 1], points[i, 2], f[i], table)


@borrowing
def _harmonic(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """Axisymmetric harmonics: potential sum_l c_l u_l, u_l = r^l P_l, c_l = a_{l-1} R^{1-l} / l.

    With v_l = (1/rho) du_l/drho, w_l = (1/rho) dv_l/drho the recurrence l u_l = (2l-1) z u_{l-1} - (l-1) r^2 u_{l-2}
    is differentiated as it stands; d/dz u_l = l u_{l-1}.  In units of the reference radius, where all are of order 1.
    """
    at &= INDEX
    start = int(field[PARAMETERS])
    scale = field[start]
    xs, ys, zs = x * scale, y * scale, z * scale
    r2 = xs * xs + ys * ys + zs * zs
    u1, v1, w1 = 1.0, 0.0, 0.0  # of degree l-1
    u2, v2, w2 = 0.0, 0.0, 0.0  # of degree l-2
    bz, sv, sw, bzz, szv = 0.0, 0.0, 0.0, 0.0, 0.0
    for l in range(1, (int(field[N_PARAMETERS]) + 1) // 2):
        a, inverse = field[start + 2 * l - 1], field[start + 2 * l]
        c1 = (2.0 - inverse) * zs
        c2 = 1.0 - inverse
        bz += a * u1
        bzz += a * (l - 1) * u2
        szv += a * v1
        u0 = c1 * u1 - c2 * r2 * u2
        v0 = c1 * v1 - c2 * (2.0 * u2 + r2 * v2)
        w0 = c1 * w1 - c2 * (4.0 * v2 + r2 * w2)
        sv += a * inverse * v0
        sw += a * inverse * w0
        u2, v2, w2 = u1, v1, w1
        u1, v1, w1 = u0, v0, w0
    f[at] = xs * sv
    f[at + 1] = ys * sv
    f[at + 2] = bz
    f[at + 3] = scale * (sv + xs * xs * sw)
    f[at + 4] = scale * xs * ys * sw
    f[at + 5] = scale * xs * szv
    f[at + 6] = f[at + 4]
    f[at + 7] = scale * (sv + ys * ys * sw)
    f[at + 8] = scale * ys * szv
    f[at + 9] = f[at + 5]
    f[at + 10] = f[at + 8]
    f[at + 11] = scale * bzz


@borrowing
def _expanded(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """`_harmonic` with the sum done in another order: with profile b(z) and s = r^2,

        B_z = sum_n P_n(z) s^n,   P_n = (-1/4)^n b^(2n) / n!^2,
        B_r / r = sum_n Q_n(z) s^n,   Q_n = (-1/4)^n (-1/2) b^(2n+1) / (n! (n+1)!),

    whose gradient needs nothing else: dB_z/dr = 2 r sum n P_n s^(n-1), dB_z/dz = -(2 B_r/r + r d(B_r/r)/dr).
    The header holds 9 rows by falling powers of z, of P_0 ... P_4, Q_0 ... Q_3; the nine sums run side by side.
    """
    at &= INDEX
    scale = field[HEADER]
    xs, ys, zs = x * scale, y * scale, z * scale
    s = xs * xs + ys * ys
    i = EXPANSION
    p0, p1, p2, p3, p4 = field[i], field[i + 1], field[i + 2], field[i + 3], field[i + 4]
    q0, q1, q2, q3 = field[i + 5], field[i + 6], field[i + 7], field[i + 8]
    for row in range(1, EXPANDED):
        i = EXPANSION + 9 * row
        p0, p1, p2 = p0 * zs + field[i], p1 * zs + field[i + 1], p2 * zs + field[i + 2]
        p3, p4, q0 = p3 * zs + field[i + 3], p4 * zs + field[i + 4], q0 * zs + field[i + 5]
        q1, q2, q3 = q1 * zs + field[i + 6], q2 * zs + field[i + 7], q3 * zs + field[i + 8]
    s2 = s * s
    radial = (q0 + s * q1) + s2 * (q2 + s * q3)
    slope = 2.0 * ((q1 + 2.0 * s * q2) + 3.0 * s2 * q3)  # d(B_r/r)/dr / r
    axial_r = 2.0 * ((p1 + 2.0 * s * p2) + s2 * (3.0 * p3 + 4.0 * s * p4))  # dB_z/dr / r
    f[at], f[at + 1] = xs * radial, ys * radial
    f[at + 2] = (p0 + s * p1) + s2 * ((p2 + s * p3) + s2 * p4)
    xy, xz, yz = scale * xs * ys * slope, scale * xs * axial_r, scale * ys * axial_r
    f[at + 3], f[at + 4], f[at + 5] = scale * (radial + xs * xs * slope), xy, xz
    f[at + 6], f[at + 7], f[at + 8] = xy, scale * (radial + ys * ys * slope), yz
    f[at + 9], f[at + 10], f[at + 11] = xz, yz, -scale * (2.0 * radial + s * slope)


@borrowing
def _solenoid(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """Finite solenoid to order r^3: divergence-free exactly, curl-free to order r^3."""
    at &= INDEX
    start = int(field[PARAMETERS])
    height, a, half_length, centre = field[start], field[start + 1], field[start + 2], field[start + 3]
    u = (half_length - (z - centre)) / a
    v = (half_length + (z - centre)) / a
    iu, iv = 1.0 / (1.0 + u * u), 1.0 / (1.0 + v * v)
    su, sv = np.sqrt(iu), np.sqrt(iv)
    # f(u) = u / sqrt(1 + u^2) and its derivatives
    f1u, f1v = su * iu, sv * iv
    f2u, f2v = -3.0 * u * f1u * iu, -3.0 * v * f1v * iv
    f3u, f3v = (12.0 * u * u - 3.0) * f1u * iu * iu, (12.0 * v * v - 3.0) * f1v * iv * iv
    f4u, f4v = u * (45.0 - 60.0 * u * u) * f1u * iu**3, v * (45.0 - 60.0 * v * v) * f1v * iv**3
    ia2 = 1.0 / (a * a)
    r2 = (x * x + y * y) * ia2
    radial = height / (2.0 * a) * (f1u - f1v - (f3u - f3v) * r2 / 8.0)  # B_r / r
    slope = -height * ia2 / (8.0 * a) * (f3u - f3v)  # (1/r) d(B_r/r)/dr
    radial_z = 0.5 * height * ia2 * (-f2u - f2v + (f4u + f4v) * r2 / 8.0)  # d(B_r/r)/dz
    axial_r = -0.5 * height * ia2 * (f2u + f2v)  # (1/r) dB_z/dr
    f[at] = x * radial
    f[at + 1] = y * radial
    f[at + 2] = height * (u * su + v * sv - (f2u + f2v) * r2 / 4.0)
    f[at + 3] = radial + x * x * slope
    f[at + 4] = x * y * slope
    f[at + 5] = x * radial_z
    f[at + 6] = f[at + 4]
    f[at + 7] = radial + y * y * slope
    f[at + 8] = y * radial_z
    f[at + 9] = x * axial_r
    f[at + 10] = y * axial_r
    f[at + 11] = height / a * (f1v - f1u - (f3v - f3u) * r2 / 4.0)


@borrowing
def _cell(value: float, lower: float, inverse_step: float, n_coefficients: int) -> tuple[int, float]:
    """The cell of a uniform grid that holds a value, and the position in it, 0 to 1."""
    position = (value - lower) * inverse_step
    cell = min(max(int(position), 0), n_coefficients - 4)
    return cell, position - cell


@borrowing
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-splines at position t of a cell."""
    s = 1.0 - t
    w0, w3 = s * s * s / 6.0, t * t * t / 6.0
    w1 = 2.0 / 3.0 - t * t * (1.0 - 0.5 * t)
    return w0, w1, 1.0 - w0 - w1 - w3, w3


@borrowing
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivatives of the cubic B-splines at position t of a cell."""
    s = 1.0 - t
    return -0.5 * s * s, t * (1.5 * t - 2.0), 0.5 + t - 1.5 * t * t, 0.5 * t * t


@borrowing
def _map_rz(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """Bicubic spline of B_r and B_z, turned to x and y."""
    at &= INDEX
    r = np.sqrt(x * x + y * y)
    hr, hz, nz = field[PER_STEP_0], field[PER_STEP_2], int(field[N_2])
    i, t = _cell(r, field[LOWER_0], hr, int(field[N_0]))
    j, s = _cell(z, field[LOWER_2], hz, nz)
    w, dw = _weights(t), _slopes(t)
    (q0, q1, q2, q3), (p0, p1, p2, p3) = _weights(s), _slopes(s)
    br, br_r, br_z, bz, bz_r, bz_z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    first = int(field[SPLINE]) + 2 * (i * nz + j)
    for k in range(4):
        start = (first + 2 * nz * k) & INDEX
        c0, d0, c1, d1 = field[start], field[start + 1], field[start + 2], field[start + 3]
        c2, d2, c3, d3 = field[start + 4], field[start + 5], field[start + 6], field[start + 7]
        radial = q0 * c0 + q1 * c1 + q2 * c2 + q3 * c3
        axial = q0 * d0 + q1 * d1 + q2 * d2 + q3 * d3
        br += w[k] * radial
        bz += w[k] * axial
        br_r += dw[k] * radial
        bz_r += dw[k] * axial
        br_z += w[k] * (p0 * c0 + p1 * c1 + p2 * c2 + p3 * c3)
        bz_z += w[k] * (p0 * d0 + p1 * d1 + p2 * d2 + p3 * d3)
    br_r, br_z, bz_r, bz_z = br_r * hr, br_z * hz, bz_r * hr, bz_z * hz
    cos, sin, ratio = 1.0, 0.0, br_r
    if r > 1e-9:  # closer to the axis B_r / r is its slope
        cos, sin, ratio = x / r, y / r, br / r
    f[at] = br * cos
    f[at + 1] = br * sin
    f[at + 2] = bz
    f[at + 3] = ratio + cos * cos * (br_r - ratio)
    f[at + 4] = cos * sin * (br_r - ratio)
    f[at + 5] = cos * br_z
    f[at + 6] = f[at + 4]
    f[at + 7] = ratio + sin * sin * (br_r - ratio)
    f[at + 8] = sin * br_z
    f[at + 9] = cos * bz_r
    f[at + 10] = sin * bz_r
    f[at + 11] = bz_z


@borrowing
def _map_xyz(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """Tricubic spline of B_x, B_y, B_z: sums over z, then y, then x."""
    at &= INDEX
    ny, nz = int(field[N_1]), int(field[N_2])
    i, tx = _cell(x, field[LOWER_0], field[PER_STEP_0], int(field[N_0]))
    j, ty = _cell(y, field[LOWER_1], field[PER_STEP_1], ny)
    k, tz = _cell(z, field[LOWER_2], field[PER_STEP_2], nz)
    wx, dx, wy, dy = _weights(tx), _slopes(tx), _weights(ty), _slopes(ty)
    (q0, q1, q2, q3), (p0, p1, p2, p3) = _weights(tz), _slopes(tz)
    first = int(field[SPLINE])
    for n in range(3):
        value, along_x, along_y, along_z = 0.0, 0.0, 0.0, 0.0
        for m in range(4):
            corner = first + 3 * (((i + m) * ny + j) * nz + k) + n
            plane, plane_y, plane_z = 0.0, 0.0, 0.0
            for o in range(4):
                start = (corner + 3 * nz * o) & INDEX
                c0, c1, c2, c3 = field[start], field[start + 3], field[start + 6], field[start + 9]
                line = q0 * c0 + q1 * c1 + q2 * c2 + q3 * c3
                plane += wy[o] * line
                plane_y += dy[o] * line
                plane_z += wy[o] * (p0 * c0 + p1 * c1 + p2 * c2 + p3 * c3)
            value += wx[m] * plane
            along_x += dx[m] * plane
            along_y += wx[m] * plane_y
            along_z += wx[m] * plane_z
        f[at + n] = value
        f[at + 3 * n + 3] = along_x * field[PER_STEP_0]
        f[at + 3 * n + 4] = along_y * field[PER_STEP_1]
        f[at + 3 * n + 5] = along_z * field[PER_STEP_2]


# ------------------------------------------------------------------------------------------------ corrections


@borrowing
def table_size(degree: int) -> int:
    """Numbers of work space for solid harmonics up to degree - 1, orders 0 to degree + 1, real and imaginary."""
    return 2 * max(degree, 1) * (max(degree, 1) + 3)


@borrowing
def fill_table(degree: int, x: float, y: float, z: float, table: FloatArray) -> None:
    """R_lm for l < degree, 0 <= m <= degree + 2 (zero for m > l); entry (l, m) is at l (degree + 3) + m, doubled."""
    width = degree + 3
    r2 = x * x + y * y + z * z
    for i in range(table_size(degree)):
        table[i] = 0.0
    table[0] = 1.0
    for l in range(1, degree):
        for m in range(l):
            here, one, two = 2 * (l * width + m), 2 * ((l - 1) * width + m), 2 * ((l - 2) * width + m)
            inverse = 1.0 / ((l + m) * (l - m))
            for part in range(2):
                value = (2 * l - 1) * z * table[one + part]
                if l > 1:
                    value -= r2 * table[two + part]
                table[here + part] = value * inverse
        here, one = 2 * (l * width + l), 2 * ((l - 1) * width + l - 1)
        table[here] = (x * table[one] - y * table[one + 1]) / (2 * l)
        table[here + 1] = (x * table[one + 1] + y * table[one]) / (2 * l)


@borrowing
def _entry(table: FloatArray, width: int, l: int, m: int) -> tuple[float, float]:
    """Real and imaginary part of R_lm, also for m < 0."""
    if l < 0:
        return 0.0, 0.0
    here = 2 * (l * width + abs(m))
    if m >= 0:
        return table[here], table[here + 1]
    if m % 2 == 0:
        return table[here], -table[here + 1]
    return -table[here], table[here + 1]


@borrowing
def mode_field(l: int, m: int, phase: int, scale: float, degree: int, table: FloatArray) -> tuple[float, float, float]:
    """B of one mode, from a filled table."""
    width = degree + 3
    re0, im0 = _entry(table, width, l - 1, m)
    rem, imm = _entry(table, width, l - 1, m - 1)
    rep, imp = _entry(table, width, l - 1, m + 1)
    if phase == 0:
        return scale * 0.5 * (rem - rep), -scale * 0.5 * (imp + imm), scale * re0
    return scale * 0.5 * (imm - imp), scale * 0.5 * (rep + rem), scale * im0


@borrowing
def mode_fields(field: FloatArray, x: float, y: float, z: float, out: FloatArray, table: FloatArray) -> None:
    """B of one unit of every mode at a point, into out (3, M)."""
    degree = int(field[DEGREE])
    fill_table(degree, x, y, z, table)
    start = int(field[MODES])
    for k in range(int(field[N_MODES])):
        l, m, phase = int(field[start]), int(field[start + 1]), int(field[start + 2])
        out[0, k], out[1, k], out[2, k] = mode_field(l, m, phase, field[start + 3], degree, table)
        start += MODE_WIDTH


@borrowing
def _add_modes(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int, table: FloatArray) -> None:
    degree = int(field[DEGREE])
    fill_table(degree, x, y, z, table)
    width = degree + 3
    for k in range(int(field[N_MODES])):
        start = int(field[MODES]) + MODE_WIDTH * k
        scale = field[start + 3] * field[start + 4]
        if scale == 0.0:
            continue
        l, m, phase = int(field[start]), int(field[start + 1]), int(field[start + 2])
        bx, by, bz = mode_field(l, m, phase, scale, degree, table)
        f[at] += bx
        f[at + 1] += by
        f[at + 2] += bz
        re0, im0 = _entry(table, width, l - 2, m)
        re1m, im1m = _entry(table, width, l - 2, m - 1)
        re1p, im1p = _entry(table, width, l - 2, m + 1)
        re2m, im2m = _entry(table, width, l - 2, m - 2)
        re2p, im2p = _entry(table, width, l - 2, m + 2)
        if phase == 0:
            xx, xy, zz = 0.25 * (re2m - 2.0 * re0 + re2p), -0.25 * (im2m - im2p), re0
            xz, yz = 0.5 * (re1m - re1p), -0.5 * (im1p + im1m)
        else:
            xx, xy, zz = 0.25 * (im2m - 2.0 * im0 + im2p), 0.25 * (re2m - re2p), im0
            xz, yz = 0.5 * (im1m - im1p), 0.5 * (re1p + re1m)
        f[at + 3] += scale * xx
        f[at + 4] += scale * xy
        f[at + 5] += scale * xz
        f[at + 6] += scale * xy
        f[at + 7] -= scale * (xx + zz)
        f[at + 8] += scale * yz
        f[at + 9] += scale * xz
        f[at + 10] += scale * yz
        f[at + 11] += scale * zz


@borrowing
def _find(field: FloatArray, start: int, n: int, value: float) -> int:
    """The cell of n + 1 increasing edges that holds a value, or -1."""
    if not field[start] <= value < field[start + n]:
        return -1
    cell = 0
    while value >= field[start + cell + 1]:
        cell += 1
    return cell


@borrowing
def _add_region(field: FloatArray, x: float, y: float, z: float, f: FloatArray, at: int) -> None:
    """The constant offset of the region (r, z, phi) that holds the point; beyond the edges nothing is added."""
    n_r, n_z, n_phi, start = int(field[N_R]), int(field[N_Z]), int(field[N_PHI]), int(field[REGIONS])
    i = _find(field, start, n_r, np.sqrt(x * x + y * y))
    j = _find(field, start + n_r + 1, n_z, z)
    if i < 0 or j < 0:
        return
    k = min(int((np.arctan2(y, x) / (2.0 * np.pi) + 0.5) * n_phi), n_phi - 1)
    entry = start + n_r + 1 + n_z + 1 + 3 * ((i * n_z + j) * n_phi + k)
    for n in range(3):
        f[at + n] += field[entry + n]
