"""Generated events as hits, and what a refit makes of them."""

from collections.abc import Iterator
from typing import Final

from mucal.detector import Detector
from mucal.globalcor import Refit
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
        yield simulate_hits(muons, detector, sample.hits, n_threads=n_threads).hits


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
