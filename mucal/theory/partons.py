"""A toy of the proton's partons at Q ~ M_W, and what it makes of W and Z production: rapidity and forward preference.

Five momentum densities x f(x) (valence u and d, one light sea, s, c), good to some per cent for 1e-3 < x < 0.3, decide
together how often a W+ is made rather than a W-, at which rapidity, and from which side its quark comes:

    dN/dm dy ~ [F(y) + F(-y)] (propagator),   F = sum_ij g_ij x1 f_i(x1) x2 fbar_j(x2),   x1,2 = (m/sqrt(S)) e^(+-y),

with F(y) for quarks of the beam along +z.  In the Collins-Soper frame, whose axis follows the boson, the decay has

    A_4(y) = 2 P (F(y) - F(-y)) / (F(y) + F(-y)),   y > 0,

P = 1 for a W and P = A_q A_l (products of vector and axial couplings) for a Z on its pole; the angle is that of the
particle, not the antiparticle: the mu- of a Z or W-, the neutrino of a W+.  Documented in docs/physics/generators.md.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory.lineshape import SIN2_THETA

COLLISION_ENERGY: Final = 13_000.0
"""GeV, of the two protons."""

V_CKM: Final[Mapping[tuple[str, str], float]] = {
    ("u", "d"): 0.9744, ("u", "s"): 0.2245, ("c", "d"): 0.2245, ("c", "s"): 0.9735,
}  # fmt: skip
"""Quark mixing (Review of Particle Physics)."""

LARGEST_X: Final = 0.999


def momentum_density(flavour: str, x: FloatArray) -> FloatArray:
    """x f(x) of one flavour: "u", "d", "ubar", "dbar", "s", "sbar", "c" or "cbar"; 0 beyond x = 1.

    Raises KeyError for another flavour.
    """
    x = np.clip(x, 1e-7, LARGEST_X)
    sea = 0.150 * x**-0.34 * (1.0 - x) ** 7.5
    valence = {"u": 3.05 * x**0.66 * (1.0 - x) ** 3.5, "d": 1.55 * x**0.66 * (1.0 - x) ** 4.4}
    share = {"u": 1.0, "d": 1.0, "s": 0.62, "c": 0.40}[flavour.removesuffix("bar")]
    result: FloatArray = np.where(x < LARGEST_X, share * sea + valence.get(flavour, 0.0), 0.0)
    return result


def w_luminosity(charge: int, mass: FloatArray | float, rapidity: FloatArray) -> FloatArray:
    """F(y) of a W of one charge: the quark comes from the beam along +z.

    charge   : +1 or -1
    mass     : GeV, broadcast against the rapidity
    rapidity : any shape

    Returns an array like the rapidity, in arbitrary units that W+ and W- share.
    """
    total: FloatArray = np.zeros(np.broadcast_shapes(np.shape(mass), np.shape(rapidity)))
    x1, x2 = _fractions(mass, rapidity)
    for (up, down), v in V_CKM.items():
        quark, anti = (up, f"{down}bar") if charge > 0 else (down, f"{up}bar")
        total = total + v * v * momentum_density(quark, x1) * momentum_density(anti, x2)
    return total


def z_luminosity(mass: FloatArray | float, rapidity: FloatArray) -> tuple[FloatArray, FloatArray]:
    """F(y) of a Z on its pole, and the same weighted with A_q A_l.

    Arguments as for `w_luminosity`.
    """
    shape = np.broadcast_shapes(np.shape(mass), np.shape(rapidity))
    total, preference = np.zeros(shape), np.zeros(shape)
    x1, x2 = _fractions(mass, rapidity)
    for flavour, charge in (("u", 2 / 3), ("d", -1 / 3), ("s", -1 / 3), ("c", 2 / 3)):
        vector, axial = np.copysign(0.5, charge) - 2.0 * charge * SIN2_THETA, np.copysign(0.5, charge)
        part = (vector**2 + axial**2) * momentum_density(flavour, x1) * momentum_density(f"{flavour}bar", x2)
        total += part
        preference += part * asymmetry(vector, axial) * asymmetry(-0.5 + 2.0 * SIN2_THETA, -0.5)
    return total, preference


def asymmetry(vector: float, axial: float) -> float:
    """2 v a / (v^2 + a^2), the share of one handedness in a coupling."""
    return 2.0 * vector * axial / (vector**2 + axial**2)


def _fractions(mass: FloatArray | float, rapidity: FloatArray) -> tuple[FloatArray, FloatArray]:
    ratio = np.asarray(mass, dtype=np.float64) / COLLISION_ENERGY
    return ratio * np.exp(rapidity), ratio * np.exp(-np.asarray(rapidity))
