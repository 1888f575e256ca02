"""Tracks from a known start: their residuals as equations for the global parameters alone."""

from math import sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.refit.kernels.marginal import factorise, whiten_columns, whiten_vector
from mucal.refit.kernels.rows import (
    accumulate_noise,
    collect_labels,
    global_columns,
    linearise,
    measurement_rows,
    sorted_unique,
)

FILLED, NO_ROWS, SINGULAR = range(3)


@njit(cache=True, nogil=True)
def freeze(
    modules: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, local: FloatArray,
    transport: FloatArray, theta: FloatArray, noise: FloatArray, reached: IntArray, most_rows: int, most_labels: int,
    maps: tuple[IntArray, ...], capacity: IntArray, factor_capacity: IntArray, status: IntArray, chi2: FloatArray,
    n_rows: IntArray, n_labels: IntArray, labels: IntArray, gradients: FloatArray, factors: FloatArray,
) -> None:  # fmt: skip
    """g = -2 J^T Sigma^-1 r and B = sqrt(2) L^-1 J, Sigma = L L^T, for N tracks; nothing of the start is profiled.

    theta                     : (N, L, 5, 5+M)  derivatives of every leg by its parameters
    maps                      :                 alignment, bfield, eloss, modes of the `ParameterMap`
    capacity, factor_capacity : (N+1,)          where each track may write
    status                    : (N,)            FILLED, NO_ROWS or SINGULAR, filled
    """
    n_tracks, n_legs = routes.shape
    surface_of, label = np.empty(most_rows, dtype=np.int64), np.empty(most_labels + 1, dtype=np.int64)
    row_h, carried, by_start = np.empty((most_rows, 2)), np.empty((most_rows, 5)), np.empty((most_rows, 5))
    residual, sigma, covariance = np.empty(most_rows), np.empty(most_rows), np.empty((most_rows, most_rows))
    total, small, aligned = np.empty((n_legs, 5, 5)), np.empty((5, 5)), np.empty(6)
    for i in range(n_tracks):
        n_rows[i], n_labels[i], status[i] = 0, 0, NO_ROWS
        if reached[i] == 0:
            continue
        found = collect_labels(routes[i], hit_of[i], reached[i], maps[0], maps[1], maps[2], maps[3], label)
        k = sorted_unique(label, found)
        n = measurement_rows(
            modules, routes[i], hit_of[i], hits, local[i], reached[i], surface_of, row_h, residual, sigma
        )
        if n == 0:
            continue
        columns = np.zeros((n, max(1, k)))
        accumulate_noise(transport[i], noise[i], reached[i], total, small)
        linearise(transport[i], total, reached[i], n, surface_of, row_h, sigma, carried, covariance, by_start)
        global_columns(
            routes[i], local[i], transport[i], theta[i], reached[i], n, surface_of, row_h, maps[0], maps[1], maps[2],
            maps[3], label, k, carried, aligned, columns,
        )  # fmt: skip
        if not factorise(covariance, n):
            status[i] = SINGULAR
            continue
        whiten_vector(covariance, n, residual)
        whiten_columns(covariance, n, columns, k)
        status[i], n_rows[i], n_labels[i] = FILLED, n, k
        chi2[i] = 0.0
        for r in range(n):
            chi2[i] += residual[r] * residual[r]
        for j in range(k):
            labels[capacity[i] + j] = label[j]
            slope = 0.0
            for r in range(n):
                slope -= 2.0 * columns[r, j] * residual[r]
                factors[factor_capacity[i] + r * k + j] = sqrt(2.0) * columns[r, j]
            gradients[capacity[i] + j] = slope
