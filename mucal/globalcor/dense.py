"""The system solved with a dense Cholesky factor: up to some 10^4 parameters, with the whole covariance."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import lapack, solve_triangular

from mucal.arrays import FloatArray
from mucal.errors import NotCertified
from mucal.globalcor.system import System

CHUNK: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseFactor:
    """L with L L^T = P A P + kappa Q Q^T: Q spans the constraints, P projects on what they leave.

    lower : (F, F)  L; what stands above the diagonal means nothing
    kappa :         0 without constraints
    """

    system: System
    lower: FloatArray
    kappa: float

    def solve(self, right: FloatArray) -> FloatArray:
        """Inside the constraints: (F,) or (F, m)."""
        # LAPACK reads columns first: our lower triangle is its upper one
        x, _ = lapack.dpotrs(self.lower.T, np.asfortranarray(right), lower=0)
        result: FloatArray = self.system.inside.project(x)
        return result

    def covariance(self) -> FloatArray:
        """2 A^-1 inside the constraints: (F, F)."""
        inverse, _ = lapack.dpotri(self.lower.T.copy(order="F"), lower=0, overwrite_c=1)
        inverse = _symmetric(inverse.T)
        q = self.system.inside.normal
        if q.shape[1]:
            inverse -= (q @ q.T) / self.kappa
        inverse *= 2.0
        return inverse

    def draw(self, normal: FloatArray) -> FloatArray:
        """Deviates with covariance 2 A^-1 from standard normal ones: (F, m) -> (F, m)."""
        x = solve_triangular(self.lower, np.sqrt(2.0) * normal, lower=True, trans=1, check_finite=False)
        result: FloatArray = self.system.inside.project(x)
        return result


def dense_factor(system: System) -> DenseFactor:
    """The factor of a system.

    Raises NotCertified, naming the parameters of the worst direction, if it is not positive definite.
    """
    a, kappa = dense_matrix(system)
    diagonal = np.diag(a).copy()
    lower_t, info = lapack.dpotrf(a.T, lower=0, overwrite_a=1, clean=0)
    # after a failure LAPACK leaves the rows from there on undone
    done = info - 1 if info else system.n
    small = np.flatnonzero(np.diag(lower_t)[:done] ** 2 < PIVOT * diagonal[:done])
    if info or small.size:
        raise _free_direction(system, int(small[0]) if small.size else done)
    return DenseFactor(system=system, lower=lower_t.T, kappa=kappa)


def dense_matrix(system: System) -> tuple[FloatArray, float]:
    """The lower triangle of P A P + kappa Q Q^T (F, F), and kappa."""
    kept = np.zeros(system.matrix.n, dtype=bool)
    kept[system.slot] = True
    a = system.matrix.dense_lower(kept)
    for at in range(0, system.n, CHUNK):
        rows = slice(at, at + CHUNK)
        a[rows] *= system.scale[rows, None] * system.scale
        if system.rows.size:
            a[rows] += system.rows[:, rows].T @ system.rows
    a[np.diag_indices_from(a)] += system.ridge
    q = system.inside.normal
    if q.shape[1] == 0:
        return a, 0.0
    kappa = float(np.mean(np.diag(a)))
    aq = system.product(q)
    w = aq - 0.5 * q @ (q.T @ aq) - 0.5 * kappa * q
    for at in range(0, system.n, CHUNK):
        rows = slice(at, at + CHUNK)
        a[rows] -= q[rows] @ w.T + w[rows] @ q.T
    return a, kappa


def _symmetric(lower: FloatArray) -> FloatArray:
    """The whole of a symmetric matrix of which the lower triangle is right, in place."""
    n = lower.shape[0]
    for at in range(0, n, CHUNK):
        stop = min(at + CHUNK, n)
        square = lower[at:stop, at:stop]
        square[:] = np.tril(square) + np.tril(square, -1).T
        lower[at:stop, stop:] = lower[stop:, at:stop].T
    return lower


WORST: Final = 3
PIVOT: Final = 1e-13
"""Smallest accepted pivot over its diagonal element: 1 - R^2 of a parameter on those before it."""


def _free_direction(system: System, at: int) -> NotCertified:
    """What to say of a matrix whose row `at` the rows before it determine."""
    a, _ = dense_matrix(system)
    vector = np.zeros(system.n)
    vector[at] = 1.0
    if at:
        before = _symmetric(a[:at, :at].copy())
        vector[:at] = -np.linalg.lstsq(before, a[at, :at], rcond=PIVOT)[0]
    vector /= np.linalg.norm(vector)
    order = np.argsort(-np.abs(vector), kind="stable")[:WORST]
    names = ", ".join(f"{vector[i]:+.2f} {system.names[i]}" for i in order if abs(vector[i]) > 0.01)
    return NotCertified(
        f"the Hessian of {system.n} parameters is not positive definite: eigenvalue "
        f"{vector @ system.product(vector):.2g} (whitened) along {names}",
        kind="globalcor.singular",
        do="give a prior, a constraint or a measurement to what no track determines, or fix it",
    )
