"""The product: correction tables and named nuisances with their provenance, applied to muons.

Data.  `Calibration.correct` returns pT' = pT / (1 + A - e/pT + q M pT), the correction (A1) of `scale`.
Simulation is the mass reference: its pT is returned as it is, and `smear` brings its resolution to that of data,
k -> k (1 + N(0,1) sqrt(max(0, sigma2_data - sigma2_mc))) with sigma2 = (sigma_k/k)^2.  Simulation is never un-smeared.

Nuisances.  The covariance C of the parameters is diagonalised, C = sum_i v_i v_i^T; each v_i is one nuisance of unit
width, and its up (down) variation adds (subtracts) v_i.  On data the varied parameters replace the nominal ones.  On
simulation v_i itself is added to the curvature, k -> k (1 + dA - de k) + q dM.  The two are the same uncertainty seen
from either side of the comparison, with opposite effect on it: vary one sample, never both.

A number is returned only where the calibration is valid: lower edge <= pT, eta < upper edge, charge exactly +1 or -1,
everything finite.  Elsewhere the call fails, or (`outside="nan"`) returns NaN and `count_rejected` says why.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.calibration.manifest import BundleReport, FileState, load, verify_bundle
from mucal.calibration.product import Calibration

if TYPE_CHECKING:
    from mucal.calibration.assembly import CalibrationConfig, assemble
    from mucal.calibration.certification import certify
    from mucal.calibration.weights import response_weights, vary_all

# Needed to make a calibration, or to weigh with all nuisances at once: imported on first use.
_LAZY = {
    "CalibrationConfig": "mucal.calibration.assembly",
    "assemble": "mucal.calibration.assembly",
    "certify": "mucal.calibration.certification",
    "response_weights": "mucal.calibration.weights",
    "vary_all": "mucal.calibration.weights",
}

__all__ = [
    "BundleReport",
    "Calibration",
    "CalibrationConfig",
    "FileState",
    "assemble",
    "certify",
    "load",
    "response_weights",
    "vary_all",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mucal.calibration' has no attribute {name!r}")
