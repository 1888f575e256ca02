"""By how much the statistical errors of a scale table must grow to explain what its closure finds.

With d the residuals of the closures (A and M of every bin of every resonance, A alone where M was not asked for), C
their own covariance, the masses of the resonances included, and P = J C_scale J^T that of the table as it shows there,
the factor s solves

    d^T (C + s^2 P)^-1 d = n,

0 if C alone explains d.  The same equation is solved for the charge-even (A) and the charge-odd (M) part by
themselves, since a closure at the Z may know one of them better than the table and the other one worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import block_diag, cholesky, eigh, solve_triangular
from scipy.optimize import brentq
from scipy.special import chdtrc, erfcinv

from mucal.arrays import BoolArray, FloatArray, same_edges
from mucal.scale.closure import Closure
from mucal.scale.recovery import whiten
from mucal.scale.table import ScaleTable
from mucal.store import Result

SIGNIFICANT: Final = 0.05
"""Probability, times the number of directions looked at, below which one direction asks for a factor of its own."""
LARGEST: Final = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Inflation(Result):
    """Factors on the standard deviations of a scale table that its closures ask for; inf if none is large enough.

    chi2, ndf, p_value : of the residuals with the table's errors as they are
    factor             : of all residuals together
    even, odd          : of the charge-even (A) and the charge-odd (M) residuals alone
    direction          : smallest factor with which no principal direction of P against C is significant any more, after
                         the correction for the number of directions; 0 if none is to begin with
    resonances         : of the closures
    """

    chi2: float
    ndf: int
    p_value: float
    factor: float
    even: float
    odd: float
    direction: float
    resonances: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest of the four factors."""
        return max(self.factor, self.even, self.odd, self.direction)

    def line(self, applied: float) -> str:
        """What the closures say of an applied factor, in a sentence."""
        verdict = "covers all" if applied >= self.largest else f"does not cover the largest, {self.largest:.2f}"
        return (
            f"closure of {', '.join(self.resonances)}: chi2/ndf = {self.chi2:.1f}/{self.ndf} (p = {self.p_value:.3g}); "
            f"factors {self.factor:.2f} (all), {self.even:.2f} (A), {self.odd:.2f} (M), {self.direction:.2f} (one "
            f"direction); the applied {applied:g} {verdict}"
        )


def inflation_of(table: ScaleTable, closures: Sequence[Closure]) -> Inflation:
    """The factor on the errors of a scale table that the closures of one or more resonances ask for.

    table    : whose covariance is to be inflated
    closures : of data corrected with it

    Raises ValueError without a closure, or for a covariance that has no inverse.
    Source: arXiv:2412.13872 gives the factor 2.1 without its algorithm; ours is derived in docs/physics/scale.md.
    """
    if not closures:
        raise ValueError("no closure given; nothing can be said about the errors of the table")
    d = np.concatenate([closure.residual for closure in closures])
    own = block_diag(*(closure.cov + np.outer(closure.mass_shift, closure.mass_shift) for closure in closures))
    jacobian = np.concatenate([closure.projection(table.eta_edges) for closure in closures])
    shown = jacobian @ table.cov @ jacobian.T
    charge_even = np.concatenate([np.repeat([True, False], closure.n_bins) for closure in closures])
    asked = np.diag(own) > 0
    if not np.any(asked):
        raise ValueError("the closures have no errors; nothing can be said about those of the table")
    z, p = _principal(d, own, shown, asked)
    chi2 = float(np.sum(z**2 / (1.0 + p)))
    even, odd = (_factor(*_principal(d, own, shown, asked & part)) for part in (charge_even, ~charge_even))
    return Inflation(
        chi2=chi2, ndf=z.size, p_value=float(chdtrc(z.size, chi2)), factor=_factor(z, p), even=even, odd=odd,
        direction=_direction(z, p), resonances=tuple(closure.resonance for closure in closures),
    )  # fmt: skip


def pattern_factor(table: ScaleTable, alternative: ScaleTable) -> float:
    """Factor on the errors that covers the difference of an alternative calibration: sqrt(1 + d^T C^-1 d / n).

    With errors grown by it, the mean squared difference in their units is at most 1 beside the statistics.  For other
    models of the line, backgrounds, windows or momenta, whose difference is a pattern of bias.

    table, alternative : in the same eta bins

    Raises ValueError for different bins.
    """
    if not same_edges(table.eta_edges, alternative.eta_edges):
        raise ValueError("the alternative calibration has other eta bins; derive both in the same bins")
    pulls = whiten(alternative.parameters - table.parameters, table.cov)
    return float(np.sqrt(1.0 + np.mean(pulls**2)))


def _principal(d: FloatArray, own: FloatArray, shown: FloatArray, rows: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(n,) residuals along the directions where `own` is 1 and `shown` is diagonal, and that diagonal (n,).

    rows : the n that count
    """
    d, own, shown = d[rows], own[np.ix_(rows, rows)], shown[np.ix_(rows, rows)]
    sigma = np.sqrt(np.diag(own))
    if not sigma.size:
        return sigma, sigma
    scale = np.outer(sigma, sigma)
    try:
        factor = cholesky(own / scale, lower=True)
    except np.linalg.LinAlgError as error:
        raise ValueError("the covariance of the closure has no inverse; use bins of signed eta") from error
    half = solve_triangular(factor, shown / scale, lower=True)
    values, vectors = eigh(solve_triangular(factor, half.T, lower=True))
    z: FloatArray = vectors.T @ solve_triangular(factor, d / sigma, lower=True)
    return z, np.clip(values, 0.0, None)


def _factor(z: FloatArray, p: FloatArray) -> float:
    """s with sum z^2 / (1 + s^2 p) = n."""

    def excess(s: float) -> float:
        return float(np.sum(z**2 / (1.0 + s * s * p))) - z.size

    if excess(0.0) <= 0.0:
        return 0.0
    if excess(LARGEST) > 0.0:
        return float("inf")
    return float(brentq(excess, 0.0, LARGEST, xtol=1e-10))


def _direction(z: FloatArray, p: FloatArray) -> float:
    """The smallest factor with which no direction is significant among all of them; 0 if none is with factor 1."""
    limit = float(np.sqrt(2.0) * erfcinv(SIGNIFICANT / z.size))
    if np.all(np.abs(z) <= limit * np.sqrt(1.0 + p)):
        return 0.0
    excess = np.clip((z / limit) ** 2 - 1.0, 0.0, None)
    asked = np.sqrt(np.divide(excess, p, out=np.where(excess > 0, np.inf, 0.0), where=p > 1.0 / LARGEST**2))
    return float(np.max(asked))
