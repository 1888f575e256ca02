"""Tracks as recorded: what each module measured, with the truth where it is known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class HitsTruth(Result):
    """What was generated, for N tracks with K hits.

    state  : (N, 5)          QOP, LAM, PHI, DXY, DSZ of the muon about `vertex`; DXY = DSZ = 0
    vertex : (N, 3) cm       where it starts; the same for both muons of a pair
    parent : (N,)            PDG number of the state that decayed, 0 if there is none
    mass   : (N,) GeV        mass of the parent before radiation, NaN if there is none
    hit_u, hit_v : (K,) cm   where the muon crossed the true module, in that module's frame; NaN for noise
    """

    state: FloatArray
    vertex: FloatArray
    parent: IntArray
    mass: FloatArray
    hit_u: FloatArray
    hit_v: FloatArray

    def __post_init__(self) -> None:
        n, k = self.parent.size, self.hit_u.size
        check_shapes(self, state=(n, 5), vertex=(n, 3), parent=(n,), mass=(n,), hit_u=(k,), hit_v=(k,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Result):
    """N recorded tracks with K hits; each track's hits stand in the order in which the muon crossed them.

    run, lumi, event : (N,)
    pair             : (N,)      rows with the same value are a pair; -1 is a single track
    charge           : (N,)      +1 or -1, as the seed has it
    seed             : (N, 5)    QOP, LAM, PHI, DXY, DSZ about `seed_ref`, where the fit begins
    seed_ref         : (N, 3) cm
    offsets          : (N+1,)    hits offsets[i] .. offsets[i+1] belong to track i
    module_id        : (K,)
    u                : (K,) cm   the module's precise coordinate as `detector.predict` defines it: u itself, the
                                 stereo coordinate, or the wedge coordinate
    v                : (K,) cm   the second coordinate of a pixel; NaN on strips
    sigma_u, sigma_v : (K,) cm   their errors; sigma_v is NaN on strips
    truth            :           what was generated, or None
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pair: IntArray
    charge: IntArray
    seed: FloatArray
    seed_ref: FloatArray
    offsets: IntArray
    module_id: IntArray
    u: FloatArray
    v: FloatArray
    sigma_u: FloatArray
    sigma_v: FloatArray
    truth: HitsTruth | None = None

    def __post_init__(self) -> None:
        n, k = self.run.size, self.module_id.size
        check_shapes(self, **dict.fromkeys(("run", "lumi", "event", "pair", "charge"), (n,)))
        check_shapes(self, seed=(n, 5), seed_ref=(n, 3), offsets=(n + 1,))
        check_shapes(self, **dict.fromkeys(("module_id", "u", "v", "sigma_u", "sigma_v"), (k,)))
        steps = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != k or np.any(steps < 0):
            raise ValueError(f"Hits.offsets must rise from 0 to {k}, the number of hits")
        if self.truth is not None and (self.truth.parent.size, self.truth.hit_u.size) != (n, k):
            raise ValueError(
                f"Hits.truth is of {self.truth.parent.size} tracks and {self.truth.hit_u.size} hits, "
                f"expected {n} and {k}"
            )

    def __len__(self) -> int:
        return int(self.run.size)

    @property
    def n_hits(self) -> IntArray:
        """(N,) hits of each track"""
        return np.diff(self.offsets)

    @property
    def track(self) -> IntArray:
        """(K,) number of the track that each hit belongs to"""
        return np.repeat(np.arange(len(self)), self.n_hits)

    def select(self, keep: BoolArray | IntArray | slice) -> Self:
        """The tracks chosen by a mask, indices or a slice, with their hits and truth."""
        rows = np.arange(len(self))[keep]
        counts = self.n_hits[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        hits = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        chosen: dict[str, Any] = {name: getattr(self, name)[rows] for name in _PER_TRACK}
        chosen |= {name: getattr(self, name)[hits] for name in _PER_HIT}
        truth = self.truth
        if truth is not None:
            per_track = {name: getattr(truth, name)[rows] for name in ("state", "vertex", "parent", "mass")}
            truth = replace(truth, **per_track, hit_u=truth.hit_u[hits], hit_v=truth.hit_v[hits])
        return replace(self, **chosen, offsets=offsets, truth=truth)

    @classmethod
    def concatenate(cls, parts: Sequence["Hits"]) -> "Hits":
        """All tracks of `parts` (at least one), in order; the truth is kept if every part has it."""
        starts = np.cumsum([0, *(part.module_id.size for part in parts)])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_PER_TRACK, *_PER_HIT)
        }
        truths = [part.truth for part in parts if part.truth is not None]
        truth = None
        if len(truths) == len(parts):
            names = [f.name for f in fields(HitsTruth) if f.name != "provenance"]
            columns: dict[str, Any] = {name: np.concatenate([getattr(t, name) for t in truths]) for name in names}
            truth = HitsTruth(**columns)
        return cls(**joined, offsets=np.concatenate([*offsets, starts[-1:]]).astype(np.int64), truth=truth)


_PER_TRACK = ("run", "lumi", "event", "pair", "charge", "seed", "seed_ref")
_PER_HIT = ("module_id", "u", "v", "sigma_u", "sigma_v")
