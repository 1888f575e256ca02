"""Uncertainty of the angular coefficients: renormalisation and factorisation scales by coefficient and pT, shower kT.

Each A_i varies by itself, in ten bins of the boson's pT and, reduced by sqrt(9/10) against double counting, in all of
them together; W and Z apart: 2 x 8 x 11 variations, 352 nuisances.  The cross section is left to `resummation`.
Sizes are an ansatz (docs/physics/theory.md) in place of an event generator's.
"""

import math
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory.variation import UP, Variation, one_term

PT_EDGES: Final = (0.0, 3.0, 5.0, 7.0, 9.0, 11.0, 15.0, 20.0, 27.0, 40.0, np.inf)
"""GeV."""

SIZES: Final = (0.10, 0.20, 0.10, 0.20, 0.03, 1.0, 1.0, 1.0)
"""Relative envelope of A_0 ... A_7."""

ASYMMETRY: Final = 0.2
"""The lower side is smaller by this."""

BOSONS: Final = {"w": ("w_plus", "w_minus"), "z": ("z",)}
GROUP: Final = "angular_coefficients"


def scale_variations() -> tuple[Variation, ...]:
    """All of them: 176 pairs."""
    return tuple(
        _scale(boson, i, b) for boson in BOSONS for i in range(len(SIZES)) for b in range(-1, len(PT_EDGES) - 1)
    )


def _scale(boson: str, i: int, b: int) -> Variation:
    """One coefficient in one bin of pT; bin -1 is all."""
    low, high = (0.0, np.inf) if b < 0 else PT_EDGES[b : b + 2]
    size = SIZES[i] * (math.sqrt(9 / 10) if b < 0 else 1.0)

    def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
        change = size if side == UP else -(1.0 - ASYMMETRY) * size
        return one_term(i, np.where((pt >= low) & (pt < high), 1.0 + change, 1.0))

    where = "inclusive" if b < 0 else f"pt{b}"
    return Variation(
        name=f"scale_{boson}_A{i}_{where}", group=GROUP, terms=terms, samples=BOSONS[boson], symmetrise="pair"
    )


def shower_kt() -> Variation:
    """Intrinsic kT of the shower: A_1 and A_3 diluted at small pT, A_4 a little; one nuisance, W and Z together."""

    def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
        near = np.exp(-((pt / 8.0) ** 2))
        result = one_term(4, 1.0 - 0.02 * near)
        result[:, 2] = result[:, 4] = 1.0 - 0.8 * near
        return result

    return Variation(name="shower_kt", group=GROUP, terms=terms)
