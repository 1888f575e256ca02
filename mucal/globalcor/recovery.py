"""Injected against recovered: the corrections beside what a closure put into the detector."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray, check_shapes
from mucal.globalcor.corrections import GlobalCorrections
from mucal.globalcor.registry import Registry
from mucal.store import Result

SMALLEST: Final = 1e-9
"""Eigenvalue of a correlation matrix below which a combination counts as known exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedParameters(Result):
    """What a perfect solve would find.

    registry : the parameters
    theta    : (P,)  NaN for a parameter of which the distortions say nothing
    """

    registry: Registry
    theta: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, theta=(len(self.registry),))


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRecovery:
    """The parameters of one kind, injected against recovered.

    names               : N
    injected, recovered : (N,)
    error               : (N,)   of the solve, priors included
    chi2, ndf, p_value  :        of the difference, with the covariance between them
    """

    names: tuple[str, ...]
    injected: FloatArray
    recovered: FloatArray
    error: FloatArray
    chi2: float
    ndf: int
    p_value: float

    @property
    def pulls(self) -> FloatArray:
        """(N,) (recovered - injected) / error"""
        result: FloatArray = (self.recovered - self.injected) / self.error
        return result


def recovery_of_kind(corrections: GlobalCorrections, injected: InjectedParameters, kind: str) -> KindRecovery | None:
    """The fitted parameters of a kind whose truth is known; None if there are none.

    chi2 = d^T C^-1 d with d = recovered - injected and C their part of the covariance; where C has no inverse, over
    the combinations that it knows.  A prior pulls the recovered value towards 0: C holds that where the truth is of
    the prior's size, and is too small for a truth far beyond it.

    corrections : with the whole covariance

    Raises ValueError for truths of another registry.
    """
    if injected.registry.map.digest != corrections.digest:
        raise ValueError("the injected parameters are those of another registry")
    chosen = corrections.free & corrections.registry.of_kind(kind) & np.isfinite(injected.theta)
    if not chosen.any():
        return None
    inside = chosen[corrections.free]
    cov = corrections.covariance[np.ix_(inside, inside)]
    difference, sigma = (corrections.theta - injected.theta)[chosen], np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(sigma, sigma))
    known = values > SMALLEST
    whitened = (vectors[:, known].T @ (difference / sigma)) / np.sqrt(values[known])
    chi2, ndf = float(whitened @ whitened), int(known.sum())
    return KindRecovery(
        names=tuple(name for name, use in zip(corrections.registry.names, chosen.tolist(), strict=True) if use),
        injected=injected.theta[chosen], recovered=corrections.theta[chosen], error=sigma, chi2=chi2, ndf=ndf,
        p_value=float(chdtrc(ndf, chi2)),
    )  # fmt: skip
