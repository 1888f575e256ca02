"""Goodness of fit of a Poisson histogram: deviance and Pearson's chi2 over bins merged until both may be believed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtrc, kolmogorov, xlogy

from mucal.arrays import FloatArray, IntArray
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodnessOfFit(Result):
    """How well an expectation describes a histogram; NaN if the expectation is not finite.

    deviance, pearson         : Poisson deviance and Pearson's chi2
    n_merged                  : bins after merging
    ndf                       : merged bins less free parameters
    p_value, pearson_p_value  : probability of more, by the chi2 distribution; NaN without degrees of freedom
    """

    deviance: float
    pearson: float
    n_merged: int
    ndf: int
    p_value: float
    pearson_p_value: float


MERGE: Final = 5.0
"""Expected events below which adjacent bins are merged."""


def deviance(counts: FloatArray, expected: FloatArray) -> float:
    """Poisson deviance 2 sum_j [mu_j - n_j + n_j ln(n_j / mu_j)], a difference of likelihoods.

    counts, expected : (J,) events; expected > 0
    """
    return float(2.0 * np.sum(expected - counts + xlogy(counts, counts / expected)))


def goodness_of_fit(counts: FloatArray, expected: FloatArray, n_free: int) -> GoodnessOfFit:
    """Deviance and Pearson's chi2 over adjacent bins merged, from the left, to at least five expected events.

    counts, expected : (J,) events
    n_free           : fitted parameters
    """
    if not np.all(np.isfinite(expected)) or np.any(expected <= 0):
        nan = float("nan")
        return GoodnessOfFit(deviance=nan, pearson=nan, n_merged=0, ndf=0, p_value=nan, pearson_p_value=nan)
    first = merged_starts(expected)
    n, mu = np.add.reduceat(counts, first), np.add.reduceat(expected, first)
    ndf = int(first.size) - n_free
    dev, pearson = deviance(n, mu), float(np.sum((n - mu) ** 2 / mu))
    return GoodnessOfFit(
        deviance=dev,
        pearson=pearson,
        n_merged=int(first.size),
        ndf=ndf,
        p_value=float(chdtrc(ndf, dev)) if ndf > 0 else float("nan"),
        pearson_p_value=float(chdtrc(ndf, pearson)) if ndf > 0 else float("nan"),
    )


def uniformity(p_values: FloatArray) -> float:
    """Probability that probabilities which are uniform lie further from it, by the test of Kolmogorov and Smirnov.

    p_values : (N,)  in any order

    NaN without any.  Source of the finite-N form: M. A. Stephens, J. R. Stat. Soc. B 32 (1970) 115.
    """
    n = p_values.size
    if n == 0:
        return float("nan")
    ordered, steps = np.sort(p_values), np.arange(n + 1) / n
    distance = max(float(np.max(steps[1:] - ordered)), float(np.max(ordered - steps[:-1])))
    return float(kolmogorov(distance * (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n))))


def merged_starts(expected: FloatArray) -> IntArray:
    """First bin of each group, formed from the left; a remainder below the minimum joins the last group."""
    starts, held = [0], 0.0
    for j, mu in enumerate(expected):
        if held >= MERGE:
            starts.append(j)
            held = 0.0
        held += float(mu)
    if held < MERGE and len(starts) > 1:
        starts.pop()
    return np.array(starts, dtype=np.int64)
