"""The recoil's calibration in templates: events with the recoil of data, and its nuisances as weights.

The built-in events draw the recoil of simulation from the calibration's own quantiles, which the map then carries to
data.  In templates of muons the recoil enters by mT > cut alone.  A nuisance moves mT by dm, and a bin gains the events
that cross the cut, sum_i w_i dm_i delta(mT_i - cut).  The density at the cut is estimated from the events above it,
with a kernel whose integral is 1 and whose first moment is 0, so that selected events are enough,

    K(x) = (4 - 6 x / h) / h,  0 <= x < h,  x = mT - cut :   relative weight K dm.

Derived in docs/physics/recoil.md.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import ndtri

from mucal.arrays import FloatArray
from mucal.templates.recoil import COMPONENTS, Place, RecoilCalibration

RECOIL_GROUP: Final = "recoil"
RECOIL_DEGREES: Final = (4, 6)
"""Of the polynomials in eta and pT that smooth the recoil's variations: a cut on mT makes no edges in pT."""
BAND: Final = 8.0
"""GeV, h: above the cut, over which the density is nearly a straight line."""


def place_of_score(calibration: RecoilCalibration, pt: FloatArray, score: FloatArray) -> tuple[Place, FloatArray]:
    """Places of events whose recoil is drawn, and how far beyond the outermost quantile in steps of the last two.

    pt    : (N,) GeV of the boson
    score : (N,) standard normal
    """
    nodes = ndtri(calibration.probabilities)
    at = np.interp(score, nodes, np.arange(nodes.size))
    k = np.minimum(at.astype(np.int64), nodes.size - 2)
    beyond = np.where(
        score < nodes[0],
        (score - nodes[0]) / (nodes[1] - nodes[0]),
        np.maximum(score - nodes[-1], 0.0) / (nodes[-1] - nodes[-2]),
    )
    i, j, t = calibration.between(pt)
    return Place(low=i, high=j, far=t, quantile=k, above=at - k), beyond


def draw_recoil(
    calibration: RecoilCalibration, pt: FloatArray, score: FloatArray
) -> tuple[FloatArray, FloatArray, tuple[Place, Place]]:
    """u_par and u_perp (N,) of simulation carried to data (GeV), and where each stands among the quantiles.

    Beyond the outermost quantiles simulation goes on with the slope of the last step, and keeps the last shift.

    pt    : (N,) GeV of the boson
    score : (N, 2) standard normal
    """
    values, places = [], []
    for c in range(len(COMPONENTS)):
        at, beyond = place_of_score(calibration, pt, score[:, c])
        last = at.of(np.gradient(calibration.mc[c], axis=1))  # at the ends one-sided: the last step
        values.append(at.of(calibration.data[c]) + beyond * last)
        places.append(at)
    return pt + values[0], values[1], (places[0], places[1])


def mt_weights(
    calibration: RecoilCalibration, places: Sequence[Place], slopes: Sequence[FloatArray], mt: FloatArray, cut: float
) -> FloatArray:
    """(N, S) relative change of the weight of each selected event by +1 of every nuisance of the recoil.

    places : of u_par and u_perp
    slopes : (N,) derivatives of mT by u_par and u_perp
    mt     : (N,) GeV, above the cut
    cut    : GeV
    """
    x = (mt - cut) / BAND
    density = np.where((x >= 0) & (x < 1), (4.0 - 6.0 * x) / BAND, 0.0)
    b, k = calibration.pt_edges.size - 1, calibration.probabilities.size
    shifts = calibration.shifts().reshape(len(COMPONENTS), b, calibration.n_kept, len(COMPONENTS), b, k)
    result = np.zeros((mt.size, len(COMPONENTS), b, calibration.n_kept))
    near = np.flatnonzero(density)
    for c, (place, slope) in enumerate(zip(places, slopes, strict=True)):
        at = place.select(near)
        own = np.stack([shifts[c, i, :, c, i].T for i in range(b)])  # (B, K, n_kept): each nuisance acts in its bin
        moved = (density[near] * slope[near])[:, None]
        for bins, share in ((at.low, 1.0 - at.far), (at.high, at.far)):
            along = Place(low=bins, high=bins, far=np.zeros(near.size), quantile=at.quantile, above=at.above)
            result[near, c, bins] += moved * share[:, None] * along.of(own)
    return result.reshape(mt.size, -1)
