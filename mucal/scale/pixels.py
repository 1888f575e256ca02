"""Muons without a hit in the pixel detector: how often in data and in simulation, and the weight between the two.

Such a muon is measured worse.  Simulation that has too few of them, or too many, has the wrong mixture of resolutions;
a weight by the number of pixel hits mends that, and is one source of uncertainty of the momentum scale.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_edges, check_shapes
from mucal.store import Result

TRIGGERED: Final = 1
"""Second place of the first axis of the counts: muons that fired the trigger."""
PLUS: Final = 1
"""Second place of the second axis: positive muons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMultiplicity(Result):
    """Muons of Z decays in B bins of eta, with and without valid pixel hits.

    The counts are (2, 2, B): other muons and those that fired the trigger; mu- and mu+; bins of eta.

    eta_edges  : (B+1,)
    data, mc   : (2, 2, B)   muons (sums of weights in simulation)
    data_zero, mc_zero : of these, without a pixel hit
    """

    eta_edges: FloatArray
    data: FloatArray
    data_zero: FloatArray
    mc: FloatArray
    mc_zero: FloatArray

    def __post_init__(self) -> None:
        check_edges("PixelMultiplicity.eta_edges", self.eta_edges)
        shape = (2, 2, self.n_bins)
        check_shapes(self, data=shape, data_zero=shape, mc=shape, mc_zero=shape)
        for all_name, zero_name in (("data", "data_zero"), ("mc", "mc_zero")):
            total, zero = getattr(self, all_name), getattr(self, zero_name)
            wrong = ~((zero > 0) & (zero < total))
            if np.any(wrong):
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise ValueError(
                    f"PixelMultiplicity.{zero_name}{list(at)} = {zero[at]:g} of {total[at]:g} muons; a weight needs "
                    "muons with and without pixel hits in every bin: use wider bins"
                )

    @property
    def n_bins(self) -> int:
        """B, the number of eta bins."""
        return int(self.eta_edges.size) - 1

    @property
    def ln_weights(self) -> FloatArray:
        """(2, 2, 2, B) logarithm of data over simulation: no pixel hit, some; triggering or not; charge; bin"""
        zero_data, zero_mc = self.data_zero / self.data, self.mc_zero / self.mc
        result: FloatArray = np.log(np.stack([zero_data / zero_mc, (1.0 - zero_data) / (1.0 - zero_mc)]))
        return result


def count_pixels(
    eta_edges: FloatArray, eta: FloatArray, charge: IntArray, triggered: BoolArray, n_pixel: IntArray,
    weight: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Muons, and those without a pixel hit, as `PixelMultiplicity` counts them; counts of parts of a sample add.

    eta_edges : (B+1,)
    eta       : (N,)      muons outside the edges are left out
    charge    : (N,)      +1 or -1
    triggered : (N,)
    n_pixel   : (N,)      valid hits in the pixel detector
    weight    : (N,)      None counts each muon once

    Returns two arrays (2, 2, B).
    """
    b = eta_edges.size - 1
    at = np.searchsorted(eta_edges, eta, side="right") - 1
    inside = (at >= 0) & (at < b) & (np.abs(charge) == 1)
    cell = ((np.asarray(triggered, dtype=np.int64) * 2 + (charge > 0)) * b + at)[inside]
    used = np.ones(int(inside.sum())) if weight is None else weight[inside]
    without = used * (n_pixel[inside] == 0)
    every, zero = (np.bincount(cell, weights=w, minlength=4 * b).reshape(2, 2, b) for w in (used, without))
    return every.astype(np.float64), zero.astype(np.float64)
