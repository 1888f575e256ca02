"""Goodness of fit in a projection: how much better one free factor for each projected bin does."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray
from mucal.errors import NotCertified
from mucal.likelihood.blocks import Block, join
from mucal.likelihood.model import Model
from mucal.likelihood.objective import objective
from mucal.likelihood.observation import Observation, observe
from mucal.likelihood.profile_fit import FitConfig, FitResult, fit, function_of
from mucal.likelihood.projection import Projection
from mucal.store import Result

SAID_NOTHING: Final = 1e-6
"""A parameter whose error the factors raise more than a thousand times is held: what it does, they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodness(Result):
    """A test statistic that follows chi2 if the model is right.

    q    : 2 (NLL - NLL with a free factor for each row)
    ndof : rows with counts, less free parameters whose effect the factors have too
    """

    q: float
    ndof: int

    @property
    def p_value(self) -> float:
        """Probability of at least this q"""
        return float(chdtrc(self.ndof, self.q))


def projected_goodness(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    projection: Projection,
    config: FitConfig | None = None,
) -> Goodness:
    """The saturated test of a projection.

    data, config : what `result` was fitted to, and how

    Raises NotCertified if the fit with free factors fails.  Source: the saturated projection test of rabbit.
    """
    function_of(model, data, result)
    data = data if isinstance(data, Observation) else observe(model, data)
    config = config or FitConfig(mc_stat=result.mc_stat, per=result.per)
    more = _with_factors(model, projection)
    moved = replace(data, centre=np.concatenate([data.centre, np.zeros(projection.n_rows)]))
    x = np.concatenate([result.values, np.zeros(projection.n_rows)])
    idle, absorbed = _absorbed(more, moved, x, config, projection.n_rows)
    start = dict(zip(more.parameters, x.tolist(), strict=True))
    frozen = tuple(dict.fromkeys((*config.frozen, *idle, *absorbed)))
    free = fit(more, moved, replace(config, start=start, frozen=frozen))
    free.require_converged()
    q = 2 * (result.nll - free.nll)
    if q < -1e-6:
        raise NotCertified(f"free factors made the fit worse by {-q:.3g}", kind="likelihood.goodness")
    return Goodness(q=max(q, 0.0), ndof=projection.n_rows - len(idle) - len(absorbed))


def _absorbed(
    more: Model, data: Observation, x: FloatArray, config: FitConfig, n_rows: int
) -> tuple[list[str], list[str]]:
    """Factors on which the counts say nothing, and free parameters on which they say nothing more beside the factors.

    Information on the free parameters after the constrained ones are profiled, eliminated one by one, factors first.
    """
    function = objective(more, data, config.mc_stat, per=config.per)
    at = function.expand(x)
    matrix = at.jacobian.T @ (at.expected[:, None] * at.jacobian) + np.diag(more.precision)
    for term in more.external:
        place = more.index(term.parameters)
        matrix[np.ix_(place, place)] += term.hessian
    known = more.is_free.copy()
    known[more.index(config.frozen)] = False
    held = np.flatnonzero(known & (more.precision > 0))
    s = len(more.parameters)
    factors = np.arange(s - n_rows, s)
    free = np.flatnonzero(known & (more.precision == 0))
    order = np.concatenate([factors, free[free < s - n_rows]])
    across = np.linalg.solve(matrix[np.ix_(held, held)], matrix[np.ix_(held, order)])
    left = matrix[np.ix_(order, order)] - matrix[np.ix_(order, held)] @ across
    before, out = np.diag(matrix)[order], []
    for i in range(order.size):
        if left[i, i] > SAID_NOTHING * before[i]:
            left -= np.outer(left[i], left[i]) / left[i, i]
        else:
            out.append(i)
    names = [more.parameters[order[i]] for i in out]
    return [n for n, i in zip(names, out, strict=True) if i < n_rows], [
        n for n, i in zip(names, out, strict=True) if i >= n_rows
    ]


def _with_factors(model: Model, projection: Projection) -> Model:
    """The model with a parameter for each row that scales all processes there, hardly constrained."""
    s = len(model.parameters)
    blocks = list(model.effects.blocks())
    for r in range(projection.n_rows):
        for p in range(len(model.processes)):
            bins = np.flatnonzero((projection.row == r) & (model.nominal[:, p] > 0))
            if bins.size:
                ones = np.ones((bins.size, 1))
                blocks.append(Block(process=p, bins=bins, columns=np.array([s + r]), kappa=ones, eta=np.zeros((0, 0))))
    return replace(
        model,
        parameters=(*model.parameters, *(f"row {r} of the projection" for r in range(projection.n_rows))),
        effects=join(blocks),
        centre=np.concatenate([model.centre, np.zeros(projection.n_rows)]),
        precision=np.concatenate([model.precision, np.zeros(projection.n_rows)]),
    )
