"""Compiled field evaluation: one calling convention, `evaluate`, for every kind of field.

A field is one `FieldArrays`; `evaluate` writes B into b (3,) and G_ij = dB_i/dx_j into g (9,), row by row, and returns
INSIDE or OUTSIDE.  Outside its domain a field is NaN: nothing is extrapolated.

Solid harmonics are R_lm = r^l P_l^m(cos theta) exp(i m phi) / (l+m)! without the Condon-Shortley phase, for which
    d/dz R_lm = R_{l-1,m},   (d/dx - i d/dy) R_lm = R_{l-1,m-1},   (d/dx + i d/dy) R_lm = -R_{l-1,m+1},
    R_{l,-m} = (-1)^m conj(R_lm),
so that a mode's field and gradient are sums of harmonics of lower degree and div B = curl B = 0 holds to rounding.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray

INSIDE: Final = 0
OUTSIDE: Final = 1

UNIFORM: Final = 0
HARMONIC: Final = 1
SOLENOID: Final = 2
MAP_RZ: Final = 3
MAP_XYZ: Final = 4


class FieldArrays(NamedTuple):
    """A field as numba sees it; the same types for every kind.

    kind           : UNIFORM, HARMONIC, SOLENOID, MAP_RZ or MAP_XYZ
    parameters     : (P,)  UNIFORM Bx, By, Bz; HARMONIC 1/R, a_0 ... a_n; SOLENOID h, a, L/2, z_0
    lower, upper   : (3,)  domain in cm; (r, -, z) for the kinds that are symmetric about the z axis, else (x, y, z)
    inverse_step   : (3,)  1/cm, of the map's grid along the same axes
    spline         : (n0+2, n1+2, n2+2, C)  cubic B-spline coefficients of the map; C is 2 (B_r, B_z) or 3
    modes          : (M, 3)  l, m, 0 for cos or 1 for sin
    mode_scale     : (M,)  potential of one unit of a mode over Re or Im of R_lm, T / cm^(l-1)
    amplitudes     : (M,)  of the modes added to the field; `corrected` says whether any differs from 0
    region_r       : (nr+1,) cm, edges of the regions of constant added field; empty without regions
    region_z       : (nz+1,) cm
    region_offsets : (nr, nz, nphi, 3) T
    """

    kind: int
    corrected: bool
    degree: int
    parameters: FloatArray
    lower: FloatArray
    upper: FloatArray
    inverse_step: FloatArray
    spline: FloatArray
    modes: IntArray
    mode_scale: FloatArray
    amplitudes: FloatArray
    region_r: FloatArray
    region_z: FloatArray
    region_offsets: FloatArray


@njit(cache=True)
def evaluate(field: FieldArrays, x: float, y: float, z: float, b: FloatArray, g: FloatArray, table: FloatArray) -> int:
    """Field and gradient at one point, cm -> T, T/cm; table is work space of `table_size(degree)`."""
    if field.kind == MAP_XYZ:
        inside = (
            field.lower[0] <= x <= field.upper[0]
            and field.lower[1] <= y <= field.upper[1]
            and field.lower[2] <= z <= field.upper[2]
        )
    else:
        r2 = x * x + y * y
        low, high = field.lower[0], field.upper[0]
        inside = r2 <= high * high and r2 >= low * low and field.lower[2] <= z <= field.upper[2]
    if not inside:
        for i in range(3):
            b[i] = np.nan
        for i in range(9):
            g[i] = np.nan
        return OUTSIDE
    if field.kind == UNIFORM:
        for i in range(3):
            b[i] = field.parameters[i]
        for i in range(9):
            g[i] = 0.0
    elif field.kind == HARMONIC:
        _harmonic(field.parameters, x, y, z, b, g)
    elif field.kind == SOLENOID:
        _solenoid(field.parameters, x, y, z, b, g)
    elif field.kind == MAP_RZ:
        _map_rz(field, x, y, z, b, g)
    else:
        _map_xyz(field, x, y, z, b, g)
    if field.corrected:
        _add_modes(field, x, y, z, b, g, table)
    if field.region_r.size > 0:
        _add_region(field, x, y, z, b)
    return INSIDE


@njit(cache=True)
def evaluate_all(field: FieldArrays, points: FloatArray, b: FloatArray, g: FloatArray, status: IntArray) -> None:
    """`evaluate` at every point: points (N, 3) into b (N, 3), g (N, 9), status (N,)."""
    table = np.empty(table_size(field.degree))
    for i in range(points.shape[0]):
        status[i] = evaluate(field, points[i, 0], points[i, 1], points[i, 2], b[i], g[i], table)


@njit(cache=True)
def _harmonic(parameters: FloatArray, x: float, y: float, z: float, b: FloatArray, g: FloatArray) -> None:
    """Axisymmetric harmonics: potential sum_l c_l u_l, u_l = r^l P_l, c_l = a_{l-1} R^{1-l} / l.

    With v_l = (1/rho) du_l/drho, w_l = (1/rho) dv_l/drho the recurrence l u_l = (2l-1) z u_{l-1} - (l-1) r^2 u_{l-2}
    is differentiated as it stands; d/dz u_l = l u_{l-1}.  In units of the reference radius, where all are of order 1.
    """
    scale = parameters[0]
    xs, ys, zs = x * scale, y * scale, z * scale
    r2 = xs * xs + ys * ys + zs * zs
    u1, v1, w1 = 1.0, 0.0, 0.0  # of degree l-1
    u2, v2, w2 = 0.0, 0.0, 0.0  # of degree l-2
    bz, sv, sw, bzz, szv = 0.0, 0.0, 0.0, 0.0, 0.0
    for l in range(1, parameters.size):
        a = parameters[l]
        inverse = 1.0 / l
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
    b[0] = xs * sv
    b[1] = ys * sv
    b[2] = bz
    g[0] = scale * (sv + xs * xs * sw)
    g[1] = scale * xs * ys * sw
    g[2] = scale * xs * szv
    g[3] = g[1]
    g[4] = scale * (sv + ys * ys * sw)
    g[5] = scale * ys * szv
    g[6] = g[2]
    g[7] = g[5]
    g[8] = scale * bzz


@njit(cache=True)
def _solenoid(parameters: FloatArray, x: float, y: float, z: float, b: FloatArray, g: FloatArray) -> None:
    """Finite solenoid to order r^3: divergence-free exactly, curl-free to order r^3."""
    height, a, half_length, centre = parameters[0], parameters[1], parameters[2], parameters[3]
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
    b[0] = x * radial
    b[1] = y * radial
    b[2] = height * (u * su + v * sv - (f2u + f2v) * r2 / 4.0)
    g[0] = radial + x * x * slope
    g[1] = x * y * slope
    g[2] = x * radial_z
    g[3] = g[1]
    g[4] = radial + y * y * slope
    g[5] = y * radial_z
    g[6] = x * axial_r
    g[7] = y * axial_r
    g[8] = height / a * (f1v - f1u - (f3v - f3u) * r2 / 4.0)


@njit(cache=True)
def _cell(value: float, lower: float, inverse_step: float, n_coefficients: int) -> tuple[int, float]:
    """The cell of a uniform grid that holds a value, and the position in it, 0 to 1."""
    position = (value - lower) * inverse_step
    cell = min(max(int(position), 0), n_coefficients - 4)
    return cell, position - cell


@njit(cache=True)
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-splines at position t of a cell."""
    s = 1.0 - t
    w0, w3 = s * s * s / 6.0, t * t * t / 6.0
    w1 = 2.0 / 3.0 - t * t * (1.0 - 0.5 * t)
    return w0, w1, 1.0 - w0 - w1 - w3, w3


@njit(cache=True)
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivatives of the cubic B-splines at position t of a cell."""
    s = 1.0 - t
    return -0.5 * s * s, t * (1.5 * t - 2.0), 0.5 + t - 1.5 * t * t, 0.5 * t * t


@njit(cache=True)
def _map_rz(field: FieldArrays, x: float, y: float, z: float, b: FloatArray, g: FloatArray) -> None:
    """Bicubic spline of B_r and B_z, turned to x and y."""
    r = np.sqrt(x * x + y * y)
    i, t = _cell(r, field.lower[0], field.inverse_step[0], field.spline.shape[0])
    j, s = _cell(z, field.lower[2], field.inverse_step[2], field.spline.shape[2])
    w, dw = _weights(t), _slopes(t)
    (q0, q1, q2, q3), (p0, p1, p2, p3) = _weights(s), _slopes(s)
    br, br_r, br_z, bz, bz_r, bz_z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(4):
        c = field.spline[i + k, 0]
        radial = q0 * c[j, 0] + q1 * c[j + 1, 0] + q2 * c[j + 2, 0] + q3 * c[j + 3, 0]
        axial = q0 * c[j, 1] + q1 * c[j + 1, 1] + q2 * c[j + 2, 1] + q3 * c[j + 3, 1]
        br += w[k] * radial
        bz += w[k] * axial
        br_r += dw[k] * radial
        bz_r += dw[k] * axial
        br_z += w[k] * (p0 * c[j, 0] + p1 * c[j + 1, 0] + p2 * c[j + 2, 0] + p3 * c[j + 3, 0])
        bz_z += w[k] * (p0 * c[j, 1] + p1 * c[j + 1, 1] + p2 * c[j + 2, 1] + p3 * c[j + 3, 1])
    hr, hz = field.inverse_step[0], field.inverse_step[2]
    br_r, br_z, bz_r, bz_z = br_r * hr, br_z * hz, bz_r * hr, bz_z * hz
    cos, sin, ratio = 1.0, 0.0, br_r
    if r > 1e-9:  # closer to the axis B_r / r is its slope
        cos, sin, ratio = x / r, y / r, br / r
    b[0] = br * cos
    b[1] = br * sin
    b[2] = bz
    g[0] = ratio + cos * cos * (br_r - ratio)
    g[1] = cos * sin * (br_r - ratio)
    g[2] = cos * br_z
    g[3] = g[1]
    g[4] = ratio + sin * sin * (br_r - ratio)
    g[5] = sin * br_z
    g[6] = cos * bz_r
    g[7] = sin * bz_r
    g[8] = bz_z


@njit(cache=True)
def _map_xyz(field: FieldArrays, x: float, y: float, z: float, b: FloatArray, g: FloatArray) -> None:
    """Tricubic spline of B_x, B_y, B_z: sums over z, then y, then x."""
    i, tx = _cell(x, field.lower[0], field.inverse_step[0], field.spline.shape[0])
    j, ty = _cell(y, field.lower[1], field.inverse_step[1], field.spline.shape[1])
    k, tz = _cell(z, field.lower[2], field.inverse_step[2], field.spline.shape[2])
    wx, dx, wy, dy = _weights(tx), _slopes(tx), _weights(ty), _slopes(ty)
    (q0, q1, q2, q3), (p0, p1, p2, p3) = _weights(tz), _slopes(tz)
    for n in range(3):
        b[n] = 0.0
        g[3 * n], g[3 * n + 1], g[3 * n + 2] = 0.0, 0.0, 0.0
    for m in range(4):
        for n in range(3):
            value, along_y, along_z = 0.0, 0.0, 0.0
            for o in range(4):
                c = field.spline[i + m, j + o]
                line = q0 * c[k, n] + q1 * c[k + 1, n] + q2 * c[k + 2, n] + q3 * c[k + 3, n]
                slope = p0 * c[k, n] + p1 * c[k + 1, n] + p2 * c[k + 2, n] + p3 * c[k + 3, n]
                value += wy[o] * line
                along_y += dy[o] * line
                along_z += wy[o] * slope
            b[n] += wx[m] * value
            g[3 * n] += dx[m] * value
            g[3 * n + 1] += wx[m] * along_y
            g[3 * n + 2] += wx[m] * along_z
    for n in range(9):
        g[n] *= field.inverse_step[n % 3]


# ------------------------------------------------------------------------------------------------ corrections


@njit(cache=True)
def table_size(degree: int) -> int:
    """Numbers of work space for solid harmonics up to degree - 1, orders 0 to degree + 1, real and imaginary."""
    return 2 * max(degree, 1) * (max(degree, 1) + 3)


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
def mode_field(modes: IntArray, scale: float, index: int, degree: int, table: FloatArray) -> tuple[float, float, float]:
    """B of one unit of one mode, from a filled table."""
    l, m, phase = modes[index, 0], modes[index, 1], modes[index, 2]
    width = degree + 3
    re0, im0 = _entry(table, width, l - 1, m)
    rem, imm = _entry(table, width, l - 1, m - 1)
    rep, imp = _entry(table, width, l - 1, m + 1)
    if phase == 0:
        return scale * 0.5 * (rem - rep), -scale * 0.5 * (imp + imm), scale * re0
    return scale * 0.5 * (imm - imp), scale * 0.5 * (rep + rem), scale * im0


@njit(cache=True)
def mode_fields(field: FieldArrays, x: float, y: float, z: float, out: FloatArray, table: FloatArray) -> None:
    """B of one unit of every mode at a point, into out (3, M)."""
    fill_table(field.degree, x, y, z, table)
    for k in range(field.modes.shape[0]):
        out[0, k], out[1, k], out[2, k] = mode_field(field.modes, field.mode_scale[k], k, field.degree, table)


@njit(cache=True)
def _add_modes(
    field: FieldArrays, x: float, y: float, z: float, b: FloatArray, g: FloatArray, table: FloatArray
) -> None:
    fill_table(field.degree, x, y, z, table)
    width = field.degree + 3
    for k in range(field.modes.shape[0]):
        scale = field.amplitudes[k] * field.mode_scale[k]
        if scale == 0.0:
            continue
        l, m, phase = field.modes[k, 0], field.modes[k, 1], field.modes[k, 2]
        bx, by, bz = mode_field(field.modes, scale, k, field.degree, table)
        b[0] += bx
        b[1] += by
        b[2] += bz
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
        g[0] += scale * xx
        g[1] += scale * xy
        g[2] += scale * xz
        g[3] += scale * xy
        g[4] -= scale * (xx + zz)
        g[5] += scale * yz
        g[6] += scale * xz
        g[7] += scale * yz
        g[8] += scale * zz


@njit(cache=True)
def _add_region(field: FieldArrays, x: float, y: float, z: float, b: FloatArray) -> None:
    """The constant offset of the region (r, z, phi) that holds the point; beyond the edges nothing is added."""
    i = np.searchsorted(field.region_r, np.sqrt(x * x + y * y), side="right") - 1
    j = np.searchsorted(field.region_z, z, side="right") - 1
    n_r, n_z, n_phi = field.region_offsets.shape[0], field.region_offsets.shape[1], field.region_offsets.shape[2]
    if i < 0 or i >= n_r or j < 0 or j >= n_z:
        return
    k = int((np.arctan2(y, x) / (2.0 * np.pi) + 0.5) * n_phi)
    k = min(max(k, 0), n_phi - 1)
    for n in range(3):
        b[n] += field.region_offsets[i, j, k, n]
