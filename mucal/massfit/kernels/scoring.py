"""Damped Fisher scoring of one spectrum; derived in docs/physics/massfit.md.

Inside a fit the function is -ln L, half of what is reported.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.massfit.kernels.models import LN_N, LN_S, LN_SIGMA, LOGIT_F, SLOPE, Model, Point, predict
from mucal.numerics.kernels import cholesky, cholesky_solve

CONVERGED: Final = 0  # values of Status
NOT_CONVERGED: Final = 3
HESSIAN_NOT_PD: Final = 4

NEAR: Final = 1.0  # from farther away, in units of -2 ln L, a step says nothing about the curvature at the minimum
SMALLEST_PIVOT: Final = 1e-11
LARGEST_DAMPING: Final = 1e8


class Prior(NamedTuple):
    """What is known about the P parameters, (P,) each: free is 1 or 0; Gaussian constraints, precision 0 for none."""

    free: IntArray
    mean: FloatArray
    precision: FloatArray


class Work(NamedTuple):
    """Work arrays of one fit.

    gradient, delta, tried, moved, turned, largest : (P,)    the last is the largest step of each parameter
    information, excess, nothing, factor           : (P, P)  `nothing` stays zero
    rows                                           : (3, M)
    active                                         : (P,)    1 for parameters that may move
    """

    gradient: FloatArray
    delta: FloatArray
    tried: FloatArray
    moved: FloatArray
    turned: FloatArray
    largest: FloatArray
    information: FloatArray
    excess: FloatArray
    nothing: FloatArray
    factor: FloatArray
    rows: FloatArray
    active: IntArray


@njit(cache=True, nogil=True)
def new_work(p: int, m: int) -> Work:
    """Work arrays for P parameters and M mass bins."""
    largest = np.full(p, 0.5)
    largest[LN_N] = 1.0
    largest[LOGIT_F] = 2.0
    largest[SLOPE] = 5.0
    return Work(
        np.empty(p),
        np.empty(p),
        np.empty(p),
        np.empty(p),
        np.empty(p),
        largest,
        np.zeros((p, p)),
        np.zeros((p, p)),
        np.zeros((p, p)),
        np.zeros((p, p)),
        np.empty((3, max(m, p))),
        np.zeros(p, np.int64),
    )


@njit(cache=True, nogil=True)
def likelihood_change(counts: FloatArray, before: FloatArray, after: FloatArray) -> float:
    """Change of -ln L, bin by bin so that nothing large cancels."""
    total = 0.0
    for j in range(counts.size):
        total += after[j] - before[j]
        if counts[j] > 0.0:
            total -= counts[j] * math.log(after[j] / before[j])
    return total


@njit(cache=True, nogil=True)
def gradient_and_information(
    counts: FloatArray,
    mu: FloatArray,
    dmu: FloatArray,
    work: FloatArray,
    gradient: FloatArray,
    information: FloatArray,
) -> None:
    """Gradient of -ln L and the lower triangle of the Fisher information J^T diag(1/mu) J.

    Shapes are normalised over the window, so that the derivatives by every other parameter add up to 0 over it: the
    row of ln N is diagonal.

    work : (3, M) scratch
    """
    p = gradient.size
    inverse, missing, weighted = work[0], work[1], work[2]
    for j in range(counts.size):
        inverse[j] = 1.0 / mu[j]
        missing[j] = 1.0 - counts[j] * inverse[j]
    gradient[LN_N] = mu.sum() - counts.sum()
    information[LN_N, LN_N] = mu.sum()
    for a in range(1, p):
        total = 0.0
        for j in range(counts.size):
            weighted[j] = dmu[a, j] * inverse[j]
            total += dmu[a, j] * missing[j]
        gradient[a] = total
        information[a, LN_N] = 0.0
        for b in range(1, a + 1):
            total = 0.0
            for j in range(counts.size):
                total += weighted[j] * dmu[b, j]
            information[a, b] = total


@njit(cache=True, nogil=True)
def update_excess(
    excess: FloatArray, information: FloatArray, delta: FloatArray, turned: FloatArray, work: FloatArray
) -> None:
    """Estimate of observed minus expected information, after a step delta changed the gradient by `turned`.

    The symmetric update of least change for which (information + excess) delta = turned, as J. Dennis, D. Gay and
    R. Welsch use for the part of a Hessian that least squares leave out (ACM Trans. Math. Softw. 7 (1981) 348), with
    their sizing.  Without it the scoring step overshoots where the observed information is twice the expected.
    """
    p = delta.size
    along = 0.0
    for a in range(p):
        along += turned[a] * delta[a]
    if not along > 0.0:
        excess[:] = 0.0
        return
    wanted, held = work[0], work[1]
    wanted_along = 0.0
    held_along = 0.0
    for a in range(p):
        expected = 0.0
        held[a] = 0.0
        for b in range(p):
            expected += (information[a, b] if b <= a else information[b, a]) * delta[b]
            held[a] += (excess[a, b] if b <= a else excess[b, a]) * delta[b]
        wanted[a] = turned[a] - expected
        wanted_along += wanted[a] * delta[a]
        held_along += held[a] * delta[a]
    size = min(1.0, abs(wanted_along) / abs(held_along)) if held_along != 0.0 else 0.0
    rest = (wanted_along - size * held_along) / (along * along)
    for a in range(p):
        for b in range(a + 1):
            cross = (wanted[a] - size * held[a]) * turned[b] + (wanted[b] - size * held[b]) * turned[a]
            excess[a, b] = size * excess[a, b] + cross / along - rest * turned[a] * turned[b]


@njit(cache=True, nogil=True)
def restrict(information: FloatArray, excess: FloatArray, active: IntArray, damping: float, factor: FloatArray) -> None:
    """Copy information + excess to `factor`, diagonal raised by the damping, rows of inactive parameters those of 1."""
    p = active.size
    for a in range(p):
        for b in range(a):
            factor[a, b] = information[a, b] + excess[a, b] if active[a] and active[b] else 0.0
        factor[a, a] = information[a, a] * (1.0 + damping) + excess[a, a] if active[a] else 1.0


@njit(cache=True, nogil=True)
def newton_step(factor: FloatArray, gradient: FloatArray, active: IntArray, delta: FloatArray) -> float:
    """Fill delta with the step to the minimum of the quadratic form; return the distance to it in units of -2 ln L."""
    for a in range(delta.size):
        delta[a] = -gradient[a] if active[a] else 0.0
    cholesky_solve(factor, delta)
    edm = 0.0
    for a in range(delta.size):
        edm -= delta[a] * gradient[a] if active[a] else 0.0
    return edm


@njit(cache=True, nogil=True)
def slope_and_walls(
    counts: FloatArray, theta: FloatArray, point: Point, prior: Prior, low: FloatArray, high: FloatArray, work: Work
) -> None:
    """Gradient and information at theta, constraints included, and which parameters may move.

    A parameter on a wall that the gradient presses against the wall is held there, as the conditions of Karush, Kuhn
    and Tucker ask.
    """
    gradient, information, active = work.gradient, work.information, work.active
    free, mean, precision = prior
    gradient_and_information(counts, point.mu, point.dmu, work.rows, gradient, information)
    for a in range(theta.size):
        gradient[a] += precision[a] * (theta[a] - mean[a])
        information[a, a] += precision[a]
        pressed = (theta[a] <= low[a] and gradient[a] >= 0.0) or (theta[a] >= high[a] and gradient[a] <= 0.0)
        active[a] = 1 if free[a] and not pressed else 0


@njit(cache=True, nogil=True)
def distance(work: Work, near: bool) -> tuple[float, bool]:
    """Fill delta with the undamped step; return the estimated distance to the minimum and whether F was definite.

    The distance is the larger one of those by the expected and by the estimated observed information.
    """
    information, active, factor = work.information, work.active, work.factor
    gradient, delta = work.gradient, work.delta
    edm = np.inf
    restrict(information, work.nothing, active, 0.0, factor)
    definite = cholesky(factor, SMALLEST_PIVOT)
    if definite:
        edm = newton_step(factor, gradient, active, delta)
    if near:
        restrict(information, work.excess, active, 0.0, factor)
        if cholesky(factor, SMALLEST_PIVOT):
            observed = newton_step(factor, gradient, active, delta)
            edm = max(edm, observed) if definite else observed
        else:
            work.excess[:] = 0.0
    return edm, definite


@njit(cache=True, nogil=True)
def descend(
    counts: FloatArray,
    theta: FloatArray,
    model: Model,
    prior: Prior,
    low: FloatArray,
    high: FloatArray,
    damping: float,
    here: Point,
    there: Point,
    work: Work,
) -> float:
    """Fill `tried` and the point `there` with a step that lowers -ln L, and return the damping that it took.

    Above LARGEST_DAMPING none was found.
    """
    tried, delta, largest, active = work.tried, work.delta, work.largest, work.active
    mean, precision = prior.mean, prior.precision
    largest[LN_S] = math.exp(theta[LN_SIGMA])
    while damping <= LARGEST_DAMPING:
        if damping > 0.0:
            restrict(work.information, work.excess, work.active, damping, work.factor)
            if not cholesky(work.factor, 1e-15):
                damping *= 10.0
                continue
            newton_step(work.factor, work.gradient, work.active, delta)
        change = 0.0
        for a in range(theta.size):
            wish = theta[a] + min(max(delta[a], -largest[a]), largest[a])
            tried[a] = min(max(wish, low[a]), high[a]) if active[a] else theta[a]
            change += 0.5 * precision[a] * (tried[a] - theta[a]) * (tried[a] + theta[a] - 2.0 * mean[a])
        if predict(tried, model, there):
            change += likelihood_change(counts, here.mu, there.mu)
            if change <= 0.0:
                break
        damping = max(8.0 * damping, 1e-2)
    return damping


@njit(cache=True, nogil=True)
def minimise(
    counts: FloatArray,
    theta: FloatArray,
    model: Model,
    prior: Prior,
    low: FloatArray,
    high: FloatArray,
    tolerance: float,
    max_steps: int,
    here: Point,
    there: Point,
    work: Work,
) -> tuple[int, int, float]:
    """Minimum in the box [low, high] by damped Fisher scoring from theta, which is overwritten.

    Returns status, steps, estimated distance to the minimum; `here` then holds the expectation at theta, and `work`
    the information and the active parameters.
    """
    moved, turned, gradient = work.moved, work.turned, work.gradient
    edm = np.inf
    damping = 0.0
    near = False
    definite = True
    work.excess[:] = 0.0
    if not predict(theta, model, here):
        return NOT_CONVERGED, 0, edm
    for step in range(max_steps + 1):
        slope_and_walls(counts, theta, here, prior, low, high, work)
        if step > 0:
            near = near or edm < NEAR
            if near:
                for a in range(theta.size):
                    moved[a] = theta[a] - moved[a]
                    turned[a] = gradient[a] - turned[a]
                update_excess(work.excess, work.information, moved, turned, work.rows)
        edm, definite = distance(work, near)
        if definite and edm < tolerance:
            return CONVERGED, step, edm
        if step == max_steps:
            break
        moved[:] = theta
        turned[:] = gradient
        damping = damping if definite else max(damping, 1e-3)
        damping = descend(counts, theta, model, prior, low, high, damping, here, there, work)
        if damping > LARGEST_DAMPING:
            return NOT_CONVERGED if definite else HESSIAN_NOT_PD, step, edm
        theta[:] = work.tried
        here.mu[:] = there.mu
        here.dmu[:] = there.dmu
        damping = 0.1 * damping if damping > 1e-4 else 0.0
    return NOT_CONVERGED if definite else HESSIAN_NOT_PD, max_steps, edm
