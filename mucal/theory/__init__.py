"""What theory says about a dimuon spectrum: reference masses and widths, line shapes, final-state radiation.

Masses and widths are in GeV, one table with one source (`pdg`).  The Z and W masses are those of the running-width
Breit-Wigner, s / ((s - M^2)^2 + s^2 G^2 / M^2); the fixed-width pole of the Z lies 34.1 MeV lower (`lineshape`).
Muons are bare: `fsr` takes a mass before radiation to the mass of the pair that is left.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.theory.pdg import EDITION, RESONANCES, Resonance, resonance

if TYPE_CHECKING:
    from mucal.theory import fsr, lineshape
    from mucal.theory.lineshape import DrellYan

__all__ = ["EDITION", "RESONANCES", "DrellYan", "Resonance", "fsr", "lineshape", "resonance"]


def __getattr__(name: str) -> Any:
    # Line shapes are imported on first use: who only applies a calibration needs the masses at most.
    if name in ("fsr", "lineshape"):
        return import_module(f"mucal.theory.{name}")
    if name == "DrellYan":
        return import_module("mucal.theory.lineshape").DrellYan
    raise AttributeError(f"module 'mucal.theory' has no attribute {name!r}")
