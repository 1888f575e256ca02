"""What noise of templates takes away from a mass: the share of a shift that a fit finds in templates of other events.

A fit weighs bins with the derivative of its own template, m + r, of which the noise r of few events is a part that
no other sample shares.  Let I(x, y) = x V^-1 y, with V the covariance of the counts and of all that is profiled.  The
estimate answers to a true shift m with

    share = I(m + r, m) / I(m + r, m + r),      in the mean I(m, m) / [I(m, m) + I(r, r)] < 1,

which is the regression dilution of a noisy regressor, and its error is too small by the root of the same number.  Every
shift of momenta is diluted alike: the impact of a calibration comes out too small, without any sign of it in the fit.
Derived in docs/physics/wmass.md.
"""

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit
from mucal.templates.table import Templates
from mucal.wmass.overlap import responses
from mucal.wmass.tensor import MASS, UNIT


def recovered_share(
    model: Model, truth: Templates, config: FitConfig | None = None, *, parameter: str = MASS, shift: float = UNIT
) -> float:
    """Found over injected, for a mass shift of templates that share no event with the model's; 1 without noise.

    truth     : of the same bins and processes, with another seed
    parameter : the mass
    shift     : GeV, one of the templates' mass shifts; half the difference of +shift and -shift is injected

    Its own noise is a sum over all bins, as that of the mass in `truth` alone.  Raises ConfigError for templates of
    other bins or without a process of the model, NotCertified for a fit that did not converge.
    """
    counts = expected_events(model)
    result = fit(model, counts, config)
    result.require_converged()
    found = float(responses(model, counts, result, parameter) @ _change(model, truth, shift))
    return found * UNIT / shift


def _change(model: Model, truth: Templates, shift: float) -> FloatArray:
    """(B,) events that a heavier boson adds, in every process that is simulated."""
    if truth.binning.n_bins != model.n_bins:
        raise ConfigError(f"templates of {truth.binning.n_bins} bins beside a model of {model.n_bins}")
    missing = set(truth.processes) - set(model.processes)
    if missing:
        raise ConfigError(f"the model has no process {', '.join(sorted(missing))}")
    change: FloatArray = 0.5 * np.sum(truth.at_mass(shift) - truth.at_mass(-shift), axis=0)
    return change
