"""Injected against recovered: how far a table is from the truth of a generated sample, in units of its errors."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray, check_shapes
from mucal.scale.table import ScaleTable
from mucal.scale.weak import coherent_shift
from mucal.store import Result

MOMENTA: Final = (8.0, 40.0)
"""GeV, where the eta-averaged scale is compared: muons of the J/psi, and of the W."""
SMALLEST_EIGENVALUE: Final = 1e-9
"""Of the correlation matrix; below it parameters are copies of each other (a table unfolded from |eta|)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery(Result):
    """A recovered table beside the injected one, in the recovered table's B bins.

    injected, recovered : the tables
    pulls               : (3, B)  of A, e, M; NaN for a parameter that was not solved for
    chi2, ndf, p_value  :         of the difference, with the full covariance
    momenta             : (K,) GeV
    even, even_error    : (K,)    eta average of A - e/pT, recovered minus injected, and its error
    odd, odd_error      : (K,)    eta average of M pT, likewise
    """

    injected: ScaleTable
    recovered: ScaleTable
    pulls: FloatArray
    chi2: float
    ndf: int
    p_value: float
    momenta: FloatArray
    even: FloatArray
    even_error: FloatArray
    odd: FloatArray
    odd_error: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, pulls=(3, self.recovered.n_bins))


def compare(recovered: ScaleTable, injected: ScaleTable) -> Recovery:
    """The recovered table against the injected one, taken at the centres of the recovered bins.

    chi2 = d^T C^-1 d over the independent combinations of the parameters that were solved for.

    Raises ValueError if the injected table does not cover the recovered one.
    """
    truth = at_bins_of(injected, recovered)
    difference = recovered.parameters - truth.parameters
    pulls = np.full(difference.size, np.nan)
    solved = np.diag(recovered.cov) > 0
    sigma = np.sqrt(np.diag(recovered.cov)[solved])
    pulls[solved] = difference[solved] / sigma
    values, vectors = np.linalg.eigh(recovered.cov[np.ix_(solved, solved)] / np.outer(sigma, sigma))
    known = values > SMALLEST_EIGENVALUE
    chi2 = float(np.sum((vectors.T @ pulls[solved])[known] ** 2 / values[known]))
    A, e, M = difference.reshape(3, -1)
    coherent = coherent_shift(replace(recovered, A=A, e=e, M=M), MOMENTA)
    return Recovery(
        injected=truth, recovered=recovered, pulls=pulls.reshape(3, -1), chi2=chi2, ndf=int(known.sum()),
        p_value=float(chdtrc(int(known.sum()), chi2)), momenta=coherent.pt, even=coherent.even,
        even_error=coherent.even_error, odd=coherent.odd, odd_error=coherent.odd_error,
    )  # fmt: skip


def at_bins_of(table: ScaleTable, other: ScaleTable) -> ScaleTable:
    """The parameters of one table at the bin centres of another, without covariance."""
    index = table.bin_index(0.5 * (other.eta_edges[1:] + other.eta_edges[:-1]))
    n = 3 * other.n_bins
    return ScaleTable(
        eta_edges=other.eta_edges, A=table.A[index], e=table.e[index], M=table.M[index], cov=np.zeros((n, n)),
        pt_range=other.pt_range, resonance=other.resonance,
    )  # fmt: skip
