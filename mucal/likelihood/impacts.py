"""What a parameter of interest is uncertain by: nominal and global impacts, single and grouped."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mucal.arrays import BoolArray, FloatArray, check_shapes
from mucal.errors import NotCertified
from mucal.likelihood.curvature import hessian
from mucal.likelihood.derived import direction
from mucal.likelihood.external import Quadratic
from mucal.likelihood.model import Model
from mucal.likelihood.objective import Expansion, Objective
from mucal.likelihood.observation import Observation
from mucal.likelihood.profile_fit import FitResult, function_of
from mucal.likelihood.simulation_kernels import GAMMA
from mucal.likelihood.table import bin_of_beta
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Impacts(Result):
    """Impacts on one parameter, in its own unit.

    poi         :       its name
    parameters  : (S,)  names
    total       :       standard error of the fit
    single      : (S,)  signed impact of each parameter
    groups      :       group -> impact, at least 0
    data_stat   :       of the counts
    mc_stat     :       of the finite simulation
    kind        :       "nominal" or "global"
    """

    poi: str
    parameters: tuple[str, ...]
    total: float
    single: FloatArray
    groups: Mapping[str, float]
    data_stat: float
    mc_stat: float
    kind: str

    def __post_init__(self) -> None:
        check_shapes(self, single=(len(self.parameters),))

    @property
    def ranking(self) -> tuple[str, ...]:
        """Names of the parameters, the largest impact first."""
        return tuple(self.parameters[i] for i in np.argsort(-np.abs(self.single), kind="stable"))


Poi = str | Mapping[str, float]
"""A parameter, or the weights of a sum of parameters as {"m_plus": 1, "m_minus": -1}."""


def global_impacts(model: Model, data: Observation | FloatArray, result: FitResult, poi: Poi) -> Impacts:
    """The response of the estimate to what was measured: centres of constraints, simulation, counts.

    A single impact is the change of the estimate when the centre of a constraint goes up by one standard error, a
    group the root of the sum of squares.  An external term is a group of its own: what it measured fluctuates with
    covariance H^-1.  The data get what remains of the variance, so that all add up in quadrature.

    data : what `result` was fitted to

    Raises NotCertified for a fit that did not converge.  Source: arXiv:2307.04007; (4) of docs/physics/likelihood.md.
    """
    function = function_of(model, data, result)
    weights = _weights(result, poi)
    row = result.cov @ weights
    total = float(weights @ row)
    single = row * np.sqrt(model.precision)
    external = {term.name: _external(model, term, row) for term in model.external}
    by_simulation = response_to_simulation(function, result.values, function.expand(result.values), row)
    simulation = float(by_simulation @ by_simulation)
    return Impacts(
        poi=_name(poi),
        parameters=model.parameters,
        total=float(np.sqrt(total)),
        single=single,
        groups={name: float(np.linalg.norm(single[model.index(members)])) for name, members in model.groups.items()}
        | external,
        data_stat=_root(total - float(single @ single) - simulation - sum(v**2 for v in external.values())),
        mc_stat=float(np.sqrt(simulation)),
        kind="global",
    )


def nominal_impacts(model: Model, data: Observation | FloatArray, result: FitResult, poi: Poi) -> Impacts:
    """The change of the estimate when a parameter moves by its error after the fit; groups by what freezing them takes.

    Single: C_0j / sqrt(C_jj).  Group G: sqrt(C_0G C_GG^-1 C_G0), which is sqrt(sigma^2 - sigma^2 with G frozen).
    Data: the error with constrained parameters frozen and beta at its value after the fit.  Simulation: what letting
    beta free then adds.  Correlated information counts more than once: these do not add up.

    data : what `result` was fitted to

    Raises NotCertified for a fit that did not converge, or a group whose parameters the fit cannot tell apart.
    """
    function = function_of(model, data, result)
    at, weights = function.expand(result.values), _weights(result, poi)
    row, error = result.cov @ weights, np.sqrt(np.diag(result.cov))
    single = np.divide(row, error, out=np.zeros(error.size), where=error > 0)
    free = ~result.frozen & ((model.precision == 0) | (weights != 0))
    fixed_beta = _variance(function, result, at, free, weights, fixed_beta=True)
    free_beta = _variance(function, result, at, free, weights, fixed_beta=False)
    return Impacts(
        poi=_name(poi),
        parameters=model.parameters,
        total=_root(float(weights @ row)),
        single=single,
        groups={name: _group(model, result, name, members, row) for name, members in model.groups.items()},
        data_stat=float(np.sqrt(fixed_beta)),
        mc_stat=_root(free_beta - fixed_beta),
        kind="nominal",
    )


def _weights(result: FitResult, poi: Poi) -> FloatArray:
    return direction(result, {poi: 1.0} if isinstance(poi, str) else poi)


def _name(poi: Poi) -> str:
    return poi if isinstance(poi, str) else " ".join(f"{w:+g} {name}" for name, w in poi.items())


def response_to_simulation(function: Objective, x: FloatArray, at: Expansion, row: FloatArray) -> FloatArray:
    """(betas,) change of the estimate when the centre of a beta goes up by its error, sqrt(b0 / k) or 1 / sqrt(k).

    row : (S,)  covariance of the estimate with the parameters
    """
    p, bins = at.profile, function.bins
    own = bin_of_beta(bins)
    change = function.along(x, at, row)
    pulled = (p.stiffness * (function.moving(at) * change).sum(axis=1))[own]
    direct = function.of_betas(change)
    error = np.sqrt(bins.k * bins.b0) / p.beta if bins.kind == GAMMA else np.sqrt(bins.k)
    response: FloatArray = -error * p.give * (p.pull[own] * direct + p.nu * pulled)
    return response


def scores(function: Objective, x: FloatArray, at: Expansion) -> tuple[FloatArray, FloatArray, FloatArray]:
    """By how much the gradient falls when a count (B, S), the centre of a beta (betas, S) or that of the constraint of
    the same parameter (S,) goes up by 1; estimates answer with the covariance times that.
    """
    p, bins = at.profile, function.bins
    own = bin_of_beta(bins)
    moved = function.rows(x, at, function.moving(at))
    soft = function.of_bins(p.nu**2 * p.give)
    by_counts = moved / (p.events + (1 - p.pull) * soft)[:, None]
    by_factors = (p.nu * p.stiffness[own])[:, None] * moved[own]
    for cells in _one_beta_a_bin(function):
        here = function.of_betas(cells) > 0
        by_factors[here] += p.pull[own[here], None] * function.rows(x, at, cells)[own[here]]
    by_factors *= -(bins.k * p.give / (p.beta if bins.kind == GAMMA else 1.0))[:, None]
    return by_counts, by_factors, function.model.precision


def _one_beta_a_bin(function: Objective) -> Iterator[FloatArray]:
    """Masks (B, P) of cells that together have every beta, at most one a bin in each mask."""
    has = function.of_cells(np.ones(function.bins.k.size), 0.0)
    if np.all(np.diff(function.bins.beta_offsets) <= 1):
        yield has
        return
    for p in range(has.shape[1]):
        yield has * (np.arange(has.shape[1]) == p)


def _external(model: Model, term: Quadratic, row: FloatArray) -> float:
    """sqrt(C_0E H C_E0): the gradient of the term has covariance H."""
    part = row[model.index(term.parameters)]
    return _root(float(part @ term.hessian @ part))


def _variance(
    function: Objective, result: FitResult, at: Expansion, free: BoolArray, weights: FloatArray, fixed_beta: bool
) -> float:
    """Variance of a sum of parameters with only the `free` ones left to vary."""
    if not np.any(weights[free]):
        return 0.0
    matrix = hessian(function, result.values, at, free, fixed_beta)
    return float(weights[free] @ cho_solve(cho_factor(matrix), weights[free]))


def _group(model: Model, result: FitResult, name: str, members: tuple[str, ...], row: FloatArray) -> float:
    index = model.index(members)
    index = index[~result.frozen[index]]
    if index.size == 0:
        return 0.0
    right = row[index]
    try:
        return _root(float(right @ cho_solve(cho_factor(result.cov[np.ix_(index, index)]), right)))
    except LinAlgError as error:
        raise NotCertified(
            f"the covariance of group '{name}' is not positive definite", kind="likelihood.singular_group"
        ) from error


def _root(variance: float) -> float:
    """Of a difference of variances that rounding may have left below 0."""
    return float(np.sqrt(max(0.0, variance)))
