"""Corrections applied to first order beside a refit with them: may the tracks be corrected without a refit?"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, check_shapes
from mucal.errors import InputError
from mucal.globalcor.corrections import GlobalCorrections
from mucal.globalcor.derivatives import QOP, apply, beyond_linear
from mucal.globalcor.refits import Refit
from mucal.store import Result
from mucal.track import Hits

LIMIT: Final = 5e-6
"""Of |q/p|, up to which the difference is negligible beside a scale known to 1e-5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearity(Result):
    """N tracks fitted on the assumed detector and corrected, and fitted again with the corrections.

    difference : (N,)  corrected q/p over that of the refit, minus 1; NaN where either fit failed
    moved      : (N,)  corrected over first q/p, minus 1
    beyond     : (N,)  moved by more than a tenth of its error: to be refitted in any case
    """

    difference: FloatArray
    moved: FloatArray
    beyond: BoolArray

    def __post_init__(self) -> None:
        check_shapes(self, moved=(self.difference.size,), beyond=(self.difference.size,))

    @property
    def ok(self) -> BoolArray:
        """(N,) whether both fits converged"""
        fitted: BoolArray = np.isfinite(self.difference)
        return fitted

    @property
    def share_within(self) -> float:
        """Of the tracks, those whose difference is below `LIMIT`."""
        return float(np.mean(np.abs(self.difference[self.ok]) < LIMIT))

    @property
    def mean(self) -> float:
        """Of the differences: what the first order does to a scale."""
        return float(np.mean(self.difference[self.ok]))

    def summary(self) -> list[str]:
        """A few lines for people."""
        size, moved = np.abs(self.difference[self.ok]), np.abs(self.moved[self.ok])
        return [
            f"{int(self.ok.sum())} tracks, moved by {np.median(moved):.2g} of q/p in the median",
            f"first order less refit: mean {self.mean:+.2g}, median size {np.median(size):.2g}, 99 % below "
            f"{np.quantile(size, 0.99):.2g}, largest {size.max():.2g}; {100 * self.share_within:.1f} % below {LIMIT:g}",
            f"{int(self.beyond.sum())} moved by more than a tenth of their error: refit these",
        ]  # fmt: skip


def linear_against_refit(refit: Refit, corrections: GlobalCorrections, hits: Hits) -> Linearity:
    """Tracks of hits corrected by J_ref theta, and refitted with theta.

    refit : on the assumed detector; its own corrections are not asked

    Raises InputError if no track can be fitted both ways.
    """
    before, _ = replace(refit, theta=np.zeros(0)).tracks(hits)
    after, _ = replace(refit, theta=corrections.theta).tracks(hits, profile=False)
    ok = before.ok & after.ok
    if not ok.any():
        raise InputError("none of these tracks could be fitted, with and without corrections", kind="refit.failed")
    derivatives = refit.derivatives(before)
    linear = apply(corrections, derivatives, before.state)
    error = np.sqrt(np.where(ok[:, None], np.einsum("nii->ni", before.cov), 1.0))
    beyond = np.zeros(len(hits), dtype=bool)
    beyond[beyond_linear(np.where(ok[:, None], linear - before.state, 0.0), error)] = True
    with np.errstate(invalid="ignore"):
        difference = np.where(ok, linear[:, QOP] / after.state[:, QOP] - 1.0, np.nan)
        moved = np.where(ok, linear[:, QOP] / before.state[:, QOP] - 1.0, np.nan)
    return Linearity(difference=difference, moved=moved, beyond=beyond)
