"""Muon efficiencies by tag and probe on Z -> mu mu, smoothed in pT, and the scale factors with their nuisances.

What is minimised.  For each bin of (eta, pT, charge[, u_T]) the passing and the failing mass spectrum together,
-ln L = sum_j [mu_j - n_j ln mu_j] over the bins of both, plus (x - x0)^2 / (2 sigma^2) for every constrained parameter,

    mu_pass,j = eff N S_pass,j + N_b,pass B_pass,j ,     mu_fail,j = (1 - eff) N S_fail,j + N_b,fail B_fail,j

S a template (simulated, or the theoretical Z line) convolved with a Gaussian, if asked with a tail to low masses, B an
exponential or one with a turn-on.  S and B are *integrals* over mass bins, each normalised over the window; the
efficiency is that of the window.  eff, N, N_b and shapes are minimised themselves, eff within [0, 1].

Conventions.  reco, tracking, idip, trigger, iso are conditional: the probe of a step has passed those before it.  u_T
is the projection of the recoil on the muon's direction, in GeV; charge bins stand in the order -1, +1.  A scale factor
is efficiency in data over that in simulation; SF_fail = (1 - SF eff_mc) / (1 - eff_mc).  A nuisance at +1 moves the
*scale factor* by one standard deviation; the sign of an eigenvariation makes its largest component positive.

A bin that cannot be fitted says why in `status`; its values are NaN, never a guess, and `smooth` names it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mucal.efficiency.config import FitConfig
from mucal.efficiency.counting import count_efficiencies, given_efficiencies, subtract_sidebands
from mucal.efficiency.fits import Efficiencies
from mucal.efficiency.histograms import ProbeBinning, ProbeHistograms, fill
from mucal.efficiency.nuisances import EfficiencyModel, Nuisance, published_counts
from mucal.efficiency.probes import MuonFlags, Probes, probes_of
from mucal.efficiency.scale_factors import ScaleFactors, scale_factors
from mucal.efficiency.smooth import SmoothConfig, Surface, smooth_efficiency, smooth_scale_factor
from mucal.efficiency.status import Status
from mucal.efficiency.steps import STEPS, Step, step

if TYPE_CHECKING:
    from mucal.efficiency.pass_fail import measure

_LAZY = {"measure": "pass_fail"}

__all__ = [
    "STEPS", "Efficiencies", "EfficiencyModel", "FitConfig", "MuonFlags", "Nuisance", "ProbeBinning",
    "ProbeHistograms", "Probes", "ScaleFactors", "SmoothConfig", "Status", "Step", "Surface", "count_efficiencies",
    "fill", "given_efficiencies", "measure", "probes_of", "published_counts", "scale_factors", "smooth_efficiency",
    "smooth_scale_factor", "step", "subtract_sidebands",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Compiled fits are imported on first use: who only reads a table of results must not wait for them.
    if name in _LAZY:
        return getattr(import_module(f"mucal.efficiency.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'mucal.efficiency' has no attribute {name!r}")
