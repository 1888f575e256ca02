"""Fits that judge their own hits: errors by the angle of the track, outliers removed, hits far off held weakly.

Rounds of ordinary fits.  After each, the hits of every track are looked at with the fitted track, and the tracks whose
hits change are fitted again from where they are.  With M-weights what is minimised is

    sum_legs e^T Q^-1 e + sum_hits rho(z),   z = (measured - fitted) / sigma

by fits with sigma^2 / w(z), w = rho'(z) / (2 z); the sources of the noise stay Gaussian.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.errors import InputError
from mucal.ledger import Ledger
from mucal.propagation import Surfaces, surfaces_of
from mucal.refit.fitted import hits_of
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.residuals import HitResiduals, hit_residuals
from mucal.refit.tracks import RefitConfig, TrackFits, fit_tracks, started
from mucal.store import Result
from mucal.track import QOP, Hits

HitErrors = Callable[[IntArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(module_id (K,), u' (K,), v' (K,)) -> sigma_u, sigma_v (K,) cm; those of strips' v are not looked at."""

HUBER, TUKEY = 1.345, 4.685
"""Where the weights begin to fall, and where they end: 95 % efficiency for Gaussian residuals."""

LEAST_WEIGHT = 1e-6
"""Weight of a hit beyond Tukey's end: its error is a thousand times what it was, and no less a number."""

HUBER_ROUNDS = 3
"""Fits with Huber's weights before Tukey's, which forget what is far off before it is known what is."""

ERROR_TOLERANCE = 1e-6
"""Relative change of a hit's error by its angle, below which the fit stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustConfig:
    """How hits are judged.

    weights          :  "none", "huber" (1 within 1.345 sigma, then falling as 1/|z|) or "tukey" (0 beyond 4.685 sigma)
    weight_tolerance :  change of any weight of a track, below which it is done
    outlier_pull     :  a hit with a larger |pull| is removed, the worst of a track in each round; inf removes none
    most_outliers    :  of a track; further ones stay in the fit, and in its chi2
    most_rounds      :  of fits after the first; weights that still move then are used as they are
    """

    weights: Literal["none", "huber", "tukey"] = "none"
    weight_tolerance: float = 1e-3
    outlier_pull: float = float("inf")
    most_outliers: int = 3
    most_rounds: int = 30

    def __post_init__(self) -> None:
        if self.weights not in ("none", "huber", "tukey"):
            raise ValueError(f"weights = {self.weights!r}, expected 'none', 'huber' or 'tukey'")
        if not self.outlier_pull > 0 or not self.weight_tolerance > 0:
            raise ValueError(
                f"outlier_pull = {self.outlier_pull}, weight_tolerance = {self.weight_tolerance}; expected positive "
                "numbers"
            )
        if min(self.most_outliers, self.most_rounds) < 1:
            raise ValueError(
                f"most_outliers = {self.most_outliers}, most_rounds = {self.most_rounds}; expected at least 1"
            )

    @property
    def acts(self) -> bool:
        """Whether any hit can be touched."""
        return self.weights != "none" or np.isfinite(self.outlier_pull)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustFits(Result):
    """Fits of N tracks with K hits, and what became of the hits.

    fits       :
    weight     : (K, 2)      by coordinate; 0 for a hit that was removed, NaN where nothing was measured
    sigma      : (K, 2) cm   error that the hit had in the last fit, before its weight
    n_outliers : (N,)        hits removed
    n_rounds   : (N,)        fits of each track
    """

    fits: TrackFits
    weight: FloatArray
    sigma: FloatArray
    n_outliers: IntArray
    n_rounds: IntArray

    def __post_init__(self) -> None:
        n, k = len(self.fits), self.weight.shape[0]
        check_shapes(self, weight=(k, 2), sigma=(k, 2), n_outliers=(n,), n_rounds=(n,))

    @property
    def lost_weight(self) -> float:
        """Sum of 1 - weight over all measurements."""
        return float(np.nansum(1.0 - self.weight))

    def hits_ledger(self) -> Ledger:
        """Hits read = used + outliers, of all tracks."""
        removed = int(self.n_outliers.sum())
        read = self.weight.shape[0]
        return Ledger(unit="hits", read=read, used=read - removed, rejected={"outlier": removed} if removed else {})


def fit_robustly(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    robust: RobustConfig = RobustConfig(),
    *,
    hit_errors: HitErrors | None = None,
    parameters: ParameterMap | None = None,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> tuple[RobustFits, ProfiledBlocks | None]:
    """Every track fitted until its hits' errors, weights and number no longer change.

    hit_errors : gives the errors of hits by their module and the slopes of the fitted track; None keeps those given

    The other arguments are those of `fit_tracks`.  Returns the fits, and what they say of the parameters if any are
    given.  Raises InputError for errors that are not positive numbers.
    """
    if routes is None:
        hits, routes = started(detector, magnet, hits, n_threads=config.n_threads)
    surfaces = surfaces or surfaces_of(detector)
    everything = rows = np.arange(len(hits))
    judged = _Judged(hits)

    def fit(chosen: IntArray, wanted: ParameterMap | None = None) -> tuple[TrackFits, ProfiledBlocks | None]:
        return fit_tracks(
            detector, magnet, judged.hits(chosen), routes[chosen], config, parameters=wanted, surfaces=surfaces,
            offsets=offsets, ln_loss=ln_loss,
        )  # fmt: skip

    for _ in range(1 + robust.most_rounds):
        fits, _ = fit(rows)
        judged.start_from(rows, fits)
        residuals = hit_residuals(
            detector, magnet, judged.hits(rows), fits, routes[rows], config, surfaces=surfaces, offsets=offsets,
            ln_loss=ln_loss,
        )  # fmt: skip
        rows = rows[judged.judge(rows, residuals, robust, hit_errors)]
        if rows.size == 0:
            break
    final, blocks = fit(everything, parameters)
    return RobustFits(
        fits=final, weight=judged.weight, sigma=judged.sigma, n_outliers=judged.n_outliers, n_rounds=judged.n_rounds
    ), blocks


class _Judged:
    """Hits with the errors, weights and starts of the moment; which are removed."""

    def __init__(self, given: Hits) -> None:
        self.given = given
        self.sigma = np.column_stack([given.sigma_u, given.sigma_v])
        self.weight = np.where(np.isfinite(self.sigma), 1.0, np.nan)
        self.removed = np.zeros(given.u.size, dtype=bool)
        self.seed, self.charge = given.seed.copy(), given.charge.copy()
        self.n_outliers, self.n_rounds = (np.zeros(len(given), dtype=np.int64) for _ in range(2))

    def start_from(self, rows: IntArray, fits: TrackFits) -> None:
        """The next fits of these tracks begin where the last ones ended."""
        self.n_rounds[rows] += 1
        good = rows[fits.ok]
        self.seed[good] = fits.state[fits.ok]
        self.charge[good] = np.sign(fits.state[fits.ok, QOP]).astype(np.int64)

    def left(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Numbers of the hits of some tracks that are left, and the place in `rows` of each hit's track."""
        numbers = hits_of(self.given, rows)
        track = np.repeat(np.arange(rows.size), self.given.n_hits[rows])
        keep = ~self.removed[numbers]
        return numbers[keep], track[keep]

    def hits(self, rows: IntArray) -> Hits:
        """The hits of some tracks that are left, with errors that hold their weights."""
        given = self.given
        numbers, track = self.left(rows)
        sigma = self.sigma[numbers] / np.sqrt(self.weight[numbers])
        counts = np.bincount(track, minlength=rows.size)
        return Hits(
            run=given.run[rows], lumi=given.lumi[rows], event=given.event[rows], pair=given.pair[rows],
            charge=self.charge[rows], seed=self.seed[rows], seed_ref=given.seed_ref[rows],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), module_id=given.module_id[numbers],
            u=given.u[numbers], v=given.v[numbers], sigma_u=sigma[:, 0], sigma_v=sigma[:, 1],
        )  # fmt: skip

    def judge(
        self, rows: IntArray, residuals: HitResiduals, robust: RobustConfig, hit_errors: HitErrors | None
    ) -> BoolArray:
        """Whether the hits of each track changed; a track that was not fitted does not."""
        numbers, track = self.left(rows)
        changed = np.zeros(rows.size, dtype=bool)
        if hit_errors is not None:
            changed[track[self._measure(numbers, residuals.slope, hit_errors)]] = True
        pruned = self._prune(rows, numbers, track, residuals.pull, robust)
        if robust.weights != "none":
            moved = self._weigh(rows, numbers, track, residuals.biased, robust) & ~pruned[track]
            changed[track[moved]] = True
        return changed | pruned

    def _measure(self, numbers: IntArray, slope: FloatArray, hit_errors: HitErrors) -> BoolArray:
        """Errors by the angle of the track; returns which hits' moved."""
        known = np.flatnonzero(np.isfinite(slope[:, 0]))
        found = np.column_stack(hit_errors(self.given.module_id[numbers[known]], slope[known, 0], slope[known, 1]))
        before = self.sigma[numbers[known]]
        found = np.where(np.isnan(before), np.nan, found)
        bad = np.flatnonzero(~np.all(np.isnan(before) | ((found > 0) & np.isfinite(found)), axis=1))
        if bad.size:
            i = numbers[known[bad[0]]]
            raise InputError(
                f"hit_errors gave {bad.size} errors that are not positive numbers, first {found[bad[0]].tolist()} for "
                f"hit {i} on module {self.given.module_id[i]}",
                kind="input.hit_errors",
            )
        self.sigma[numbers[known]] = found
        moved = np.zeros(numbers.size, dtype=bool)
        moved[known] = np.nanmax(np.abs(found / before - 1.0), axis=1) > ERROR_TOLERANCE
        return moved

    def _prune(
        self, rows: IntArray, numbers: IntArray, track: IntArray, pull: FloatArray, robust: RobustConfig
    ) -> BoolArray:
        """The worst hit of each track removed, if it is beyond the cut; returns which tracks lost one."""
        size = np.fmax(np.abs(pull[:, 0]), np.abs(pull[:, 1]))
        size = np.where(np.isfinite(size), size, 0.0)
        worst = np.zeros(rows.size)
        np.maximum.at(worst, track, size)
        pruned: BoolArray = (worst > robust.outlier_pull) & (self.n_outliers[rows] < robust.most_outliers)
        gone = numbers[pruned[track] & (size == worst[track])]
        self.removed[gone] = True
        self.weight[gone] *= 0.0
        self.n_outliers[rows[pruned]] += 1
        return pruned

    def _weigh(
        self, rows: IntArray, numbers: IntArray, track: IntArray, biased: FloatArray, robust: RobustConfig
    ) -> BoolArray:
        """Weights by the residuals of this fit; returns which hits' moved.  Tukey's begin with Huber's."""
        z = np.abs(biased / self.sigma[numbers])
        found = np.minimum(1.0, HUBER / np.fmax(z, HUBER))
        early = np.zeros(numbers.size, dtype=bool)
        if robust.weights == "tukey":
            early = (self.n_rounds[rows] <= HUBER_ROUNDS)[track]
            tukey = np.fmax(np.clip(1.0 - (z / TUKEY) ** 2, 0.0, 1.0) ** 2, LEAST_WEIGHT)
            found = np.where(early[:, None], found, tukey)
        before = self.weight[numbers]
        known = np.isfinite(z) & np.isfinite(before) & ~self.removed[numbers][:, None]
        self.weight[numbers] = np.where(known, found, before)
        moved: BoolArray = np.any(known & (np.abs(found - before) > robust.weight_tolerance), axis=1)
        return moved | (early & known.any(axis=1))
