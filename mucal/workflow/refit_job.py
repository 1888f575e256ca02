"""The hits of one chunk to fitted tracks or pairs, and to their columns and counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mucal.errors import StatusEnum
from mucal.globalcor import Refit
from mucal.io.fit_columns import Columns, constrained_columns, pair_columns, track_columns
from mucal.ledger import Ledger
from mucal.refit import (
    FitStatus,
    PairFits,
    PairPass,
    PairStatus,
    RobustConfig,
    TrackFits,
    judged_hits,
)
from mucal.track import Hits


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is done with the hits of a chunk.

    refit       : how they are fitted
    robust      : how hits are judged
    pairs       : whether pairs are fitted, or all tracks on their own
    keep_failed : whether columns have rows of fits that failed
    """

    refit: Refit
    robust: RobustConfig
    pairs: bool
    keep_failed: bool

    def columns(self, hits: Hits) -> tuple[Columns, Mapping[str, Any]]:
        """Columns of its tracks or pairs, and its counts."""
        fits, removed, counts = self._fit(hits)
        everything = np.full(len(fits), True) if self.keep_failed else None
        if isinstance(fits, TrackFits):
            return track_columns(fits, everything, removed), counts
        columns = pair_columns(fits, everything, removed)
        return (columns if self.refit.mass is None else columns | constrained_columns(fits, everything)), counts

    def result(self, hits: Hits) -> tuple[TrackFits | PairFits, Mapping[str, Any]]:
        """All fits, and its counts."""
        fits, _, counts = self._fit(hits)
        return fits, counts

    def load(self, path: Path) -> TrackFits | PairFits:
        """Fits of a chunk that was kept."""
        return PairFits.load(path) if self.pairs else TrackFits.load(path)

    def joined(self, parts: Iterator[TrackFits | PairFits], n_tracks: Sequence[int]) -> TrackFits | PairFits:
        """One result of all chunks; n_tracks says, once they have come, how many tracks each was of."""
        of_pairs, of_tracks = [], []
        for part in parts:
            if isinstance(part, PairFits):
                of_pairs.append(part)
            else:
                of_tracks.append(part)
        return PairFits.concatenate(of_pairs, n_tracks) if self.pairs else TrackFits.concatenate(of_tracks)

    def _fit(self, hits: Hits) -> tuple[TrackFits | PairFits, np.ndarray | None, Mapping[str, Any]]:
        """Fits, how many hits of each were removed where any could be, and counts."""
        if self.pairs:
            hits = hits.select(hits.pair >= 0)
        removed, ledgers, n_tracks = None, {}, len(hits)
        fits: TrackFits | PairFits
        if self.robust.acts:
            robust = self.refit.robustly(hits, self.robust)
            removed, fits = robust.n_outliers, robust.fits
            ledgers["hits"] = robust.hits_ledger()
            hits = judged_hits(hits, robust) if self.pairs else hits
        elif not self.pairs:
            fits, _ = self.refit.tracks(hits, profile=False)
        if not self.pairs:
            assert isinstance(fits, TrackFits)
            return fits, removed, counted(n_tracks, fits, fits.ledger(), ledgers, FitStatus)
        fits, _ = self.refit.pairs(hits, profile=False)
        if self.refit.mass is not None:
            ledgers["constrained"] = fits.ledger(constrained=True)
        if removed is not None:
            removed = np.where(fits.tracks >= 0, removed[fits.tracks], 0).sum(axis=1)
        return fits, removed, counted(n_tracks, fits.vertex, fits.ledger(), ledgers, PairStatus)


def counted(
    n_tracks: int, fits: TrackFits | PairPass, fitted: Ledger, others: Mapping[str, Ledger], statuses: type[StatusEnum]
) -> Mapping[str, Any]:
    """Counts of a chunk in plain values, as `Refitted.add` takes them."""
    ok = fits.ok
    named = {"fitted": fitted, **others}
    occurred = {name for ledger in named.values() for name in ledger.rejected}
    return {
        "ledgers": {name: ledger.to_dict() for name, ledger in named.items()},
        "n_tracks": n_tracks, "chi2": float(fits.chi2[ok].sum()), "ndof": int(fits.ndof[ok].sum()),
        "iterations": int(fits.n_iterations[ok].sum()),
        "statuses": {s.name.lower(): s.sentence for s in statuses if s.name.lower() in occurred},
    }  # fmt: skip
