"""Fits that failed, tried again with less freedom, step by step; what helped is recorded.

    1. started from the good fits of neighbouring bins        nothing is fixed: as good as any other fit
    2. the slope of the background fixed to theirs
    3. the width fixed to theirs as well                      no equation for the resolution

Thin bins are merged beforehand (`occupancy`).  What still fails keeps its status and its NaN: `scale.derive` counts it
and refuses to go on if more than 2 % of the events sit in such bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import StatusEnum
from mucal.massfit.batch import fit_bins
from mucal.massfit.bins import MassHistograms
from mucal.massfit.config import BatchConfig
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status
from mucal.massfit.template import Template

RETRIED: Final = (Status.NOT_CONVERGED, Status.HESSIAN_NOT_PD, Status.AT_BOUNDARY)
NEAR: Final = 2
"""Steps of all four indices together within which a bin is a neighbour."""
FEWEST: Final = 3
"""Good neighbours that are needed; with fewer, all good fits stand in for them."""


class Remedy(StatusEnum):
    """What made a fit succeed; every member carries a sentence."""

    NONE = 0, "the first fit is the result, good or not"
    NEIGHBOURS = 1, "started from the values of neighbouring bins"
    FIXED_SLOPE = 2, "with the slope of the background fixed to that of the neighbours"
    FIXED_WIDTH = 3, "with slope and width fixed to those of the neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Fits of all bins after the ladder.

    fits     : a row of a later step replaces the failed one; fixed parameters have no variance
    remedies : (B,)  `Remedy` of each
    """

    fits: MassFits
    remedies: IntArray

    def __post_init__(self) -> None:
        check_shapes(self, remedies=(self.fits.histograms.n_bins,))

    def lines(self) -> list[str]:
        """One line for each remedy that was needed."""
        found = [(Remedy(int(r)), int(n)) for r, n in zip(*np.unique(self.remedies, return_counts=True), strict=True)]
        return [f"{n} mass fits {remedy.sentence}" for remedy, n in found if remedy != Remedy.NONE]


def fit_with_retries(
    histograms: MassHistograms, config: BatchConfig, template: Template | None = None, *, n_threads: int | None = None
) -> Retried:
    """`fit_bins`, and the ladder for the fits that did not converge.

    Arguments and errors are those of `fit_bins`.
    """
    fits = fit_bins(histograms, config, template, n_threads=n_threads)
    remedies = np.zeros(histograms.n_bins, dtype=np.int64)
    failed = np.flatnonzero(np.isin(fits.status, RETRIED))
    if failed.size == 0 or not np.any(fits.good):
        return Retried(fits=fits, remedies=remedies)
    typical = {int(row): _neighbours(fits, int(row)) for row in failed}
    arrays = {name: getattr(fits, name).copy() for name in ROWS}
    for row, values in typical.items():
        for remedy, again in _steps(config, values, fits.width_parameter):
            one = fit_bins(_row(histograms, row), again, _template_of(template, row), n_threads=1)
            if one.good[0]:
                remedies[row] = remedy
                for name, array in arrays.items():
                    array[row] = getattr(one, name)[0]
                break
    return Retried(fits=replace(fits, **arrays), remedies=remedies)


ROWS: Final = ("values", "cov", "deviance", "ndf", "p_value", "edm", "n_steps", "status")


def _steps(config: BatchConfig, values: dict[str, float], width: str) -> Iterator[tuple[Remedy, BatchConfig]]:
    start = {name: value for name, value in values.items() if name != "ln_n"}
    once = replace(config, start=start, max_attempts=1)  # every attempt would begin at this start
    yield Remedy.NEIGHBOURS, once
    slope = {"slope": values["slope"]}
    yield Remedy.FIXED_SLOPE, replace(once, fixed={**config.fixed, **slope})
    both = {**slope, width: values[width]}
    yield Remedy.FIXED_WIDTH, replace(once, fixed={**config.fixed, **both})


def _neighbours(fits: MassFits, row: int) -> dict[str, float]:
    """Medians of the good fits nearby."""
    index = fits.histograms.index
    near = fits.good & (np.abs(index - index[row]).sum(axis=1) <= NEAR)
    used = near if int(near.sum()) >= FEWEST else fits.good
    medians: FloatArray = np.median(fits.values[used], axis=0)
    return dict(zip(fits.parameters, medians.tolist(), strict=True))


def _row(histograms: MassHistograms, row: int) -> MassHistograms:
    at = slice(row, row + 1)
    return replace(histograms, index=histograms.index[at], counts=histograms.counts[at], sums=histograms.sums[at])


def _template_of(template: Template | None, row: int) -> Template | None:
    if template is None or template.weights.ndim == 1:
        return template
    return replace(template, weights=template.weights[row : row + 1])
