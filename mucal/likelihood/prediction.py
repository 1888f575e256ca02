"""Expected events before and after the fit, in bins or projections, with covariance and what it comes from."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import InputError
from mucal.likelihood.channel import Channel
from mucal.likelihood.model import Model
from mucal.likelihood.objective import Expansion, McStatPer, Objective, objective
from mucal.likelihood.observation import Observation, observe
from mucal.likelihood.profile_fit import FitResult, function_of
from mucal.likelihood.projection import Projection
from mucal.likelihood.table import bin_of_beta
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(Result):
    """Expected events of R rows and P processes, factors of the finite simulation included.

    channel    :         the axes; its bins are the rows
    processes  : (P,)    names
    parameters : (S,)    names
    by_process : (R, P)  expected events
    cov        : (R, R)  of their sum
    single     : (R, S)  change of the sum when the centre of a constraint goes up by its prior standard error
    simulation : (R, R)  part of `cov` due to the finite simulation at given parameters
    kind       :         "prefit" or "postfit"
    """

    channel: Channel
    processes: tuple[str, ...]
    parameters: tuple[str, ...]
    by_process: FloatArray
    cov: FloatArray
    single: FloatArray
    simulation: FloatArray
    kind: str

    def __post_init__(self) -> None:
        r, p, s = self.channel.n_bins, len(self.processes), len(self.parameters)
        check_shapes(self, by_process=(r, p), cov=(r, r), single=(r, s), simulation=(r, r))

    @property
    def total(self) -> FloatArray:
        """(R,) expected events"""
        total: FloatArray = self.by_process.sum(axis=1)
        return total

    @property
    def errors(self) -> FloatArray:
        """(R,) standard errors of the total"""
        return np.sqrt(np.diag(self.cov))

    def group(self, members: tuple[str, ...]) -> FloatArray:
        """(R,) root of the sum of squares of the single changes of some parameters"""
        index = [self.parameters.index(name) for name in members]
        size: FloatArray = np.linalg.norm(self.single[:, index], axis=1)
        return size


def predict_prefit(model: Model, projection: Projection, per: McStatPer = "bin") -> Prediction:
    """Expected events with every parameter at its centre, varied by its prior; free parameters do not vary.

    Raises InputError for an external term whose Hessian has no inverse.
    """
    function = objective(model, observe(model, model.nominal.sum(axis=1)), "normal", per=per)
    at = function.expand(model.centre)
    moved = projection.sum(at.jacobian)
    spread = _prior_root(model)
    moved = moved @ spread
    simulation = _diagonal(projection, function.of_bins(at.profile.nu**2 / function.bins.k))
    return Prediction(
        channel=projection.channel,
        processes=model.processes,
        parameters=model.parameters,
        by_process=projection.sum(at.shape * _factor(function, model.centre)),
        cov=moved @ moved.T + simulation,
        single=moved,
        simulation=simulation,
        kind="prefit",
    )


def predict_postfit(
    model: Model, data: Observation | FloatArray, result: FitResult, projection: Projection
) -> Prediction:
    """Expected events after a fit, with the joint covariance of parameters and factors of the simulation.

    data : what `result` was fitted to

    Raises NotCertified for a fit that did not converge.  Derived in docs/physics/likelihood.md.
    """
    function = function_of(model, data, result)
    at = function.expand(result.values)
    moved = projection.sum(response_of_events(function, result.values, at))
    with_cov = moved @ result.cov
    simulation = _diagonal(projection, spread_of_events(function, at))
    beta = function.of_cells(at.profile.beta, 1.0)
    return Prediction(
        channel=projection.channel,
        processes=model.processes,
        parameters=model.parameters,
        by_process=projection.sum(at.shape * beta * _factor(function, result.values)),
        cov=with_cov @ moved.T + simulation,
        single=with_cov * np.sqrt(model.precision),
        simulation=simulation,
        kind="postfit",
    )


def response_of_events(function: Objective, x: FloatArray, at: Expansion) -> FloatArray:
    """(B, S) derivatives of the expected events, beta following at its minimum."""
    p = at.profile
    soft = function.of_bins(p.nu**2 * p.give)
    stiff = p.events / (p.events + (1 - p.pull) * soft)
    return stiff[:, None] * function.rows(x, at, function.moving(at))


def spread_of_events(function: Objective, at: Expansion) -> FloatArray:
    """(B,) variance of the expected events at given parameters, from the factors of the finite simulation."""
    p, own = at.profile, bin_of_beta(function.bins)
    alone = function.of_bins(p.nu**2 * p.give)
    if not own.size:
        return alone
    counted = function.bins.n * alone / np.where(p.events > 0, p.events**2, 1.0)
    spread: FloatArray = alone / (1 + counted)
    return spread


def _factor(function: Objective, x: FloatArray) -> FloatArray:
    """(P,) product of the rates of each process"""
    factor: FloatArray = function.rates(x).prod(axis=1)
    return factor


def _diagonal(projection: Projection, variance: FloatArray) -> FloatArray:
    return np.diag(projection.sum(variance))


def _prior_root(model: Model) -> FloatArray:
    """(S, S) R with R R^T the prior covariance; 0 for free and frozen parameters."""
    free = model.is_free
    precision = np.where(free, model.precision, 0.0)
    root = np.diag(np.divide(1.0, np.sqrt(precision), out=np.zeros(free.size), where=precision > 0))
    linked = sorted({int(j) for term in model.external for j in model.index(term.parameters) if free[j]})
    if linked:
        block = np.diag(precision)
        for term in model.external:
            place = model.index(term.parameters)
            block[np.ix_(place, place)] += term.hessian
        try:
            inverse = cho_solve(cho_factor(block[np.ix_(linked, linked)]), np.eye(len(linked)))
        except LinAlgError as error:
            raise InputError(
                "an external term leaves a direction of its parameters free, so that it has no prior",
                kind="likelihood.external",
                do="constrain or freeze its parameters",
            ) from error
        root[np.ix_(linked, linked)] = np.linalg.cholesky(inverse)
    return root
