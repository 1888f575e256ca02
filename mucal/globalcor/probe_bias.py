"""Bias of momenta seen with muons without noise: what corrections leave, beside what they cannot know."""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.store import Result

EVEN, ODD = 0, 1
"""Half the sum and half the difference of the means of both charges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBias(Result):
    """delta k / k of N muons without noise, of fits on the assumed detector and with corrections.

    pt, eta, phi  : (N,)     GeV, -, rad
    charge        : (N,)
    before, after : (N,)     fitted over true curvature, minus 1
    error         : (N,)     of `after`, from the covariance of the corrections
    eta_edges     : (E+1,)
    momenta       : (T,) GeV
    mean          : (T, 2, E)     of both charges' means, half their sum (even) and half their difference (odd), after
    mean_before   : (T, 2, E)     likewise, before
    mean_cov      : (T, 2, E, E)  of `mean`
    """

    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: IntArray
    before: FloatArray
    after: FloatArray
    error: FloatArray
    eta_edges: FloatArray
    momenta: FloatArray
    mean: FloatArray
    mean_before: FloatArray
    mean_cov: FloatArray

    def __post_init__(self) -> None:
        n, e, t = self.pt.size, self.eta_edges.size - 1, self.momenta.size
        check_shapes(self, eta=(n,), before=(n,), after=(n,), error=(n,), mean=(t, 2, e), mean_cov=(t, 2, e, e))

    def p_value(self, momentum: int, parity: int) -> float:
        """That the propagated uncertainty explains what is left in the eta bins."""
        values = self.mean[momentum, parity]
        chi2 = float(values @ np.linalg.solve(self.mean_cov[momentum, parity], values))
        return float(chdtrc(values.size, chi2))

    def common(self, momentum: int, parity: int) -> tuple[float, float]:
        """Mean over the eta bins, and its error."""
        return float(self.mean[momentum, parity].mean()), float(np.sqrt(self.mean_cov[momentum, parity].mean()))
