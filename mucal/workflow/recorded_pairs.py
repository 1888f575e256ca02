"""Generated events as hits, and what a refit makes of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mucal.arrays import BoolArray
from mucal.detector import Detector
from mucal.globalcor import Refit
from mucal.numerics import uniform
from mucal.simulation import simulate_hits, stream_muons
from mucal.track import Hits
from mucal.workflow.progress import Event, Tell
from mucal.workflow.refitted_pairs import Collector, RefittedPairs
from mucal.workflow.tracks_config import HitSample

CHUNK: Final = 8_192
"""Events generated at a time."""


def hits_of(sample: HitSample, detector: Detector, n_threads: int) -> Iterator[Hits]:
    """The hits of a sample in a detector, chunk by chunk; the same bytes every time."""
    for muons in stream_muons(sample.muons, sample.n, chunk=CHUNK):
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
    return sum(1 for _ in stream_muons(sample.muons, sample.n, chunk=CHUNK))


def refitted(sample: HitSample, refit: Refit, detector: Detector, *, tell: Tell, stage: str) -> RefittedPairs:
    """All pairs of a sample, recorded in `detector` and fitted without derivatives."""
    collector = Collector()
    done = 0
    for hits in hits_of(sample, detector, refit.config.n_threads):
        collector(hits, refit.pairs(hits, profile=False)[0])
        done += len(hits) // 2
        tell(Event(stage=stage, done=done, total=sample.n, unit="pairs"))
    return collector.result()
