"""Quantities made of fitted parameters, as differences and ratios, with their covariance."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.likelihood.profile_fit import FitResult
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Result):
    """D derived quantities.

    names  : (D,)
    values : (D,)
    cov    : (D, D)  by linear propagation
    slopes : (D, S)  derivatives by the parameters of the fit
    """

    names: tuple[str, ...]
    values: FloatArray
    cov: FloatArray
    slopes: FloatArray

    def __post_init__(self) -> None:
        d = len(self.names)
        check_shapes(self, values=(d,), cov=(d, d), slopes=(d, self.slopes.shape[-1]))

    @property
    def errors(self) -> FloatArray:
        """(D,) standard errors"""
        return np.sqrt(np.diag(self.cov))

    @property
    def correlation(self) -> FloatArray:
        """(D, D); 0 with a quantity that does not vary"""
        outer = np.outer(self.errors, self.errors)
        return np.divide(self.cov, outer, out=np.zeros_like(outer), where=outer > 0)


def sums(result: FitResult, weights: Mapping[str, Mapping[str, float]]) -> Derived:
    """Weighted sums of parameters: ``{"difference": {"m_plus": 1, "m_minus": -1}}``.  Exact, also for impacts.

    Raises NotCertified for a fit that did not converge.
    """
    slopes = np.array([direction(result, row) for row in weights.values()]).reshape(len(weights), -1)
    return _derived(result, tuple(weights), slopes @ result.values, slopes)


def ratios(result: FitResult, pairs: Mapping[str, tuple[str, str]]) -> Derived:
    """Ratios of parameters: ``{"r": ("mu_ttH", "mu_tH")}``, numerator first.

    Raises NotCertified for a fit that did not converge, ZeroDivisionError for a denominator at 0.
    """
    values, slopes = np.empty(len(pairs)), np.zeros((len(pairs), len(result.parameters)))
    for i, (above, below) in enumerate(pairs.values()):
        a, b = result.value(above), result.value(below)
        values[i] = a / b
        slopes[i] += direction(result, {above: 1 / b}) + direction(result, {below: -a / b**2})
    return _derived(result, tuple(pairs), values, slopes)


def direction(result: FitResult, weights: Mapping[str, float]) -> FloatArray:
    """(S,) weights of a sum in the order of the parameters.  Raises ValueError for an unknown name."""
    row = np.zeros(len(result.parameters))
    for name, weight in weights.items():
        row[result.place(name)] = weight
    return row


def _derived(result: FitResult, names: tuple[str, ...], values: FloatArray, slopes: FloatArray) -> Derived:
    result.require_converged()
    return Derived(names=names, values=values, cov=slopes @ result.cov @ slopes.T, slopes=slopes)
