"""The batch: a fit, its covariance, interval and goodness for every pair of spectra."""

import math
from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency.kernels.minimum import (
    CONVERGED,
    HESSIAN_NOT_PD,
    SMALLEST_PIVOT,
    minimise,
    observed_information,
)
from mucal.efficiency.kernels.shapes import EFF, LN_N, Model
from mucal.numerics.kernels import cholesky, cholesky_inverse, likelihood_change

AT_BOUNDARY: Final = 5  # a value of Status


@njit(cache=True, nogil=True, error_model="numpy")
def merged_deviance(counts: FloatArray, mu: FloatArray, spread: FloatArray, least: float) -> tuple[float, int]:
    """Poisson deviance of one spectrum, bins merged from the left until `least` are expected; how many bins are left.

    What remains at the right end joins the last bin.  A bin's part counts as mu / (mu + spread), spread (M,) being the
    variance of the expectation by the template's own statistics.
    """
    m = mu.size
    merged_n, merged_mu, merged_spread = np.zeros(m), np.zeros(m), np.zeros(m)
    at = 0
    for j in range(m):
        merged_n[at] += counts[j]
        merged_mu[at] += mu[j]
        merged_spread[at] += spread[j]
        if merged_mu[at] >= least and j < m - 1:
            at += 1
    if merged_mu[at] < least and at > 0:
        merged_n[at - 1] += merged_n[at]
        merged_mu[at - 1] += merged_mu[at]
        merged_spread[at - 1] += merged_spread[at]
        at -= 1
    total = 0.0
    for j in range(at + 1):
        part = merged_mu[j] - merged_n[j]
        if merged_n[j] > 0.0:
            part += merged_n[j] * math.log(merged_n[j] / merged_mu[j])
        total += part * merged_mu[j] / (merged_mu[j] + merged_spread[j])
    return 2.0 * total, at + 1


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(
    counts: FloatArray,
    best: FloatArray,
    error: float,
    side: float,
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
    mu_best: FloatArray,
    dmu: FloatArray,
    active: IntArray,
    information: FloatArray,
) -> float:
    """The efficiency above (side = 1) or below (-1) the best one where the profiled -2 ln L has risen by 1.

    0 or 1 if it rises by less up to there; NaN if a fit on the way fails.
    """
    wall = high[EFF] if side > 0 else low[EFF]
    held = free.copy()
    held[EFF] = 0
    mu = mu_best.copy()
    distance = error
    for _ in range(12):
        theta = best.copy()
        theta[EFF] = best[EFF] + side * distance
        at_wall = (theta[EFF] - wall) * side >= 0.0
        if at_wall:
            theta[EFF] = wall
            distance = abs(wall - best[EFF])
        if distance <= 0.0:
            return float(wall)
        status, _, _ = minimise(
            counts, theta, templates, cumulative, model, held, mean, precision, low, high, largest, tolerance,
            max_steps, mu, dmu, active, information,
        )  # fmt: skip
        if status != CONVERGED:
            return np.nan
        rise = likelihood_change(counts, mu_best, mu)
        for a in range(theta.size):
            rise += 0.5 * precision[a] * (theta[a] - best[a]) * (theta[a] + best[a] - 2.0 * mean[a])
        z = math.sqrt(max(2.0 * rise, 0.0))
        if abs(z - 1.0) < 0.003 or (at_wall and z < 1.0):
            return float(theta[EFF])
        distance *= min(max(1.0 / max(z, 1e-6), 0.3), 3.0)
    return np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def sums_of(templates: FloatArray) -> FloatArray:
    """(2, G + 1) sums of a pair of templates (2, G) from below."""
    result = np.zeros((2, templates.shape[1] + 1))
    for c in range(2):
        result[c, 1:] = np.cumsum(templates[c])
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def covariance_of(factor: FloatArray, active: IntArray, precision: FloatArray, cov: FloatArray) -> float:
    """Fill cov (P, P), 0 for parameters that do not move; return how many parameters the data determined.

    factor : (P, P) Cholesky factor of the second derivatives
    """
    inverse = cholesky_inverse(factor)
    n_used = 0.0
    for a in range(active.size):
        n_used += 1.0 - precision[a] * inverse[a, a] if active[a] else 0.0
        for b in range(active.size):
            cov[a, b] = inverse[a, b] if active[a] and active[b] else 0.0
    return n_used


@njit(cache=True, nogil=True, error_model="numpy")
def deviance_of(both: FloatArray, mu: FloatArray, theta: FloatArray, spread: FloatArray) -> tuple[float, int]:
    """Deviance of both spectra, and how many merged bins it is of.

    both, mu : (2 M,)
    spread   : (2, M) variance of each mass bin's share of the signal
    """
    m = both.size // 2
    n, eff = math.exp(theta[LN_N]), theta[EFF]
    first, n_first = merged_deviance(both[:m], mu[:m], (n * eff) ** 2 * spread[0], 5.0)
    second, n_second = merged_deviance(both[m:], mu[m:], (n * (1.0 - eff)) ** 2 * spread[1], 5.0)
    return first + second, n_first + n_second


@njit(cache=True, nogil=True, error_model="numpy")
def fit_rows(
    counts: FloatArray,
    templates: FloatArray,
    spread: FloatArray,
    model: Model,
    starts: FloatArray,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    largest: FloatArray,
    tolerance: float,
    max_steps: int,
    intervals: bool,
    values: FloatArray,
    cov: FloatArray,
    bounds: FloatArray,
    fitted: FloatArray,
    deviance: FloatArray,
    ndf: FloatArray,
    edm: FloatArray,
    n_steps: IntArray,
    status: IntArray,
) -> None:
    """Fits of R pairs of spectra, written to the last nine arrays.

    counts    : (R, 2, M)      passing, failing
    templates : (R or 1, 2, G) signal before smearing
    spread    : (R or 1, 2, M) variance of each mass bin's share of the signal, for the goodness of fit alone
    starts    : (R, T, P)      T starts, tried until one converges
    low, high : (R, P)
    """
    n_rows, n_starts, p = starts.shape
    m = counts.shape[2]
    mu, dmu, information = np.empty(2 * m), np.empty((p, 2 * m)), np.zeros((p, p))
    spare_mu, spare_dmu = np.empty(2 * m), np.empty((p, 2 * m))
    spare_information, spare_active = np.zeros((p, p)), np.zeros(p, np.int64)
    active = np.zeros(p, np.int64)
    observed = np.zeros((p, p))
    for row in range(n_rows):
        both = counts[row].copy().reshape(-1)
        own = np.ascontiguousarray(templates[min(row, templates.shape[0] - 1)])
        cumulative = sums_of(own)
        theta = starts[row, 0].copy()
        n_steps[row] = 0
        for t in range(n_starts):
            theta[:] = starts[row, t]
            status[row], steps, edm[row] = minimise(
                both, theta, own, cumulative, model, free, mean, precision, low[row], high[row], largest, tolerance,
                max_steps, mu, dmu, active, information,
            )  # fmt: skip
            n_steps[row] += steps
            if status[row] == CONVERGED:
                break
        if status[row] != CONVERGED:
            continue
        observed_information(
            both, theta, own, cumulative, model, mean, precision, low[row], high[row], active, information, spare_mu,
            spare_dmu, observed,
        )  # fmt: skip
        if not cholesky(observed, SMALLEST_PIVOT):
            status[row] = HESSIAN_NOT_PD
            continue
        values[row] = theta
        fitted[row] = mu.reshape(2, m)
        n_used = covariance_of(observed, active, precision, cov[row])
        error = math.sqrt(max(cov[row, EFF, EFF], 0.0))
        if not active[EFF]:
            status[row] = AT_BOUNDARY
            cov[row, EFF, EFF] = np.nan
            error = 1.0 / math.exp(theta[LN_N])
        if intervals:
            for s in range(2):
                bounds[row, s] = crossing(
                    both, theta, error, 2.0 * s - 1.0, own, cumulative, model, free, mean, precision, low[row],
                    high[row], largest, tolerance, max_steps, mu, spare_dmu, spare_active, spare_information,
                )  # fmt: skip
        deviance[row], n_merged = deviance_of(both, mu, theta, spread[min(row, spread.shape[0] - 1)])
        ndf[row] = n_merged - n_used
