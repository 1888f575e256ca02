"""The sources of a fitted track's covariance, one column each: every hit, two kinks and the straggling of every layer.

With Sigma = sum_c s_c s_c^T over the columns s_c, whitened and reflected as in `marginal`, what is left of the
residuals is r2 and of the columns are M = (m_c), both of ndof rows: P = M_I^T M_I for unit columns, P r = M_I^T r2.
"""

from math import log, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.crossings import MEDIUM, X_OVER_X0, XI
from mucal.propagation.kernels.losses import scattering, thin_loss
from mucal.refit.kernels.marginal import factorise, triangularise, whiten_columns, whiten_vector
from mucal.refit.kernels.rows import (
    U_LOCAL,
    U_SLOPE,
    V_LOCAL,
    V_SLOPE,
    accumulate_noise,
    carry,
    linearise,
    measurement_rows,
)

PER_LEG = 3
"""Two kinks and the straggling of the layer that a leg leaves."""

LEAST_FREEDOM = 1e-9
"""P_ii times the hit's variance, below which all of a hit goes into the fit and nothing is left to judge it by."""


@borrowing
def leg_sources(
    surfaces: FloatArray, media: FloatArray, left: int, before: FloatArray, transport: FloatArray, alpha: float,
    loss_scale: float, highland: float, sources: FloatArray,
) -> None:  # fmt: skip
    """sources (3, 5): one standard deviation of each kink, and of q/p, in the layer left, at the end of its leg.

    before    : (5,)    local state on the surface left, before its material
    transport : (5, 5)  of the leg
    highland  :         Highland's factor of the whole route
    """
    us, vs = before[U_SLOPE], before[V_SLOPE]
    slant2 = 1.0 + us * us + vs * vs
    by_q, by_xi, variance = 1.0, 0.0, 0.0
    if surfaces[left, XI] > 0.0:
        _, by_q, by_xi, _, variance = thin_loss(
            before[0], surfaces[left, XI] * sqrt(slant2), loss_scale, alpha, media[int(surfaces[left, MEDIUM])]
        )
    thickness, theta = surfaces[left, X_OVER_X0] * sqrt(slant2), 0.0
    if thickness > 0.0:
        theta = sqrt(highland * scattering(before[0], thickness))
    # Cholesky factor of the covariance of (u', v') from a unit kink
    c_11, c_21, c_22 = (1.0 + us * us) * slant2, us * vs * slant2, (1.0 + vs * vs) * slant2
    l_11 = sqrt(c_11)
    l_21 = c_21 / l_11
    l_22 = sqrt(c_22 - l_21 * l_21)
    for r in range(5):
        after_q = transport[r, 0] / by_q
        after_u = transport[r, 1] - after_q * by_xi * us / slant2
        after_v = transport[r, 2] - after_q * by_xi * vs / slant2
        sources[0, r] = theta * (l_11 * after_u + l_21 * after_v)
        sources[1, r] = theta * l_22 * after_v
        sources[2, r] = sqrt(variance) * after_q


@borrowing
def noise_columns(
    surfaces: FloatArray, media: FloatArray, alpha: float, route: IntArray, ln_loss: FloatArray, thickness: float,
    local: FloatArray, transport: FloatArray, reached: int, n: int, surface_of: IntArray, row_h: FloatArray,
    carried: FloatArray, sources: FloatArray, columns: FloatArray, start: int,
) -> None:  # fmt: skip
    """columns[:n, start + 3 leg + s]: one standard deviation of source s of each leg, in every measurement."""
    highland = (1.0 + 0.038 * log(thickness)) ** 2 if thickness > 0.0 else 1.0
    first = n
    for leg in range(reached - 1, 0, -1):
        while first > 0 and surface_of[first - 1] == leg:
            first -= 1
            for j in range(5):
                carried[first, j] = 0.0
            carried[first, U_LOCAL], carried[first, V_LOCAL] = row_h[first, 0], row_h[first, 1]
        scale = np.exp(ln_loss[leg, 0]) if ln_loss.shape[0] > 0 else 1.0
        leg_sources(surfaces, media, route[leg - 1], local[leg - 1], transport[leg], alpha, scale, highland, sources)
        for k in range(first, n):
            for s in range(PER_LEG):
                total = 0.0
                for j in range(5):
                    total += carried[k, j] * sources[s, j]
                columns[k, start + PER_LEG * leg + s] = total
            carry(carried, k, transport, leg)


@borrowing
def reflected(
    transport: FloatArray, noise: FloatArray, reached: int, n: int, surface_of: IntArray, row_h: FloatArray,
    sigma: FloatArray, residual: FloatArray, columns: FloatArray, width: int, total: FloatArray, small: FloatArray,
    carried: FloatArray, covariance: FloatArray, by_start: FloatArray,
) -> bool:  # fmt: skip
    """Rows 5 .. n-1 of residual and columns become r2 and M.  False if the covariance or the start is singular."""
    accumulate_noise(transport, noise, reached, total, small)
    linearise(transport, total, reached, n, surface_of, row_h, sigma, carried, covariance, by_start)
    if not factorise(covariance, n):
        return False
    whiten_vector(covariance, n, residual)
    whiten_columns(covariance, n, by_start, 5)
    whiten_columns(covariance, n, columns, width)
    return triangularise(by_start, n, 5, residual, columns, width)


@njit(cache=True, nogil=True)
def judge_hits(
    modules: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, local: FloatArray,
    transport: FloatArray, noise: FloatArray, reached: IntArray, most_rows: int, pr: FloatArray, p: FloatArray,
    slopes: FloatArray,
) -> None:  # fmt: skip
    """P r and the diagonal of P of every measurement, and the slopes of the track, for N tracks.

    local, transport, noise : (N, L, ...)  of fitted tracks, see `propagation.Legs`
    reached                 : (N,)         0 leaves a track out
    pr, p                   : (K, 2)       by hit and coordinate, filled where a track has them
    slopes                  : (K, 2)       u', v' at each hit, filled
    """
    n_tracks, n_legs = routes.shape
    surface_of, row_h, carried = np.empty(most_rows, dtype=np.int64), np.empty((most_rows, 2)), np.empty((most_rows, 5))
    residual, sigma, by_start = np.empty(most_rows), np.empty(most_rows), np.empty((most_rows + 1, 5))
    covariance, columns = np.empty((most_rows, most_rows)), np.empty((most_rows + 1, most_rows))
    total, small = np.empty((n_legs, 5, 5)), np.empty((5, 5))
    for i in range(n_tracks):
        if reached[i] == 0:
            continue
        n = measurement_rows(
            modules, routes[i], hit_of[i], hits, local[i], reached[i], surface_of, row_h, residual, sigma
        )
        for a in range(n):
            for b in range(n):
                columns[a, b] = 1.0 if a == b else 0.0
        if n < 6 or not reflected(
            transport[i], noise[i], reached[i], n, surface_of, row_h, sigma, residual, columns, n, total, small,
            carried, covariance, by_start,
        ):  # fmt: skip
            continue
        for a in range(n):
            leg = surface_of[a]
            k, part = hit_of[i, leg], 1 if a > 0 and surface_of[a - 1] == leg else 0
            along, square = 0.0, 0.0
            for r in range(5, n):
                along += columns[r, a] * residual[r]
                square += columns[r, a] * columns[r, a]
            slopes[k, 0], slopes[k, 1] = local[i, leg, U_SLOPE], local[i, leg, V_SLOPE]
            if square * sigma[a] * sigma[a] > LEAST_FREEDOM:
                pr[k, part], p[k, part] = along, square
