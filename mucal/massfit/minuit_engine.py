"""The minimum of one spectrum's likelihood by MIGRAD and HESSE."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from iminuit import Minuit

from mucal.arrays import FloatArray
from mucal.massfit.goodness import deviance
from mucal.massfit.spectrum_model import Model
from mucal.massfit.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """What an engine returns.

    values       : (P,)
    cov          : (P, P)  zero for held parameters
    lower, upper : (P,)    errors of the profile likelihood, NaN unless asked for
    edm          :         estimated distance to the minimum, in units of -2 ln L
    n_calls      :         evaluations of the likelihood
    status       :         `Status`
    """

    values: FloatArray
    cov: FloatArray
    lower: FloatArray
    upper: FloatArray
    edm: float
    n_calls: int
    status: Status


FLOOR: Final = 1e-9
"""Events; an expectation below it counts as this many, plus a penalty quadratic in the negative part."""

PENALTY: Final = 100.0

EDM_GOAL: Final = 1e-6
"""A distance of 1e-6 in -2 ln L is a thousandth of a standard error."""

EDM_ACCEPTED: Final = 10.0 * EDM_GOAL
"""Beyond it a minimum is not one; Minuit's own allowance over its goal."""

AT_EDGE: Final = 1e-3
"""Of a domain's width: a minimum closer to the edge than this ran into it."""


def objective(model: Model, counts: FloatArray, values: FloatArray) -> float:
    """-2 ln L of the (P,) parameter values against the saturated model, constraints included."""
    mu = model.expected(values).sum(axis=0)
    if not np.all(np.isfinite(mu)):
        return 1e15
    total = deviance(counts, np.maximum(mu, FLOOR)) + PENALTY * float(np.sum(np.minimum(mu, 0.0) ** 2))
    for name, (mean, sigma) in model.config.constraints.items():
        total += ((float(values[model.names.index(name)]) - mean) / sigma) ** 2
    return total


STARTS: Final = (1.0, 2.0, 0.5)
"""Factors on the starting resolution, tried in turn until a minimum is valid; else the lowest is reported."""

MAX_CALLS: Final = 20_000


def minimise(model: Model, counts: FloatArray) -> Minimum:
    """MIGRAD from the model's start and from twice and half the resolution until one is valid, then HESSE.

    model  : from `spectrum_model.build`
    counts : (J,) events
    """
    n_calls, attempts = 0, []
    for factor in STARTS:
        minuit = _prepare(model, counts, factor)
        minuit.migrad(ncall=MAX_CALLS)
        minuit.strategy = 2  # second derivatives to 2 %, so errors to 1 %
        minuit.hesse()
        n_calls += minuit.nfcn
        status = _status(minuit, model)
        if status == Status.OK:
            break
        attempts.append((minuit, status))
    else:
        minuit, status = min(attempts, key=lambda attempt: float(attempt[0].fval))
    values = np.array(minuit.values)
    cov = np.array(minuit.covariance) if minuit.covariance is not None else np.full((values.size,) * 2, np.nan)
    lower, upper = np.full(values.size, np.nan), np.full(values.size, np.nan)
    if model.config.minos and status == Status.OK:
        minuit.minos()
        for j, name in enumerate(model.names):
            if name in minuit.merrors and minuit.merrors[name].is_valid:
                lower[j], upper[j] = minuit.merrors[name].lower, minuit.merrors[name].upper
    return Minimum(
        values=values, cov=cov, lower=lower, upper=upper, edm=float(minuit.fmin.edm), n_calls=n_calls, status=status
    )


def _prepare(model: Model, counts: FloatArray, factor: float) -> Minuit:
    config = model.config
    start = {p.name: p.start for p in model.parameters}
    start["sigma"] *= factor
    start |= dict(config.start)
    start |= dict(config.fixed)
    minuit = Minuit(
        lambda values: objective(model, counts, np.asarray(values)), np.array(list(start.values())), name=model.names
    )
    minuit.errordef = Minuit.LEAST_SQUARES
    minuit.tol = EDM_GOAL / 0.002
    for p in model.parameters:
        minuit.errors[p.name] = p.step
        if p.name in config.fixed:
            minuit.fixed[p.name] = True
        elif np.isfinite(p.low) or np.isfinite(p.high):
            minuit.limits[p.name] = (p.low, p.high)
    return minuit


def _status(minuit: Minuit, model: Model) -> Status:
    if not np.all(np.isfinite(np.array(minuit.values))) or not np.isfinite(minuit.fval):
        return Status.NON_FINITE
    # first of all: at an edge the distance to the minimum need not fall
    for p in model.parameters:
        if not minuit.fixed[p.name] and at_edge(p.low, p.high, float(minuit.values[p.name])):
            return Status.AT_BOUNDARY
    if not minuit.valid or not minuit.fmin.edm < EDM_ACCEPTED:
        return Status.NOT_CONVERGED
    if minuit.covariance is None or not minuit.fmin.has_posdef_covar or minuit.fmin.has_made_posdef_covar:
        return Status.HESSIAN_NOT_PD
    return Status.OK


def at_edge(low: float, high: float, value: float) -> bool:
    """Whether a value lies within a thousandth of its domain of an edge (of 1 for a domain open on one side)."""
    width = high - low if np.isfinite(high - low) else 1.0
    return value - low < AT_EDGE * width or high - value < AT_EDGE * width
