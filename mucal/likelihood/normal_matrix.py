"""The matrix of a Gauss-Newton step, factorised in the space of bins where bins are fewer than parameters."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import blas, cho_factor, cho_solve, solve_triangular

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.likelihood.products import gram


class Prior(NamedTuple):
    """What is known of F free parameters before the data.

    precision : (F,)    c; those of the block count in the block alone
    linked    : (E,)    parameters with a full matrix, increasing
    block     : (E, E)  that matrix, their c included
    """

    precision: FloatArray
    linked: IntArray
    block: FloatArray


def diagonal_prior(precision: FloatArray) -> Prior:
    """Constraints only."""
    return Prior(precision, np.zeros(0, dtype=np.int64), np.zeros((0, 0)))


class InParameters(NamedTuple):
    """J^T h J + prior, factorised as it is."""

    factor: tuple[FloatArray, bool]

    def solve(self, right: FloatArray) -> FloatArray:
        """A^-1 of (F,)"""
        result: FloatArray = cho_solve(self.factor, right)
        return result


class InBins(NamedTuple):
    """J^T h J + prior, factorised in bins.

    held    : (F,)    constrained parameters
    root    : (H,)    square root of their precision; 1 in the block
    corner  : (E, E)  lower Cholesky factor of the block
    place   : (E,)    its place among the held ones
    z       : (B, H)  whitened derivatives of the held parameters
    wu      : (B, U)  those of the others
    bins    :         Cholesky factor of 1 + z z^T
    solved  : (B, U)  (1 + z z^T)^-1 wu
    schur   :         Cholesky factor of wu^T solved
    """

    held: BoolArray
    root: FloatArray
    corner: FloatArray
    place: IntArray
    z: FloatArray
    wu: FloatArray
    bins: tuple[FloatArray, bool]
    solved: FloatArray
    schur: tuple[FloatArray, bool]

    def solve(self, right: FloatArray) -> FloatArray:
        """A^-1 of (F,)"""
        out = np.empty(right.size)
        g = right[self.held] / self.root
        g[self.place] = solve_triangular(self.corner, g[self.place], lower=True) if self.place.size else 0.0
        if self.wu.shape[1]:
            out[~self.held] = cho_solve(self.schur, right[~self.held] - self.solved.T @ (self.z @ g))
            g -= self.z.T @ (self.wu @ out[~self.held])
        g -= self.z.T @ cho_solve(self.bins, self.z @ g)
        if self.place.size:
            g[self.place] = solve_triangular(self.corner, g[self.place], lower=True, trans=1)
        out[self.held] = g / self.root
        return out


NormalMatrix = InParameters | InBins


def factorise(jacobian: FloatArray, weight: FloatArray, prior: Prior, damping: float) -> NormalMatrix:
    """J^T h J + prior + damping D, D being the prior of constrained and the diagonal of J^T h J of other parameters.

    jacobian : (B, F)
    weight   : (B,)   h, above 0

    Raises LinAlgError if the matrix is not positive definite.
    """
    w = np.sqrt(weight)[:, None] * jacobian
    if w.shape[0] >= w.shape[1]:
        return _in_parameters(w, prior, damping)
    try:
        corner = np.asarray(np.linalg.cholesky((1 + damping) * prior.block), dtype=float)
    except np.linalg.LinAlgError:
        return _in_parameters(w, prior, damping)
    return _in_bins(w, prior, damping, corner)


def _in_parameters(w: FloatArray, prior: Prior, damping: float) -> InParameters:
    matrix = blas.dsyrk(1.0, w.T, lower=1)
    held = prior.precision > 0
    held[prior.linked] = True
    added = np.where(held, (1 + damping) * prior.precision, damping * np.diag(matrix))
    added[prior.linked] = 0.0
    matrix[np.diag_indices_from(matrix)] += added
    matrix[np.ix_(prior.linked, prior.linked)] += (1 + damping) * prior.block
    return InParameters(cho_factor(matrix, lower=True, overwrite_a=True))


def _in_bins(w: FloatArray, prior: Prior, damping: float, corner: FloatArray) -> InBins:
    """By Woodbury for the constrained parameters and a Schur complement for the others; docs/physics/likelihood.md."""
    held = prior.precision > 0
    held[prior.linked] = True
    root = np.sqrt((1 + damping) * prior.precision)
    root[prior.linked] = 1.0
    root = root[held]
    place = np.searchsorted(np.flatnonzero(held), prior.linked)
    z = w[:, held]
    if np.any(root != 1.0):
        z /= root
    if place.size:
        z[:, place] = solve_triangular(corner, z[:, place].T, lower=True).T
    wu = w[:, ~held]
    matrix = gram(z)
    matrix[np.diag_indices_from(matrix)] += 1.0
    bins = cho_factor(matrix, lower=True, overwrite_a=True)
    solved = cho_solve(bins, wu) if wu.shape[1] else wu
    schur = wu.T @ solved
    schur[np.diag_indices_from(schur)] += damping * np.einsum("bu,bu->u", wu, wu)
    factor = cho_factor(schur) if wu.shape[1] else (schur, True)
    return InBins(held, root, corner, place, z, wu, bins, solved, factor)
