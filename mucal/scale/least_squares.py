"""Weighted least squares for parameters in bins of eta: few parameters in each of many equations."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray

MIN_EIGENVALUE: Final = 1e-10
"""Of the normal matrix scaled to unit diagonal; below it, a combination of parameters is not determined."""
LISTED: Final = 8


def parameter_names(symbols: Sequence[str], edges: FloatArray) -> list[str]:
    """ "A[-2.4, -2.3)" and so on: every symbol over all bins."""
    return [f"{s}[{low:g}, {high:g})" for s in symbols for low, high in pairwise(edges)]


def normal_equations(
    x: FloatArray, columns: IntArray, weight: FloatArray, residual: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """X^T W X (size, size) and X^T W r (size,).

    Two terms of one equation may meet in one column (both muons in one eta bin): they add.

    x, columns : (B, T)  the non-zero entries of each equation's row of X, and where they stand
    weight     : (B,)
    residual   : (B,)
    """
    weighted = x * weight[:, None]
    cell = columns[:, :, None] * size + columns[:, None, :]
    products = weighted[:, :, None] * x[:, None, :]
    matrix = np.bincount(cell.ravel(), weights=products.ravel(), minlength=size**2).astype(np.float64)
    moment = np.bincount(columns.ravel(), weights=(weighted * residual[:, None]).ravel(), minlength=size)
    return matrix.reshape(size, size), moment.astype(np.float64)


def solve_certified(matrix: FloatArray, moment: FloatArray, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Solution of `matrix` p = `moment`, and the inverse of `matrix` (symmetric to the last bit).

    matrix : (P, P)  symmetric
    moment : (P,)
    names  : of the parameters

    Raises ValueError that names the parameters, or the combination of them, without information.
    """
    diagonal = np.diag(matrix)
    if np.any(diagonal <= 0):
        missing = [name for name, value in zip(names, diagonal, strict=True) if value <= 0]
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise ValueError(
            f"{len(missing)} parameters have no information: {', '.join(missing[:LISTED])}{more}; "
            "use wider bins, fewer free parameters or a prior"
        )
    scale = 1.0 / np.sqrt(diagonal)
    scaled = matrix * scale * scale[:, None]
    values, vectors = np.linalg.eigh(scaled)
    if values[0] < MIN_EIGENVALUE:
        leading = np.argsort(-np.abs(vectors[:, 0]))[:4]
        raise ValueError(
            f"a combination of parameters has no information (eigenvalue {values[0]:.1g}), mostly "
            f"{', '.join(names[j] for j in leading)}; use more pT bins, fewer free parameters or a prior"
        )
    # numpy's, not scipy's: who only applies a calibration would wait a second for scipy.linalg
    half = np.linalg.solve(np.linalg.cholesky(scaled), np.diag(scale))
    inverse: FloatArray = half.T @ half
    return half.T @ (half @ moment), 0.5 * (inverse + inverse.T)


def unfold_abs_eta(
    abs_edges: FloatArray, parameters: FloatArray, cov: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """From E bins of |eta| to 2E bins of eta: both sides hold the same number, fully correlated.

    abs_edges  : (E+1,)    starts at 0
    parameters : (3E,)     three symbols, each over all bins
    cov        : (3E, 3E)

    Raises ValueError if the bins do not start at 0.
    """
    if abs_edges[0] != 0:
        raise ValueError(f"|eta| bins start at {abs_edges[0]:g}; a table in eta needs them to start at 0")
    n = abs_edges.size - 1
    mirrored = np.concatenate([np.arange(n)[::-1], np.arange(n)])
    source = np.concatenate([mirrored + n * symbol for symbol in range(3)])
    return np.concatenate([-abs_edges[:0:-1], abs_edges]), parameters[source], cov[np.ix_(source, source)]
