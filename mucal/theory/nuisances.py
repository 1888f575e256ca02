"""The registry of theory nuisances: name -> variation, 456 in the published grouping.

    pdf 58, alpha_s 2                          partons
    angular_coefficients 353                   A_i by scale (352) and shower kT
    pt_model 32                                resummation 10, nonperturbative 10, transition and scale 8, masses 4
    electroweak 7, constants 4                 corrections; m_Z, widths, mixing

Source of names and counts: arXiv:2412.13872 and its public code.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from mucal.errors import ConfigError, nearest
from mucal.theory.coefficient_scales import scale_variations, shower_kt
from mucal.theory.electroweak import constant_variations, electroweak_variations
from mucal.theory.pdf_grid import PdfSet
from mucal.theory.pdf_variations import GROUP, pdf_variations
from mucal.theory.resummation import pt_variations
from mucal.theory.variation import Variation

COUNTS: Final[Mapping[str, int]] = {
    "pdf": 58, "alpha_s": 2, "angular_coefficients": 353, "pt_model": 32, "electroweak": 7, "constants": 4,
}  # fmt: skip
"""Nuisances of the fit of m_W by group."""


@lru_cache(maxsize=1)
def theory_variations() -> Mapping[str, Variation]:
    """All variations by name, in a fixed order."""
    found = (
        *pdf_variations(), *scale_variations(), shower_kt(), *pt_variations(), *electroweak_variations(),
        *constant_variations(),
    )  # fmt: skip
    return {variation.name: variation for variation in found}


def select(
    *, samples: Iterable[str], without: Iterable[str] = (), partons: PdfSet | None = None
) -> tuple[Variation, ...]:
    """The variations that act on any of some samples.

    samples : of `production.SAMPLES`
    without : variations to leave out, as "mass_z" in a fit of m_Z
    partons : a set whose members take the place of the 29 pairs in the group "pdf"; alpha_s and the masses stay

    Raises ConfigError that names the nearest variations for an unknown one in `without`.
    """
    known, left_out, wanted = theory_variations(), set(without), set(samples)
    for name in left_out - known.keys():
        near = ", ".join(nearest(name, known)) or "none"
        raise ConfigError(f"no theory variation '{name}'; the nearest are {near}", kind="config.unknown_variation")
    found = known.values() if partons is None else (
        *partons.variations(), *(v for v in known.values() if v.group != GROUP)
    )  # fmt: skip
    return tuple(v for v in found if wanted & set(v.samples) and v.name not in left_out)


def counts(variations: Iterable[Variation]) -> dict[str, int]:
    """Nuisances by group."""
    return dict(Counter(v.group for v in variations for _ in v.nuisances))
