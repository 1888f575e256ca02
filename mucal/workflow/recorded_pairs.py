"""Generated events as hits, and what a refit makes of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mucal.arrays import BoolArray
from mucal.detector import Detector
from mucal.globalcor import Refit
from mucal.numerics import uniform
from mucal.simulation import GeneratedMuons, simulate_hits, stream_muons
from mucal.track import LAM, QOP, Hits
from mucal.workflow.hit_sums import pair_masses
from mucal.workflow.progress import Event, Tell
from mucal.workflow.refitted_pairs import Collector, RefittedPairs
from mucal.workflow.tracks_config import HitSample

CHUNK: Final = 16_384
"""Events generated at a time."""

NOISE: Final = 0.05
"""Of a momentum on the surface of the mass, several standard deviations."""


def hits_of(sample: HitSample, detector: Detector, n_threads: int) -> Iterator[Hits]:
    """The hits of a sample in a detector, chunk by chunk; the same bytes every time."""
    for muons in _muons_of(sample):
        hits = simulate_hits(muons, detector, sample.hits, n_threads=n_threads).hits
        if sample.pixel_loss:
            drawn = uniform(sample.hits.seed, "workflow.pixel_loss", hits.run, hits.lumi, hits.event, hits.charge)
            hits = without_pixels(hits, drawn < sample.pixel_loss)
        yield hits


def without_pixels(hits: Hits, lost: BoolArray) -> Hits:
    """The tracks with the pixel hits of some taken away.

    lost : (N,) whose
    """
    keep = np.isnan(hits.v) | ~lost[hits.track]
    n_hits = np.bincount(hits.track[keep], minlength=len(hits))
    columns: dict[str, Any] = {
        name: getattr(hits, name)[keep] for name in ("module_id", "u", "v", "sigma_u", "sigma_v")
    }
    truth = hits.truth
    if truth is not None:
        truth = replace(truth, hit_u=truth.hit_u[keep], hit_v=truth.hit_v[keep])
    return replace(hits, **columns, offsets=np.concatenate([[0], np.cumsum(n_hits)]).astype(np.int64), truth=truth)


def n_pieces(sample: HitSample) -> int:
    """How many chunks `hits_of` yields."""
    return sum(1 for _ in _muons_of(sample))


def _muons_of(sample: HitSample) -> Iterator[GeneratedMuons]:
    """The muons that are recorded."""
    wanted = (lambda muons: within_reach(muons, sample.cut)) if sample.cut > 0 else None
    return stream_muons(sample.muons, sample.n, chunk=CHUNK, wanted=wanted)


def within_reach(muons: GeneratedMuons, pt_min: float) -> BoolArray:
    """(N,) whether the muons of a pair may be above a cut on the surface of their mass.

    The surface gives a pair back what it radiated: pT grows by (M / m)^2 at most, M of the parent.  Noise brings no
    pair up from further below than `NOISE`.
    """
    state = muons.state.reshape(-1, 2, 5)
    pt = np.cos(state[..., LAM]) / np.abs(state[..., QOP])
    given_back = (muons.mass[::2] / pair_masses(state)) ** 2
    return np.repeat(pt.min(axis=1) * given_back > (1.0 - NOISE) * pt_min, 2)


def refitted(sample: HitSample, refit: Refit, detector: Detector, *, tell: Tell, stage: str) -> RefittedPairs:
    """All pairs of a sample, recorded in `detector` and fitted without derivatives."""
    collector = Collector()
    done = 0
    for hits in hits_of(sample, detector, refit.config.n_threads):
        collector(hits, refit.pairs(hits, profile=False)[0])
        done += len(hits) // 2
        tell(Event(stage=stage, done=done, total=sample.n, unit="pairs"))
    return collector.result()
