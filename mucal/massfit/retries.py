"""Fits that failed, tried again with less freedom, step by step; what helped is recorded.

    1. started from the good fits of neighbouring bins        nothing is fixed: as good as any other fit
    2. the slope of the background fixed to theirs
    3. the width fixed to theirs as well                      no equation for the resolution
    4. the bin merged with its neighbour in pT                in data and simulation alike, and fitted from step 0
    5. dropped                                                its status stays, its numbers are NaN

Thin bins are merged beforehand (`occupancy`).  Step 4 concerns both samples: `fit_with_retries`, which sees one, goes
from 3 to 5; who has both calls `Merging.joined` for the `failed_bins` of either, fits again, and has the result
`marked`.  `scale.derive` counts what was dropped; it refuses to go on if more than 2 % of the events sit in such bins,
or all events of one charge in one bin of eta.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.massfit.batch import fit_bins
from mucal.massfit.bins import MassHistograms
from mucal.massfit.config import BatchConfig
from mucal.massfit.fits import MassFits
from mucal.massfit.occupancy import Merging
from mucal.massfit.status import Remedy, Status
from mucal.massfit.template import Template

RETRIED: Final = (Status.NOT_CONVERGED, Status.HESSIAN_NOT_PD, Status.AT_BOUNDARY)
NEAR: Final = 2
"""Steps of all four indices together within which a bin is a neighbour."""
FEWEST: Final = 3
"""Good neighbours that are needed; with fewer, all good fits stand in for them."""


def fit_with_retries(
    histograms: MassHistograms, config: BatchConfig, template: Template | None = None, *, n_threads: int | None = None
) -> MassFits:
    """`fit_bins`, and the ladder for the fits that did not converge.

    Arguments and errors are those of `fit_bins`.  A row of a later step replaces the failed one; fixed parameters have
    no variance; `remedies` tells the step.
    """
    fits = fit_bins(histograms, config, template, n_threads=n_threads)
    failed = np.flatnonzero(np.isin(fits.status, RETRIED))
    remedies = np.full(histograms.n_bins, int(Remedy.NONE))
    remedies[failed] = Remedy.DROPPED
    if failed.size == 0 or not np.any(fits.good):
        return replace(fits, remedies=remedies)
    typical = {int(row): _neighbours(fits, int(row)) for row in failed}
    arrays: dict[str, Any] = {name: np.array(getattr(fits, name)) for name in ROWS}
    for row, values in typical.items():
        for remedy, again in _steps(config, values, fits.width_parameter):
            one = fit_bins(_row(histograms, row), again, _template_of(template, row), n_threads=1)
            if one.good[0]:
                remedies[row] = remedy
                for name, array in arrays.items():
                    array[row] = getattr(one, name)[0]
                break
    return replace(fits, **arrays, remedies=remedies)


def marked(fits: MassFits, merging: Merging) -> MassFits:
    """The fits, with the remedy MERGED where one of the bins that are fitted together failed alone.

    merging : of the fitted histograms
    """
    if fits.remedies is None or not np.any(merging.failed):
        return fits
    merged = {tuple(row) for row in merging.into[merging.failed].tolist()}
    among = np.array([tuple(row) in merged for row in fits.histograms.index.tolist()])
    return replace(fits, remedies=np.where(among, np.maximum(fits.remedies, Remedy.MERGED), fits.remedies))


ROWS: Final = ("values", "cov", "expected", "deviance", "ndf", "p_value", "edm", "n_steps", "status")


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
