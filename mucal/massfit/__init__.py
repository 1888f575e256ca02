"""Dimuon mass fits: 10^4 to 10^5 kinematic bins in one call (`fit_bins`); single spectra for people (`fit_spectrum`).

What is minimised.  The extended binned Poisson likelihood, -2 ln L = 2 sum_j [mu_j - n_j + n_j ln(n_j / mu_j)], plus
(x - x0)^2 / sigma^2 for every constrained parameter.  mu_j are *integrals* of the model over mass bin j, never the
density at its centre (that would bias the squared width by w^2 / 12).  The signal is normalised over the window.

Conventions.  Masses in GeV.  The scale s of a bin is reconstructed over reference mass, so the peak sits at s m_ref:
s > 1 means reconstructed momenta too high, and ln s^2 = sum_i 2 w_i (A_i - e_i k_i + q_i M_i / k_i) is directly the
curvature correction that `scale` solves for.  The width is sigma = relative mass resolution, sigma_m / (s m_ref).
`fit_bins` minimises unbounded maps: ln s, ln sigma, logit f (f: background fraction), ln N.  `fit_spectrum` minimises
s, sigma and the yields themselves, which people read; a parameter that ends at the edge of its domain is no result.

A bin that cannot be fitted says why in `status`; its values are NaN, never a guess.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.massfit.bins import Binning, MassHistograms, fill
from mucal.massfit.fits import MassFits
from mucal.massfit.occupancy import Merging, fewest_events, merge_thin
from mucal.massfit.status import Remedy, Status
from mucal.massfit.window import window_warnings

if TYPE_CHECKING:
    from mucal.massfit.batch import fit_bins
    from mucal.massfit.config import BatchConfig
    from mucal.massfit.morphing import simulated_template
    from mucal.massfit.retries import fit_with_retries, marked
    from mucal.massfit.spectrum import SpectrumFit, fit_spectrum
    from mucal.massfit.spectrum_config import SpectrumConfig
    from mucal.massfit.template import Template

# Compiled fits are imported on first use: who only reads a table of results must not wait for them.
_LAZY = {
    "BatchConfig": "config",
    "SpectrumConfig": "spectrum_config",
    "SpectrumFit": "spectrum",
    "Template": "template",
    "fit_bins": "batch",
    "fit_spectrum": "spectrum",
    "fit_with_retries": "retries",
    "marked": "retries",
    "simulated_template": "morphing",
}

__all__ = [
    "BatchConfig",
    "Binning",
    "MassFits",
    "MassHistograms",
    "Merging",
    "Remedy",
    "SpectrumConfig",
    "SpectrumFit",
    "Status",
    "Template",
    "fewest_events",
    "fill",
    "fit_bins",
    "fit_spectrum",
    "fit_with_retries",
    "marked",
    "merge_thin",
    "simulated_template",
    "window_warnings",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"mucal.massfit.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'mucal.massfit' has no attribute {name!r}")
