"""Damped Fisher scoring of one spectrum; derived in docs/physics/massfit.md.

Inside a fit the function is -ln L, half of what is reported.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.massfit.kernels.models import LN_N, LN_S, LN_SIGMA, LOGIT_F, SLOPE, Model, Point, predict
from mucal.numerics.kernels import cholesky, cholesky_solve, likelihood_change

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
    rows                                           : (P + 1, M)
    active                                         : (P,)    1 for parameters that may move
    mu, dmu                                        : (M,), (P, M) at the tried point
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
    mu: FloatArray
    dmu: FloatArray


@njit(cache=True, nogil=True, error_model="numpy")
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
        np.empty((p + 1, max(m, p))),
        np.zeros(p, np.int64),
        np.empty(m),
        np.empty((p, m)),
    )


@njit(cache=True, nogil=True, error_model="numpy")
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

    work : (P + 1, M) scratch, filled with (mu - n) / sqrt(mu) in the place of ln N, dmu / sqrt(mu), and 1 / sqrt(mu)
    """
    p, m = dmu.shape
    residual = work[LN_N]
    expected, surplus = 0.0, 0.0
    for j in range(m):
        expected += mu[j]
        surplus += mu[j] - counts[j]
    weight = work[p]
    for j in range(m):
        weight[j] = 1.0 / math.sqrt(mu[j])
        residual[j] = (mu[j] - counts[j]) * weight[j]
    for a in range(1, p):
        scaled, derivative = work[a], dmu[a]
        for j in range(m):
            scaled[j] = derivative[j] * weight[j]
    products(work[:p, :m], information)
    for a in range(1, p):
        gradient[a] = information[a, LN_N]
        information[a, LN_N] = 0.0
    gradient[LN_N] = surplus
    information[LN_N, LN_N] = expected


@njit(cache=True, nogil=True, error_model="numpy")
def products(rows: FloatArray, result: FloatArray) -> None:
    """Fill the lower triangle of a (P, P) with the products of the rows (P, M), four sums at a time.

    A sum has to wait for its own last addition; four of them fill that time and share what they load.
    """
    p = rows.shape[0]
    for a in range(0, p, 2):
        next_a = min(a + 1, p - 1)
        x0, x1 = rows[a], rows[next_a]
        for b in range(0, a + 1, 2):
            next_b = min(b + 1, next_a)
            y0, y1 = rows[b], rows[next_b]
            sum00, sum01, sum10, sum11 = 0.0, 0.0, 0.0, 0.0
            for j in range(x0.size):
                sum00 += x0[j] * y0[j]
                sum01 += x0[j] * y1[j]
                sum10 += x1[j] * y0[j]
                sum11 += x1[j] * y1[j]
            result[a, b] = sum00
            result[next_a, b] = sum10
            result[next_a, next_b] = sum11
            if next_b <= a:
                result[a, next_b] = sum01


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def restrict(information: FloatArray, excess: FloatArray, active: IntArray, damping: float, factor: FloatArray) -> None:
    """Copy information + excess to `factor`, diagonal raised by the damping, rows of inactive parameters those of 1."""
    p = active.size
    for a in range(p):
        for b in range(a):
            factor[a, b] = information[a, b] + excess[a, b] if active[a] and active[b] else 0.0
        factor[a, a] = information[a, a] * (1.0 + damping) + excess[a, a] if active[a] else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def newton_step(factor: FloatArray, gradient: FloatArray, active: IntArray, delta: FloatArray) -> float:
    """Fill delta with the step to the minimum of the quadratic form; return the distance to it in units of -2 ln L."""
    for a in range(delta.size):
        delta[a] = -gradient[a] if active[a] else 0.0
    cholesky_solve(factor, delta)
    edm = 0.0
    for a in range(delta.size):
        edm -= delta[a] * gradient[a] if active[a] else 0.0
    return edm


@njit(cache=True, nogil=True, error_model="numpy")
def constrain(
    theta: FloatArray,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    gradient: FloatArray,
    information: FloatArray,
    active: IntArray,
) -> None:
    """Add the constraints to gradient and information, and fill which parameters may move.

    A parameter on a wall that the gradient presses against the wall is held there, as the conditions of Karush, Kuhn
    and Tucker ask.
    """
    for a in range(theta.size):
        gradient[a] += precision[a] * (theta[a] - mean[a])
        information[a, a] += precision[a]
        pressed = (theta[a] <= low[a] and gradient[a] >= 0.0) or (theta[a] >= high[a] and gradient[a] <= 0.0)
        active[a] = 1 if free[a] and not pressed else 0


@njit(cache=True, nogil=True, error_model="numpy")
def distance(
    gradient: FloatArray,
    information: FloatArray,
    excess: FloatArray,
    nothing: FloatArray,
    active: IntArray,
    tolerance: float,
    near: bool,
    factor: FloatArray,
    delta: FloatArray,
    spare: FloatArray,
) -> tuple[float, bool]:
    """Fill delta with the undamped step; return the estimated distance to the minimum and whether F was definite.

    If `near`, both are those by the estimated observed information; only below the tolerance, where the fit may end,
    the distance by the expected information is asked too.
    """
    observed = 0.0
    expected_step = delta
    if near:
        restrict(information, excess, active, 0.0, factor)
        if cholesky(factor, SMALLEST_PIVOT):
            observed = newton_step(factor, gradient, active, delta)
            if observed >= tolerance:
                return observed, True
            expected_step = spare
        else:
            excess[:] = 0.0
    restrict(information, nothing, active, 0.0, factor)
    if not cholesky(factor, SMALLEST_PIVOT):
        return np.inf, False
    return max(observed, newton_step(factor, gradient, active, expected_step)), True


@njit(cache=True, nogil=True, error_model="numpy")
def limited_step(
    theta: FloatArray,
    delta: FloatArray,
    largest: FloatArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    active: IntArray,
    tried: FloatArray,
) -> float:
    """Fill `tried` with theta + delta within the largest step and the box; return the change of the constraints."""
    largest[LN_S] = math.exp(theta[LN_SIGMA])
    change = 0.0
    for a in range(theta.size):
        wish = theta[a] + min(max(delta[a], -largest[a]), largest[a])
        tried[a] = min(max(wish, low[a]), high[a]) if active[a] else theta[a]
        change += 0.5 * precision[a] * (tried[a] - theta[a]) * (tried[a] + theta[a] - 2.0 * mean[a])
    return change


@njit(cache=True, nogil=True, error_model="numpy")
def minimise(
    counts: FloatArray,
    theta: FloatArray,
    model: Model,
    prior: Prior,
    low: FloatArray,
    high: FloatArray,
    tolerance: float,
    max_steps: int,
    point: Point,
    work: Work,
) -> tuple[int, int, float]:
    """Minimum in the box [low, high] by damped Fisher scoring from theta, which is overwritten.

    Returns status, steps, estimated distance to the minimum; `point` then holds the expectation mu at theta, and
    `work` the information and the active parameters.  One long loop over plain arrays: tuples are opened once.
    """
    edges, middle, half, reference, nodes, weights, tails = model
    free, mean, precision = prior
    integral, shape, mu, dmu = point
    gradient, delta, tried, moved, turned, largest = work[:6]
    information, excess, nothing, factor, rows, active, mu_tried, dmu_tried = work[6:]
    edm, damping, near, definite = np.inf, 0.0, False, True
    status, step = NOT_CONVERGED, 0
    excess[:] = 0.0
    if not predict(theta, edges, middle, half, reference, nodes, weights, tails, integral, shape, mu, dmu):
        return status, step, edm
    while True:
        gradient_and_information(counts, mu, dmu, rows, gradient, information)
        constrain(theta, free, mean, precision, low, high, gradient, information, active)
        near = near or edm < NEAR
        if near:
            for a in range(theta.size):
                moved[a] = theta[a] - moved[a]
                turned[a] = gradient[a] - turned[a]
            update_excess(excess, information, moved, turned, rows)
        edm, definite = distance(gradient, information, excess, nothing, active, tolerance, near, factor, delta, tried)
        status = NOT_CONVERGED if definite else HESSIAN_NOT_PD
        if definite and edm < tolerance:
            status = CONVERGED
            break
        if step == max_steps:
            break
        moved[:] = theta
        turned[:] = gradient
        damping = damping if definite else max(damping, 1e-3)
        while damping <= LARGEST_DAMPING:
            if damping > 0.0:
                restrict(information, excess, active, damping, factor)
                if not cholesky(factor, 1e-15):
                    damping *= 10.0
                    continue
                newton_step(factor, gradient, active, delta)
            change = limited_step(theta, delta, largest, mean, precision, low, high, active, tried)
            if predict(
                tried, edges, middle, half, reference, nodes, weights, tails, integral, shape, mu_tried, dmu_tried
            ):
                change += likelihood_change(counts, mu, mu_tried)
                if change <= 0.0:
                    break
            damping = max(8.0 * damping, 1e-2)
        if damping > LARGEST_DAMPING:
            break
        step += 1
        theta[:] = tried
        mu, mu_tried = mu_tried, mu
        dmu, dmu_tried = dmu_tried, dmu
        damping = 0.1 * damping if damping > 1e-4 else 0.0
    point.mu[:] = mu
    return status, step, edm
