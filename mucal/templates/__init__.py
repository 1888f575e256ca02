"""Histograms of events, nominal and with every variation, filled in one pass.

A template is sum_i w_i over the events of a bin; its variation is sum_i w_i v_i with another weight v_i (the same
events, no migration, no second sample).  Weights that are functions of the boson's pT, |y| and of the helicity terms
are not evaluated event by event: the pass sums the nine helicity shares h of each event in cells of (pT, |y|),

    N_b = sum_g sum_i T_bgi,     varied_b = N_b + sum_g sum_i T_bgi (R_gi - 1),

R_gi being the variation's factor on term i, averaged over the production in cell g.  So any number of variations costs
nothing per event, and carries no more noise than the nominal.  Nuisances of the muon calibration are linear in six
moments of the response in a bin (`response`); weights that need whole events are summed as they are.

Signs.  A calibration nuisance at +1 adds its shift to the curvature of the simulated muons, k -> k (1 + dA - de k) +
q dM, as in `calibration`.  A mass shift is positive for a heavier boson.  kappa is ln(varied/nominal) at +1, mirrored
for -1.  Bins are flat, the last axis running fastest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.templates.binning import CHANNELS, Binning

if TYPE_CHECKING:
    from mucal.templates.assembly import build
    from mucal.templates.config import TemplatesConfig
    from mucal.templates.filling import Chunk, Sums, accumulate
    from mucal.templates.ingredients import Ingredients
    from mucal.templates.table import Templates

_LAZY = {"build": "assembly", "TemplatesConfig": "config", "Ingredients": "ingredients"}
_LAZY |= dict.fromkeys(("Chunk", "Sums", "accumulate"), "filling") | {"Templates": "table"}

__all__ = [
    "CHANNELS", "Binning", "Chunk", "Ingredients", "Sums", "Templates", "TemplatesConfig", "accumulate", "build",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"mucal.templates.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'mucal.templates' has no attribute {name!r}")
