"""Exact weights of another mass, width or mixing angle: ratios of the density that the events were drawn from.

For a W the weight is BW(s; M', G') / BW(s; M, G) of the running-width shape, as in arXiv:2412.13872.  For a Z the
photon and the interference are in both, and the change of A_4 with them is kept.  The reweighted sample is exactly one
drawn with the other mass, except where A_1 ... A_3 had been damped (`kernels.damp_interference`); its normalisation is
that of the weight: the rate may change.
"""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory import kernels
from mucal.theory.generator import BosonEvents
from mucal.theory.lineshape import SIN2_THETA
from mucal.theory.production import POLES, couplings

MASS_SHIFTS: Final = tuple(round(0.01 * i, 2) for i in range(-10, 11))
"""GeV, -100 to 100 MeV in steps of 10 MeV."""

LARGEST_WEIGHT: Final = 10.0


def shifted_width(sample: str, shift: float) -> float:
    """GeV, width of a boson whose mass is higher by `shift`: G ((M + shift) / M)^3, as at leading order."""
    mass, width = POLES[sample]
    return float(width * ((mass + shift) / mass) ** 3)


def mass_weight(events: BosonEvents, shift: float, *, fixed_width: bool = False) -> FloatArray:
    """Weight of a mass higher by `shift`, the width following as M^3 unless `fixed_width`.

    events : of one sample
    shift  : GeV

    Returns (N,).
    """
    mass, width = POLES[events.sample]
    return weight(events, mass=mass + shift, width=width if fixed_width else shifted_width(events.sample, shift))


def weight(
    events: BosonEvents, *, mass: float | None = None, width: float | None = None, sin2_theta: float = SIN2_THETA
) -> FloatArray:
    """Density of events with other parameters over that with `POLES` and `SIN2_THETA`.

    events      : of one sample
    mass, width : GeV; None: unchanged
    sin2_theta  : effective leptonic mixing, for the Z

    Returns (N,).
    """
    rate, forward = kernels.rates(events.mass, couplings(events.sample), events.luminosity)
    other = couplings(events.sample, mass, width, sin2_theta)
    rate_other, forward_other = kernels.rates(events.mass, other, events.luminosity)
    result: FloatArray = np.divide(rate_other, rate, out=np.ones(len(events)), where=rate > 0)
    if events.sample == "z":
        # A_4 = forward * (1 - 0.6 A_0): h_4 is linear in it, and so is the sum of all terms
        sum_of_terms = (1.0 + events.cosine**2) / events.shares[:, 0]
        a4 = events.shares[:, 5] * sum_of_terms / np.where(events.cosine == 0, 1.0, events.cosine)
        damping = np.divide(a4, forward, out=np.ones(len(events)), where=np.abs(forward) > 1e-9)
        result = result * (1.0 + (forward_other - forward) * damping * events.cosine / sum_of_terms)
    return result
