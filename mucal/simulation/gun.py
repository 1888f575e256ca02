"""A muon gun: single muons spread evenly, for studies that want every momentum and direction alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray
from mucal.numerics import normal, uniform
from mucal.simulation.dimuons import CHUNK, EVENTS_PER_LUMI
from mucal.simulation.generators import BeamSpot
from mucal.simulation.muons import GeneratedMuons

PARENT: Final = 0
"""Of a muon that nothing decayed to."""


SPOT: Final = BeamSpot()


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonGun:
    """Single muons, flat in what is drawn.

    process : "gun"
    seed    : of all random numbers
    pt      : GeV  lowest and highest
    flat_in : "pt", or "k": even in 1/pt
    eta     :      lowest and highest
    phi     : rad  lowest and highest
    charge  : +1, -1, or 0 for both alike
    beam    : where they are born
    run     : run number given to every event
    """

    process: Literal["gun"] = "gun"
    seed: int = 1
    pt: tuple[float, float] = (3.0, 100.0)
    flat_in: Literal["pt", "k"] = "pt"
    eta: tuple[float, float] = (-2.4, 2.4)
    phi: tuple[float, float] = (-pi, pi)
    charge: Literal[-1, 0, 1] = 0
    beam: BeamSpot = SPOT
    run: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.pt[0] <= self.pt[1] < np.inf:
            raise ValueError(f"pt = {self.pt} GeV, expected 0 < low <= high")
        for name in ("eta", "phi"):
            low, high = getattr(self, name)
            if not -20.0 < low <= high < 20.0:
                raise ValueError(f"{name} = {getattr(self, name)}, expected low <= high")


def fire(config: MuonGun, n: int, *, first_event: int = 0) -> GeneratedMuons:
    """The muons of events first_event ... first_event + n - 1, one each.

    Every random number is a function of (seed, purpose, event): any pieces give the same bytes.  Raises ValueError for
    negative n or first_event.
    """
    if n < 0 or first_event < 0:
        raise ValueError(f"n = {n}, first_event = {first_event}; expected numbers >= 0")
    event = first_event + np.arange(n, dtype=np.int64)

    def between(name: str, low: float, high: float) -> FloatArray:
        return low + (high - low) * uniform(config.seed, f"gun/{name}", event)

    low, high = config.pt
    pt = between("pt", low, high) if config.flat_in == "pt" else 1.0 / between("pt", 1.0 / high, 1.0 / low)
    eta, phi = between("eta", *config.eta), between("phi", *config.phi)
    charge = np.full(n, config.charge, dtype=np.int64)
    if config.charge == 0:
        charge = np.where(uniform(config.seed, "gun/charge", event) < 0.5, -1, 1)
    qop, zero = charge / (pt * np.cosh(eta)), np.zeros(n)
    drawn = np.stack([normal(config.seed, f"gun/beam {x}", event) for x in "xyz"], axis=1)
    return GeneratedMuons(
        run=np.full(n, config.run, dtype=np.int64),
        lumi=1 + event // EVENTS_PER_LUMI,
        event=event,
        pair=np.full(n, -1, dtype=np.int64),
        charge=charge,
        state=np.column_stack([qop, np.arctan(np.sinh(eta)), phi, zero, zero]),
        vertex=np.array(config.beam.centre) + np.array(config.beam.width) * drawn,
        parent=np.full(n, PARENT, dtype=np.int64),
        mass=np.full(n, np.nan),
    )


def stream_gun(config: MuonGun, n: int, *, chunk: int = CHUNK) -> Iterator[GeneratedMuons]:
    """The muons of the first `n` events, `chunk` at a time."""
    for first in range(0, n, chunk):
        yield fire(config, min(chunk, n - first), first_event=first)
