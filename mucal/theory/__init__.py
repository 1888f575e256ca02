"""What theory says about a dimuon spectrum: reference masses and widths, line shapes, final-state radiation.

Masses and widths are in GeV, one table with one source (`pdg`).  The Z and W masses are those of the running-width
Breit-Wigner, s / ((s - M^2)^2 + s^2 G^2 / M^2); the fixed-width pole of the Z lies 34.1 MeV lower (`lineshape`).
Muons are bare: `fsr` takes a mass before radiation to the mass of the pair that is left.

W and Z at 13 TeV: `production` says how they come about, `generator` draws events, `reweighting` gives the exact weight
of another mass or width, `harmonics` the angular coefficients.  Angles are those of the particle (mu- of a Z or W-,
neutrino of a W+) in the Collins-Soper frame whose z is on the side of the boson, so that A_4 > 0 for both charges of W.
A mass shift is positive for a heavier boson.  `nuisances` is the registry of theory uncertainties: name -> weights.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.theory.pdg import EDITION, RESONANCES, Resonance, resonance

if TYPE_CHECKING:
    from mucal.theory import fsr, generator, harmonics, lineshape, nuisances, production, reweighting
    from mucal.theory.lineshape import DrellYan

_MODULES = ("fsr", "generator", "harmonics", "lineshape", "nuisances", "production", "reweighting")

__all__ = [
    "EDITION", "RESONANCES", "DrellYan", "Resonance", "fsr", "generator", "harmonics", "lineshape", "nuisances",
    "production", "resonance", "reweighting",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Line shapes are imported on first use: who only applies a calibration needs the masses at most.
    if name in _MODULES:
        return import_module(f"mucal.theory.{name}")
    if name == "DrellYan":
        return import_module("mucal.theory.lineshape").DrellYan
    raise AttributeError(f"module 'mucal.theory' has no attribute {name!r}")
