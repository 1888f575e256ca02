"""What each hit of a fitted track says about the fit: residuals, their expected errors, pulls."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.propagation import Surfaces, surfaces_of
from mucal.refit.batches import Batch
from mucal.refit.fitted import fitted_legs, most_rows
from mucal.refit.kernels.sources import judge_hits
from mucal.refit.tracks import RefitConfig, TrackFits, routes_of_hits
from mucal.store import Result
from mucal.track import Hits


@dataclass(frozen=True, slots=True, kw_only=True)
class HitResiduals(Result):
    """Residuals of the K hits of fitted tracks, by coordinate (u, v); NaN where nothing was measured or fitted.

    A biased residual is measured minus fitted with the hit in the fit: its variance is that of the hit minus that of
    the fitted track.  An unbiased one has that coordinate left out: its variance is the sum of both.  The pull is the
    same for either.

    biased, biased_error     : (K, 2) cm
    unbiased, unbiased_error : (K, 2) cm
    slope                    : (K, 2)     u' and v' of the fitted track, on every hit of a fitted track
    """

    biased: FloatArray
    biased_error: FloatArray
    unbiased: FloatArray
    unbiased_error: FloatArray
    slope: FloatArray

    def __post_init__(self) -> None:
        k = self.biased.shape[0]
        names = ("biased", "biased_error", "unbiased", "unbiased_error", "slope")
        check_shapes(self, **dict.fromkeys(names, (k, 2)))

    @property
    def pull(self) -> FloatArray:
        """(K, 2) residual over its expected error."""
        return self.unbiased / self.unbiased_error


def hit_residuals(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    fits: TrackFits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    *,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> HitResiduals:
    """Residuals of all hits of the tracks that are OK; the other arguments are those that the tracks were fitted with.

    With P = Sigma^-1 - Sigma^-1 A C A^T Sigma^-1 and V the variance of a hit:
        biased = V (P r)_i,   error^2 = V^2 P_ii = V - H C H^T;   unbiased = (P r)_i / P_ii,   error^2 = 1 / P_ii

    Source: docs/physics/refit.md.
    """
    routes = routes_of_hits(detector, magnet, hits) if routes is None else routes
    surfaces = surfaces or surfaces_of(detector)
    batch = Batch.of(detector, magnet, surfaces, hits, None, offsets, ln_loss)
    pr, p, slope = (np.full((hits.u.size, 2), np.nan) for _ in range(3))
    for _, own, places, legs in fitted_legs(magnet, surfaces, hits, fits, routes, config, offsets, ln_loss):
        judge_hits(
            batch.modules, own, places, batch.hits, legs.local, legs.transport, legs.noise, legs.n_reached,
            most_rows(places), pr, p, slope,
        )  # fmt: skip
    variance = batch.hits[:, 2:] ** 2
    return HitResiduals(
        biased=variance * pr, biased_error=variance * np.sqrt(p), unbiased=pr / p, unbiased_error=1 / np.sqrt(p),
        slope=slope,
    )  # fmt: skip
