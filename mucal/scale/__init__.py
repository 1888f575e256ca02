"""From mass shifts to the momentum scale (A, e, M) and from mass widths to the resolution (a, b, c, d).

Scale.  With k = 1/pT, a muon's corrected curvature is

    k' = k (1 + A - e k) + q M                                                                                  (A1)

A (relative) acts like the magnetic field: A > 0 raises k and lowers pT.  e (GeV) acts like energy loss: positive e
gives back e of pT at every pT.  M (1/GeV) acts like a sagitta bias, odd in charge: M > 0 lowers the pT of mu+.
A reconstructed pair obeys ln (m_reco^2 / m_ref^2) = sum_i 2 w_i ln (1 + A_i - e_i k_i + q_i M_i / k_i), so the fitted
mass scale *is* the curvature correction: there is no sign flip between fit and correction.

What is minimised: chi2 = sum_b (y_b - f_b)^2 / V_b + priors, with y_b = ln s_b^2 (less that of simulation in the same
bin, if there is one) and f_b that sum with <w>, <k>, <pT> averaged over the bin's events.  Data and simulation are to
be fitted under the same background (`add_fitted_background`).  Derived in docs/physics/scale.md.

Closure.  Another resonance, corrected, is solved for A and M alone; `inflation_of` is the factor on the errors of the
table that its residuals ask for.

Resolution.  (sigma_k / k)^2 = a + c pT^2 + b / (1 + d / pT^2); sigma_m^2 / m^2 = sum_i w_i^2 (sigma_k / k)_i^2.
d is fixed, and scanned.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.scale import conventions
from mucal.scale.background import add_fitted_background
from mucal.scale.closure import Closure, close
from mucal.scale.derive import ScaleConfig, ScaleResiduals, derive, residuals
from mucal.scale.momentum import correct_pt, correction_factor, distort_pt
from mucal.scale.pixels import PixelMultiplicity, count_pixels
from mucal.scale.resolution import ResolutionConfig, derive_resolution, relative_variance
from mucal.scale.resolution_scan import scan_d
from mucal.scale.table import DScan, ResolutionTable, ScaleTable
from mucal.scale.weak import CoherentShift, WeakModes, coherent_shift, weak_modes

if TYPE_CHECKING:
    from mucal.scale.angles import AngularBiases, fill_by_side, watch_angles
    from mucal.scale.inflation import Inflation, inflation_of
    from mucal.scale.one_step import derive_at_once

# They need scipy.optimize or the mass fits, for which who applies a calibration must not wait.
_LAZY = {
    "AngularBiases": "mucal.scale.angles",
    "fill_by_side": "mucal.scale.angles",
    "watch_angles": "mucal.scale.angles",
    "Inflation": "mucal.scale.inflation",
    "inflation_of": "mucal.scale.inflation",
    "derive_at_once": "mucal.scale.one_step",
}

__all__ = [
    "AngularBiases",
    "Closure",
    "CoherentShift",
    "DScan",
    "Inflation",
    "PixelMultiplicity",
    "ResolutionConfig",
    "ResolutionTable",
    "ScaleConfig",
    "ScaleResiduals",
    "ScaleTable",
    "WeakModes",
    "add_fitted_background",
    "close",
    "coherent_shift",
    "conventions",
    "correct_pt",
    "correction_factor",
    "count_pixels",
    "derive",
    "derive_at_once",
    "derive_resolution",
    "distort_pt",
    "fill_by_side",
    "inflation_of",
    "relative_variance",
    "residuals",
    "scan_d",
    "watch_angles",
    "weak_modes",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mucal.scale' has no attribute {name!r}")
