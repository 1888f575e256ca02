"""Preconditioned conjugate gradients for several right-hand sides at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mucal.arrays import BoolArray, FloatArray

Operator = Callable[[FloatArray], FloatArray]
"""(n, m) -> (n, m), linear, the same for every column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterated:
    """Solutions of A x = b.

    x          : (n, m)
    residual   : (m,)   |b - A x| over |b|, recomputed at the end; 0 where b is 0
    iterations :        products with A
    positive   :        no direction p was met with p^T A p <= 0
    """

    x: FloatArray
    residual: FloatArray
    iterations: int
    positive: bool


def conjugate_gradients(
    product: Operator, b: FloatArray, precondition: Operator, *, tolerance: float = 1e-10, most: int = 5000
) -> Iterated:
    """Solutions of A x = b for a symmetric positive definite A.

    product      : x -> A x
    b            : (n, m)
    precondition : r -> M r with M near A^-1, symmetric and positive definite
    tolerance    : on the error in the A-norm relative to that of the solution, as estimated from the next steps
    most         : iterations

    The squared A-norm of the error is the sum of alpha r.z over the steps to come (M. Hestenes and E. Stiefel, 1952).
    The latest steps stand for those to come, a tenth of all and at least `DELAY`: the iteration ends when they moved x
    by less than the tolerance.  The slower the convergence, the more steps are looked back on.
    """
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    p, rz = z.copy(), np.einsum("nm,nm->m", r, z)
    gained: list[FloatArray] = []
    total = np.zeros(b.shape[1])
    active = rz > 0
    iterations, positive = 0, True
    while active.any() and iterations < most:
        iterations += 1
        columns = slice(None) if active.all() else active
        ap = product(p[:, columns])
        curvature = np.einsum("nm,nm->m", p[:, columns], ap)
        if np.any(curvature <= 0):
            positive = False
            break
        alpha = rz[columns] / curvature
        x[:, columns] += alpha * p[:, columns]
        r[:, columns] -= alpha * ap
        z = precondition(r[:, columns])
        following = np.einsum("nm,nm->m", r[:, columns], z)
        p[:, columns] = z + (following / rz[columns]) * p[:, columns]
        step = np.zeros_like(total)
        step[columns] = alpha * rz[columns]
        rz[columns] = following
        total += step
        gained.append(step)
        active &= _unfinished(gained, total, tolerance) & (rz > 0)
    size = np.linalg.norm(b, axis=0)
    residual = np.linalg.norm(b - product(x), axis=0) / np.where(size > 0, size, 1.0)
    return Iterated(x=x, residual=residual, iterations=iterations, positive=positive)


DELAY = 10
"""Fewest steps whose gain stands for the squared error that was left before them."""


def _unfinished(gained: list[FloatArray], total: FloatArray, tolerance: float) -> BoolArray:
    if len(gained) < DELAY:
        return np.ones(total.size, dtype=bool)
    latest = gained[-max(DELAY, len(gained) // 10) :]
    unfinished: BoolArray = np.sum(latest, axis=0) > tolerance**2 * total
    return unfinished
