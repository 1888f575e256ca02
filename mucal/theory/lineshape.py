"""Mass spectra before radiation (Breit-Wigner, Voigt, qq̄ -> gamma*/Z -> mu mu) and their smearing by a resolution.

A spectrum that is to be smeared is a `Line`: quadrature nodes and weights, so that its convolution with any
resolution whose distribution function K is known becomes a sum of exact bin integrals,

    P_j = sum_g w_g [K((e_{j+1} - s m_g)/(sigma s m_g)) - K((e_j - s m_g)/(sigma s m_g))],

with s the mass scale and sigma the relative resolution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, voigt_profile

from mucal.arrays import FloatArray, check_shapes
from mucal.theory.pdg import resonance

SIN2_THETA: Final = 0.2315
"""Effective leptonic weak mixing angle (Review of Particle Physics, electroweak review)."""


def breit_wigner_running(mass: FloatArray, peak: float, width: float) -> FloatArray:
    """Relativistic Breit-Wigner with running width, s / [(s - M^2)^2 + s^2 G^2 / M^2], not normalised.

    The convention in which the masses of the Z and the W are quoted.

    mass  : any shape, GeV; s = mass^2
    peak  : GeV, M
    width : GeV, G

    Returns an array like `mass`, 1/GeV^2.
    """
    s = np.square(mass)
    result: FloatArray = s / ((s - peak**2) ** 2 + (s * width / peak) ** 2)
    return result


def breit_wigner_fixed(mass: FloatArray, peak: float, width: float) -> FloatArray:
    """Relativistic Breit-Wigner with fixed width, s / [(s - M^2)^2 + M^2 G^2], not normalised.

    Arguments and return as for `breit_wigner_running`.  With the mass and width of `fixed_width_pole` both shapes are
    proportional to each other.
    """
    s = np.square(mass)
    result: FloatArray = s / ((s - peak**2) ** 2 + (peak * width) ** 2)
    return result


def fixed_width_pole(peak: float, width: float) -> tuple[float, float]:
    """Mass and width (GeV) of the fixed-width shape that equals the running-width one of `peak` and `width`.

    M' = M / sqrt(1 + G^2/M^2) and the same factor for the width: -34.1 MeV in the mass of the Z.
    Source: D. Bardin et al., Phys. Lett. B 206 (1988) 539.
    """
    factor = 1.0 / np.sqrt(1.0 + (width / peak) ** 2)
    return float(peak * factor), float(width * factor)


def voigt(mass: FloatArray, peak: float, width: float, sigma: float) -> FloatArray:
    """Voigt density: a Cauchy shape of full width `width` smeared by a Gaussian of `sigma`; all in GeV, unit area."""
    result: FloatArray = voigt_profile(np.asarray(mass) - peak, sigma, 0.5 * width)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class DrellYan:
    """qq̄ -> gamma*/Z -> mu mu at leading order, times a falling parton luminosity.

    peak, width      : GeV, of the Z, running-width convention
    luminosity_power : n of the parton luminosity dL/ds ~ m^-n: 2 because dL/ds = (tau dL/dtau) / s, and 1 because the
                       product of x f(x) falls about as tau^-1/2; derived in docs/physics/lineshapes.md
    up_fraction      : share of up-type quarks in that luminosity
    """

    peak: float = resonance("z").mass
    width: float = resonance("z").width
    luminosity_power: float = 3.0
    up_fraction: float = 0.55


def drell_yan(mass: FloatArray, model: DrellYan) -> FloatArray:
    """dN/dm before radiation, not normalised: 2 m m^-n sigma(s), with the photon, the Z and their interference.

    s sigma ~ sum_q f_q [Q_q^2 - 2 Q_q v_q v_l Re chi + (v_q^2 + a_q^2)(v_l^2 + a_l^2) |chi|^2],
    chi = s / (s - M^2 + i s G / M) / (4 sin^2 cos^2), v = T_3 - 2 Q sin^2, a = T_3.

    mass : any shape, GeV

    Returns an array like `mass`.  Source: Review of Particle Physics, cross-section formulae, e+e- -> gamma*/Z.
    """
    s = np.square(mass)
    norm = 1.0 / (4.0 * SIN2_THETA * (1.0 - SIN2_THETA))
    chi = norm * s / (s - model.peak**2 + 1j * s * model.width / model.peak)
    v_l, a_l = -0.5 + 2.0 * SIN2_THETA, -0.5
    total = np.zeros_like(s)
    for fraction, charge, isospin in ((model.up_fraction, 2 / 3, 0.5), (1.0 - model.up_fraction, -1 / 3, -0.5)):
        v_q, a_q = isospin - 2.0 * charge * SIN2_THETA, isospin
        total += fraction * (
            charge**2
            - 2.0 * charge * v_q * v_l * chi.real
            + (v_q**2 + a_q**2) * (v_l**2 + a_l**2) * (chi.real**2 + chi.imag**2)
        )
    result: FloatArray = total / s * 2.0 * np.asarray(mass) ** (1.0 - model.luminosity_power)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A mass spectrum as quadrature nodes: its integral against any smooth g is sum_g weight_g g(mass_g).

    mass   : (G,) GeV
    weight : (G,)      adds to the probability that the nodes cover
    """

    mass: FloatArray
    weight: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, weight=self.mass.shape)


Kernel = Callable[[FloatArray], FloatArray]
"""Distribution function of a resolution in units of its width: K(u), from 0 to 1."""


def smear(line: Line, edges: FloatArray, scale: float, sigma: float, kernel: Kernel) -> FloatArray:
    """Integrals over bins of a line smeared by a resolution proportional to the mass.

    line   : spectrum before smearing
    edges  : (J+1,) GeV
    scale  : measured over true mass
    sigma  : width of the kernel over measured mass
    kernel : distribution function of the resolution in units of its width

    Returns (J,); they add to the probability of the window.
    """
    centre = scale * line.mass
    below = kernel((edges[None, :] - centre[:, None]) / (sigma * centre[:, None]))
    return np.diff(line.weight @ below)


def gaussian_kernel(u: FloatArray) -> FloatArray:
    """Distribution function of the standard normal."""
    result: FloatArray = ndtr(u)
    return result


def double_gaussian_kernel(u: FloatArray, ratio: float, fraction: float) -> FloatArray:
    """Distribution function of two normals with a common mean: core of width 1, `fraction` of width `ratio`."""
    result: FloatArray = (1.0 - fraction) * ndtr(u) + fraction * ndtr(u / ratio)
    return result


def crystal_ball_kernel(u: FloatArray, alpha_l: float, n_l: float, alpha_r: float, n_r: float) -> FloatArray:
    """Distribution function of the double-sided Crystal Ball: normal core, power tails beyond -alpha_l and alpha_r.

    The left tail is exp(-a^2/2) [1 - (a/n)(a + u)]^-n, continuous with its first derivative; n > 1.  Source: Crystal
    Ball line shape (M. Oreglia, SLAC-R-236, 1980), with a second tail.
    """
    left_all, right_all = _tail(np.float64(-alpha_l), alpha_l, n_l), _tail(np.float64(-alpha_r), alpha_r, n_r)
    core_all = _SQRT_2PI * (ndtr(alpha_r) - ndtr(-alpha_l))
    core = _SQRT_2PI * (ndtr(np.clip(u, -alpha_l, alpha_r)) - ndtr(-alpha_l))
    left = _tail(np.minimum(u, -alpha_l), alpha_l, n_l)
    right = right_all - _tail(np.minimum(-u, -alpha_r), alpha_r, n_r)
    result: FloatArray = (left + core + right) / (left_all + core_all + right_all)
    return result


_SQRT_2PI: Final = float(np.sqrt(2.0 * np.pi))


def _tail(u: FloatArray | np.float64, alpha: float, n: float) -> FloatArray:
    """Integral of the left tail from -infinity to u <= -alpha; in logarithms, so that no n overflows."""
    log_bracket = np.log1p(-(alpha / n) * (alpha + u))
    result: FloatArray = n / (alpha * (n - 1.0)) * np.exp(-0.5 * alpha**2 + (1.0 - n) * log_bracket)
    return result
