"""Exponentials of polynomials fitted to the pT spectrum of one region."""

from typing import Final

import numpy as np
from numpy.polynomial import chebyshev

from mucal.arrays import FloatArray

Fit = tuple[FloatArray, FloatArray, float, float]
"""Coefficients (K,), covariance (K, K), chi2, ndf."""

MAX_STEPS: Final = 100
TOLERANCE: Final = 1e-9


def basis(pt_edges: FloatArray, degree: int) -> FloatArray:
    """(T, K) Chebyshev polynomials at the middles of the bins, pT mapped to [-1, 1] over all bins."""
    middle = 0.5 * (pt_edges[1:] + pt_edges[:-1])
    x = 2.0 * (middle - pt_edges[0]) / (pt_edges[-1] - pt_edges[0]) - 1.0
    return np.asarray(chebyshev.chebvander(x, degree), dtype=np.float64)


def weighted_logarithms(n: FloatArray, variance: FloatArray, width: FloatArray, rows: FloatArray) -> Fit:
    """Least squares of ln(n / width) with weights n^2 / variance; bins that are not positive have none.

    Biased where counts are small: ln n is low by 1 / 2n on average, and weights follow the fluctuation.
    """
    good = n > 0
    weight = np.where(good, n**2 / np.maximum(variance, 1e-300), 0.0)
    value = np.where(good, np.log(np.where(good, n / width, 1.0)), 0.0)
    normal = (rows * weight[:, None]).T @ rows
    slope = np.linalg.solve(normal, rows.T @ (weight * value))
    cov = np.linalg.inv(normal)
    chi2 = float((weight * (value - rows @ slope) ** 2).sum())
    return slope, 0.5 * (cov + cov.T), chi2, float(good.sum() - rows.shape[1])


def quasi_likelihood(
    data: FloatArray, prompt: FloatArray, sumw2: FloatArray, width: FloatArray, rows: FloatArray, start: FloatArray
) -> Fit:
    """Solve sum_t d mu_t/dc (n_t - mu_t) / V_t = 0 with mu = prompt + width exp(rows c), V = mu + sumw2.

    That is the extremum of sum_t mu_t - (n_t + s_t) ln(mu_t + s_t), s_t being sumw2; with none it is the Poisson
    likelihood: no bin is left out, none is biased by its own fluctuation.
    Scoring with halved steps; NaN in the covariance if it does not converge.
    """
    c = start.copy()
    merit = np.inf
    step = np.zeros_like(c)
    for _ in range(MAX_STEPS):
        with np.errstate(over="ignore", invalid="ignore"):
            signal = width * np.exp(rows @ (c + step))
            mu = np.maximum(prompt, 0.0) + signal
            variance = mu + sumw2
            tried = float((mu - (data + sumw2) * np.log(variance)).sum())
        if not np.isfinite(tried) or (tried > merit + 1e-9 * abs(merit) and np.abs(step).max() > 1e-6):
            step = 0.5 * step
            continue
        c, merit = c + step, tried
        slope = signal[:, None] * rows
        normal = slope.T @ (slope / variance[:, None])
        try:
            step = np.asarray(np.linalg.solve(normal, slope.T @ ((data - mu) / variance)), dtype=np.float64)
        except np.linalg.LinAlgError:
            break
        if float(step @ normal @ step) < TOLERANCE:
            cov = np.linalg.inv(normal)
            return c + step, 0.5 * (cov + cov.T), _chi2(data, mu, variance), float(data.size - rows.shape[1])
    return c, np.full((c.size, c.size), np.nan), np.nan, 0.0


def _chi2(data: FloatArray, mu: FloatArray, variance: FloatArray) -> float:
    return float(((data - mu) ** 2 / variance).sum())
