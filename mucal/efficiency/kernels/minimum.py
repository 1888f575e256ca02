"""Minimum of -ln L of one pair of spectra by damped Fisher scoring; derived in docs/physics/efficiency.md."""

import math
from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency.kernels.shapes import Model, predict
from mucal.numerics.kernels import cholesky, cholesky_solve, likelihood_change

CONVERGED: Final = 0  # values of Status
NOT_CONVERGED: Final = 3
HESSIAN_NOT_PD: Final = 4

LARGEST_DAMPING: Final = 1e10
PATIENCE: Final = 10
NEAR: Final = 1.0
SMALLEST_PIVOT: Final = 1e-12


@njit(cache=True, nogil=True, error_model="numpy")
def gradient_of(
    counts: FloatArray, mu: FloatArray, dmu: FloatArray, theta: FloatArray, mean: FloatArray, precision: FloatArray,
    gradient: FloatArray,
) -> None:  # fmt: skip
    """Fill the gradient (P,) of -ln L with the constraints."""
    for a in range(theta.size):
        total = precision[a] * (theta[a] - mean[a])
        for j in range(counts.size):
            total += dmu[a, j] * (1.0 - counts[j] / mu[j])
        gradient[a] = total


@njit(cache=True, nogil=True, error_model="numpy")
def information_of(
    mu: FloatArray, dmu: FloatArray, precision: FloatArray, free: IntArray, information: FloatArray
) -> None:
    """Fill the lower triangle of the expected information with the constraints; rows of fixed parameters are 0."""
    weight = 1.0 / mu
    row = np.empty(mu.size)
    for a in range(free.size):
        information[a, : a + 1] = 0.0
        if not free[a]:
            continue
        row[:] = dmu[a] * weight
        for b in range(a + 1):
            if free[b]:
                total = 0.0
                for j in range(mu.size):
                    total += row[j] * dmu[b, j]
                information[a, b] = total
        information[a, a] += precision[a]


@njit(cache=True, nogil=True, error_model="numpy")
def step_to_minimum(
    information: FloatArray, gradient: FloatArray, active: IntArray, damping: float, factor: FloatArray,
    delta: FloatArray,
) -> float:  # fmt: skip
    """Fill delta with the damped scoring step; return the distance to the minimum in -2 ln L, -1 if not definite."""
    p = active.size
    for a in range(p):
        for b in range(a):
            factor[a, b] = information[a, b] if active[a] and active[b] else 0.0
        factor[a, a] = information[a, a] * (1.0 + damping) if active[a] else 1.0
        delta[a] = -gradient[a] if active[a] else 0.0
    if not cholesky(factor, SMALLEST_PIVOT):
        return -1.0
    cholesky_solve(factor, delta)
    edm = 0.0
    for a in range(p):
        edm -= delta[a] * gradient[a] if active[a] else 0.0
    return edm


@njit(cache=True, nogil=True, error_model="numpy")
def observed_information(
    counts: FloatArray,
    theta: FloatArray,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    active: IntArray,
    expected: FloatArray,
    mu_moved: FloatArray,
    dmu_moved: FloatArray,
    result: FloatArray,
) -> None:
    """Fill the second derivatives (P, P) of -ln L from differences of gradients, a tenth of a standard error apart.

    mu_moved, dmu_moved : scratch
    """
    p, m = theta.size, model.edges.size - 1
    table, below, shape = np.empty((5, 2 * templates.shape[1] + 2)), np.empty((5, m + 1)), np.empty((9, m))
    up, down, moved = np.empty(p), np.empty(p), np.empty(p)
    result[:] = 0.0
    for a in range(p):
        if not active[a]:
            result[a, a] = 1.0
            continue
        h = 0.1 / math.sqrt(max(expected[a, a], 1e-12))
        moved[:] = theta
        moved[a] = min(theta[a] + h, high[a])
        top = moved[a]
        up[:] = np.nan
        if predict(moved, templates, cumulative, model, table, below, shape, mu_moved, dmu_moved):
            gradient_of(counts, mu_moved, dmu_moved, moved, mean, precision, up)
        moved[a] = max(theta[a] - h, low[a])
        down[:] = np.nan
        if predict(moved, templates, cumulative, model, table, below, shape, mu_moved, dmu_moved):
            gradient_of(counts, mu_moved, dmu_moved, moved, mean, precision, down)
        for b in range(p):
            if active[b]:
                result[a, b] = (up[b] - down[b]) / (top - moved[a])
    for a in range(p):
        for b in range(a):
            half = 0.5 * (result[a, b] + result[b, a])
            result[a, b] = half
            result[b, a] = half


@njit(cache=True, nogil=True, error_model="numpy")
def minimise(
    counts: FloatArray,
    theta: FloatArray,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    largest: FloatArray,
    tolerance: float,
    max_steps: int,
    mu: FloatArray,
    dmu: FloatArray,
    active: IntArray,
    information: FloatArray,
) -> tuple[int, int, float]:
    """Minimum in the box by damped Fisher scoring from theta (overwritten): status, steps, estimated distance to it.

    Where few events make the observed information twice the expected, scoring steps overshoot for ever; after PATIENCE
    steps, and near the minimum, they are taken by the second derivatives themselves.

    mu, dmu, active, information : filled with their values at the end
    """
    p, m = theta.size, model.edges.size - 1
    n_template = templates.shape[1]
    table, below, shape = np.empty((5, 2 * n_template + 2)), np.empty((5, m + 1)), np.empty((9, m))
    mu_tried, dmu_tried = np.empty_like(mu), np.empty_like(dmu)
    gradient, delta, tried = np.empty(p), np.empty(p), np.empty(p)
    factor, observed = np.zeros((p, p)), np.zeros((p, p))
    edm, damping, step = np.inf, 0.0, 0
    if not predict(theta, templates, cumulative, model, table, below, shape, mu, dmu):
        return NOT_CONVERGED, step, edm
    while True:
        gradient_of(counts, mu, dmu, theta, mean, precision, gradient)
        information_of(mu, dmu, precision, free, information)
        for a in range(p):
            pressed = (theta[a] <= low[a] and gradient[a] >= 0.0) or (theta[a] >= high[a] and gradient[a] <= 0.0)
            active[a] = 1 if free[a] and not pressed else 0
        edm = step_to_minimum(information, gradient, active, 0.0, factor, delta)
        if step >= PATIENCE and tolerance <= edm < NEAR:
            observed_information(
                counts, theta, templates, cumulative, model, mean, precision, low, high, active, information,
                mu_tried, dmu_tried, observed,
            )  # fmt: skip
            exact = step_to_minimum(observed, gradient, active, 0.0, factor, delta)
            if exact >= 0.0:
                edm = exact
                information[:] = observed
            else:
                step_to_minimum(information, gradient, active, 0.0, factor, delta)
        if 0.0 <= edm < tolerance:
            return CONVERGED, step, edm
        if step == max_steps:
            return HESSIAN_NOT_PD if edm < 0.0 else NOT_CONVERGED, step, edm
        damping = max(damping, 1e-3) if edm < 0.0 else damping
        while True:
            change = np.inf
            if damping == 0.0 or step_to_minimum(information, gradient, active, damping, factor, delta) >= 0.0:
                change = 0.0
                for a in range(p):
                    wish = theta[a] + min(max(delta[a], -largest[a]), largest[a])
                    tried[a] = min(max(wish, low[a]), high[a]) if active[a] else theta[a]
                    change += 0.5 * precision[a] * (tried[a] - theta[a]) * (tried[a] + theta[a] - 2.0 * mean[a])
                if predict(tried, templates, cumulative, model, table, below, shape, mu_tried, dmu_tried):
                    change += likelihood_change(counts, mu, mu_tried)
                else:
                    change = np.inf
            if change <= 0.0:
                break
            damping = max(8.0 * damping, 1e-2)
            if damping > LARGEST_DAMPING:
                return NOT_CONVERGED, step, edm
        step += 1
        theta[:] = tried
        mu[:] = mu_tried
        dmu[:] = dmu_tried
        damping = 0.1 * damping if damping > 1e-4 else 0.0
