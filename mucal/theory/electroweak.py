"""Uncertainty of electroweak corrections and of the constants: 7 + 4 nuisances.

The corrections' names and number are those of arXiv:2412.13872; their shapes are an ansatz of the right size in place
of the programs compared there (docs/physics/theory.md).  The constants are varied exactly (`reweighting`).
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory import reweighting
from mucal.theory.generator import BosonEvents
from mucal.theory.lineshape import SIN2_THETA
from mucal.theory.production import POLES
from mucal.theory.variation import UP, Variation, all_terms, one_term

GROUP: Final = "electroweak"
CONSTANTS: Final = "constants"
W: Final = ("w_plus", "w_minus")

MASS_Z_ERROR, WIDTH_Z_ERROR, WIDTH_W_ERROR = 2.1e-3, 0.8e-3, 0.6e-3
"""GeV."""
SIN2_ERROR: Final = 3e-5


def electroweak_variations() -> tuple[Variation, ...]:
    """Radiation off quarks 1, off muons 2, virtual corrections to the W 1 and to the Z 3."""
    return (
        Variation(name="ew_isr", group=GROUP, terms=_initial_state),
        Variation(name="ew_fsr_model", group=GROUP, events=lambda e, side: 1.0 + 0.02 * (_hard(e, 0.05) - 0.12)),
        Variation(name="ew_fsr_matrix_element", group=GROUP, events=lambda e, side: 1.0 - 0.05 * _hard(e, 0.4)),
        Variation(name="ew_virtual_w", group=GROUP, samples=W, events=_virtual(lambda u: 0.004 * u)),
        Variation(name="ew_virtual_z", group=GROUP, samples=("z",), events=_virtual(lambda u: 0.003 * u)),
        Variation(name="ew_virtual_z_scheme", group=GROUP, samples=("z",), events=_virtual(lambda u: 0.01 * u * u)),
        Variation(name="ew_virtual_z_alpha", group=GROUP, samples=("z",), terms=_asymmetry),
    )


def constant_variations() -> tuple[Variation, ...]:
    """m_Z, the widths of both bosons, and the mixing angle."""
    z_mass, z_width = POLES["z"]
    w_width = POLES["w_plus"][1]

    def sided(weight: Callable[[BosonEvents, float], FloatArray]) -> Callable[[BosonEvents, int], FloatArray]:
        return lambda e, side: weight(e, 1.0 if side == UP else -1.0)

    z_only: tuple[str, ...] = ("z",)
    return (
        Variation(
            name="mass_z", group=CONSTANTS, samples=z_only, symmetrise="average",
            events=sided(lambda e, s: reweighting.weight(e, mass=z_mass + s * MASS_Z_ERROR)),
        ),
        Variation(
            name="width_z", group=CONSTANTS, samples=z_only, symmetrise="average",
            events=sided(lambda e, s: reweighting.weight(e, width=z_width + s * WIDTH_Z_ERROR)),
        ),
        Variation(
            name="width_w", group=CONSTANTS, samples=W, symmetrise="average",
            events=sided(lambda e, s: reweighting.weight(e, width=w_width + s * WIDTH_W_ERROR)),
        ),
        Variation(
            name="sin2_theta", group=CONSTANTS, samples=z_only, symmetrise="average",
            events=sided(lambda e, s: reweighting.weight(e, sin2_theta=SIN2_THETA + s * SIN2_ERROR)),
        ),
    )  # fmt: skip


def _initial_state(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
    return all_terms(1.0 + 0.003 * (np.exp(-pt / 6.0) - 0.35))


def _asymmetry(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
    return one_term(4, np.full(pt.size, 1.01))


def _hard(events: BosonEvents, soft: float) -> FloatArray:
    """From 0 without radiation to nearly 1 for a hard photon, half-way at a loss of `soft`."""
    loss = 1.0 - events.kept
    result: FloatArray = loss / (loss + soft)
    return result


def _virtual(correction: Callable[[FloatArray], FloatArray]) -> Callable[[BosonEvents, int], FloatArray]:
    """1 + correction(ln m^2/M^2), bounded: a slowly varying function of the boson's mass."""

    def weight(events: BosonEvents, side: int) -> FloatArray:
        u = np.clip(2.0 * np.log(events.mass / POLES[events.sample][0]), -1.0, 1.0)
        return 1.0 + correction(u)

    return weight
