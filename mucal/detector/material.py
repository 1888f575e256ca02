"""What material does to a muon: mean ionisation loss, radiative loss, straggling and multiple scattering.

The thickness of a thin element is stated twice, because loss and scattering do not follow each other: in radiation
lengths (`x_over_x0`), and as the Landau scale xi = (K/2) (Z/A) rho x of a muon with beta = 1 (`xi`).
The ionisation loss is S = xi L(p) / beta^2 with L about 26; straggling follows from xi alone.
Derived and tested in docs/physics/detector.md.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import kernels
from mucal.units import MUON_MASS, MeV

eV: Final = 1e-9
HIGHLAND: Final = 13.6 * MeV
"""Highland's constant (G. Lynch and O. Dahl, NIM B58 (1991) 6)."""

ADDITIVE: Final = 15.0 * MeV
"""Constant of the additive form (B. Rossi and K. Greisen, Rev. Mod. Phys. 13 (1941) 240: E_s / sqrt(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A medium, with the parameters of its density effect.

    z, z_over_a            : atomic number, mol/g
    excitation             : GeV      mean excitation energy I
    density                : g/cm^3
    radiation_length       : g/cm^2
    radiative              : cm^2/g   b, radiative loss b E rho x; taken constant, about 20 % good from 20 to 100 GeV
    c, x0, x1, a, k, delta0 :         Sternheimer's parameters
    """

    name: str
    z: int
    z_over_a: float
    excitation: float
    density: float
    radiation_length: float
    radiative: float
    c: float
    x0: float
    x1: float
    a: float
    k: float
    delta0: float

    @property
    def scattering_ratio(self) -> float:
        """X_s / X0 = (Z+1)/Z ln(287 Z^-1/2) / ln(159 Z^-1/3), for the additive scattering variance."""
        z = float(self.z)
        return float((z + 1.0) / z * np.log(287.0 / sqrt(z)) / np.log(159.0 / z ** (1.0 / 3.0)))

    @property
    def constants(self) -> FloatArray:
        """(12,) what the kernels read, in the order of their indices"""
        return np.array([
            self.z_over_a, self.excitation, self.density, self.radiation_length, self.radiative,
            self.c, self.x0, self.x1, self.a, self.k, self.delta0, self.scattering_ratio,
        ])  # fmt: skip

    @property
    def xi_per_radiation_length(self) -> float:
        """GeV, xi of one radiation length at beta = 1: turns x/X0 of a pure medium into xi."""
        return 0.5 * kernels.LOSS_CONSTANT * self.z_over_a * self.radiation_length


# R. Sternheimer, M. Berger and S. Seltzer, At. Data Nucl. Data Tables 30 (1984) 261; radiation lengths from the PDG.
SILICON: Final = Medium(
    name="silicon", z=14, z_over_a=0.49848, excitation=173 * eV, density=2.329, radiation_length=21.82,
    radiative=1.6e-6, c=4.4355, x0=0.2015, x1=2.8716, a=0.14921, k=3.2546, delta0=0.14,
)  # fmt: skip
CARBON: Final = Medium(
    name="carbon (graphite)", z=6, z_over_a=0.49954, excitation=78 * eV, density=2.210, radiation_length=42.70,
    radiative=0.8e-6, c=2.9925, x0=-0.0351, x1=2.4860, a=0.20240, k=3.0036, delta0=0.10,
)  # fmt: skip


def mean_loss(p: FloatArray, xi: FloatArray, medium: Medium = SILICON) -> FloatArray:
    """Mean ionisation loss of muons in thin elements, xi / beta^2 L(p); the radiative part is `radiative_loss`.

    p      : (N,) GeV  momentum
    xi     : (N,) GeV  Landau scale at beta = 1, of the path in the element
    medium :           gives excitation energy and density effect

    Returns (N,) GeV.  Source: PDG review, passage of particles through matter, eq. 34.5.
    """
    p, xi = _pair(p, xi)
    moments: FloatArray = kernels.all_truncated_moments(p.ravel(), xi.ravel(), medium.constants, 1.0)
    return moments[:, 0].reshape(p.shape)


def stopping_power(p: FloatArray, medium: Medium = SILICON) -> FloatArray:
    """Mean ionisation loss per thickness, S / rho = K (Z/A) / beta^2 [ln(...)/2 - beta^2 - delta/2].

    p      : (N,) GeV

    Returns (N,) GeV cm^2/g.  Source as for `mean_loss`.
    """
    p = np.asarray(p, dtype=np.float64)
    values: FloatArray = kernels.stopping_powers(p.ravel(), medium.constants)
    return values[:, 0].reshape(p.shape)


def radiative_loss(p: FloatArray, thickness: FloatArray, medium: Medium = SILICON) -> FloatArray:
    """Mean loss to bremsstrahlung, pairs and nuclei, b E rho x.  It does not scale like ionisation: keep it apart.

    p         : (N,) GeV
    thickness : (N,) g/cm^2

    Returns (N,) GeV.
    """
    loss: FloatArray = medium.radiative * np.sqrt(np.square(p) + MUON_MASS**2) * thickness
    return loss


def straggling(
    p: FloatArray, xi: FloatArray, medium: Medium = SILICON, *, alpha: float = 0.999
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the ionisation loss without the hardest collisions.

    Collisions with a transfer above T_c = min(T_max, xi / (beta^2 (1 - alpha))) are left out, on average 1 - alpha of
    them in the element; alpha = 1 keeps all.
        mean_c = mean - xi [ln(T_max/T_c) - beta^2 (1 - T_c/T_max)],   var_c = xi [T_c - beta^2 T_c^2 / (2 T_max)]

    p     : (N,) GeV
    xi    : (N,) GeV  at beta = 1
    alpha :           between 0 and 1

    Returns (N,) GeV and (N,) GeV^2.  Raises ValueError for alpha outside (0, 1].
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha = {alpha}, expected a fraction of collisions kept, 0 < alpha <= 1")
    p, xi = _pair(p, xi)
    moments: FloatArray = kernels.all_truncated_moments(p.ravel(), xi.ravel(), medium.constants, alpha)
    return moments[:, 0].reshape(p.shape), moments[:, 1].reshape(p.shape)


def most_probable_loss(p: FloatArray, xi: FloatArray, medium: Medium = SILICON) -> FloatArray:
    """Peak of the straggling spectrum, xi [ln(2 m_e (beta gamma)^2 / I) + ln(xi/I) + 0.200 - beta^2 - delta].

    p  : (N,) GeV
    xi : (N,) GeV  at beta = 1

    Returns (N,) GeV.  Source: PDG review, eq. 34.12; holds for xi well below T_max.
    """
    p, xi = _pair(p, xi)
    bg2 = np.square(p / MUON_MASS)
    beta2 = bg2 / (1.0 + bg2)
    thickness = xi / beta2
    delta = np.array([kernels.density_effect(one, medium.constants)[0] for one in p.ravel()]).reshape(p.shape)
    log_1 = np.log(2.0 * kernels.ELECTRON_MASS * bg2 / medium.excitation)
    loss: FloatArray = thickness * (log_1 + np.log(thickness / medium.excitation) + 0.200 - beta2 - delta)
    return loss


def scattering_variance(p: FloatArray, x_over_x0: FloatArray, total: FloatArray | float) -> FloatArray:
    """Variance of the projected scattering angle in an element of a longer path, (13.6 MeV / beta p)^2 x/X0 [...]^2.

    Highland's logarithm is not additive, so it is taken once, with the thickness of the whole trajectory:
    [1 + 0.038 ln(total)]^2.  The variances of the elements then add up to that of the path.

    p         : (N,) GeV
    x_over_x0 : (N,)  of the element
    total     : (N,)  of the whole path, in radiation lengths

    Returns (N,) rad^2.  Source: PDG review, eq. 34.16.
    """
    logarithm = 1.0 + 0.038 * np.log(np.asarray(total, dtype=np.float64))
    variance: FloatArray = _inverse_beta_p2(p) * HIGHLAND**2 * x_over_x0 * logarithm**2
    return variance


def additive_scattering_variance(p: FloatArray, x_over_x0: FloatArray, medium: Medium | None = None) -> FloatArray:
    """Variance of the projected scattering angle without a logarithm, (15 MeV / beta p)^2 x/X_s.

    p         : (N,) GeV
    x_over_x0 : (N,)
    medium    :        X_s = X0 times its `scattering_ratio`; without one X_s = X0

    Returns (N,) rad^2.
    """
    ratio = 1.0 if medium is None else medium.scattering_ratio
    variance: FloatArray = _inverse_beta_p2(p) * ADDITIVE**2 * x_over_x0 / ratio
    return variance


def _inverse_beta_p2(p: FloatArray) -> FloatArray:
    p2 = np.square(p)
    result: FloatArray = (p2 + MUON_MASS**2) / (p2 * p2)
    return result


def _pair(p: FloatArray, xi: FloatArray) -> tuple[FloatArray, FloatArray]:
    first, second = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(xi, dtype=np.float64))
    return np.ascontiguousarray(first), np.ascontiguousarray(second)
