"""Pairs of resonances that take no part in the corrections: as first fitted, and with the corrections."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.detector import Detector
from mucal.globalcor import GlobalCorrections, Refit
from mucal.store import Result
from mucal.workflow.probes import curvature_slopes
from mucal.workflow.progress import Tell
from mucal.workflow.recorded_pairs import hits_of, refitted
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.stages import Folder
from mucal.workflow.tracks_config import Tracked

FOR_SLOPE: Final = 1_000
"""Pairs over which the slope of the mass is averaged: it is known to a few percent with these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSlope(Result):
    """How the mean mass of a sample moves with the corrections.

    slope : (F,)  d <ln m> / d theta of the free parameters
    error :       of <ln m>, from the covariance of the corrections
    """

    slope: FloatArray
    error: float

    def __post_init__(self) -> None:
        check_shapes(self, slope=(self.slope.size,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingPairs:
    """One closing resonance.

    resonance     : its name
    before, after : pairs of the true detector refitted on the assumed one, and with all corrections
    simulation    : pairs of the assumed detector
    mass          : how well the corrections know its mean mass
    """

    resonance: str
    before: RefittedPairs
    after: RefittedPairs
    simulation: RefittedPairs
    mass: MassSlope


def closing_pairs(
    config: Tracked, number: int, folder: Folder, refit: Refit, true: Detector, corrections: GlobalCorrections,
    made_from: Mapping[str, Any], tell: Tell,
) -> ClosingPairs:  # fmt: skip
    """The pairs of `config.closing[number]`; each sample is saved in the folder.

    refit     : of the vertex, with the corrections
    made_from : what the corrections were made from
    """
    own = config.closing[number]
    name, made_from = own.resonance, {**made_from, "number": number, "sample": [own.data, own.simulation, own.pt_min]}
    plain = replace(refit, theta=np.zeros(0))

    def once(when: str, detector: Detector, how: Refit, *, of_data: bool) -> RefittedPairs:
        """Pairs of data or simulation as refitted, taken up from the folder where they stand there."""
        sample = config.closing_sample(number, of_data=of_data)
        made, _ = folder.once(
            f"stages/{name}_{when}.h5", RefittedPairs, made_from if how is refit else _without_corrections(made_from),
            lambda: refitted(sample, how, detector, tell=tell, stage=f"{name} {when}"),
        )  # fmt: skip
        return made

    simulation = once("simulation", refit.detector, plain, of_data=False)
    before = once("before", true, plain, of_data=True)
    after = once("after", true, refit, of_data=True)
    mass, _ = folder.once(
        f"stages/{name}_slope.h5", MassSlope, made_from, lambda: mass_slope(config, number, refit, true, corrections)
    )
    return ClosingPairs(resonance=name, before=before, after=after, simulation=simulation, mass=mass)


def _without_corrections(made_from: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in made_from.items() if key != "last"}


def mass_slope(config: Tracked, number: int, refit: Refit, true: Detector, corrections: GlobalCorrections) -> MassSlope:
    """d <ln m> / d theta = -1/2 of the mean over pairs of the sum of both muons' d (delta k / k) / d theta.

    Half of ln(k1 k2) is what momenta do to the mass of light muons; directions, which corrections hardly move, are
    left out.
    """
    sample = replace(config.closing_sample(number, of_data=True), n=min(FOR_SLOPE, config.closing[number].data))
    total, n = np.zeros(int(corrections.free.sum())), 0
    for hits in hits_of(sample, true, refit.config.n_threads):
        fits, _ = refit.tracks(hits)
        slopes = curvature_slopes(refit.derivatives(fits), fits, corrections)
        total += np.asarray(slopes.sum(axis=0)).ravel()
        n += int(fits.ok.sum())
    slope = -total / n
    return MassSlope(slope=slope, error=float(np.sqrt(slope @ corrections.covariance @ slope)))
