"""Pseudo-data: Asimov, toys in which every measured number fluctuates, bootstraps, and toys fitted linearly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.likelihood.impacts import scores
from mucal.likelihood.kernels import Bins
from mucal.likelihood.model import Model
from mucal.likelihood.objective import McStat, McStatPer, Objective, objective
from mucal.likelihood.observation import Observation, observe
from mucal.likelihood.profile_fit import FitResult, expected_events, function_of
from mucal.likelihood.simulation_kernels import GAMMA
from mucal.likelihood.table import beta_centres
from mucal.store import Result

BATCH: Final = 256
HALF_AN_EVENT: Final = 0.5
"""What a factor's simulation is taken to have given where a toy leaves it without any event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearToys(Result):
    """Estimates of N toys, by the linear response of a fit.

    parameters : (M,)    names
    values     : (N, M)
    errors     : (M,)    standard errors of the fit
    """

    parameters: tuple[str, ...]
    values: FloatArray
    errors: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, values=(self.values.shape[0], len(self.parameters)), errors=(len(self.parameters),))


def asimov(model: Model, values: FloatArray | None = None) -> Observation:
    """The expected events themselves as counts, at the centres, or at parameters (S,) that become the centres."""
    centre = model.centre if values is None else np.asarray(values, dtype=float)
    return observe(model, expected_events(model, values), centre=np.where(model.precision > 0, centre, model.centre))


def toy(
    model: Model,
    rng: np.random.Generator,
    values: FloatArray | None = None,
    *,
    beta: FloatArray | None = None,
    counts: bool = True,
    centres: bool = True,
    simulation: bool = True,
    mc_stat: McStat = "gamma",
    per: McStatPer = "bin",
) -> Observation:
    """One experiment repeated ("frequentist"): counts, centres of constraints and factors of the simulation fluctuate.

    values                      : (S,)  true parameters; the centres by default
    beta                        : (B,) or (B, P)  true factors of the simulation; 1 by default
    counts, centres, simulation : which of the three fluctuate

    A centre is drawn around the true value, a count from a Poisson distribution, the centre of a factor as Poisson(k
    beta) / k ("gamma") or from a Gaussian of relative width 1 / sqrt(k) ("normal").
    """
    x = model.centre if values is None else np.asarray(values, dtype=float)
    function = objective(model, observe(model, np.zeros(model.n_bins)), mc_stat, per=per)
    truth = np.ones(model.nominal.shape if per == "process" else model.n_bins) if beta is None else beta
    at = function.expand(x)
    factor = truth if truth.ndim == 2 else truth[:, None]
    has = function.of_cells(np.ones(function.bins.k.size), 0.0) > 0
    mean = (at.shape * function.rates(x).prod(axis=1) * np.where(has, factor, 1.0)).sum(axis=1)
    centre = np.where(model.precision > 0, x, model.centre)
    if centres:
        width = np.divide(1.0, np.sqrt(model.precision), out=np.zeros(x.size), where=model.precision > 0)
        centre = centre + width * rng.normal(size=x.size)
    drawn = _draw_factors(function.bins, _of_betas(function, truth), rng) if simulation else None
    seen = rng.poisson(mean).astype(float) if counts else mean
    return observe(model, seen, centre=centre, beta=truth if drawn is None else _of_model(function, truth, drawn))


def prior_toy(model: Model, rng: np.random.Generator, mc_stat: McStat = "gamma") -> Observation:
    """One draw of the prior prediction ("Bayesian"): true parameters and factors from their priors, then counts."""
    width = np.divide(1.0, np.sqrt(model.precision), out=np.zeros(model.centre.size), where=model.precision > 0)
    values = model.centre + np.where(model.is_free, width * rng.normal(size=width.size), 0.0)
    function = objective(model, observe(model, np.zeros(model.n_bins)), mc_stat)
    ones = np.ones(model.n_bins)
    beta = _of_model(function, ones, _draw_factors(function.bins, _of_betas(function, ones), rng))
    drawn = toy(model, rng, values, beta=beta, centres=False, simulation=False, mc_stat=mc_stat)
    return observe(model, drawn.counts)


def bootstrap(model: Model, data: Observation | FloatArray, rng: np.random.Generator) -> Observation:
    """The data resampled: every count from a Poisson distribution around itself, everything else as it is."""
    data = data if isinstance(data, Observation) else observe(model, data)
    return observe(model, rng.poisson(data.counts).astype(float), centre=data.centre, beta=data.beta)


def linear_toys(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    n: int,
    rng: np.random.Generator,
    parameters: Sequence[str] | None = None,
) -> LinearToys:
    """Estimates of n toys around a fit, from its linear response to all that was measured.

    parameters : those whose estimates are kept; all by default

    Counts fluctuate around the expectation after the fit, centres and factors around their fitted values.  Raises
    NotCertified for a fit that did not converge.
    """
    function = function_of(model, data, result)
    names = result.parameters if parameters is None else tuple(parameters)
    at = function.expand(result.values)
    index = model.index(names)
    by_counts, by_factors, by_centres = scores(function, result.values, at)
    width = np.divide(1.0, np.sqrt(model.precision), out=np.zeros(model.centre.size), where=model.precision > 0)
    values = np.empty((n, len(names)))
    for first in range(0, n, BATCH):
        size = min(BATCH, n - first)
        counts = rng.poisson(at.profile.events, (size, model.n_bins)) - at.profile.events
        centres = width * rng.normal(size=(size, width.size))
        factors = np.array([_draw_factors(function.bins, at.profile.beta, rng) for _ in range(size)]) - at.profile.beta
        score = counts @ by_counts + factors @ by_factors + centres * by_centres
        values[first : first + size] = result.values[index] + score @ result.cov[:, index]
    return LinearToys(parameters=names, values=values, errors=np.sqrt(np.diag(result.cov))[index])


def _draw_factors(bins: Bins, truth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(betas,) centres that a repeated simulation would have."""
    if bins.kind == GAMMA:
        return np.maximum(rng.poisson(bins.k * truth), HALF_AN_EVENT) / bins.k
    return np.maximum(truth + rng.normal(size=bins.k.size) / np.sqrt(bins.k), HALF_AN_EVENT / bins.k)


def _of_betas(function: Objective, truth: FloatArray) -> FloatArray:
    """(betas,) of factors that stand for bins (B,) or for processes of bins (B, P)"""
    return beta_centres(function.table, function.bins, replace(function.observation, beta=truth))


def _of_model(function: Objective, truth: FloatArray, drawn: FloatArray) -> FloatArray:
    """Factors (betas,) in the shape of `truth`"""
    if truth.ndim == 2:
        return function.of_cells(drawn, 1.0)
    return function.of_bins(drawn, 1.0)
