"""A preconditioner of two levels: inverses of the blocks on the diagonal, and an exact solve in a small space."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from mucal.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLevel:
    """r -> D^-1 r + Z (Z^T A Z)^-1 Z^T r, symmetric and positive definite.

    inverses : (G, B, B)   of the blocks on the diagonal of A
    part     : (n,)        the part of the small space that each row is added to; -1 is none
    n_parts  :
    columns  : (n, k)      further vectors that span the small space
    factor   :             Cholesky factor of Z^T A Z, with scipy's flag
    """

    inverses: FloatArray
    part: IntArray
    n_parts: int
    columns: FloatArray
    factor: tuple[FloatArray, bool] | None

    def __call__(self, r: FloatArray) -> FloatArray:
        """(n, m) -> (n, m)"""
        g, b, _ = self.inverses.shape
        fine: FloatArray = (self.inverses @ r.reshape(g, b, -1)).reshape(r.shape)
        if self.factor is None:
            return fine
        coarse = cho_solve(self.factor, self.restrict(r), check_finite=False)
        return fine + self.prolong(coarse)

    def restrict(self, r: FloatArray) -> FloatArray:
        """Z^T r: (n, m) -> (n_parts + k, m)"""
        return restrict(self.part, self.n_parts, self.columns, r)

    def prolong(self, coarse: FloatArray) -> FloatArray:
        """Z c: (n_parts + k, m) -> (n, m)"""
        padded = np.concatenate([coarse[: self.n_parts], np.zeros((1, coarse.shape[1]))])
        fine: FloatArray = padded[self.part] + self.columns @ coarse[self.n_parts :]
        return fine


def restrict(part: IntArray, n_parts: int, columns: FloatArray, r: FloatArray) -> FloatArray:
    """Z^T r: the sums over each part, then the products with the columns."""
    sums = np.zeros((n_parts, r.shape[1]))
    for m in range(r.shape[1]):
        sums[:, m] = np.bincount(part + 1, weights=r[:, m], minlength=n_parts + 1)[1:]
    return np.concatenate([sums, columns.T @ r])


def two_level(
    blocks: FloatArray, part: IntArray, parts: FloatArray, columns: FloatArray, product_of_columns: FloatArray
) -> TwoLevel:
    """The preconditioner of a matrix A.

    blocks             : (G, B, B)  its blocks on the diagonal, positive definite
    part               : (n,)       part of each row, -1 is none
    parts              : (R, R)     sums of A over pairs of parts
    columns            : (n, k)
    product_of_columns : (n, k)     A columns
    """
    inverses: FloatArray = np.linalg.inv(blocks).astype(np.float64, copy=False)
    n_parts, k = parts.shape[0], columns.shape[1]
    coarse = np.zeros((n_parts + k, n_parts + k))
    coarse[:n_parts, :n_parts] = parts
    coarse[:, n_parts:] = restrict(part, n_parts, columns, product_of_columns)
    coarse[n_parts:, :n_parts] = coarse[:n_parts, n_parts:].T
    diagonal = np.diag(coarse).copy()
    factor = None
    if diagonal.size:
        # columns that the parts span already would make the matrix singular: a grain of the diagonal keeps it definite
        coarse[np.diag_indices_from(coarse)] = np.where(diagonal > 0, diagonal * (1.0 + RIDGE), 1.0)
        factor = cho_factor(coarse, lower=True, overwrite_a=True, check_finite=False)
    return TwoLevel(inverses=inverses, part=part, n_parts=n_parts, columns=columns, factor=factor)


RIDGE = 1e-10
