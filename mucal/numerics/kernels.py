"""Cholesky factors of small matrices, normal and Poisson terms, Gauss quadrature: for use inside kernels."""

import math
from typing import Final

import numpy as np
from numba import njit
from scipy.special import ndtr

from mucal.arrays import FloatArray

NORMAL_RANGE: Final = 6.5
"""Beyond this many standard deviations the normal integral is taken as 0 or 1 (4e-11)."""

NORMAL_PER_UNIT: Final = 64.0
SPACING: Final = 1.0 / 64.0
SIXTH: Final = 1.0 / 6.0

EXPONENTIAL_RANGE: Final = 60.0
EXPONENTIAL: Final = np.exp(np.arange(-480, 481) / 8.0)

_KNOTS = np.arange(int(2 * NORMAL_RANGE * NORMAL_PER_UNIT) + 1) / NORMAL_PER_UNIT - NORMAL_RANGE
NORMAL_CDF: Final = ndtr(_KNOTS)
NORMAL_PDF: Final = np.exp(-0.5 * _KNOTS**2) / math.sqrt(2 * math.pi)


@njit(cache=True, nogil=True, error_model="numpy")
def normal_terms(z: float) -> tuple[float, float]:
    """Normal integral and density at |z| < NORMAL_RANGE: Taylor series about the nearest table knot.

    The series of the integral is cut after the fourth power of the distance (at most 1/128), which leaves 3e-12; the
    density returned is its exact derivative (relative 2e-8 or better), so that gradients belong to the function.
    """
    knot = int((z + NORMAL_RANGE) * NORMAL_PER_UNIT + 0.5)
    x = knot * SPACING - NORMAL_RANGE
    d = z - x
    pdf = NORMAL_PDF[knot]
    third = x * x - 1.0
    fourth = x * (3.0 - x * x)
    cdf = NORMAL_CDF[knot] + pdf * d * (1.0 + d * (-0.5 * x + d * (SIXTH * third + d * (0.25 * SIXTH * fourth))))
    return cdf, pdf * (1.0 + d * (-x + d * (0.5 * third + d * (SIXTH * fourth))))


@njit(cache=True, nogil=True, error_model="numpy")
def exponential(x: float) -> float:
    """exp(x) at |x| < EXPONENTIAL_RANGE, in a form that loops can vectorise: Taylor series about the nearest knot.

    The distance is at most 1/16 and the series is cut after its eighth power, which leaves less than rounding.
    """
    knot = int((x + EXPONENTIAL_RANGE) * 8.0 + 0.5)
    d = x - (knot * 0.125 - EXPONENTIAL_RANGE)
    tail = SIXTH + d * (1.0 / 24.0 + d * (1.0 / 120.0 + d * (1.0 / 720.0 + d * (1.0 / 5040.0 + d * (1.0 / 40320.0)))))
    result: float = EXPONENTIAL[knot] * (1.0 + d * (1.0 + d * (0.5 + d * tail)))
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky(a: FloatArray, tolerance: float) -> bool:
    """Overwrite the lower triangle of a (P, P) by its Cholesky factor; the upper triangle is neither read nor written.

    tolerance : smallest accepted ratio of a pivot to its diagonal element, 1 - R^2 of that variable on those before it

    Returns False, with a left half done, if a pivot fails; NaN fails.
    """
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total / a[j, j]
        pivot = a[i, i]
        for k in range(i):
            pivot -= a[i, k] * a[i, k]
        if not pivot > tolerance * a[i, i]:
            return False
        a[i, i] = math.sqrt(pivot)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky_solve(factor: FloatArray, b: FloatArray) -> None:
    """Overwrite b (P,) by the solution of L L^T x = b."""
    n = b.size
    for i in range(n):
        total = b[i]
        for k in range(i):
            total -= factor[i, k] * b[k]
        b[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * b[k]
        b[i] = total / factor[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky_inverse(factor: FloatArray) -> FloatArray:
    """(P, P) inverse of L L^T, exactly symmetric."""
    n = factor.shape[0]
    root = np.zeros((n, n))  # of the inverse: L^-1, lower triangle
    for j in range(n):
        root[j, j] = 1.0 / factor[j, j]
        for i in range(j + 1, n):
            total = 0.0
            for k in range(j, i):
                total -= factor[i, k] * root[k, j]
            root[i, j] = total / factor[i, i]
    inverse = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, n):
                total += root[k, i] * root[k, j]
            inverse[i, j] = total
            inverse[j, i] = total
    return inverse


@njit(cache=True, nogil=True, error_model="numpy")
def likelihood_change(counts: FloatArray, before: FloatArray, after: FloatArray) -> float:
    """Change of -ln L of Poisson counts between two predictions, bin by bin so that nothing large cancels."""
    total = 0.0
    for j in range(counts.size):
        total += after[j] - before[j]
        if counts[j] > 0.0:
            total -= counts[j] * math.log(after[j] / before[j])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def gauss_rule(x: FloatArray, weight: FloatArray, nodes: FloatArray, weights: FloatArray) -> int:
    """Gauss quadrature of a discrete measure: up to three nodes that integrate polynomials of degree five exactly.

    x, weight      : (G,) points of the measure and their weights, not negative
    nodes, weights : (3,) filled, nodes increasing

    Returns how many nodes are needed: fewer than three if the points are fewer.  The recurrence of the orthogonal
    polynomials by Stieltjes' procedure; their Jacobi matrix solved in closed form.
    """
    total = weight.sum()
    if not total > 0.0:
        return 0
    scale = max(np.max(x) - np.min(x), 1e-300)
    a0 = (weight * x).sum() / total
    p1 = (x - a0) / scale
    norm1 = (weight * p1 * p1).sum() / total
    if norm1 < 1e-20:
        nodes[0] = a0
        weights[0] = total
        return 1
    a1 = (weight * p1 * p1 * p1).sum() / total / norm1
    p2 = (p1 - a1) * p1 - norm1
    norm2 = (weight * p2 * p2).sum() / total
    if norm2 < 1e-14 * norm1:
        root = math.sqrt(0.25 * a1 * a1 + norm1)
        for k, y in enumerate((0.5 * a1 - root, 0.5 * a1 + root)):
            nodes[k] = a0 + scale * y
            weights[k] = total / (1.0 + y * y / norm1)
        return 2
    b2 = norm2 / norm1
    a2 = (weight * p1 * p2 * p2).sum() / total / norm2
    # det(y - J) = y^3 + c2 y^2 + c1 y + c0 with J tridiagonal (0, a1, a2; norm1, b2)
    c2 = -(a1 + a2)
    c1 = a1 * a2 - norm1 - b2
    c0 = norm1 * a2
    middle = -c2 / 3.0
    radius = math.sqrt(max(c2 * c2 / 9.0 - c1 / 3.0, 0.0))
    at_middle = ((middle + c2) * middle + c1) * middle + c0
    angle = math.acos(min(max(-at_middle / (2.0 * radius**3), -1.0), 1.0)) / 3.0
    third = 2.0 * math.pi / 3.0
    for k, turned in enumerate((angle + third, angle - third, angle)):
        y = middle + 2.0 * radius * math.cos(turned)
        q2 = (y - a1) * y - norm1
        nodes[k] = a0 + scale * y
        weights[k] = total / (1.0 + y * y / norm1 + q2 * q2 / norm2)
    return 3


@njit(cache=True, nogil=True, error_model="numpy")
def add_compensated(total: FloatArray, lost: FloatArray, at: int, value: float) -> None:
    """Add to total[at] and keep in lost[at] what rounding took away; the sum is total + lost (A. Neumaier, 1974)."""
    before = total[at]
    after = before + value
    lost[at] += (before - after) + value if abs(before) >= abs(value) else (value - after) + before
    total[at] = after
