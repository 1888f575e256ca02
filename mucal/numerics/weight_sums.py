"""Kish's effective number of weighted entries, and the one entry that weighs most."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray

SHARE: Final = 0.01
"""Part of a sum that one entry may have before it is named; of few entries each has as much."""

ABOVE_MEAN: Final = 10.0
"""And this many times the mean weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSums:
    """Sums over the weights w of a sample; parts of a sample add in order.

    n       : entries
    total   : sum of w
    size    : sum of |w|
    squares : sum of w^2
    largest : the largest |w|
    row     : its place, counted from 0
    """

    n: int = 0
    total: float = 0.0
    size: float = 0.0
    squares: float = 0.0
    largest: float = 0.0
    row: int = 0

    @classmethod
    def of(cls, weights: FloatArray) -> "WeightSums":
        """Of weights (N,); those that are not finite count as 0."""
        w = np.where(np.isfinite(weights), weights, 0.0)
        if not w.size:
            return cls()
        row = int(np.argmax(np.abs(w)))
        return cls(
            n=w.size, total=float(w.sum()), size=float(np.abs(w).sum()), squares=float(w @ w),
            largest=float(abs(w[row])), row=row,
        )  # fmt: skip

    def __add__(self, other: "WeightSums") -> "WeightSums":
        ahead = other.largest > self.largest
        return WeightSums(
            n=self.n + other.n, total=self.total + other.total, size=self.size + other.size,
            squares=self.squares + other.squares, largest=max(self.largest, other.largest),
            row=self.n + other.row if ahead else self.row,
        )  # fmt: skip

    @property
    def effective(self) -> float:
        """(sum w)^2 / sum w^2: so many entries of equal weight have the same relative error; 0 if all weights are 0."""
        return self.total**2 / self.squares if self.squares > 0 else 0.0

    @property
    def dominated(self) -> bool:
        """Whether one entry has more than 1 % of the sum of |w|, and ten times the mean."""
        return self.largest > max(SHARE, ABOVE_MEAN / max(self.n, 1)) * self.size

    def warning(self, what: str) -> str:
        """A sentence about the entry that dominates `what`; empty if none does."""
        if not self.dominated:
            return ""
        return (
            f"row {self.row} of {what} has {100 * self.largest / self.size:.1f} % of all weight: {self.effective:.0f} "
            f"of {self.n} rows count; look at its weight, or clip it"
        )
