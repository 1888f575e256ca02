"""How the parameters of fitted tracks move with the global parameters, and what corrections do to them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.globalcor.corrections import GlobalCorrections
from mucal.store import Result

LINEAR: Final = 0.1
"""Shift over the error of a track up to which it may be applied without a refit."""

QOP, LAM, PHI = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceDerivatives(Result):
    """J_ref of N tracks, from fits without a mass constraint: d state / d theta, sparse.

    digest  :          of the registry
    offsets : (N+1,)   rows offsets[i] .. offsets[i+1] belong to track i
    label   : (T,)     parameters
    values  : (T, c)   derivatives of the first c of QOP, LAM, PHI, DXY, DSZ; c >= 3
    """

    digest: str
    offsets: IntArray
    label: IntArray
    values: FloatArray

    def __post_init__(self) -> None:
        t = self.label.size
        if self.values.ndim != 2 or self.values.shape[0] != t or not 3 <= self.values.shape[1] <= 5:
            raise ValueError(
                f"ReferenceDerivatives.values has shape {self.values.shape}, expected ({t}, 3) to ({t}, 5)"
            )
        if self.offsets.size == 0 or self.offsets[-1] != t:
            raise ValueError(f"ReferenceDerivatives.offsets end at {self.offsets[-1:]}, expected {t}")

    @property
    def n_tracks(self) -> int:
        """N."""
        return int(self.offsets.size) - 1

    def matrix(self, component: int, n_parameters: int) -> sp.csr_array:
        """(N, P) derivatives of one component"""
        shape = (self.n_tracks, n_parameters)
        return sp.csr_array((self.values[:, component].astype(np.float64), self.label, self.offsets), shape=shape)

    def shift(self, theta: FloatArray) -> FloatArray:
        """J theta: (P,) -> (N, c), or (P, k) -> (N, c, k)."""
        parts = [self.matrix(i, theta.shape[0]) @ theta for i in range(self.values.shape[1])]
        return np.stack(parts, axis=1)


def apply(corrections: GlobalCorrections, derivatives: ReferenceDerivatives, state: FloatArray) -> FloatArray:
    """Fitted tracks with the corrections applied to first order: x + J_ref theta.

    state : (N, c) or more columns, in the order QOP, LAM, PHI, DXY, DSZ

    Returns an array of the same shape; the charge is the sign of its QOP.
    Raises InputError for derivatives by other parameters.  Source: docs/physics/globalcor.md.
    """
    _require_same(corrections, derivatives)
    c = derivatives.values.shape[1]
    if state.shape[0] != derivatives.n_tracks or state.shape[1] < c:
        raise ValueError(f"state has shape {state.shape}, expected ({derivatives.n_tracks}, {c} or more)")
    corrected = state.astype(np.float64)
    corrected[:, :c] += derivatives.shift(corrections.theta)
    return corrected


def uncertainty(corrections: GlobalCorrections, derivatives: ReferenceDerivatives) -> FloatArray:
    """Covariance J C J^T that the corrections give to each track: (N, c, c).

    From the whole covariance if the solve kept it, otherwise from its replicas or its low-rank factor.
    Raises InputError if the corrections hold none of them, or for derivatives by other parameters.
    """
    _require_same(corrections, derivatives)
    if corrections.covariance.size:
        return _from_covariance(corrections, derivatives)
    if corrections.replicas.shape[0] > 1:
        # deviates from the covariance have mean 0 by construction
        moved = derivatives.shift(np.ascontiguousarray(corrections.replicas.T))
        scattered: FloatArray = _outer(moved) / corrections.replicas.shape[0]
        return scattered
    if corrections.factor.shape[1]:
        moved = derivatives.shift(corrections.factor)
        return _outer(moved)
    raise InputError(
        "these corrections hold neither a covariance nor replicas nor a factor",
        kind="input.no_covariance",
        do="solve with covariance or replicas, or ask the solve for the probes J",
    )


def _outer(moved: FloatArray) -> FloatArray:
    """(N, c, k) -> (N, c, c)"""
    product: FloatArray = np.einsum("nak,nbk->nab", moved, moved)
    return product


def _from_covariance(corrections: GlobalCorrections, derivatives: ReferenceDerivatives) -> FloatArray:
    number = np.full(len(corrections.registry), -1, dtype=np.int64)
    number[corrections.free] = np.arange(corrections.covariance.shape[0])
    c = derivatives.values.shape[1]
    result = np.zeros((derivatives.n_tracks, c, c))
    for i in range(derivatives.n_tracks):
        rows = slice(derivatives.offsets[i], derivatives.offsets[i + 1])
        at = number[derivatives.label[rows]]
        j = derivatives.values[rows][at >= 0].astype(np.float64)
        at = at[at >= 0]
        result[i] = j.T @ corrections.covariance[np.ix_(at, at)] @ j
    return result


def beyond_linear(shift: FloatArray, error: FloatArray) -> IntArray:
    """Tracks that a correction moves by more than a tenth of their error in any component: refit these instead.

    shift : (N, c)   J theta
    error : (N, c)   standard errors of the fitted tracks
    """
    return np.flatnonzero(np.any(np.abs(shift) > LINEAR * error, axis=1))


def relative_curvature(moved: FloatArray, qop: FloatArray, lam: FloatArray) -> FloatArray:
    """delta k / k of a shift of the state, k = |q/p| / cos lambda: delta(q/p) / (q/p) + tan(lambda) delta(lambda).

    moved    : (N, c) or (N, c, k)
    qop, lam : (N,)

    Returns (N,) or (N, k).
    """
    shape = (-1,) + (1,) * (moved.ndim - 2)
    result: FloatArray = moved[:, QOP] / qop.reshape(shape) + np.tan(lam).reshape(shape) * moved[:, LAM]
    return result


def _require_same(corrections: GlobalCorrections, derivatives: ReferenceDerivatives) -> None:
    if corrections.digest != derivatives.digest:
        raise InputError(
            f"the corrections are of registry {corrections.digest[:16]}, the derivatives of {derivatives.digest[:16]}",
            kind="input.different_maps",
            do="refit with the parameter map of the corrections' registry",
        )
