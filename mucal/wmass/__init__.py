"""The measurements assembled: masses of the W, of the Z as if it were a W, of the Z from pairs; their cross-checks.

Everything is one tensor seen in different ways.  `mass_model` turns templates into a `likelihood.Model` whose parameter
of interest is the mass in units of 100 MeV from the simulation's value,

    kappa = [ln N(+100) - ln N(-100)]/2,     eta = [ln N(+100) + ln N(-100)]/2 - ln N,

free, beside the nuisances of the templates and the normalisations.  The cross-checks are the same model with the mass
split into parts (`slices`), or with the theory of the W replaced by free cross sections of its helicities (`helicity`).
`published` holds the numbers of arXiv:2412.13872 to compare with.

Signs.  A parameter is above 0 for a heavier boson; a difference is the first part less the second (plus less minus,
forward eta less backward, central less outer).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mucal.wmass import published
    from mucal.wmass.combination import combine
    from mucal.wmass.goodness import parton_goodness
    from mucal.wmass.helicity import helicity_model
    from mucal.wmass.pdf_sets import PdfScaling, scale_factors
    from mucal.wmass.slices import SPLITS, Compatibility, compare, split_mass
    from mucal.wmass.sources import Breakdown, breakdown
    from mucal.wmass.tensor import MASS, UNIT, Background, mass_model

_LAZY = {"combine": "combination", "helicity_model": "helicity", "parton_goodness": "goodness"}
_LAZY |= dict.fromkeys(("PdfScaling", "scale_factors"), "pdf_sets")
_LAZY |= dict.fromkeys(("SPLITS", "Compatibility", "compare", "split_mass"), "slices")
_LAZY |= dict.fromkeys(("Breakdown", "breakdown"), "sources")
_LAZY |= dict.fromkeys(("MASS", "UNIT", "Background", "mass_model"), "tensor")

__all__ = [
    "MASS", "SPLITS", "UNIT", "Background", "Breakdown", "Compatibility", "PdfScaling", "breakdown", "combine",
    "compare", "helicity_model", "mass_model", "parton_goodness", "published", "scale_factors", "split_mass",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "published":
        return import_module("mucal.wmass.published")
    if name in _LAZY:
        return getattr(import_module(f"mucal.wmass.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'mucal.wmass' has no attribute {name!r}")
