"""Pairs whose hits are judged: by the fit of each muon's own track, so that neither vertex nor mass choose the hits."""

from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.propagation import Surfaces, surfaces_of
from mucal.refit.mass_reference import MassReference
from mucal.refit.pair_fits import PairFits
from mucal.refit.pairs import BeamLine, fit_pairs
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.robust import HitErrors, RobustConfig, RobustFits, fit_robustly
from mucal.refit.selection import PairSelection
from mucal.refit.tracks import RefitConfig, started
from mucal.store import Result
from mucal.track import QOP, Hits


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustPairs(Result):
    """Fits of pairs, and of all tracks on their own, which say what became of the hits.

    pairs  :
    tracks :  of all N tracks given, those of no pair too
    """

    pairs: PairFits
    tracks: RobustFits


def judged_hits(hits: Hits, found: RobustFits) -> Hits:
    """The hits as robust fits left them: outliers gone, errors sigma / sqrt(weight), tracks seeded where they ended.

    A track that was not fitted keeps its seed, and the hits that it had when its fit failed.  Generated positions
    follow their hits.

    Raises ValueError if the fits are of other hits.
    """
    if found.weight.shape[0] != hits.u.size or len(found.fits) != len(hits):
        raise ValueError(
            f"fits of {len(found.fits)} tracks with {found.weight.shape[0]} hits, expected those of {len(hits)} tracks "
            f"with {hits.u.size} hits"
        )
    keep = found.weight[:, 0] != 0.0  # that of a hit without error is NaN: it stays, and spoils its track
    sigma = found.sigma[keep] / np.sqrt(found.weight[keep])
    counts = np.bincount(hits.track[keep], minlength=len(hits))
    ok = found.fits.ok
    seed, reference, charge = hits.seed.copy(), hits.seed_ref.copy(), hits.charge.copy()
    seed[ok], reference[ok] = found.fits.state[ok], found.fits.reference[ok]
    charge[ok] = np.sign(found.fits.state[ok, QOP]).astype(np.int64)
    truth = hits.truth
    if truth is not None:
        truth = replace(truth, hit_u=truth.hit_u[keep], hit_v=truth.hit_v[keep])
    return replace(
        hits, charge=charge, seed=seed, seed_ref=reference, module_id=hits.module_id[keep], u=hits.u[keep],
        v=hits.v[keep], sigma_u=sigma[:, 0], sigma_v=sigma[:, 1], truth=truth,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )  # fmt: skip


def fit_pairs_robustly(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    robust: RobustConfig = RobustConfig(),
    *,
    hit_errors: HitErrors | None = None,
    mass: MassReference | None = None,
    selection: PairSelection = PairSelection(),
    beam: BeamLine | None = None,
    parameters: ParameterMap | None = None,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> tuple[RobustPairs, ProfiledBlocks | None]:
    """Tracks fitted as by `fit_robustly`, then pairs as by `fit_pairs` with the hits, errors and seeds that this left.

    Returns the fits, and what the pairs say of the parameters if any are given.  Raises as both of them.
    """
    if routes is None:
        hits, routes = started(detector, magnet, hits, n_threads=config.n_threads)
    surfaces = surfaces or surfaces_of(detector)
    tracks, _ = fit_robustly(
        detector, magnet, hits, routes, config, robust, hit_errors=hit_errors, surfaces=surfaces, offsets=offsets,
        ln_loss=ln_loss,
    )  # fmt: skip
    pairs, blocks = fit_pairs(
        detector, magnet, judged_hits(hits, tracks), routes, config, mass=mass, selection=selection, beam=beam,
        parameters=parameters, surfaces=surfaces, offsets=offsets, ln_loss=ln_loss,
    )  # fmt: skip
    return RobustPairs(pairs=pairs, tracks=tracks), blocks
