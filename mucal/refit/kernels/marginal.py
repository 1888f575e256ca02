"""The marginal form: scattering and straggling integrated out, one dense system a track.

With Sigma = L L^T the rows L^-1 (r - A dx - J dtheta) are independent, of unit variance.  Householder reflections Q
bring L^-1 A to the triangle R: the first rows then give dx = R^-1 (..), the rest what is left, so that chi2 is a sum of
squares and the factor B of the profiled Hessian has exactly ndof rows.
"""

from math import sqrt

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing


@borrowing
def factorise(covariance: FloatArray, n: int) -> bool:
    """Cholesky factor of the lower triangle (n, n) in place, its diagonal inverted; False if not positive definite."""
    for i in range(n):
        for j in range(i):
            total = covariance[i, j]
            for k in range(j):
                total -= covariance[i, k] * covariance[j, k]
            covariance[i, j] = total * covariance[j, j]
        pivot = covariance[i, i]
        for k in range(i):
            pivot -= covariance[i, k] * covariance[i, k]
        if not pivot > 1e-13 * covariance[i, i]:
            return False
        covariance[i, i] = 1.0 / sqrt(pivot)
    return True


@borrowing
def whiten_vector(factor: FloatArray, n: int, x: FloatArray) -> None:
    """x[:n] <- L^-1 x, in place."""
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total * factor[i, i]


@borrowing
def whiten_columns(factor: FloatArray, n: int, x: FloatArray, width: int) -> None:
    """x[:n, :width] <- L^-1 x, row by row so that the compiler vectorises over columns."""
    for i in range(n):
        for k in range(i):
            f = factor[i, k]
            for j in range(width):
                x[i, j] -= f * x[k, j]
        f = factor[i, i]
        for j in range(width):
            x[i, j] *= f


@borrowing
def triangularise(a: FloatArray, n: int, p: int, residual: FloatArray, columns: FloatArray, width: int) -> bool:
    """Householder reflections that bring a (n, p) to its triangle R, applied to residual (n,) and columns (n, width).

    The reflections stay in a, below its diagonal and in its row n, where `reflect` finds them.  Returns False if a
    column depends on those before it.
    """
    for j in range(p):
        norm2 = 0.0
        for i in range(j, n):
            norm2 += a[i, j] * a[i, j]
        if not norm2 > 0.0:
            return False
        alpha = -sqrt(norm2) if a[j, j] > 0.0 else sqrt(norm2)
        head = a[j, j] - alpha
        beta = 1.0 / (norm2 - alpha * a[j, j])
        a[j, j] = head
        for c in range(j + 1, p):
            dot = 0.0
            for i in range(j, n):
                dot += a[i, j] * a[i, c]
            dot *= beta
            for i in range(j, n):
                a[i, c] -= dot * a[i, j]
        dot = 0.0
        for i in range(j, n):
            dot += a[i, j] * residual[i]
        dot *= beta
        for i in range(j, n):
            residual[i] -= dot * a[i, j]
        if width > 0:
            _reflect(a, j, n, beta, columns, width)
        a[j, j], a[n, j] = alpha, head
    return True


@borrowing
def reflect(a: FloatArray, n: int, p: int, columns: FloatArray, width: int) -> None:
    """Reflections that `triangularise` left in a (n + 1, p), applied to columns (n, width); their row n is scratch."""
    for j in range(p):
        alpha, head = a[j, j], a[n, j]
        a[j, j] = head
        _reflect(a, j, n, -1.0 / (alpha * head), columns, width)
        a[j, j] = alpha


@borrowing
def _reflect(a: FloatArray, j: int, n: int, beta: float, columns: FloatArray, width: int) -> None:
    """One reflection of columns (n, width); row n of it holds the products meanwhile."""
    for c in range(width):
        columns[n, c] = 0.0
    for i in range(j, n):
        f = a[i, j] * beta
        for c in range(width):
            columns[n, c] += f * columns[i, c]
    for i in range(j, n):
        f = a[i, j]
        for c in range(width):
            columns[i, c] -= f * columns[n, c]


@borrowing
def back_substitute(r: FloatArray, p: int, x: FloatArray) -> None:
    """x[:p] <- R^-1 x, in place; R is the upper triangle of r."""
    for i in range(p - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, p):
            total -= r[i, k] * x[k]
        x[i] = total / r[i, i]


@borrowing
def covariance_of(r: FloatArray, p: int, inverse: FloatArray, cov: FloatArray) -> None:
    """cov (p, p) = R^-1 R^-T; inverse (p, p) is scratch."""
    for j in range(p):
        for i in range(p):
            inverse[i, j] = 0.0
        inverse[j, j] = 1.0 / r[j, j]
        for i in range(j - 1, -1, -1):
            total = 0.0
            for k in range(i + 1, j + 1):
                total -= r[i, k] * inverse[k, j]
            inverse[i, j] = total / r[i, i]
    for i in range(p):
        for j in range(p):
            total = 0.0
            for k in range(max(i, j), p):
                total += inverse[i, k] * inverse[j, k]
            cov[i, j] = total
