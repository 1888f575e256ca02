"""The true detector of a closure from hits, and what a perfect calibration would find of it."""

from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import Detector, displaced
from mucal.globalcor import Registry
from mucal.numerics import normal
from mucal.simulation import distorted, misalignment
from mucal.workflow.tracks_config import Tracked

SHIFTS: Final = 3
"""Columns of alignment parameters that are lengths; the others are angles."""


def true_detector(config: Tracked, detector: Detector, registry: Registry) -> Detector:
    """The assumed detector with all that the configuration distorts.

    detector : as it is assumed to be
    registry : whose regions are shifted at random
    """
    true = distorted(detector, config.distortion)
    moved = displacements(config, detector, registry)
    return replace(true, modules=displaced(detector.modules, moved)) if np.any(moved) else true


def displacements(config: Tracked, detector: Detector, registry: Registry) -> FloatArray:
    """(M, 6) of the true modules from where the assumed detector has them, as `ALIGNMENT`."""
    drawn = config.misalignment * normal(
        config.distortion.seed, "tracks/misalignment", np.arange(len(registry), dtype=np.int64)
    )
    places = registry.map.alignment
    total: FloatArray = misalignment(detector, config.distortion)
    total[:, :SHIFTS] += np.where(places >= 0, drawn[places], 0.0)[:, :SHIFTS]
    return total


def true_parameters(config: Tracked, detector: Detector, registry: Registry) -> FloatArray:
    """(P,) what a perfect solve would find; NaN where a distortion says nothing of a parameter.

    alignment : mean displacement of the modules of a region along the component
    modes     : amplitude of the mode, T
    eloss     : mean of ln(true / assumed energy loss) over the surfaces of a region

    A distortion finer than the regions, as a shift of single modules, is found only in the mean.
    """
    true = true_detector(config, detector, registry)
    theta = np.full(len(registry), np.nan)
    _average(theta, registry.map.alignment, displacements(config, detector, registry))
    _average(theta, registry.map.eloss, _ln_loss(true, detector))
    if registry.modes is not None:
        theta[registry.map.modes] = 0.0
        field = true.field
        if field is not None and field.modes is not None:
            known = dict(zip(registry.modes.names, registry.map.modes.tolist(), strict=True))
            for name, amplitude in zip(field.modes.names, field.amplitudes.tolist(), strict=True):
                if name in known:
                    theta[known[name]] = amplitude
    return theta


def _ln_loss(true: Detector, assumed: Detector) -> FloatArray:
    """(E,) modules first, then passive surfaces; 0 where neither loses anything."""
    xi_true, xi = true.element_xi_mev, assumed.element_xi_mev
    some = (xi_true > 0) & (xi > 0)
    found: FloatArray = np.log(np.where(some, xi_true, 1.0) / np.where(some, xi, 1.0))
    return found


def _average(theta: FloatArray, places: np.ndarray, values: FloatArray) -> None:
    """Put the mean of the values that belong to each parameter into theta; places holds -1 where none does."""
    use = places >= 0
    count = np.bincount(places[use], minlength=theta.size)
    total = np.bincount(places[use], values[use], minlength=theta.size)
    theta[count > 0] = total[count > 0] / count[count > 0]
