"""Muons as they leave the place where they are born."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedMuons:
    """N generated muons; the two of a pair stand in neighbouring rows, + first.

    run, lumi, event : (N,)
    pair             : (N,)       rows with the same value are a pair; -1 is a single muon
    charge           : (N,)       +1 or -1
    state            : (N, 5)     QOP, LAM, PHI, 0, 0 about `vertex`, after radiation
    vertex           : (N, 3) cm  where it starts; the same for both muons of a pair
    parent           : (N,)       PDG number of the state that decayed
    mass             : (N,) GeV   mass of the parent, before radiation
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pair: IntArray
    charge: IntArray
    state: FloatArray
    vertex: FloatArray
    parent: IntArray
    mass: FloatArray

    def __post_init__(self) -> None:
        n = self.run.size
        check_shapes(self, **dict.fromkeys(("run", "lumi", "event", "pair", "charge", "parent", "mass"), (n,)))
        check_shapes(self, state=(n, 5), vertex=(n, 3))

    def __len__(self) -> int:
        return int(self.run.size)

    def select(self, keep: BoolArray | IntArray | slice) -> Self:
        """The muons chosen by a mask, indices or a slice."""
        return replace(self, **{f.name: getattr(self, f.name)[keep] for f in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence["GeneratedMuons"]) -> "GeneratedMuons":
        """All muons of `parts` (at least one), in order."""
        joined: dict[str, Any] = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        return cls(**joined)
