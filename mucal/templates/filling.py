"""Sums over events that add up over chunks, in any order and on any machine."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.store import Result
from mucal.templates import kernels
from mucal.templates.binning import CELLS, Binning


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """N events, as the pass wants them.

    n_read : events that it was chosen from, N or more
    bins   : (N,)    flat bin, -1 outside the selection
    weight : (N,)
    cell   : (N,)    cell of the generated boson in `binning.CELLS`; -1 if there is none
    shares : (N, 9)  helicity shares, adding to 1; zeros if there is no boson
    names  : (D,)    of the relative weights
    extra  : (N, D)  relative weights
    """

    n_read: int
    bins: IntArray
    weight: FloatArray
    cell: IntArray
    shares: FloatArray
    names: tuple[str, ...]
    extra: FloatArray

    def __post_init__(self) -> None:
        n = self.bins.size
        check_shapes(self, weight=(n,), cell=(n,), shares=(n, 9), extra=(n, len(self.names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums(Result):
    """Sums of one sample in B bins; `a + b` is that of both samples.

    names    : (D,)       of the relative weights
    nominal  : (B,)       sum of weights
    sumw2    : (B,)       sum of squared weights
    cells    : (B, G, 9)  sums of helicity shares by cell
    columns  : (B, D)     sums of weights times relative weights
    n_events : read
    n_filled : inside a bin
    """

    names: tuple[str, ...]
    nominal: FloatArray
    sumw2: FloatArray
    cells: FloatArray
    columns: FloatArray
    n_events: int
    n_filled: int

    def __post_init__(self) -> None:
        b = self.nominal.size
        check_shapes(self, sumw2=(b,), cells=(b, CELLS.n_bins, 9), columns=(b, len(self.names)))

    def __add__(self, other: "Sums") -> "Sums":
        if (self.names, self.nominal.size) != (other.names, other.nominal.size):
            raise ValueError("sums of different weights or bins do not add")
        return Sums(
            names=self.names,
            nominal=self.nominal + other.nominal,
            sumw2=self.sumw2 + other.sumw2,
            cells=self.cells + other.cells,
            columns=self.columns + other.columns,
            n_events=self.n_events + other.n_events,
            n_filled=self.n_filled + other.n_filled,
        )

    def scaled(self, factor: float) -> "Sums":
        """The same sample with every weight multiplied."""
        return Sums(
            names=self.names, nominal=factor * self.nominal, sumw2=factor**2 * self.sumw2, cells=factor * self.cells,
            columns=factor * self.columns, n_events=self.n_events, n_filled=self.n_filled,
        )  # fmt: skip

    @classmethod
    def zero(cls, n_bins: int, names: tuple[str, ...]) -> Self:
        """Nothing yet."""
        return cls(
            names=names, nominal=np.zeros(n_bins), sumw2=np.zeros(n_bins),
            cells=np.zeros((n_bins, CELLS.n_bins, 9)), columns=np.zeros((n_bins, len(names))), n_events=0, n_filled=0,
        )  # fmt: skip


def accumulate(binning: Binning, chunk: Chunk, onto: Sums | None = None) -> Sums:
    """The sums of a chunk.

    onto : sums of the same sample that are to grow; they are used up (their arrays are written to)

    Raises ValueError if `onto` holds other weights or bins, or an event lies in a bin that is not there.
    """
    sums = Sums.zero(binning.n_bins, chunk.names) if onto is None else onto
    if (sums.names, sums.nominal.size) != (chunk.names, binning.n_bins):
        raise ValueError("the sums to grow are of different weights or bins")
    if chunk.bins.size and (chunk.bins.max() >= binning.n_bins or chunk.cell.max() >= CELLS.n_bins):
        raise ValueError(f"an event lies in bin {chunk.bins.max()} of {binning.n_bins}")
    kernels.fill(
        np.argsort(chunk.bins, kind="stable"), chunk.bins, chunk.weight, chunk.cell,
        np.ascontiguousarray(chunk.shares), np.ascontiguousarray(chunk.extra),
        sums.nominal, sums.sumw2, sums.cells.reshape(binning.n_bins, -1), sums.columns,
    )  # fmt: skip
    return Sums(
        names=sums.names, nominal=sums.nominal, sumw2=sums.sumw2, cells=sums.cells, columns=sums.columns,
        n_events=sums.n_events + chunk.n_read, n_filled=sums.n_filled + int(np.sum(chunk.bins >= 0)),
    )  # fmt: skip
