"""Mass histograms in bins of (eta+, pT+, eta-, pT-): filled in chunks, added in any order."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_edges, check_shapes, same_edges
from mucal.store import Result
from mucal.track import Dimuons, curvature_weights

ETA_PLUS: Final = 0
PT_PLUS: Final = 1
ETA_MINUS: Final = 2
PT_MINUS: Final = 3

SUMS: Final = ("w", "wk", "wpt", "w2", "w2_pt2")
"""Per muon, what is summed over a bin's events: w, w k, w pT, w^2, w^2 pT^2 (k = 1/pT in 1/GeV, pT in GeV)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binning:
    """Edges of the kinematic bins and of the mass axis.

    eta_edges  : (E+1,)      pseudorapidity of each muon; of |eta| if `abs_eta`
    pt_edges   : (P+1,) GeV  transverse momentum of each muon
    mass_edges : (M+1,) GeV  pair mass
    abs_eta    : bin in |eta|, which halves the number of bins per muon
    """

    eta_edges: FloatArray
    pt_edges: FloatArray
    mass_edges: FloatArray
    abs_eta: bool = False

    def __post_init__(self) -> None:
        for name in ("eta_edges", "pt_edges", "mass_edges"):
            check_edges(f"Binning.{name}", getattr(self, name))
        if self.abs_eta and self.eta_edges[0] < 0:
            raise ValueError(f"Binning.eta_edges start at {self.eta_edges[0]}; in |eta| they start at 0 or above")
        if self.pt_edges[0] <= 0:
            raise ValueError(f"Binning.pt_edges start at {self.pt_edges[0]} GeV; expected a positive momentum")


@dataclass(frozen=True, slots=True, kw_only=True)
class MassHistograms(Result):
    """Mass histograms of the B occupied kinematic bins, ordered by bin index, and what `scale` averages over each.

    eta_edges  : (E+1,)       pseudorapidity, or |eta| if `abs_eta`
    pt_edges   : (P+1,) GeV
    mass_edges : (M+1,) GeV
    abs_eta    : whether the eta bins are bins of |eta|
    index      : (B, 4)       bin numbers in the order ETA_PLUS, PT_PLUS, ETA_MINUS, PT_MINUS
    counts     : (B, M)       events per mass bin
    sums       : (B, 2, 5)    per muon PLUS, MINUS, sums over the bin's events of the quantities named by `SUMS`
    """

    eta_edges: FloatArray
    pt_edges: FloatArray
    mass_edges: FloatArray
    abs_eta: bool
    index: IntArray
    counts: FloatArray
    sums: FloatArray

    def __post_init__(self) -> None:
        b = self.index.shape[0]
        check_shapes(self, index=(b, 4), counts=(b, self.mass_edges.size - 1), sums=(b, 2, len(SUMS)))

    @property
    def n_bins(self) -> int:
        """B, the number of occupied bins."""
        return int(self.index.shape[0])

    @property
    def n_events(self) -> FloatArray:
        """(B,) events in each bin"""
        result: FloatArray = self.counts.sum(axis=1)
        return result

    def mean(self, name: str) -> FloatArray:
        """(B, 2) average over a bin's events of one of `SUMS`, for PLUS and MINUS; NaN in an empty bin."""
        with np.errstate(invalid="ignore", divide="ignore"):
            result: FloatArray = self.sums[:, :, SUMS.index(name)] / self.n_events[:, None]
        return result

    def __add__(self, other: "MassHistograms") -> "MassHistograms":
        """The histograms of both samples; raises ValueError if the binnings differ."""
        for name in ("eta_edges", "pt_edges", "mass_edges", "abs_eta"):
            if not same_edges(getattr(self, name), getattr(other, name)):
                raise ValueError(f"cannot add mass histograms with different {name}")
        index, place = np.unique(np.concatenate([self.index, other.index]), axis=0, return_inverse=True)
        place = place.reshape(-1)
        counts = np.zeros((index.shape[0], self.mass_edges.size - 1))
        sums = np.zeros((index.shape[0], 2, len(SUMS)))
        for part, rows in ((self, place[: self.n_bins]), (other, place[self.n_bins :])):
            counts[rows] += part.counts
            sums[rows] += part.sums
        return MassHistograms(
            eta_edges=self.eta_edges,
            pt_edges=self.pt_edges,
            mass_edges=self.mass_edges,
            abs_eta=self.abs_eta,
            index=index,
            counts=counts,
            sums=sums,
        )


def regrouped(histograms: MassHistograms, index: IntArray) -> MassHistograms:
    """The histograms with the bins of equal index added.

    index : (B, 4)  the new one of each bin
    """
    found, row = np.unique(index.reshape(-1, 4), axis=0, return_inverse=True)
    counts = np.zeros((found.shape[0], histograms.counts.shape[1]))
    sums = np.zeros((found.shape[0], *histograms.sums.shape[1:]))
    np.add.at(counts, row.reshape(-1), histograms.counts)
    np.add.at(sums, row.reshape(-1), histograms.sums)
    return replace(histograms, index=found, counts=counts, sums=sums)


@dataclass(frozen=True, slots=True)
class Placed:
    """Which pairs a binning takes, and where.

    inside : (N,)    opposite-charge pairs within all edges
    index  : (B, 4)  the occupied bins, in order
    row    : (K,)    of `index`, for each pair inside
    mass   : (K,)    mass bin of each pair inside
    """

    inside: BoolArray
    index: IntArray
    row: IntArray
    mass: IntArray


def place(dimuons: Dimuons, binning: Binning) -> Placed:
    """The bins of opposite-charge pairs; bins are [low, high)."""
    eta = np.abs(dimuons.eta) if binning.abs_eta else dimuons.eta
    eta_bin = np.searchsorted(binning.eta_edges, eta, side="right") - 1
    pt_bin = np.searchsorted(binning.pt_edges, dimuons.pt, side="right") - 1
    mass_bin = np.searchsorted(binning.mass_edges, dimuons.mass, side="right") - 1
    n_eta, n_pt, n_mass = binning.eta_edges.size - 1, binning.pt_edges.size - 1, binning.mass_edges.size - 1
    inside = (
        np.all((eta_bin >= 0) & (eta_bin < n_eta) & (pt_bin >= 0) & (pt_bin < n_pt), axis=1)
        & (mass_bin >= 0)
        & (mass_bin < n_mass)
        & (dimuons.charge[:, 0] == 1)
        & (dimuons.charge[:, 1] == -1)
    )
    shape = (n_eta, n_pt, n_eta, n_pt)
    four = (eta_bin[inside, 0], pt_bin[inside, 0], eta_bin[inside, 1], pt_bin[inside, 1])
    occupied, row = np.unique(np.ravel_multi_index(four, shape), return_inverse=True)
    index = np.stack(np.unravel_index(occupied, shape), axis=1).astype(np.int64)
    return Placed(inside=inside, index=index, row=row.reshape(-1), mass=mass_bin[inside])


def fill(dimuons: Dimuons, binning: Binning) -> MassHistograms:
    """Mass histograms of opposite-charge pairs; pairs outside the kinematic or mass edges are left out.

    Chunks of a sample may be filled separately and added.  Bins are [low, high).
    """
    placed, n_mass = place(dimuons, binning), binning.mass_edges.size - 1
    kept, row, b = dimuons.select(placed.inside), placed.row, placed.index.shape[0]
    counts = np.bincount(row * n_mass + placed.mass, minlength=b * n_mass).reshape(b, n_mass)
    w = curvature_weights(kept.pt, kept.eta, kept.phi)
    summands = (w, w / kept.pt, w * kept.pt, w**2, (w * kept.pt) ** 2)
    sums = np.empty((b, 2, len(SUMS)))
    for j, summand in enumerate(summands):
        for muon in (0, 1):
            sums[:, muon, j] = np.bincount(row, weights=summand[:, muon], minlength=b)
    return MassHistograms(
        eta_edges=binning.eta_edges,
        pt_edges=binning.pt_edges,
        mass_edges=binning.mass_edges,
        abs_eta=binning.abs_eta,
        index=placed.index,
        counts=counts.astype(np.float64),
        sums=sums,
    )


def matching_rows(wanted: MassHistograms, having: MassHistograms) -> IntArray:
    """(B,) the row of `having` with the same bin as each row of `wanted`, -1 where there is none.

    Raises ValueError if the kinematic binnings differ.
    """
    for name in ("eta_edges", "pt_edges", "abs_eta"):
        if not same_edges(getattr(wanted, name), getattr(having, name)):
            raise ValueError(f"data and simulation were binned with different {name}; fill both with one binning")
    n_eta, n_pt = wanted.eta_edges.size - 1, wanted.pt_edges.size - 1
    shape = (n_eta, n_pt, n_eta, n_pt)
    row_of = np.full(n_eta * n_pt * n_eta * n_pt, -1, dtype=np.int64)
    row_of[np.ravel_multi_index(tuple(having.index.T), shape)] = np.arange(having.n_bins)
    result: IntArray = row_of[np.ravel_multi_index(tuple(wanted.index.T), shape)]
    return result
