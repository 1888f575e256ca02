"""By how much the statistical errors of a scale table must grow to explain what its closure finds.

With d the residuals of the closures (A and M of every bin of every resonance, A alone where M was not asked for), C
their own covariance, the masses of the resonances included, and P = J C_scale J^T that of the table as it shows there,
the factor s solves

    d^T (C + s^2 P)^-1 d = n,

0 if C alone explains d.  d and C are those of the masses alone: a prior in a closure draws its residuals towards 0, and
is taken out again; n counts the combinations that the masses know anything of.  The same equation is solved for the
charge-even (A) and the charge-odd (M) part by themselves, each with the other one free, since a closure at the Z may
know one of them better than the table and the other one worse.

A factor counts where the residuals contradict the errors as they are (p < 5 %).  Where the closure knows much less than
the table, p << 1 in every direction, an upward fluctuation of its own noise solves the equation with any s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import block_diag, cholesky, eigh, pinvh, solve_triangular
from scipy.optimize import brentq
from scipy.special import chdtrc, erfcinv

from mucal.arrays import FloatArray, same_edges
from mucal.scale.closure import Closure
from mucal.scale.recovery import whiten
from mucal.scale.table import ScaleTable
from mucal.store import Result

SIGNIFICANT: Final = 0.05
"""Probability below which residuals contradict the errors; of one direction, times the number of directions."""
LARGEST: Final = 1e4
UNKNOWN: Final = 1e-9
"""Information on a combination of residuals, in units of their errors with priors, below which there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Result):
    """What some residuals ask of the errors of a table; no residuals ask for nothing.

    chi2, ndf, p_value : with the table's errors as they are
    factor             : that solves the equation; inf if none is large enough
    """

    chi2: float
    ndf: int
    p_value: float
    factor: float

    @property
    def significant(self) -> bool:
        """Whether the residuals contradict the errors; the factor of others is that of a fluctuation."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Inflation(Result):
    """Factors on the standard deviations of a scale table that its closures ask for.

    together   : all residuals
    even, odd  : the charge-even (A) and the charge-odd (M) ones alone
    each       : R, those of one resonance alone
    resonances : R, of the closures
    direction_even, direction_odd : smallest factor with which no principal direction of P against C is significant any
                 more, among those of A or of M, after the correction for the number of all; 0 if none is to begin with
    """

    together: Asked
    even: Asked
    odd: Asked
    each: tuple[Asked, ...]
    resonances: tuple[str, ...]
    direction_even: float
    direction_odd: float

    @property
    def factor(self) -> float:
        """To be applied: that of all residuals where they contradict the errors, and at least 1."""
        return max(1.0, self.together.factor) if self.together.significant else 1.0

    @property
    def direction(self) -> float:
        """The larger one of single directions of A and of M."""
        return max(self.direction_even, self.direction_odd)

    @property
    def largest(self) -> float:
        """The largest that contradicted errors ask for; 0 if none does."""
        asked = (self.together, self.even, self.odd, *self.each)
        return max(self.direction, *(one.factor if one.significant else 0.0 for one in asked))

    def line(self, applied: float) -> str:
        """What the closures say of an applied factor, in a sentence."""
        verdict = f"does not cover the largest, {self.largest:.2f}" if applied < self.largest else "covers all"
        if not self.largest:
            verdict = "is not contradicted"
        whole = self.together
        return (
            f"closure of {', '.join(self.resonances)}: chi2/ndf = {whole.chi2:.1f}/{whole.ndf} (p = "
            f"{whole.p_value:.3g}); factors {whole.factor:.2f} (all), {self.even.factor:.2f} (A), "
            f"{self.odd.factor:.2f} (M), {self.direction:.2f} (one direction); the "
            f"applied {applied:g} {verdict}"
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
    z, p = _principal(closures, table)
    if not z.size:
        raise ValueError("the closures have no errors; nothing can be said about those of the table")
    even, odd = (_principal(closures, table, (name,)) for name in ("A", "M"))
    return Inflation(
        together=_asked(z, p), even=_asked(*even), odd=_asked(*odd),
        each=tuple(_asked(*_principal([one], table)) for one in closures),
        resonances=tuple(closure.resonance for closure in closures),
        direction_even=_direction(*even, z.size), direction_odd=_direction(*odd, z.size),
    )  # fmt: skip


def pattern_factor(table: ScaleTable, alternative: ScaleTable) -> float:
    """Factor on the errors that covers the difference of an alternative calibration: sqrt(1 + d^T C^-1 d / n).

    With errors grown by it, the mean squared difference in their units is at most 1 beside the statistics.  For other
    models of the line, backgrounds, windows or momenta, whose difference is a pattern of bias.

    table, alternative : in the same eta bins

    Infinite where a parameter differs that the table holds fixed.  Raises ValueError for different bins.
    """
    if not same_edges(table.eta_edges, alternative.eta_edges):
        raise ValueError("the alternative calibration has other eta bins; derive both in the same bins")
    difference = alternative.parameters - table.parameters
    if np.any((difference != 0.0) & (np.diag(table.cov) <= 0.0)):
        return float("inf")
    pulls = whiten(difference, table.cov)
    return float(np.sqrt(1.0 + np.mean(pulls**2)))


def _principal(
    closures: Sequence[Closure], table: ScaleTable, part: tuple[str, ...] = ("A", "M")
) -> tuple[FloatArray, FloatArray]:
    """(n,) residuals along the directions where their own covariance is 1 and that of the table is diagonal, p (n,)."""
    seen = [_seen(closure, part) for closure in closures]
    x = np.concatenate([residual for residual, _ in seen])
    masses = [to_seen @ closure.mass_shift for (_, to_seen), closure in zip(seen, closures, strict=True)]
    own = np.eye(x.size) + block_diag(*(np.outer(mass, mass) for mass in masses))
    jacobian = np.concatenate([
        to_seen @ closure.projection(table.eta_edges) for (_, to_seen), closure in zip(seen, closures, strict=True)
    ])  # fmt: skip
    factor = cholesky(own, lower=True)
    half = solve_triangular(factor, jacobian, lower=True)
    values, vectors = eigh(half @ table.cov @ half.T)
    z: FloatArray = vectors.T @ solve_triangular(factor, x, lower=True)
    return z, np.clip(values, 0.0, None)


def _seen(closure: Closure, part: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """(K,) combinations of residuals that the masses know, each with error 1, and (K, 2B) that make them of residuals.

    part : of "A" and "M", whose residuals are meant; the other ones may be anything
    """
    known = closure.known
    score, information = closure.score()
    wanted = np.repeat([name in part for name in ("A", "M")], closure.n_bins)[known]
    others = information[np.ix_(~wanted, ~wanted)]
    gain = np.zeros((int(wanted.sum()), 0))
    if others.size:
        gain = information[np.ix_(wanted, ~wanted)] @ pinvh(others, atol=UNKNOWN)
    score = score[wanted] - gain @ score[~wanted]
    values, vectors = eigh(information[np.ix_(wanted, wanted)] - gain @ information[np.ix_(~wanted, wanted)])
    values, vectors = values[values > UNKNOWN], vectors[:, values > UNKNOWN]
    to_seen = np.zeros((values.size, known.size))
    rows = np.flatnonzero(known)[wanted]
    to_seen[:, rows] = np.sqrt(values)[:, None] * vectors.T / np.sqrt(np.diag(closure.cov)[rows])
    return vectors.T @ score / np.sqrt(values), to_seen


def _asked(z: FloatArray, p: FloatArray) -> Asked:
    chi2 = float(np.sum(z**2 / (1.0 + p)))
    return Asked(chi2=chi2, ndf=z.size, p_value=float(chdtrc(z.size, chi2)) if z.size else 1.0, factor=_factor(z, p))


def _factor(z: FloatArray, p: FloatArray) -> float:
    """s with sum z^2 / (1 + s^2 p) = n."""

    def excess(s: float) -> float:
        return float(np.sum(z**2 / (1.0 + s * s * p))) - z.size

    if excess(0.0) <= 0.0:
        return 0.0
    if excess(LARGEST) > 0.0:
        return float("inf")
    return float(brentq(excess, 0.0, LARGEST, xtol=1e-10))


def _direction(z: FloatArray, p: FloatArray, among: int) -> float:
    """The smallest factor with which no direction is significant among so many; 0 if none is with factor 1."""
    limit = float(np.sqrt(2.0) * erfcinv(SIGNIFICANT / among))
    if np.all(np.abs(z) <= limit * np.sqrt(1.0 + p)):
        return 0.0
    excess = np.clip((z / limit) ** 2 - 1.0, 0.0, None)
    asked = np.sqrt(np.divide(excess, p, out=np.where(excess > 0, np.inf, 0.0), where=p > 1.0 / LARGEST**2))
    return float(np.max(asked, initial=0.0))
