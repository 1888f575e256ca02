"""Rows of the batch: start values, attempts, levels of nodes, what is reported; see docs/physics/massfit.md."""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.massfit.kernels.models import LN_ALPHA_L, LN_N, LN_S, LN_SIGMA, LOGIT_F, SLOPE, Model, Point, new_point
from mucal.massfit.kernels.scoring import (
    CONVERGED,
    HESSIAN_NOT_PD,
    NOT_CONVERGED,
    SMALLEST_PIVOT,
    Prior,
    Work,
    minimise,
    new_work,
    restrict,
)
from mucal.numerics.kernels import cholesky, cholesky_inverse

AT_BOUNDARY: Final = 5  # value of Status
FLOOR_EVENTS: Final = 0.01  # background never falls below this many events: f = 0 lies at logit f = -infinity
NARROWEST: Final = 0.25  # smallest Gaussian width in units of the mass bin: a narrower one cannot be told apart
CEILING_LOGIT: Final = 7.0  # f = 0.9991: no signal is left to measure
MIN_PREDICTED: Final = 5.0  # neighbouring mass bins are merged to this content before the deviance is taken
LEVEL_MARGIN: Final = 0.7  # a fit starts with nodes that serve this fraction of its start width


class Levels(NamedTuple):
    """Template nodes for falling Gaussian widths; L = 0 for the Crystal Ball.

    level_sigma    : (L,)           smallest relative width that a level serves
    offsets        : (L,)           first column of a level
    nodes, weights : (R or 1, K)    GeV, increasing within a level
    n_nodes        : (R or 1, L)    used columns of a level
    """

    level_sigma: FloatArray
    offsets: IntArray
    nodes: FloatArray
    weights: FloatArray
    n_nodes: IntArray


@njit(cache=True, nogil=True, error_model="numpy")
def starting_point(counts: FloatArray, edges: FloatArray, reference: float, attempt: int, theta: FloatArray) -> None:
    """Start values from the spectrum alone: background from its ends, peak from truncated moments.

    attempt : 0 for the first start; 1 to 3 vary width and background, 3 starts at the highest mass bin
    """
    m = counts.size
    n_side = max(m // 10, 1)
    total = counts.sum()
    window = edges[m] - edges[0]
    upper = counts[m - n_side :].sum() / (edges[m] - edges[m - n_side])
    lower = counts[:n_side].sum() / (edges[n_side] - edges[0])
    flat = min(upper, lower)
    event = total / window / (total + 1.0)
    slope = 0.5 * math.log((lower + event) / (upper + event))  # half: signal tails weigh in the lower end
    slope = min(max(slope, -2.0), 2.0)
    rise = math.expm1(abs(slope)) / abs(slope) if slope != 0.0 else 1.0
    f = min(max(flat * rise * window / total, 1.0 / (1.0 + total)), 0.7)
    centre = 0.5 * (edges[0] + edges[m])
    width = window
    for _ in range(10):
        sum0 = 0.0
        sum1 = 0.0
        sum2 = 0.0
        for j in range(m):
            x = 0.5 * (edges[j] + edges[j + 1]) - centre
            if abs(x) < 2.0 * width:
                y = counts[j] - flat * (edges[j + 1] - edges[j])
                sum0 += y
                sum1 += y * x
                sum2 += y * x * x
        if sum0 <= 0.0 or sum2 <= 0.0:
            break
        shift = sum1 / sum0
        variance = sum2 / sum0 - shift * shift
        if variance <= 0.0:
            break
        centre += shift
        before = width
        width = math.sqrt(variance / 0.7737)  # variance of a normal distribution cut at two standard deviations
        if abs(shift) < 0.02 * width and abs(width - before) < 0.02 * width:
            break
    theta[LN_N] = math.log(total)
    if attempt == 3:
        peak = int(np.argmax(counts))
        centre = 0.5 * (edges[peak] + edges[peak + 1])
    centre = min(max(centre, edges[0] + 0.02 * window), edges[m] - 0.02 * window)
    width = min(max(width, (edges[1] - edges[0]) / 3.0), window / 4.0)
    if attempt == 1:
        width *= 1.6
        f = 0.1
    elif attempt == 2:
        width *= 0.6
        f = 0.02
    elif attempt == 3:
        width = window / 12.0
        f = 0.5
    theta[LN_S] = math.log(centre / reference)
    theta[LN_SIGMA] = math.log(width / centre)
    theta[LOGIT_F] = math.log(f / (1.0 - f))
    theta[SLOPE] = slope
    for a in range(LN_ALPHA_L, theta.size):
        theta[a] = math.log(1.5) if attempt < 2 else math.log(2.5)


@njit(cache=True, nogil=True, error_model="numpy")
def merged_deviance(
    counts: FloatArray, mu: FloatArray, dmu: FloatArray, information: FloatArray
) -> tuple[float, float, int]:
    """Poisson deviance after neighbours are merged to MIN_PREDICTED expected events.

    information : (P, P)  filled with the Fisher information of the merged bins

    Returns it, its expectation, and the number of merged bins.  The expectation of one bin is 1 + 1/(6 mu) + 1/(6 mu^2)
    to 0.7 % from mu = 5 on, not 1: without it p-values of thin spectra pile up at 0.
    """
    p = dmu.shape[0]
    slope = np.zeros(p)
    information[:] = 0.0
    deviance = 0.0
    expectation = 0.0
    n_merged = 0
    tail = mu.sum()
    seen = 0.0
    expected = 0.0
    for j in range(counts.size):
        seen += counts[j]
        expected += mu[j]
        tail -= mu[j]
        for a in range(p):
            slope[a] += dmu[a, j]
        if (expected >= MIN_PREDICTED and tail >= MIN_PREDICTED) or j == counts.size - 1:
            deviance += 2.0 * (expected - seen)
            if seen > 0.0:
                deviance += 2.0 * seen * math.log(seen / expected)
            expectation += 1.0 + (1.0 + 1.0 / expected) / (6.0 * expected)
            for a in range(p):
                weighted = slope[a] / expected
                for b in range(a + 1):
                    information[a, b] += weighted * slope[b]
            n_merged += 1
            seen = 0.0
            expected = 0.0
            slope[:] = 0.0
    for a in range(p):
        for b in range(a):
            information[b, a] = information[a, b]
    return deviance, expectation, n_merged


@njit(cache=True, nogil=True, error_model="numpy")
def parameters_used(merged: FloatArray, cov: FloatArray, precision: FloatArray, active: IntArray) -> float:
    """By how much the fit lowers the expected deviance of merged bins: 2 tr(F S) - tr(F S (1 - C S)).

    F is the information of the merged bins, S the covariance of the fit to the single ones, C the precisions of the
    constraints.  It is the number of parameters if nothing is merged and nothing constrained.
    """
    p = precision.size
    product = np.zeros((p, p))
    for a in range(p):
        for b in range(p):
            for c in range(p):
                if active[a] and active[b] and active[c]:
                    product[a, b] += merged[a, c] * cov[c, b]
    used = 0.0
    for a in range(p):
        used += product[a, a]
        for b in range(p):
            used += product[a, b] * precision[b] * cov[b, a]
    return used


@njit(cache=True, nogil=True, error_model="numpy")
def walls(edges: FloatArray, reference: float, low: FloatArray, high: FloatArray) -> None:
    """Fill the box of parameters that does not depend on the contents."""
    low[LN_ALPHA_L:] = math.log(0.1)
    high[LN_ALPHA_L:] = math.log(20.0)
    low[SLOPE], high[SLOPE] = -100.0, 100.0
    low[LN_S], high[LN_S] = math.log(edges[0] / reference), math.log(edges[-1] / reference)
    low[LN_SIGMA] = math.log(NARROWEST * np.min(edges[1:] - edges[:-1]) / edges[-1])
    high[LN_SIGMA] = math.log((edges[-1] - edges[0]) / edges[0])
    high[LOGIT_F] = CEILING_LOGIT


@njit(cache=True, nogil=True, error_model="numpy")
def at_level(model: Model, levels: Levels, row: int, level: int) -> Model:
    """The model with the nodes of one level."""
    if levels.level_sigma.size == 0:
        return model
    source = min(row, levels.nodes.shape[0] - 1)
    begin = levels.offsets[level]
    end = begin + levels.n_nodes[source, level]
    nodes, weights = levels.nodes[source, begin:end], levels.weights[source, begin:end]
    return Model(model.edges, model.middle, model.half, model.reference, nodes, weights, model.tails)


@njit(cache=True, nogil=True, error_model="numpy")
def fit_row(
    counts: FloatArray,
    row: int,
    model: Model,
    levels: Levels,
    start: FloatArray,
    prior: Prior,
    low: FloatArray,
    high: FloatArray,
    tolerance: float,
    max_steps: int,
    max_attempts: int,
    theta: FloatArray,
    point: Point,
    work: Work,
) -> tuple[int, int, float]:
    """Fit one spectrum from up to `max_attempts` starts: status, steps of all attempts, distance to the minimum."""
    n_levels = levels.level_sigma.size
    status, n_steps, edm = NOT_CONVERGED, 0, np.inf
    for attempt in range(max_attempts):
        starting_point(counts, model.edges, model.reference, attempt, theta)
        for a in range(theta.size):
            if not math.isnan(start[a]):
                theta[a] = start[a]
            if prior.free[a]:
                theta[a] = min(max(theta[a], low[a]), high[a])
        level = 0
        while level < n_levels - 1 and levels.level_sigma[level] > LEVEL_MARGIN * math.exp(theta[LN_SIGMA]):
            level += 1
        while True:
            at = at_level(model, levels, row, level)
            status, steps, edm = minimise(counts, theta, at, prior, low, high, tolerance, max_steps, point, work)
            n_steps += steps
            if level >= n_levels - 1 or math.exp(theta[LN_SIGMA]) >= levels.level_sigma[level]:
                break
            level += 1  # too narrow for these nodes: go on from here with the next level
        if status == CONVERGED:
            for a in range(theta.size):
                if prior.free[a] and not work.active[a] and not (a == LOGIT_F and theta[a] <= low[a]):
                    status = AT_BOUNDARY
        if status == CONVERGED:
            break
    return status, n_steps, edm


@njit(cache=True, nogil=True, error_model="numpy")
def fit_rows(
    counts: FloatArray,
    edges: FloatArray,
    reference: float,
    levels: Levels,
    tails: FloatArray,
    start: FloatArray,
    prior: Prior,
    tolerance: float,
    max_steps: int,
    max_attempts: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray, IntArray]:
    """Fit every row of counts (R, M).

    tails : (2,)  n_l, n_r
    start : (P,)  value at which a parameter starts (fixed ones stay there); NaN: from the spectrum

    Returns values (R, P), cov (R, P, P), expected events (R, M), and (R,) each: deviance, its expectation per merged
    bin, ndf, edm, steps, status.
    """
    n_rows, m = counts.shape
    p = start.size
    values, cov = np.full((n_rows, p), np.nan), np.full((n_rows, p, p), np.nan)
    expected = np.full((n_rows, m), np.nan)
    deviance, per_bin, edm = np.full(n_rows, np.nan), np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    ndf, n_steps, status = np.zeros(n_rows), np.zeros(n_rows, np.int64), np.zeros(n_rows, np.int64)
    window = edges[m] - edges[0]
    middle = (0.5 * (edges[:-1] + edges[1:]) - edges[0]) / window - 0.5
    half = 0.5 * (edges[1:] - edges[:-1]) / window
    model = Model(edges, middle, half, reference, levels.nodes[0, :0], levels.weights[0, :0], tails)
    point, work = new_point(p, m), new_work(p, m)
    theta, low, high, merged = np.empty(p), np.empty(p), np.empty(p), np.empty((p, p))
    walls(edges, reference, low, high)
    for row in range(n_rows):
        total = counts[row].sum()
        low[LN_N], high[LN_N] = math.log(total) - 5.0, math.log(total) + 5.0
        low[LOGIT_F] = math.log(FLOOR_EVENTS / total)
        status[row], n_steps[row], edm[row] = fit_row(
            counts[row],
            row,
            model,
            levels,
            start,
            prior,
            low,
            high,
            tolerance,
            max_steps,
            max_attempts,
            theta,
            point,
            work,
        )
        if status[row] != CONVERGED:
            continue
        restrict(work.information, work.nothing, work.active, 0.0, work.factor)
        if not cholesky(work.factor, SMALLEST_PIVOT):
            status[row] = HESSIAN_NOT_PD
            continue
        values[row] = theta
        expected[row] = point.mu
        cov[row] = cholesky_inverse(work.factor)
        deviance[row], expectation, n_merged = merged_deviance(counts[row], point.mu, point.dmu, merged)
        per_bin[row] = expectation / n_merged
        ndf[row] = n_merged - parameters_used(merged, cov[row], prior.precision, work.active)
        for a in range(p):
            if not work.active[a]:
                cov[row, a, a] = 1.0 / work.information[a, a] if prior.free[a] else 0.0
    return values, cov, expected, deviance, per_bin, ndf, edm, n_steps, status
