"""The response of simulated muons as it is, tails and all: what weights need that a Gaussian does not know.

r = k / k_gen, the measured over the generated curvature.  In every cell of charge, generated pT and eta the quantile
function is a polynomial in the normal score z, r(z) = sum_j c_j z^j, through quantiles of the simulated muons; between
centres of cells the c_j, and so the quantiles, are linear.  With p(r) = phi(z) / r'(z),

    -p'/p = (z + r''/r') / r',        p''/p = (p'/p)^2 + (p'/p)'.

A shift of the curvature by d k_gen changes a muon's weight by the factor 1 - d p'/p, a variance v that is added by
1 + v/2 p''/p.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import polynomial
from scipy.special import ndtr, ndtri

from mucal.arrays import BoolArray, FloatArray, IntArray, check_edges, check_shapes
from mucal.store import Result

PT_EDGES: Final = np.linspace(9.0, 81.0, 46)
ETA_EDGES: Final = np.linspace(-2.4, 2.4, 49)
R_EDGES: Final = np.linspace(0.8, 1.2, 801)
SCORES: Final = np.linspace(-4.0, 4.0, 33)
"""Normal scores of the quantiles."""
DEGREE: Final = 5
FEWEST: Final = 500
"""Muons that a cell needs."""
BEYOND: Final = 5.0
"""Scores beyond this are taken at it."""
NEWTON: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCounts(Result):
    """Muons by charge (-1, +1), generated pT (GeV), generated eta and r; parts of a sample add.

    pt_edges (P+1,), eta_edges (E+1,), r_edges (R+1,); counts : (2, P, E, R)
    """

    pt_edges: FloatArray
    eta_edges: FloatArray
    r_edges: FloatArray
    counts: FloatArray

    def __post_init__(self) -> None:
        for name in ("pt_edges", "eta_edges", "r_edges"):
            check_edges(f"ResponseCounts.{name}", getattr(self, name))
        shape = (2, self.pt_edges.size - 1, self.eta_edges.size - 1, self.r_edges.size - 1)
        check_shapes(self, counts=shape)

    def __add__(self, other: "ResponseCounts") -> "ResponseCounts":
        """Both samples together; raises ValueError for different bins."""
        for name in ("pt_edges", "eta_edges", "r_edges"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(f"cannot add responses with different {name}")
        return ResponseCounts(
            pt_edges=self.pt_edges, eta_edges=self.eta_edges, r_edges=self.r_edges, counts=self.counts + other.counts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseMap(Result):
    """Quantile functions of the response.

    pt_edges     : (P+1,) GeV        of the generated momentum
    eta_edges    : (E+1,)
    coefficients : (2, P, E, D+1)    c_j by charge (-1, +1); NaN in a cell of too few muons
    n_muons      : (2, P, E)
    """

    pt_edges: FloatArray
    eta_edges: FloatArray
    coefficients: FloatArray
    n_muons: FloatArray

    def __post_init__(self) -> None:
        for name in ("pt_edges", "eta_edges"):
            check_edges(f"ResponseMap.{name}", getattr(self, name))
        cells = (2, self.pt_edges.size - 1, self.eta_edges.size - 1)
        check_shapes(self, coefficients=(*cells, DEGREE + 1), n_muons=cells)


def count_response(
    pt: FloatArray, pt_gen: FloatArray, eta_gen: FloatArray, charge: FloatArray | IntArray, *,
    pt_edges: FloatArray = PT_EDGES, eta_edges: FloatArray = ETA_EDGES, r_edges: FloatArray = R_EDGES,
) -> ResponseCounts:  # fmt: skip
    """Simulated muons (N,) by their response; r beyond its edges counts in the last bin, others outside do not.

    pt, pt_gen : GeV   measured (as it will be used: smeared, if it is) and generated
    eta_gen    :
    charge     : +1 or -1, generated
    """
    cells = [
        (np.asarray(charge) > 0).astype(np.int64),
        np.searchsorted(pt_edges, pt_gen, side="right") - 1,
        np.searchsorted(eta_edges, eta_gen, side="right") - 1,
        np.clip(np.searchsorted(r_edges, pt_gen / pt, side="right") - 1, 0, r_edges.size - 2),
    ]
    shape = (2, pt_edges.size - 1, eta_edges.size - 1, r_edges.size - 1)
    inside = np.all([(at >= 0) & (at < n) for at, n in zip(cells, shape, strict=True)], axis=0) & (pt > 0)
    flat = np.ravel_multi_index(tuple(at[inside] for at in cells), shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
    return ResponseCounts(pt_edges=pt_edges, eta_edges=eta_edges, r_edges=r_edges, counts=counts)


def response_map(counts: ResponseCounts, *, fewest: int = FEWEST) -> ResponseMap:
    """The quantile functions of every cell with at least `fewest` muons, by weighted least squares.

    A quantile at the score z of n muons has the variance Phi (1 - Phi) / (n p^2), p = phi(z) / r'(z): its weight is
    phi^2 / (Phi (1 - Phi)), whatever the width.
    """
    n_muons = counts.counts.sum(axis=3)
    coefficients = np.full((*n_muons.shape, DEGREE + 1), np.nan)
    phi = np.exp(-0.5 * SCORES**2) / np.sqrt(2.0 * np.pi)
    weight = phi / np.sqrt(ndtr(SCORES) * ndtr(-SCORES))
    for cell in zip(*np.nonzero(n_muons >= fewest), strict=True):
        below = np.concatenate([[0.0], np.cumsum(counts.counts[cell])]) / n_muons[cell]
        known = np.abs(SCORES) <= -ndtri(5.0 / n_muons[cell])  # five muons beyond it
        rising = np.concatenate([[True], np.diff(below) > 0])
        quantiles = np.interp(ndtr(SCORES[known]), below[rising], counts.r_edges[rising])
        coefficients[cell] = polynomial.polyfit(SCORES[known], quantiles, DEGREE, w=weight[known])
    return ResponseMap(pt_edges=counts.pt_edges, eta_edges=counts.eta_edges, coefficients=coefficients, n_muons=n_muons)


def response_slopes(
    response: ResponseMap, pt: FloatArray, pt_gen: FloatArray, eta_gen: FloatArray, charge: FloatArray | IntArray
) -> tuple[FloatArray, FloatArray]:
    """-p'/p and p''/(2 p) at the response of N muons; 0, a weight of 1, where the map has no muons.

    Arguments as for `count_response`.
    """
    c, known = _interpolated(response, pt_gen, eta_gen, np.asarray(charge) > 0)
    r = np.where(known, pt_gen / pt, 0.0)
    c = np.where(known[:, None], c, np.eye(1, DEGREE + 1, 1))
    derivatives = [polynomial.polyder(np.eye(DEGREE + 1), order, axis=0) for order in range(4)]

    def at(z: FloatArray, order: int) -> FloatArray:
        """(N,) derivative of r(z)"""
        powers = polynomial.polyvander(z, DEGREE - order)
        result: FloatArray = np.einsum("nk,kj,nj->n", powers, derivatives[order], c)
        return result

    z = np.clip((r - c[:, 0]) / c[:, 1], -BEYOND, BEYOND)
    for _ in range(NEWTON):
        slope = at(z, 1)
        z = np.clip(z - (at(z, 0) - r) / np.where(slope > 0, slope, c[:, 1]), -BEYOND, BEYOND)
    first, second, third = (at(z, order) for order in (1, 2, 3))
    usable = known & (first > 0)
    first = np.where(usable, first, 1.0)
    bend = second / first
    rate = -(z + bend) / first  # p'/p
    change = (-(1.0 + third / first - bend**2) / first - rate * bend) / first  # its derivative by r
    return np.where(usable, -rate, 0.0), np.where(usable, 0.5 * (rate**2 + change), 0.0)


def _interpolated(
    response: ResponseMap, pt: FloatArray, eta: FloatArray, positive: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """(N, D+1) coefficients, linear between centres of cells, flat beyond the outer ones; and where all are known."""
    inside = (pt >= response.pt_edges[0]) & (pt < response.pt_edges[-1])
    inside &= (eta >= response.eta_edges[0]) & (eta < response.eta_edges[-1])
    found = np.zeros((np.size(pt), DEGREE + 1))
    along = [_between(edges, x) for edges, x in ((response.pt_edges, pt), (response.eta_edges, eta))]
    (i, u), (j, v) = along
    q = positive.astype(np.int64)
    n_pt, n_eta = response.n_muons.shape[1:]
    for di, of_pt in ((0, 1.0 - u), (1, u)):
        for dj, of_eta in ((0, 1.0 - v), (1, v)):
            share = of_pt * of_eta
            corner = response.coefficients[q, np.minimum(i + di, n_pt - 1), np.minimum(j + dj, n_eta - 1)]
            found += np.where(share[:, None] > 0, share[:, None] * corner, 0.0)
    return found, inside & np.all(np.isfinite(found), axis=1)


def _between(edges: FloatArray, x: FloatArray) -> tuple[IntArray, FloatArray]:
    """The cell whose centre lies below x, and how far x is on the way to the next one, 0 to 1."""
    centre = 0.5 * (edges[1:] + edges[:-1])
    i = np.clip(np.searchsorted(centre, x, side="right") - 1, 0, max(centre.size - 2, 0)).astype(np.int64)
    if centre.size == 1:
        return i, np.zeros(np.shape(x))
    return i, np.clip((x - centre[i]) / (centre[i + 1] - centre[i]), 0.0, 1.0)
