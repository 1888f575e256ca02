"""What is uncertain about field, material and alignment, as shifts of A, e and M: each mode a nuisance of its own.

The corrections theta of a detector have the covariance C.  A track moves with them by J theta (its state) and, of its
curvature, by

    delta k / k = delta(q/p) / (q/p) + tan(lambda) delta(lambda)  =  A - e k + q M / k      in each bin of eta,

solved for A, e, M by least squares over tracks that sample the bin.  So theta -> G theta, G (3B, P), and the
scale has the covariance G C G^T.  Modes of C are the columns of a square root of it in units of the parameters' errors,
ordered by what they do to the scale.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.errors import InputError
from mucal.globalcor import GlobalCorrections, ReferenceDerivatives, relative_curvature
from mucal.store import Result

KEPT: Final = 1.0 - 1e-9
"""Share of the scale's variance (in units of each parameter's) that the modes kept must hold."""
NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorModes(Result):
    """K modes of the global corrections as variations of the scale in B bins of eta, the largest first.

    eta_edges  : (B+1,)
    variations : (K, 3, B)  one standard deviation along each mode: shifts of A, e (GeV), M (1/GeV)
    leading    : K          the largest parameters of each mode, with their shares
    residual   : (3,)       rms over tracks of what A, e, M leave of delta k/k, of the modes' total, in each third of
                            the momenta, lowest first: how well three numbers a bin describe the detector
    """

    eta_edges: FloatArray
    variations: FloatArray
    leading: tuple[str, ...]
    residual: FloatArray

    def __post_init__(self) -> None:
        check_edges("DetectorModes.eta_edges", self.eta_edges)
        k = len(self.leading)
        check_shapes(self, variations=(k, 3, self.eta_edges.size - 1), residual=(3,))

    @property
    def cov(self) -> FloatArray:
        """(3B, 3B) covariance of A, e, M, each over all bins"""
        flat = self.variations.reshape(self.variations.shape[0], -1)
        result: FloatArray = flat.T @ flat
        return result


def propagate(
    corrections: GlobalCorrections, derivatives: ReferenceDerivatives, state: FloatArray, eta_edges: FloatArray
) -> DetectorModes:
    """The uncertainty of global corrections as modes of the momentum scale.

    corrections : with their covariance, replicas or low-rank factor
    derivatives : J_ref of N tracks that sample every eta bin with several momenta; tracks outside do not count
    state       : (N, 3 or more) of these tracks; QOP in 1/GeV, LAM in rad
    eta_edges   : (B+1,)

    Raises InputError if the corrections do not know their covariance or belong to other derivatives, ValueError for a
    bin of eta whose tracks do not determine A, e and M.  Derived in docs/physics/scale.md.
    """
    if corrections.digest != derivatives.digest:
        raise InputError(
            "the corrections and the derivatives are of different parameters",
            kind="input.different_maps",
            do="refit with the parameter map of the corrections' registry",
        )
    root = square_root(corrections)
    qop, lam = state[:, 0], state[:, 1]
    k = np.abs(qop) / np.cos(lam)
    moved = relative_curvature(derivatives.shift(root), qop, lam)
    eta_bin = (np.searchsorted(eta_edges, np.arcsinh(np.tan(lam)), side="right") - 1).astype(np.int64)
    solved, left = _fit(moved, k, np.sign(qop), eta_bin, eta_edges)
    inside = (eta_bin >= 0) & (eta_bin < eta_edges.size - 1)
    variations, rotation = _ordered(solved)
    return DetectorModes(
        eta_edges=eta_edges,
        variations=variations.reshape(-1, 3, eta_edges.size - 1),
        leading=tuple(_leading(corrections, column) for column in (root @ rotation).T),
        residual=_by_thirds(left[inside], k[inside]),
    )


def square_root(corrections: GlobalCorrections) -> FloatArray:
    """(P, K) columns whose outer products add to the covariance of the parameters.

    Raises InputError if the corrections hold no covariance, replicas or factor.
    """
    p = len(corrections.registry)
    if corrections.covariance.size:
        error = np.sqrt(np.diag(corrections.covariance))
        values, vectors = np.linalg.eigh(corrections.covariance / np.outer(error, error))
        root = np.zeros((p, values.size))
        root[corrections.free] = error[:, None] * vectors * np.sqrt(np.clip(values, 0.0, None))
        return root
    if corrections.replicas.shape[0] > 1:
        result: FloatArray = corrections.replicas.T / np.sqrt(corrections.replicas.shape[0])
        return result
    if corrections.factor.shape[1]:
        return corrections.factor
    raise InputError(
        "these corrections hold neither a covariance nor replicas nor a factor",
        kind="input.no_covariance",
        do="solve with covariance or replicas",
    )


def curvature_errors(cov: FloatArray, pt: float) -> tuple[FloatArray, FloatArray]:
    """(B,) errors of delta k/k at one pT (GeV): of its even part A - e/pT, and of its odd part M pT.

    cov : (3B, 3B) of A, e, M, each over all bins
    """
    b = len(cov) // 3
    one, none = np.eye(b), np.zeros((b, b))
    rows = np.concatenate([one, -one / pt, none], axis=1), np.concatenate([none, none, pt * one], axis=1)
    even, odd = (np.sqrt(np.einsum("bi,ij,bj->b", row, cov, row)) for row in rows)
    return even, odd


def _fit(
    moved: FloatArray, k: FloatArray, charge: FloatArray, eta_bin: IntArray, eta_edges: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(3, B, K) A, e, M of every mode, and (N, K) what they leave."""
    b = eta_edges.size - 1
    solved, left = np.zeros((3, b, moved.shape[1])), np.zeros_like(moved)
    for j in range(b):
        own = np.flatnonzero(eta_bin == j)
        design = np.stack([np.ones(own.size), -k[own], charge[own] / k[own]], axis=1)
        units = np.sqrt(np.mean(design**2, axis=0)) if own.size else np.ones(3)
        found, _, rank, _ = np.linalg.lstsq(design / units, moved[own], rcond=1e-6)
        if rank < 3:
            raise ValueError(
                f"{own.size} tracks in {eta_edges[j]:g} <= eta < {eta_edges[j + 1]:g} do not determine A, e and M; "
                "give tracks of several momenta in every bin"
            )
        solved[:, j] = found / units[:, None]
        left[own] = moved[own] - design @ solved[:, j]
    return solved, left


def _ordered(solved: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variations (K', 3B), the largest first, and the rotation (K, K') of the columns that gives them.

    In units of the median error of A, of e, of M, so that units do not choose the modes.
    """
    flat = solved.reshape(-1, solved.shape[-1])
    error = np.sqrt(np.sum(solved**2, axis=2))
    units = np.repeat([float(np.median(row[row > 0])) if np.any(row > 0) else 1.0 for row in error], error.shape[1])
    left, size, right = np.linalg.svd(flat / units[:, None], full_matrices=False)
    share = np.cumsum(size**2) / max(float(np.sum(size**2)), 1e-300)
    kept = int(np.searchsorted(share, KEPT)) + 1
    largest = np.argmax(np.abs(left[:, :kept]), axis=0)
    sign = np.sign(left[largest, np.arange(kept)])
    variations: FloatArray = (left[:, :kept] * (sign * size[:kept])).T * units
    rotation: FloatArray = right[:kept].T * sign
    return variations, rotation


def _leading(corrections: GlobalCorrections, column: FloatArray) -> str:
    """The parameters that a mode moves most, in units of their errors, with their shares of its square."""
    error = np.where(np.isfinite(corrections.error) & (corrections.error > 0), corrections.error, np.inf)
    pull = (column / error) ** 2
    total = float(pull.sum()) or 1.0
    order = np.argsort(-pull, kind="stable")[:NAMED]
    return ", ".join(f"{corrections.registry.names[i]} ({pull[i] / total:.0%})" for i in order)


def _by_thirds(left: FloatArray, k: FloatArray) -> FloatArray:
    total = np.sqrt(np.sum(left**2, axis=1))
    parts = np.array_split(np.argsort(-k, kind="stable"), 3)
    return np.array([np.sqrt(np.mean(total[part] ** 2)) if part.size else 0.0 for part in parts])
