"""Injected against recovered: how far a table is from the truth of a generated sample, in units of its errors."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import chdtrc

from mucal.arrays import BoolArray, FloatArray
from mucal.scale.table import ScaleTable
from mucal.store import Result

MOMENTA: Final = (8.0, 40.0)
"""GeV, where the eta-averaged scale is compared: the J/psi's muons, and those of the W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery(Result):
    """A recovered table beside the injected one, in the recovered table's B bins.

    injected, recovered : the tables
    pulls               : (3, B)  of A, e, M; NaN for a parameter that was not solved for
    chi2, ndf, p_value  :         of the difference, with the full covariance
    momenta             : (K,) GeV
    even, even_error    : (K,)    eta average of (A - e/pT), recovered minus injected, and its error
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


def compare(recovered: ScaleTable, injected: ScaleTable) -> Recovery:
    """The recovered table against the injected one, taken at the centres of the recovered bins.

    Raises ValueError if the injected table does not cover the recovered one.
    """
    truth = at_bins_of(injected, recovered)
    difference = recovered.parameters - truth.parameters
    solved: BoolArray = np.diag(recovered.cov) > 0
    cov = recovered.cov[np.ix_(solved, solved)]
    scale = 1.0 / np.sqrt(np.diag(cov))
    scaled = scale * difference[solved]
    chi2 = float(scaled @ cho_solve(cho_factor(cov * np.outer(scale, scale)), scaled))
    pulls = np.full(difference.size, np.nan)
    pulls[solved] = scaled
    momenta = np.array(MOMENTA)
    averages = [_average(recovered, difference, pt) for pt in momenta]
    even, even_error, odd, odd_error = np.array(averages).T
    return Recovery(
        injected=truth, recovered=recovered, pulls=pulls.reshape(3, -1), chi2=chi2, ndf=int(solved.sum()),
        p_value=float(chdtrc(int(solved.sum()), chi2)), momenta=momenta,
        even=even, even_error=even_error, odd=odd, odd_error=odd_error,
    )  # fmt: skip


def at_bins_of(table: ScaleTable, other: ScaleTable) -> ScaleTable:
    """The parameters of one table at the bin centres of another, without covariance."""
    index = table.bin_index(0.5 * (other.eta_edges[1:] + other.eta_edges[:-1]))
    n = 3 * other.n_bins
    return ScaleTable(
        eta_edges=other.eta_edges, A=table.A[index], e=table.e[index], M=table.M[index], cov=np.zeros((n, n)),
        pt_range=other.pt_range, resonance=other.resonance,
    )  # fmt: skip


def _average(table: ScaleTable, difference: FloatArray, pt: float) -> tuple[float, float, float, float]:
    """Even and odd curvature shift at one momentum, averaged over eta by width, each with its error."""
    width = np.diff(table.eta_edges) / (table.eta_edges[-1] - table.eta_edges[0])
    none = np.zeros_like(width)
    even = np.concatenate([width, -width / pt, none])
    odd = np.concatenate([none, none, width * pt])
    return (
        float(even @ difference),
        float(np.sqrt(even @ table.cov @ even)),
        float(odd @ difference),
        float(np.sqrt(odd @ table.cov @ odd)),
    )
