"""Samples that the package makes by itself: data with a known distortion and its nominal simulation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.ledger import Ledger
from mucal.scale import ScaleTable
from mucal.simulation import DimuonSimulation, stream_dimuons
from mucal.track import Dimuons


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """Section ``[generate.inject]``: the distortion, one value per eta bin.

    eta_edges :
    A         : -      relative, like the magnetic field
    e         : GeV    like energy loss
    M         : 1/GeV  like a sagitta bias
    """

    eta_edges: tuple[float, ...]
    A: tuple[float, ...]
    e: tuple[float, ...]
    M: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.eta_edges) - 1
        for name in ("A", "e", "M"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} values, expected {n}, one per eta bin")
        self.table()

    def table(self) -> ScaleTable:
        """The distortion as the table that would correct it."""
        n = len(self.eta_edges) - 1
        return ScaleTable(
            eta_edges=np.array(self.eta_edges),
            A=np.array(self.A),
            e=np.array(self.e),
            M=np.array(self.M),
            cov=np.zeros((3 * n, 3 * n)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Section ``[generate]``: generated data and simulation.

    resonance           : "jpsi", "psi2s", "upsilon1s", "upsilon2s", "upsilon3s" or "z"
    data, simulation    : accepted pairs of each
    background_fraction : of the data's pairs
    seed                : data are drawn with it, simulation with the next one
    inject              : distortion of the data; none if left out
    """

    resonance: str = "jpsi"
    data: int = 1_000_000
    simulation: int = 1_000_000
    background_fraction: float = 0.0
    seed: int = 1
    inject: Inject | None = None

    def __post_init__(self) -> None:
        if self.data < 1 or self.simulation < 0:
            raise ValueError(f"data = {self.data}, simulation = {self.simulation}, expected at least 1 and 0 pairs")
        self.data_simulation()

    def data_simulation(self) -> DimuonSimulation:
        """What the data are drawn from."""
        scale = None if self.inject is None else self.inject.table()
        return DimuonSimulation(
            resonance=self.resonance, seed=self.seed, scale=scale, background_fraction=self.background_fraction
        )

    def nominal_simulation(self) -> DimuonSimulation:
        """What the simulation is drawn from: no distortion, no background, independent of the data."""
        return DimuonSimulation(resonance=self.resonance, seed=self.seed + 1, run=2)


CHUNK: Final = 2**20
"""Events generated at a time; about one in five is accepted."""


class GeneratedSource:
    """Generated pairs, read like files: every iteration gives the same chunks and counts them anew."""

    def __init__(self, simulation: DimuonSimulation, n: int) -> None:
        self.simulation = simulation
        self.n = n
        self.ledger = Ledger(unit="pairs")

    def __iter__(self) -> Iterator[Dimuons]:
        self.ledger = Ledger(unit="pairs")
        # the pairs do not depend on the chunk: a small sample need not generate a large one
        for part in stream_dimuons(self.simulation, self.n, chunk=min(CHUNK, 4 * self.n)):
            self.ledger = self.ledger + Ledger(unit="pairs", read=len(part), used=len(part))
            yield part.dimuons
