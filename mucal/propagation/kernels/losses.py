"""Compiled mean loss and straggling, with the derivatives that the Jacobian needs.

All is expressed through q = charge / momentum: an energy loss dE moves q by q E dE / p^2.
"""

from math import log, sqrt

from mucal.arrays import FloatArray
from mucal.detector.kernels import LOSS_CONSTANT, RADIATIVE, Z_OVER_A, loss_number, max_transfer
from mucal.numerics.borrowing import borrowing
from mucal.units import MUON_MASS

HIGHLAND = 13.6e-3
"""GeV; Highland's constant (G. Lynch and O. Dahl, NIM B58 (1991) 6)."""


@borrowing
def restricted_loss(p: float, xi: float, cut: float, medium: FloatArray) -> tuple[float, float, float, float]:
    """Mean loss to collisions with a transfer below `cut`, its derivatives by p and by `cut`, and its variance.

    With T_c = min(cut, T_max):  mean = xi/beta^2 {L(p) - [ln(T_max/T_c) - beta^2 (1 - T_c/T_max)]},
    variance = xi/beta^2 (T_c - beta^2 T_c^2 / (2 T_max)).  p in GeV; xi (at beta = 1) and cut in GeV.
    """
    m2 = MUON_MASS * MUON_MASS
    beta2 = p * p / (p * p + m2)
    t_max = max_transfer(p)
    number, number_p = loss_number(p, medium)
    by_cut = 0.0
    if cut < t_max:
        # d ln T_max / dp from T_max (1 + 2 gamma r + r^2) = 2 m_e (beta gamma)^2
        r = 0.51099895e-3 / MUON_MASS
        gamma = sqrt(p * p + m2) / MUON_MASS
        slope = (2.0 - 2.0 * r * gamma * beta2 / (1.0 + 2.0 * gamma * r + r * r)) / p
        beta2_p = 2.0 * beta2 * (1.0 - beta2) / p
        ratio = cut / t_max
        number -= log(1.0 / ratio) - beta2 * (1.0 - ratio)
        number_p -= slope - beta2_p * (1.0 - ratio) - beta2 * ratio * slope
        by_cut = xi / beta2 * (1.0 / cut - beta2 / t_max)
    else:
        cut = t_max
    mean = xi / beta2 * number
    by_p = xi / beta2 * number_p - 2.0 * m2 / (p * p * p) * xi * number
    return mean, by_p, by_cut, xi / beta2 * (cut - 0.5 * beta2 * cut * cut / t_max)


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
    p2 = 1.0 / (q * q)
    return HIGHLAND * HIGHLAND * (p2 + MUON_MASS * MUON_MASS) / (p2 * p2) * x_over_x0
