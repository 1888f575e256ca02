"""Injected against recovered: how far a table is from the truth of a generated sample, in units of its errors."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.linalg import solve_triangular
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
    whitened            : (R,)    pulls of R independent combinations of the parameters, each N(0, 1); see `whiten`
    chi2, ndf, p_value  :         of the difference, with the full covariance: chi2 = sum of whitened^2, ndf = R
    momenta             : (K,) GeV
    even, even_error    : (K,)    eta average of A - e/pT, recovered minus injected, and its error
    odd, odd_error      : (K,)    eta average of M pT, likewise
    best, best_error    : (K,)    the mean of A - e/pT over the bins that is known best; NaN if A and e were held
    bins_chi2           : (K,)    of A - e/pT in all bins, against zero in each
    bins_ndf            :         number of bins, or of |eta| if the table was unfolded
    """

    injected: ScaleTable
    recovered: ScaleTable
    pulls: FloatArray
    whitened: FloatArray
    chi2: float
    ndf: int
    p_value: float
    momenta: FloatArray
    even: FloatArray
    even_error: FloatArray
    odd: FloatArray
    odd_error: FloatArray
    best: FloatArray
    best_error: FloatArray
    bins_chi2: FloatArray
    bins_ndf: int

    def __post_init__(self) -> None:
        k = len(self.momenta)
        check_shapes(
            self, pulls=(3, self.recovered.n_bins), whitened=(self.ndf,), best=(k,), best_error=(k,), bins_chi2=(k,)
        )

    @property
    def bins_p_value(self) -> FloatArray:
        """(K,) probability of a larger chi2 of the bins."""
        p: FloatArray = chdtrc(self.bins_ndf, self.bins_chi2)
        return p


def compare(recovered: ScaleTable, injected: ScaleTable) -> Recovery:
    """The recovered table against the injected one, taken at the centres of the recovered bins.

    chi2 = d^T C^-1 d over the independent combinations of the parameters that were solved for.

    Raises ValueError if the injected table does not cover the recovered one.
    """
    truth = at_bins_of(injected, recovered)
    difference = recovered.parameters - truth.parameters
    pulls = np.full(difference.size, np.nan)
    solved = np.diag(recovered.cov) > 0
    pulls[solved] = difference[solved] / np.sqrt(np.diag(recovered.cov)[solved])
    whitened = whiten(difference, recovered.cov)
    chi2 = float(np.sum(whitened**2))
    A, e, M = difference.reshape(3, -1)
    coherent = coherent_shift(replace(recovered, A=A, e=e, M=M), MOMENTA)
    of_bins = [_scale_of_bins(difference, recovered.cov, pt) for pt in MOMENTA]
    return Recovery(
        injected=truth, recovered=recovered, pulls=pulls.reshape(3, -1), whitened=whitened, chi2=chi2,
        ndf=whitened.size, p_value=float(chdtrc(whitened.size, chi2)), momenta=coherent.pt, even=coherent.even,
        even_error=coherent.even_error, odd=coherent.odd, odd_error=coherent.odd_error,
        best=np.array([mean for mean, *_ in of_bins]), best_error=np.array([error for _, error, *_ in of_bins]),
        bins_chi2=np.array([found for *_, found, _ in of_bins]), bins_ndf=of_bins[0][3],
    )  # fmt: skip


def _scale_of_bins(difference: FloatArray, cov: FloatArray, pt: float) -> tuple[float, float, float, int]:
    """A - e/pT of all bins at once: its best-known mean, the error of that, chi2 against zero, and how many count.

    With whitened residuals z and whitened ones g the mean is z.g / g.g, which has the error 1 / sqrt(g.g).
    """
    unit = np.eye(len(cov) // 3)
    scale = np.concatenate([unit, -unit / pt, 0.0 * unit], axis=1)
    of_bins = scale @ cov @ scale.T
    z, g = whiten(scale @ difference, of_bins), whiten(np.ones(len(unit)), of_bins)
    known = float(g @ g)
    mean, error = (float(z @ g) / known, known**-0.5) if known > 0 else (float("nan"), float("nan"))
    return mean, error, float(z @ z), z.size


def whiten(difference: FloatArray, cov: FloatArray) -> FloatArray:
    """Independent pulls z with z^T z = d^T C^-1 d, each N(0, 1) if d is Gaussian with covariance C.

    z = L^-1 u with u = d / sigma and the correlation matrix L L^T.  Where that matrix has no inverse, because some
    parameters are copies of others, z = (v_i . u) / sqrt(lambda_i) over the eigenvectors v_i with an eigenvalue
    lambda_i above SMALLEST_EIGENVALUE; the largest component of each v_i is made positive.  A single pull has no such
    meaning: neighbouring bins of e and M are strongly correlated, and so are their pulls.

    difference : (n,)    recovered minus injected
    cov        : (n, n)  a parameter without variance was fixed and is left out

    Returns (R,), R the rank of the covariance.
    """
    solved = np.diag(cov) > 0
    sigma = np.sqrt(np.diag(cov)[solved])
    pulls, correlation = difference[solved] / sigma, cov[np.ix_(solved, solved)] / np.outer(sigma, sigma)
    values, vectors = np.linalg.eigh(correlation)
    known = values > SMALLEST_EIGENVALUE
    if known.all():
        independent: FloatArray = solve_triangular(np.linalg.cholesky(correlation), pulls, lower=True)
        return independent
    vectors = vectors[:, known]
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    projected: FloatArray = (vectors.T @ pulls) / np.sqrt(values[known])
    return projected


def at_bins_of(table: ScaleTable, other: ScaleTable) -> ScaleTable:
    """The parameters of one table at the bin centres of another, without covariance."""
    index = table.bin_index(0.5 * (other.eta_edges[1:] + other.eta_edges[:-1]))
    n = 3 * other.n_bins
    return ScaleTable(
        eta_edges=other.eta_edges, A=table.A[index], e=table.e[index], M=table.M[index], cov=np.zeros((n, n)),
        pt_range=other.pt_range, resonance=other.resonance,
    )  # fmt: skip
