"""The binned profile-likelihood fit of templates: thousands of nuisances, both kinds of impacts.

What is minimised.  With n_b observed events in bin b, nu_bp = r_p (N_bp + A_bp) exp(E_bp) expected ones of process p,
and beta a factor that stands for the finite simulation behind the templates,

    NLL = sum_b [m_b - n_b - n_b ln(m_b / n_b)] + sum q(beta) + 1/2 sum_s c_s (x_s - x0_s)^2 + external terms

with m_b = sum_p beta_bp nu_bp, minimal over beta.  E_bp = sum_s [kappa_bps x_s + eta_bps x_s alpha(x_s)] are the
log-normal effects, and A_bp the same sum of additive ones, which count events; rates r_p multiply both.  Effects on the
same place add up, in E or in A.  Simulation: one beta for all processes of a bin that are not exactly known
(per="bin", Barlow and Beeston's light version, k = (sum_p N)^2 / sum_p sumw2), or one for each of them (per="process",
k = N^2 / sumw2); q = k (beta - b0) - k b0 ln(beta / b0) ("gamma") or k (beta - b0)^2 / 2 ("normal").  An external term
is g x + x H x / 2.  All is ln L, not 2 ln L: one standard error raises it by 1/2.  Without external terms it is 0 for
a perfect fit, so that 2 NLL is the saturated goodness of fit.

Conventions.  A constrained parameter is in units of its prior standard error, centre 0 and c = 1; a free one has c = 0.
kappa and eta are half the difference and half the sum of the log-ratios of the templates at +1 and -1 to the nominal
(additive: of the differences to it).  A rate multiplies processes and starts at 1.  Bins are flat, channel after
channel, the last axis running fastest.

Signs.  An impact is the change of a parameter of interest when a nuisance (nominal impact) or the centre of its
constraint (global impact) goes *up*.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.likelihood.blocks import Block, Effects
from mucal.likelihood.build import build, from_arrays
from mucal.likelihood.channel import Channel
from mucal.likelihood.external import Quadratic, from_estimate
from mucal.likelihood.findings import Finding, look_for_trouble
from mucal.likelihood.histograms import Variation
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation, carry, observe
from mucal.likelihood.projection import Projection, project
from mucal.likelihood.status import Status
from mucal.likelihood.transform import Part, decorrelate, freeze, rescale

if TYPE_CHECKING:
    from mucal.likelihood.blinding import blind
    from mucal.likelihood.derived import Derived, ratios, sums
    from mucal.likelihood.goodness import Goodness, projected_goodness
    from mucal.likelihood.impacts import Impacts, global_impacts, nominal_impacts
    from mucal.likelihood.prediction import Prediction, predict_postfit, predict_prefit
    from mucal.likelihood.profile_fit import FitConfig, FitResult, expected_events, fit
    from mucal.likelihood.profile_scan import Contour, Interval, Scan, contour, interval, scan
    from mucal.likelihood.shifts import Shifts, global_shifts, nominal_shifts, unprofiled_shifts
    from mucal.likelihood.toys import LinearToys, asimov, bootstrap, linear_toys, prior_toy, toy

# Compiled passes are imported on first use: who only reads a model must not wait for them.
_LAZY = {
    "blinding": ("blind",),
    "derived": ("Derived", "ratios", "sums"),
    "goodness": ("Goodness", "projected_goodness"),
    "impacts": ("Impacts", "global_impacts", "nominal_impacts"),
    "prediction": ("Prediction", "predict_postfit", "predict_prefit"),
    "profile_fit": ("FitConfig", "FitResult", "expected_events", "fit"),
    "profile_scan": ("Contour", "Interval", "Scan", "contour", "interval", "scan"),
    "shifts": ("Shifts", "global_shifts", "nominal_shifts", "unprofiled_shifts"),
    "toys": ("LinearToys", "asimov", "bootstrap", "linear_toys", "prior_toy", "toy"),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "Block", "Channel", "Contour", "Derived", "Effects", "Finding", "FitConfig", "FitResult", "Goodness", "Impacts",
    "Interval", "LinearToys", "Model", "Observation", "Part", "Prediction", "Projection", "Quadratic", "Scan",
    "Shifts", "Status", "Variation", "asimov", "blind", "bootstrap", "build", "carry", "contour", "decorrelate",
    "expected_events", "fit", "freeze", "from_arrays", "from_estimate", "global_impacts", "global_shifts", "interval",
    "linear_toys", "look_for_trouble", "nominal_impacts", "nominal_shifts", "observe", "predict_postfit",
    "predict_prefit", "prior_toy", "project", "projected_goodness", "ratios", "rescale", "scan", "sums", "toy",
    "unprofiled_shifts",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"mucal.likelihood.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'mucal.likelihood' has no attribute {name!r}")
