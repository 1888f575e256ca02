"""What noise of templates takes away from a mass: the share of a shift that a fit finds in templates of other events.

A fit weighs bins with the derivative of its own template, m + r, of which the noise r of few events is a part that
no other sample shares.  Let I(x, y) = x V^-1 y, with V the covariance of the counts and of all that is profiled.  The
estimate answers to a true shift m with

    share = I(m + r, m) / I(m + r, m + r),      in the mean I(m, m) / [I(m, m) + I(r, r)] < 1,

which is the regression dilution of a noisy regressor, and its error is too small by the root of the same number.  Every
shift of momenta is diluted alike: the impact of a calibration comes out too small, without any sign of it in the fit.
Derived in docs/physics/wmass.md.
"""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, smoothed
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


@dataclass(frozen=True, slots=True)
class ExpectedShares:
    """Of a shift of the mass, with a free yield and no other nuisance, what a fit finds: as filled, and smoothed.

    NaN where events fill too few bins to tell.
    """

    as_filled: float
    smooth: float


def expected_shares(templates: Templates) -> ExpectedShares:
    """The same from one sample: what smoothing takes away of the mass template is noise, of which a part stays.

    Smoothing keeps C of B functions; the rest r of the derivative says how large the noise of each is, x = sum r^2/N
    over B - C, and of the smooth one C x is noise.  Raises ConfigError as `templates.smoothing.smoothed`.
    """
    nominal = templates.nominal.sum(axis=0)
    there = nominal > 0
    raw, smooth = (
        (0.5 * np.sum(t.at_mass(UNIT) - t.at_mass(-UNIT), axis=0) / np.where(there, nominal, 1.0))[there]
        for t in (templates, smoothed(templates, ()))
    )
    weight = nominal[there]
    kept = 2 * (PT_DEGREE + 1) * (ETA_DEGREE + 1)
    if weight.size < 2 * kept:  # smoothing takes away too little to measure it
        return ExpectedShares(as_filled=float("nan"), smooth=float("nan"))
    rest = float(weight @ (raw - smooth) ** 2)
    each = rest / (weight.size - kept)
    seen = float(weight @ smooth**2 - (weight @ smooth) ** 2 / weight.sum())
    true = max(seen - kept * each, 0.0)
    return ExpectedShares(as_filled=true / (seen + rest), smooth=true / seen)


def _change(model: Model, truth: Templates, shift: float) -> FloatArray:
    """(B,) events that a heavier boson adds, in every process that is simulated."""
    if truth.binning.n_bins != model.n_bins:
        raise ConfigError(
            f"templates of {truth.binning.n_bins} bins beside a model of {model.n_bins}", kind="config.measurement"
        )
    missing = set(truth.processes) - set(model.processes)
    if missing:
        raise ConfigError(f"the model has no process {', '.join(sorted(missing))}", kind="config.measurement")
    change: FloatArray = 0.5 * np.sum(truth.at_mass(shift) - truth.at_mass(-shift), axis=0)
    return change
