"""Compiled mean loss and straggling, with the derivatives that the Jacobian needs.

All is expressed through q = charge / momentum: an energy loss dE moves q by q E dE / p^2.
"""

from math import exp, log, sqrt

from mucal.arrays import FloatArray
from mucal.detector.kernels import (
    DELTA_0,
    ELECTRON_MASS,
    EXCITATION,
    LOSS_CONSTANT,
    RADIATIVE,
    STERNHEIMER_A,
    STERNHEIMER_C,
    STERNHEIMER_K,
    X_0,
    X_1,
    Z_OVER_A,
)
from mucal.numerics.borrowing import borrowing
from mucal.units import MUON_MASS

HIGHLAND = 13.6e-3
"""GeV; Highland's constant (G. Lynch and O. Dahl, NIM B58 (1991) 6)."""


LN_100 = log(100.0)


@borrowing
def _density_rest(ln_bg2: float, medium: FloatArray) -> tuple[float, float]:
    """delta - [ln(beta gamma)^2 - C], what Sternheimer's density effect lacks to its limit, and its d/d ln p."""
    x = ln_bg2 / LN_100
    if x >= medium[X_1]:
        return 0.0, 0.0
    if x >= medium[X_0]:
        below = medium[X_1] - x
        rest = medium[STERNHEIMER_A] * exp(medium[STERNHEIMER_K] * log(below))
        return rest, -medium[STERNHEIMER_K] * rest / below * (2.0 / LN_100)
    delta = medium[DELTA_0] * exp(ln_bg2 - medium[X_0] * LN_100)
    return delta - ln_bg2 + medium[STERNHEIMER_C], 2.0 * delta - 2.0


@borrowing
def restricted_loss(p: float, xi: float, cut: float, medium: FloatArray) -> tuple[float, float, float, float]:
    """Mean loss to collisions with a transfer below `cut`, its derivatives by p and by `cut`, and its variance.

    With T_c = min(cut, T_max):  mean = xi/beta^2 {L(p) - [ln(T_max/T_c) - beta^2 (1 - T_c/T_max)]},
    variance = xi/beta^2 (T_c - beta^2 T_c^2 / (2 T_max)).  p in GeV; xi (at beta = 1) and cut in GeV.  The braces are
        ln(2 m_e T_c / I^2) + C - rest - beta^2 (1 + T_c/T_max),
    rest as in `_density_rest`: the logarithms of beta gamma cancel.
    """
    inverse_p = 1.0 / p
    m2 = (MUON_MASS * inverse_p) ** 2
    inverse_beta2 = 1.0 + m2
    beta2 = 1.0 / inverse_beta2
    bg2 = (p / MUON_MASS) ** 2
    gamma = p / MUON_MASS * sqrt(inverse_beta2)
    r = ELECTRON_MASS / MUON_MASS
    spread = 1.0 + r * (2.0 * gamma + r)
    t_max = 2.0 * ELECTRON_MASS * bg2 / spread
    slope = 2.0 - 2.0 * r * gamma * beta2 / spread  # d ln T_max / d ln p
    rest, rest_p = _density_rest(log(bg2), medium)
    beta2_p = 2.0 * beta2 * (1.0 - beta2)  # d beta^2 / d ln p
    thickness = xi * inverse_beta2
    if cut < t_max:
        ratio = cut / t_max
        by_cut = thickness * (1.0 / cut - beta2 / t_max)
        number_p = -rest_p - beta2_p * (1.0 + ratio) + beta2 * ratio * slope
    else:
        cut, ratio, by_cut = t_max, 1.0, 0.0
        number_p = -rest_p - 2.0 * beta2_p + slope
    excitation = medium[EXCITATION]
    number = log(2.0 * ELECTRON_MASS * cut / (excitation * excitation)) + medium[STERNHEIMER_C] - rest
    number -= beta2 * (1.0 + ratio)
    by_p = (thickness * number_p - 2.0 * m2 * xi * number) * inverse_p
    return thickness * number, by_p, by_cut, thickness * (cut - 0.5 * beta2 * cut * ratio)


@borrowing
def thin_loss(
    q: float, xi: float, scale: float, alpha: float, medium: FloatArray
) -> tuple[float, float, float, float, float]:
    """q after a thin layer: q_out, dq_out/dq, dq_out/d ln xi, dq_out/d ln scale, straggling variance of q_out.

    q in 1/GeV; xi of the slanted path at beta = 1, GeV; scale multiplies the ionisation loss; collisions above
    T_c = xi / (beta^2 (1 - alpha)) are left out; radiation is added unscaled.  A muon that stops gives q_out = 0.
    """
    p = 1.0 / abs(q)
    energy = sqrt(p * p + MUON_MASS * MUON_MASS)
    beta2 = (p / energy) ** 2
    cut = 1e30
    if alpha < 1.0:
        cut = xi / (beta2 * (1.0 - alpha))
    mean, by_p, by_cut, variance = restricted_loss(p, xi, cut, medium)
    by_p -= by_cut * cut * 2.0 * (1.0 - beta2) / p
    radiated = xi * medium[RADIATIVE] / (0.5 * LOSS_CONSTANT * medium[Z_OVER_A])
    energy_out = energy - scale * mean - radiated * energy
    if energy_out <= 1.05 * MUON_MASS:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    p_out = sqrt(energy_out * energy_out - MUON_MASS * MUON_MASS)
    q_out = p / p_out * q
    by_energy = -q_out * energy_out / (p_out * p_out)  # dq_out / dE_out
    energy_by_p = (1.0 - radiated) * p / energy - scale * by_p
    by_ln_xi = -by_energy * (scale * (mean + by_cut * cut) + radiated * energy)
    return (
        q_out,
        -by_energy * energy_by_p * p / q,
        by_ln_xi,
        -by_energy * scale * mean,
        by_energy * by_energy * variance,
    )


@borrowing
def thick_loss(q: float, xi: float, scale: float, cut: float, medium: FloatArray) -> tuple[float, float, float, float]:
    """dq/ds in a homogeneous medium: its value g, dg/dq, dg/d ln scale, and d(variance of q)/ds.

    g = q E S / p^2.  q in 1/GeV; xi per cm at beta = 1, GeV/cm; cut in GeV is fixed; radiation is added unscaled.
    """
    p = 1.0 / abs(q)
    energy2 = p * p + MUON_MASS * MUON_MASS
    energy = sqrt(energy2)
    mean, by_p, _, variance = restricted_loss(p, xi, cut, medium)
    radiated = xi * medium[RADIATIVE] / (0.5 * LOSS_CONSTANT * medium[Z_OVER_A])
    loss = scale * mean + radiated * energy
    loss_p = scale * by_p + radiated * p / energy
    factor = q * energy / (p * p)
    # d(q E / p^2)/dq with dp/dq = -p/q
    factor_q = energy / (p * p) * (3.0 - p * p / energy2)
    return factor * loss, factor_q * loss - factor * loss_p * p / q, factor * scale * mean, factor * factor * variance


@borrowing
def scattering(q: float, x_over_x0: float) -> float:
    """Variance of the projected angle without Highland's logarithm: (13.6 MeV / beta p)^2 x/X0."""
    q2 = q * q
    return HIGHLAND * HIGHLAND * (1.0 + MUON_MASS * MUON_MASS * q2) * q2 * x_over_x0
