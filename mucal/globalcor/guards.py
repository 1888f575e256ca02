"""Candidates that a sum must not hold: what is wrong with each, in the order in which it is looked for."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.globalcor import kernels
from mucal.refit import ProfiledBlocks

REASONS: Final = ("nonfinite", "weight", "chi2", "gradient", "hessian", "excluded")
"""Not finite; a negative weight; chi2/ndof, a gradient or a Hessian beyond the limit; named by the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """Limits on single candidates, in native units.

    chi2_per_ndof : largest chi2/ndof
    gradient      : largest |g|
    hessian       : largest |H|
    share         : share of one candidate in a diagonal element of the sum above which it is named: that is known when
                    all is summed, and a second sum can leave it out, see `to_exclude`
    """

    chi2_per_ndof: float = 3.0
    gradient: float = 1e6
    hessian: float = 1e8
    share: float = 0.05

    def __post_init__(self) -> None:
        if not (self.chi2_per_ndof > 0 and self.gradient > 0 and self.hessian > 0 and 0 < self.share <= 1):
            raise ValueError(f"{self}: limits must be positive, and the share at most 1")


def judge(
    blocks: ProfiledBlocks, config: GuardConfig, excluded: IntArray | None = None
) -> tuple[BoolArray, IntArray, FloatArray]:
    """Which candidates may be summed.

    excluded : candidates to leave out, by their number in the chunk's file

    Returns used (C,), the reason of each that is not (C,) as an index in `REASONS`, -1 for those used, and the
    diagonals of their Hessians (T,), NaN or infinite where the factor is.
    """
    diagonal = np.empty(blocks.label.size)
    kernels.diagonals(blocks.label_offsets, blocks.n_rows, blocks.factor_offsets, blocks.factor, diagonal)
    finite = np.isfinite(blocks.gradient) & np.isfinite(diagonal)
    largest_gradient = _largest(np.where(finite, np.abs(blocks.gradient), 0.0), blocks.label_offsets)
    largest_hessian = _largest(np.where(finite, diagonal, 0.0), blocks.label_offsets)
    infinite = _largest(np.where(finite, 0.0, 1.0), blocks.label_offsets) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        faults = [
            infinite | ~np.isfinite(blocks.chi2) | ~np.isfinite(blocks.weight),
            blocks.weight < 0,
            ~(blocks.chi2 <= config.chi2_per_ndof * blocks.ndof),
            largest_gradient > config.gradient,
            largest_hessian > config.hessian,
            np.zeros(len(blocks), dtype=bool) if excluded is None else np.isin(blocks.candidate, excluded),
        ]
    reason = np.select(faults, list(range(len(REASONS))), default=-1).astype(np.int64)
    return reason < 0, reason, diagonal


def _largest(values: FloatArray, offsets: IntArray) -> FloatArray:
    """(C,) the largest value of each candidate, 0 for one without labels; of numbers that are not negative."""
    largest = np.zeros(offsets.size - 1)
    some = np.diff(offsets) > 0
    if values.size:
        largest[some] = np.maximum.reduceat(values, offsets[:-1][some])
    return largest
