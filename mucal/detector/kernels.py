"""Compiled scalar functions: what a muon loses in a medium, and what a module measures of it.

They are called from the kernels that step through the detector; `material` and `measurement` have the same functions
for arrays.  A medium is a (12,) array in the order of the indices below (`Medium.constants` makes it).
"""

from math import atan, cos, log, log10, sin, sqrt
from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.units import MUON_MASS

ELECTRON_MASS: Final = 0.51099895e-3
"""GeV (PDG 2024)."""

LOSS_CONSTANT: Final = 0.307075e-3
"""K = 4 pi N_A r_e^2 m_e c^2, GeV cm^2 / mol (PDG 2024, table 34.1)."""

(Z_OVER_A, EXCITATION, DENSITY, RADIATION_LENGTH, RADIATIVE, STERNHEIMER_C, X_0, X_1, STERNHEIMER_A, STERNHEIMER_K,
 DELTA_0, SCATTERING_RATIO) = range(12)  # fmt: skip


@njit(cache=True)
def max_transfer(p: float) -> float:
    """Largest energy that a muon of momentum p (GeV) gives to an electron at rest, GeV."""
    bg2 = (p / MUON_MASS) ** 2
    gamma = sqrt(1.0 + bg2)
    ratio = ELECTRON_MASS / MUON_MASS
    return 2.0 * ELECTRON_MASS * bg2 / (1.0 + 2.0 * gamma * ratio + ratio * ratio)


@njit(cache=True)
def density_effect(p: float, medium: FloatArray) -> tuple[float, float]:
    """delta and d delta / d ln p of a muon of momentum p (GeV); Sternheimer's parametrisation."""
    x = log10(p / MUON_MASS)
    if x >= medium[X_1]:
        return 2.0 * log(10.0) * x - medium[STERNHEIMER_C], 2.0
    if x >= medium[X_0]:
        rest = medium[STERNHEIMER_A] * (medium[X_1] - x) ** medium[STERNHEIMER_K]
        slope = -medium[STERNHEIMER_K] * rest / (medium[X_1] - x) / log(10.0)
        return 2.0 * log(10.0) * x - medium[STERNHEIMER_C] + rest, 2.0 + slope
    delta = medium[DELTA_0] * 10.0 ** (2.0 * (x - medium[X_0]))
    return delta, 2.0 * delta


@njit(cache=True)
def loss_number(p: float, medium: FloatArray) -> tuple[float, float]:
    """Mean ionisation loss over xi, and its derivative by p (1/GeV).

    ln(2 m_e (beta gamma)^2 T_max / I^2) - 2 beta^2 - delta, about 26 for muons of a few GeV.
    """
    energy2 = p * p + MUON_MASS**2
    beta2 = p * p / energy2
    bg2 = (p / MUON_MASS) ** 2
    t_max = max_transfer(p)
    delta, slope = density_effect(p, medium)
    number = log(2.0 * ELECTRON_MASS * bg2 * t_max / medium[EXCITATION] ** 2) - 2.0 * beta2 - delta
    # d ln T_max / d ln p = 2 - 2 (m_e/m) gamma beta^2 / (1 + 2 gamma m_e/m + (m_e/m)^2)
    gamma = sqrt(energy2) / MUON_MASS
    ratio = ELECTRON_MASS / MUON_MASS
    t_slope = 2.0 - 2.0 * ratio * gamma * beta2 / (1.0 + 2.0 * gamma * ratio + ratio * ratio)
    return number, (2.0 + t_slope - 4.0 * beta2 * MUON_MASS**2 / energy2 - slope) / p


@njit(cache=True)
def stopping_power(p: float, medium: FloatArray) -> tuple[float, float]:
    """Mean ionisation loss S / rho in GeV cm^2/g, and its derivative by p (cm^2/g)."""
    inverse_beta2 = 1.0 + (MUON_MASS / p) ** 2
    number, slope = loss_number(p, medium)
    scale = 0.5 * LOSS_CONSTANT * medium[Z_OVER_A]
    derivative = inverse_beta2 * slope - 2.0 * MUON_MASS**2 / p**3 * number
    return scale * inverse_beta2 * number, scale * derivative


@njit(cache=True)
def truncated_moments(p: float, xi: float, medium: FloatArray, alpha: float) -> tuple[float, float]:
    """Mean (GeV) and variance (GeV^2) of the loss when single collisions above T_c are left out.

    xi is that of a muon of beta = 1 (GeV); T_c = min(T_max, xi / (beta^2 (1 - alpha))).
    """
    beta2 = p * p / (p * p + MUON_MASS**2)
    thickness = xi / beta2
    t_max = max_transfer(p)
    t_cut = t_max
    if alpha < 1.0:
        t_cut = min(t_max, thickness / (1.0 - alpha))
    mean = thickness * loss_number(p, medium)[0]
    mean -= thickness * (log(t_max / t_cut) - beta2 * (1.0 - t_cut / t_max))
    return mean, thickness * (t_cut - 0.5 * beta2 * t_cut * t_cut / t_max)


@njit(cache=True)
def stopping_powers(p: FloatArray, medium: FloatArray) -> FloatArray:
    """`stopping_power` and its derivative for every momentum: (N,) GeV -> (N, 2)."""
    result = np.empty((p.size, 2))
    for i in range(p.size):
        result[i, 0], result[i, 1] = stopping_power(p[i], medium)
    return result


@njit(cache=True)
def all_truncated_moments(p: FloatArray, xi: FloatArray, medium: FloatArray, alpha: float) -> FloatArray:
    """`truncated_moments` for every momentum and thickness: (N,) GeV, (N,) GeV -> (N, 2) GeV, GeV^2."""
    result = np.empty((p.size, 2))
    for i in range(p.size):
        result[i, 0], result[i, 1] = truncated_moments(p[i], xi[i], medium, alpha)
    return result


@njit(cache=True)
def measured(u: float, v: float, strip_angle: float, focus: float) -> tuple[float, float, float]:
    """The precise measurement at (u, v) cm of a module, and its derivatives by u and v."""
    if focus != 0.0:
        along = v + focus
        distance2 = u * u + along * along
        return focus * atan(u / along), focus * along / distance2, -focus * u / distance2
    c, s = cos(strip_angle), sin(strip_angle)
    return u * c + v * s, c, s


@njit(cache=True)
def alignment_row(
    u: float, v: float, slope_u: float, slope_v: float, dm_du: float, dm_dv: float, row: FloatArray
) -> None:
    """Derivatives of one measurement by the six alignment parameters of its module, written to row (6,)."""
    turn = dm_du * slope_u + dm_dv * slope_v
    row[0], row[1], row[2] = -dm_du, -dm_dv, turn
    row[3], row[4], row[5] = turn * v, -turn * u, dm_du * v - dm_dv * u


@njit(cache=True)
def all_measured(u: FloatArray, v: FloatArray, strip_angle: FloatArray, focus: FloatArray) -> FloatArray:
    """`measured` for every crossing: (N,) cm, ... -> (N, 3)."""
    result = np.empty((u.size, 3))
    for i in range(u.size):
        result[i, 0], result[i, 1], result[i, 2] = measured(u[i], v[i], strip_angle[i], focus[i])
    return result


@njit(cache=True)
def alignment_rows(
    u: FloatArray, v: FloatArray, slope_u: FloatArray, slope_v: FloatArray, dm_duv: FloatArray
) -> FloatArray:
    """`alignment_row` for every measurement: (N,) cm, (N,), dm_duv (N, 2, 2) -> (N, 2, 6)."""
    rows = np.empty((u.size, 2, 6))
    for i in range(u.size):
        for j in range(2):
            alignment_row(u[i], v[i], slope_u[i], slope_v[i], dm_duv[i, j, 0], dm_duv[i, j, 1], rows[i, j])
    return rows
