"""What a scale table does not know well: weak combinations, and coherent errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.scale.least_squares import parameter_names
from mucal.scale.system import NAMES
from mucal.scale.table import ScaleTable

MOMENTA: Final = (8.0, 40.0, 60.0)
"""GeV: a J/psi muon, a W muon, and the end of the range where the scale is used."""
MODES: Final = 10
SINGULAR: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class CoherentShift:
    """Relative curvature correction averaged over eta, at each of P momenta.

    pt         : (P,) GeV
    even       : (P,)     mean of A - e/pT: what both charges share
    even_error : (P,)
    odd        : (P,)     mean of M pT: the correction of mu+, minus that of mu-
    odd_error  : (P,)
    """

    pt: FloatArray
    even: FloatArray
    even_error: FloatArray
    odd: FloatArray
    odd_error: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakModes:
    """Leading eigenvectors of the *correlation* matrix (the covariance mixes units), largest eigenvalue first.

    names            : (n,)    "A[-2.4, -2.3)" and so on, of the parameters that have an error
    eigenvalues      : (K,)    1 for uncorrelated parameters, large for a weak combination
    eigenvectors     : (n, K)  columns, in units of each parameter's error
    condition_number :         largest over smallest non-zero eigenvalue
    coherent         :         shifts and errors averaged over eta
    """

    names: tuple[str, ...]
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    condition_number: float
    coherent: CoherentShift


def coherent_shift(
    table: ScaleTable, pt: Sequence[float] = MOMENTA, weights: FloatArray | None = None
) -> CoherentShift:
    """Correction averaged over eta, with its error from the full covariance.

    table   : A, e, M in B bins
    pt      : GeV
    weights : (B,) share of the muons in each bin, any normalisation; None: proportional to the width of the bin

    Raises ValueError for weights that are negative or of another length.
    """
    w = np.diff(table.eta_edges) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (table.n_bins,) or np.any(w < 0) or not np.sum(w) > 0:
        raise ValueError(f"weights have shape {w.shape}; expected ({table.n_bins},), none negative, not all zero")
    w = w / w.sum()
    momenta = np.asarray(pt, dtype=float)
    zero = np.zeros_like(w)
    even = np.stack([np.concatenate([w, -w / p, zero]) for p in momenta])
    odd = np.stack([np.concatenate([zero, zero, w * p]) for p in momenta])

    def error(rows: FloatArray) -> FloatArray:
        result: FloatArray = np.sqrt(np.einsum("pi,ij,pj->p", rows, table.cov, rows))
        return result

    return CoherentShift(
        pt=momenta, even=even @ table.parameters, even_error=error(even),
        odd=odd @ table.parameters, odd_error=error(odd),
    )  # fmt: skip


def weak_modes(table: ScaleTable, n_modes: int = MODES) -> WeakModes:
    """The combinations of A, e, M that the table determines worst.

    Parameters without an error (fixed ones) are left out.  A table unfolded from |eta| has equal pairs of parameters;
    their eigenvalues of zero do not count in the condition number.

    Raises ValueError if no parameter has an error.
    """
    sigma = np.sqrt(np.diag(table.cov))
    kept = np.flatnonzero(sigma > 0)
    if kept.size == 0:
        raise ValueError("the table has no errors: no parameter has a positive variance")
    correlation = table.cov[np.ix_(kept, kept)] / np.outer(sigma[kept], sigma[kept])
    values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    # an eigenvector has no sign of its own: the largest component is made positive
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(values.size)])
    names = parameter_names(NAMES, table.eta_edges)
    return WeakModes(
        names=tuple(names[j] for j in kept),
        eigenvalues=values[:n_modes],
        eigenvectors=vectors[:, :n_modes],
        condition_number=float(values[0] / values[values > SINGULAR * values[0]][-1]),
        coherent=coherent_shift(table),
    )
