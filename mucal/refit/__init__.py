"""Tracks refitted with the continuous-variable-helix model.

What is minimised, with the states x_i on the surfaces that a track crosses and F_i the propagation between them:

    chi2 = sum_i e_i^T Q_i^-1 e_i + sum_hits (r - H x)^T V^-1 (r - H x),   e_i = x_i - F_i x_{i-1}

Only the initial state is propagated, with the mean energy loss and without kinks; scattering and straggling are linear
variables with the covariance Q of each leg.  Two solvers give the same: the marginal form, in which they are integrated
out, and the state form, in which the states are eliminated from the last surface to the first.  Gradients and Hessians
are those of chi2, factors of 2 included: covariance = 2 H^-1.  Derived in docs/physics/refit.md.

Pairs minimise the sum of both tracks' chi2 over (q/p, lambda, phi) of both muons and their common vertex; then, once
more, with ((m_ref + b - m) / Gamma)^2 added, where b makes up for the curvature of the mass m, and m_ref for what
radiation and the window of the selection make of its mean.  docs/physics/pairs.md.
"""

from mucal.refit.local_update import LocalUpdate, update_locally
from mucal.refit.mass_reference import MassReference, derive_mass_reference, window_shift
from mucal.refit.pair_fits import PairFits, PairPass
from mucal.refit.pair_status import PairStatus
from mucal.refit.pairs import BeamLine, fit_pairs
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.residuals import HitResiduals, hit_residuals
from mucal.refit.robust import RobustConfig, RobustFits, fit_robustly
from mucal.refit.robust_pairs import RobustPairs, fit_pairs_robustly, judged_hits
from mucal.refit.selection import PairSelection
from mucal.refit.status import FitStatus
from mucal.refit.tracks import RefitConfig, TrackFits, fit_tracks, started
from mucal.refit.variances import scaled_hits, scaled_scattering, variance_blocks

__all__ = [
    "BeamLine", "FitStatus", "HitResiduals", "LocalUpdate", "MassReference", "PairFits", "PairPass", "PairSelection",
    "PairStatus", "ParameterMap", "ProfiledBlocks", "RefitConfig", "RobustConfig", "RobustFits", "RobustPairs",
    "TrackFits", "derive_mass_reference", "fit_pairs", "fit_pairs_robustly", "fit_robustly", "fit_tracks",
    "hit_residuals", "judged_hits", "scaled_hits", "scaled_scattering", "started", "update_locally", "variance_blocks",
    "window_shift",
]  # fmt: skip
