"""A calibration applied to many muons in one pass; each loop has a numpy twin in `application` or `response`.

Bins are found from the place that equal bins would give, by steps from there: one or none for the usual tables.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from mucal.arrays import FloatArray

Numbers = npt.NDArray[np.number]
Tensor = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy")
def bin_of(edges: FloatArray, per_width: float, value: float) -> int:
    """The bin [low, high) of a value that lies inside the edges.  per_width: number of bins over the whole width."""
    j = min(max(int((value - edges[0]) * per_width), 0), edges.size - 2)
    while value < edges[j]:
        j -= 1
    while value >= edges[j + 1]:
        j += 1
    return j


@njit(cache=True, nogil=True, error_model="numpy")
def scaled(
    pt: Numbers, eta: Numbers, phi: Numbers, charge: Numbers, edges: FloatArray, parameters: FloatArray,
    limits: FloatArray, out: FloatArray,
) -> int:  # fmt: skip
    """Corrected momenta of muons inside the limits, NaN for others; returns the number of those others.

    pt, eta, phi, charge : (N,) GeV, -, rad, e
    edges                : (B+1,)
    parameters           : (3, B)  A, e, M
    limits               : lowest and highest pT (GeV), lowest and highest eta, the last and the second outside
    out                  : (N,)    written
    """
    per_width = (edges.size - 1) / (edges[-1] - edges[0])
    low, high, first, last = limits
    outside = 0
    for i in range(pt.size):
        p, h, q = np.float64(pt[i]), np.float64(eta[i]), np.float64(charge[i])
        good = p >= low and p < high and p > 0.0 and h >= first and h < last
        good = good and (q == 1.0 or q == -1.0) and math.isfinite(np.float64(phi[i]))
        if good:
            j = bin_of(edges, per_width, h)
            curvature = 1.0 + parameters[0, j] - parameters[1, j] / p + q * parameters[2, j] * p
            good = curvature > 0.0
            out[i] = p * (1.0 / curvature)
        if not good:
            out[i] = math.nan
            outside += 1
    return outside


@njit(cache=True, nogil=True, error_model="numpy")
def varied(
    pt: FloatArray, charge: FloatArray, index: npt.NDArray[np.int64], nominal: FloatArray, shifts: FloatArray,
    out: FloatArray,
) -> None:  # fmt: skip
    """Momenta with every scale nuisance up and down.

    pt, charge, index : (N,)       GeV, +1 or -1, bin
    nominal           : (3, B)     A, e, M
    shifts            : (B, S, 3)
    out               : (N, S, 2)  written: up, down
    """
    for i in range(pt.size):
        p, q, j = pt[i], charge[i], index[i]
        centre = 1.0 + nominal[0, j] - nominal[1, j] / p + q * nominal[2, j] * p
        per_e, per_m = -1.0 / p, q * p
        for s in range(shifts.shape[1]):
            step = shifts[j, s, 0] + shifts[j, s, 1] * per_e + shifts[j, s, 2] * per_m
            out[i, s, 0] = p / (centre + step)
            out[i, s, 1] = p / (centre - step)


@njit(cache=True, nogil=True, error_model="numpy")
def weighted(
    basis: FloatArray, index: npt.NDArray[np.int64], shifts: FloatArray, limit: float, out: Tensor, first: int
) -> None:
    """Weights 1 + t and 1 - t of nuisances that are linear in three moments of the response, within +-limit.

    basis  : (N, 3)
    index  : (N,)       bin
    shifts : (B, S, 3)
    out    : (N, T, 2)  columns first ... first + S - 1 are written: up, down
    """
    for i in range(index.size):
        j, a, b, c = index[i], basis[i, 0], basis[i, 1], basis[i, 2]
        for s in range(shifts.shape[1]):
            t = shifts[j, s, 0] * a + shifts[j, s, 1] * b + shifts[j, s, 2] * c
            out[i, first + s, 0] = min(max(1.0 + t, -limit), limit)
            out[i, first + s, 1] = min(max(1.0 - t, -limit), limit)
