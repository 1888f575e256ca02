"""The information of a fitted track on the variances of its sources of noise.

A parameter v scales Sigma_v, the sum of s_c s_c^T over its sources.  Whitened and reflected: S_v = sum m_c m_c^T,
of ndof rows, and
    g_v = Tr S_v - r2^T S_v r2,   H_vv' = Tr(S_v S_v') = B_v . B_v'
with B_v the triangle of S_v, its off-diagonal elements times sqrt(2).
"""

from math import sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.rows import find, measurement_rows, sorted_unique
from mucal.refit.kernels.sources import PER_LEG, noise_columns, reflected


@borrowing
def _source_label(
    c: int, n: int, surface_of: IntArray, route: IntArray, hit_variance: IntArray, scattered: IntArray,
    straggled: IntArray,
) -> int:  # fmt: skip
    """The parameter of source c, -1 for none; sources 0 .. n-1 are the measurements."""
    found = -1
    if c < n:
        leg = surface_of[c]
        found = hit_variance[route[leg], 1 if c > 0 and surface_of[c - 1] == leg else 0]
    else:
        leg, s = (c - n) // PER_LEG, (c - n) % PER_LEG
        if leg > 0:
            found = straggled[route[leg - 1]] if s == 2 else scattered[route[leg - 1]]
    return found


@borrowing
def _add_source(
    column: FloatArray, c: int, n: int, residual: FloatArray, place: int, gradient: FloatArray, factor: FloatArray
) -> None:
    """Source c of the columns added to its parameter's gradient and column of the factor: the triangle of m m^T."""
    along, square, row = 0.0, 0.0, 0
    for a in range(5, n):
        along += column[a, c] * residual[a]
        square += column[a, c] * column[a, c]
        factor[row, place] += column[a, c] * column[a, c]
        row += 1
        off = sqrt(2.0) * column[a, c]
        for b in range(5, a):
            factor[row, place] += off * column[b, c]
            row += 1
    gradient[place] += square - along * along


@borrowing
def compress(factor: FloatArray, n_rows: int, width: int) -> int:
    """B (n_rows, width) <- an upper triangle R with R^T R = B^T B, if it has fewer rows; returns their number."""
    if n_rows <= width:
        return n_rows
    for j in range(width):
        norm2 = 0.0
        for i in range(j, n_rows):
            norm2 += factor[i, j] * factor[i, j]
        if norm2 == 0.0:
            continue
        alpha = -sqrt(norm2) if factor[j, j] > 0.0 else sqrt(norm2)
        beta = 1.0 / (norm2 - alpha * factor[j, j])
        head = factor[j, j] - alpha
        factor[j, j] = head
        for c in range(j + 1, width):
            dot = 0.0
            for i in range(j, n_rows):
                dot += factor[i, j] * factor[i, c]
            dot *= beta
            for i in range(j, n_rows):
                factor[i, c] -= dot * factor[i, j]
        factor[j, j] = alpha
        for i in range(j + 1, n_rows):
            factor[i, j] = 0.0
    return width


@borrowing
def _inform(
    n: int, width: int, surface_of: IntArray, route: IntArray, residual: FloatArray, columns: FloatArray,
    hit_variance: IntArray, scattered: IntArray, straggled: IntArray, label: IntArray, gradient: FloatArray,
    factor: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """label, gradient and factor of a reflected track; returns rows of the factor and number of labels."""
    found = 0
    for c in range(width):
        value = _source_label(c, n, surface_of, route, hit_variance, scattered, straggled)
        if value >= 0:
            label[found] = value
            found += 1
    k = sorted_unique(label, found)
    rows = (n - 5) * (n - 4) // 2
    for r in range(rows):
        for j in range(k):
            factor[r, j] = 0.0
    for j in range(k):
        gradient[j] = 0.0
    for c in range(width):
        value = _source_label(c, n, surface_of, route, hit_variance, scattered, straggled)
        if value >= 0:
            _add_source(columns, c, n, residual, find(label, k, value), gradient, factor)
    return compress(factor, rows, k), k


@njit(cache=True, nogil=True)
def float_variances(
    surfaces: FloatArray, media: FloatArray, alpha: float, modules: FloatArray, routes: IntArray, hit_of: IntArray,
    hits: FloatArray, ln_loss: FloatArray, thickness: FloatArray, local: FloatArray, transport: FloatArray,
    noise: FloatArray, reached: IntArray, most_rows: int, maps: tuple[IntArray, IntArray, IntArray],
    capacity: IntArray, factor_capacity: IntArray, n_rows: IntArray, n_labels: IntArray, labels: IntArray,
    gradients: FloatArray, factors: FloatArray,
) -> None:  # fmt: skip
    """Gradient and factor of the information on the variances, for N tracks; arguments as in `judge_hits`.

    ln_loss   : (N, L, 2) or (0, 0, 2)
    thickness : (N,)  radiation lengths of the route
    maps      :       hit_variance, scattering, straggling of the `ParameterMap`
    """
    n_tracks, n_legs = routes.shape
    most_sources = most_rows + PER_LEG * n_legs
    surface_of, label = np.empty(most_rows, dtype=np.int64), np.empty(most_sources, dtype=np.int64)
    row_h, carried, by_start = np.empty((most_rows, 2)), np.empty((most_rows, 5)), np.empty((most_rows + 1, 5))
    residual, sigma, covariance = np.empty(most_rows), np.empty(most_rows), np.empty((most_rows, most_rows))
    columns, sources = np.zeros((most_rows + 1, most_sources)), np.empty((PER_LEG, 5))
    total, small, gradient = np.empty((n_legs, 5, 5)), np.empty((5, 5)), np.empty(most_sources)
    factor = np.empty((most_rows * (most_rows + 1) // 2, most_sources))
    no_loss = np.zeros((0, 2))
    for i in range(n_tracks):
        n_rows[i], n_labels[i] = 0, 0
        if reached[i] == 0:
            continue
        n = measurement_rows(
            modules, routes[i], hit_of[i], hits, local[i], reached[i], surface_of, row_h, residual, sigma
        )
        width = n + PER_LEG * reached[i]
        if n < 6:
            continue
        columns[:] = 0.0
        for a in range(n):
            columns[a, a] = sigma[a]
        noise_columns(
            surfaces, media, alpha, routes[i], ln_loss[i] if ln_loss.shape[0] > 0 else no_loss, thickness[i], local[i],
            transport[i], reached[i], n, surface_of, row_h, carried, sources, columns, n,
        )  # fmt: skip
        if not reflected(
            transport[i], noise[i], reached[i], n, surface_of, row_h, sigma, residual, columns, width, total, small,
            carried, covariance, by_start,
        ):  # fmt: skip
            continue
        rows, k = _inform(
            n, width, surface_of, routes[i], residual, columns, maps[0], maps[1], maps[2], label, gradient, factor
        )
        n_rows[i], n_labels[i] = rows, k
        at = factor_capacity[i]
        for j in range(k):
            labels[capacity[i] + j], gradients[capacity[i] + j] = label[j], gradient[j]
        for r in range(rows):
            for j in range(k):
                factors[at] = factor[r, j]
                at += 1
