"""Damped Fisher scoring of many spectra at once, for models whose expectation is array arithmetic over all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.massfit.status import Status

LARGEST_DAMPING: Final = 1e8
SMALLEST_EIGENVALUE: Final = 1e-11
"""Of the information scaled to a unit diagonal: a smaller one is not positive definite."""

Expect = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray, BoolArray]]
"""Parameters (R, P) of some rows -> expected events (R, M), derivatives (R, P, M), whether they are allowed (R,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What bounds a fit of P parameters: Gaussian constraints (precision 0 for none), steps, walls; free is a mask.

    free             : (P,)
    mean, precision  : (P,)
    largest          : (B, P)  largest step of each parameter
    low, high        : (B, P)
    tolerance        : on the estimated distance to the minimum, units of -2 ln L
    max_steps        :
    """

    free: BoolArray
    mean: FloatArray
    precision: FloatArray
    largest: FloatArray
    low: FloatArray
    high: FloatArray
    tolerance: float
    max_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """Where B fits ended.

    theta       : (B, P)
    information : (B, P, P)  Fisher information, constraints included, of all parameters
    active      : (B, P)     parameters that are free and not pressed against a wall
    edm         : (B,)       in units of -2 ln L
    n_steps     : (B,)
    status      : (B,)
    """

    theta: FloatArray
    information: FloatArray
    active: BoolArray
    edm: FloatArray
    n_steps: IntArray
    status: IntArray


def minimise(counts: FloatArray, start: FloatArray, expect: Expect, rules: Rules) -> Minimum:
    """Minima of the Poisson likelihoods of B spectra (B, M) from `start` (B, P), each row by its own steps."""
    n_bins, p = start.shape
    theta = np.clip(start, rules.low, rules.high)
    everything = np.arange(n_bins)
    mu, slopes, allowed = expect(theta, everything)
    damping = np.zeros(n_bins)
    status = np.where(allowed, Status.NOT_CONVERGED, Status.NON_FINITE).astype(np.int64)
    information = np.zeros((n_bins, p, p))
    active = np.zeros((n_bins, p), dtype=bool)
    edm, n_steps = np.full(n_bins, np.inf), np.zeros(n_bins, dtype=np.int64)
    rows = everything[allowed]
    for _ in range(rules.max_steps + 1):
        gradient, found = gradient_and_information(counts[rows], mu[rows], slopes[rows], theta[rows], rules)
        may = rules.free & ~pressed(theta[rows], gradient, rules.low[rows], rules.high[rows])
        information[rows], active[rows] = found, may
        step, definite = newton_step(found, gradient, may, np.zeros(rows.size))
        edm[rows] = np.where(definite, -np.sum(step * gradient, axis=1), np.inf)
        done = edm[rows] < rules.tolerance
        status[rows] = np.where(done, Status.OK, np.where(definite, Status.NOT_CONVERGED, Status.HESSIAN_NOT_PD))
        rows, gradient, found, may = rows[~done], gradient[~done], found[~done], may[~done]
        if rows.size == 0 or np.all(n_steps[rows] >= rules.max_steps):
            break
        step, _ = newton_step(found, gradient, may, damping[rows])
        limit = rules.largest[rows]
        tried = np.clip(theta[rows] + np.clip(step, -limit, limit), rules.low[rows], rules.high[rows])
        new_mu, new_slopes, allowed = expect(tried, rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            change = likelihood_change(counts[rows], mu[rows], new_mu)
        change += np.sum(0.5 * rules.precision * (tried - theta[rows]) * (tried + theta[rows] - 2 * rules.mean), axis=1)
        better = allowed & (change <= 0.0)
        damping[rows] = np.where(better, np.where(damping[rows] > 1e-4, 0.1 * damping[rows], 0.0),
                                 np.maximum(8.0 * damping[rows], 1e-2))  # fmt: skip
        taken = rows[better]
        theta[taken], mu[taken], slopes[taken] = tried[better], new_mu[better], new_slopes[better]
        n_steps[rows] += 1
        rows = rows[(damping[rows] <= LARGEST_DAMPING) & (n_steps[rows] <= rules.max_steps)]
    return Minimum(theta=theta, information=information, active=active, edm=edm, n_steps=n_steps, status=status)


def likelihood_change(counts: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """(R,) change of -ln L between two expectations (R, M), bin by bin so that nothing large cancels."""
    seen = counts > 0
    logarithm = np.where(seen, counts * np.log(np.where(seen, after / before, 1.0)), 0.0)
    result: FloatArray = np.sum(after - before - logarithm, axis=1)
    return result


def gradient_and_information(
    counts: FloatArray, mu: FloatArray, slopes: FloatArray, theta: FloatArray, rules: Rules
) -> tuple[FloatArray, FloatArray]:
    """(R, P) gradient of -ln L and (R, P, P) expected information, constraints included."""
    gradient = np.einsum("rpm,rm->rp", slopes, 1.0 - counts / mu) + rules.precision * (theta - rules.mean)
    weighted = slopes / np.sqrt(mu)[:, None, :]
    return gradient, weighted @ weighted.transpose(0, 2, 1) + np.diag(rules.precision)


def newton_step(
    information: FloatArray, gradient: FloatArray, active: BoolArray, damping: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """(R, P) step of the active parameters, and whether their information is positive definite (R,)."""
    p = gradient.shape[1]
    both = active[:, :, None] & active[:, None, :]
    diagonal = np.where(active, np.einsum("rpp->rp", information), 1.0)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = np.where(both, information, 0.0) * scale[:, :, None] * scale[:, None, :]
    scaled += np.einsum("rp,pq->rpq", np.where(active, damping[:, None], 1.0), np.eye(p))
    values, vectors = np.linalg.eigh(scaled)
    definite = values[:, 0] > SMALLEST_EIGENVALUE
    values = np.maximum(values, SMALLEST_EIGENVALUE)
    right = np.einsum("rpq,rp->rq", vectors, np.where(active, gradient, 0.0) * scale) / values
    step: FloatArray = -np.einsum("rpq,rq->rp", vectors, right) * scale
    return np.where(active, step, 0.0), definite


def inverse(information: FloatArray, active: BoolArray) -> FloatArray:
    """(R, P, P) covariance of the active parameters; 1/F on the diagonal of the others, no covariance."""
    unit = np.eye(information.shape[1], dtype=bool)
    diagonal = np.einsum("rpp->rp", information)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    products = scale[:, :, None] * scale[:, None, :]
    scaled = np.where(active[:, :, None] & active[:, None, :], information * products, 0.0)
    cov: FloatArray = np.linalg.inv(np.where(unit, 1.0, scaled)) * products
    return cov


def pressed(theta: FloatArray, gradient: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """(R, P) parameters on a wall that the gradient presses against it (Karush, Kuhn, Tucker)."""
    result: BoolArray = ((theta <= low) & (gradient >= 0.0)) | ((theta >= high) & (gradient <= 0.0))
    return result
