"""Section ``[weights]``: luminosity, prefiring, pileup and vertex, with defaults, as the registry of event weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from mucal.templates.event_weights import (
    HOT_SPOT,
    LUMINOSITY,
    MUON_SYSTEMATIC,
    N_PREFIRING,
    DistributionWeight,
    EventWeights,
    Luminosity,
    Prefiring,
    WeightEntry,
)

SECTION: Final = "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefiringTable:
    """Section ``[weights.prefiring]``; the default probabilities are an ansatz: put those of your run.

    abs_eta_edges, probability, stat : of |eta|
    hot_spot                         : eta low, high, phi low, high
    hot_probability, hot_stat        : there
    systematic                       : relative, common to all
    eta, phi                         : columns of each muon, of own files
    ecal, ecal_up                    : columns of the calorimeter's weight and of that at +1, of own files
    """

    abs_eta_edges: tuple[float, ...] = tuple(float(x) for x in np.round(np.linspace(0.0, 2.4, N_PREFIRING + 1), 10))
    probability: tuple[float, ...] = tuple(float(x) for x in np.round(np.linspace(0.002, 0.02, N_PREFIRING), 10))
    stat: tuple[float, ...] = (5e-4,) * N_PREFIRING
    hot_spot: tuple[float, float, float, float] = HOT_SPOT
    hot_probability: float = 0.0
    hot_stat: float = 0.0
    systematic: float = MUON_SYSTEMATIC
    eta: tuple[str, ...] = ("eta",)
    phi: tuple[str, ...] = ("phi",)
    ecal: str | None = None
    ecal_up: str | None = None

    def __post_init__(self) -> None:
        self.entry()

    def entry(self) -> Prefiring:
        """As the registry takes it."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: np.array(given[name]) for name in ("abs_eta_edges", "probability", "stat")}
        return Prefiring(**given | arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Section ``[weights.pileup]`` or ``[weights.vertex]``: data over simulation of one column of own files.

    column   : that is read
    edges    :
    data, mc : contents; only shapes matter
    varied   : contents of data at +1; left out, the nuisance takes the weight away
    """

    column: str
    edges: tuple[float, ...]
    data: tuple[float, ...]
    mc: tuple[float, ...]
    varied: tuple[float, ...] | None = None

    def entry(self, name: str) -> DistributionWeight:
        """As the registry takes it."""
        return DistributionWeight(
            name=name, column=self.column, edges=np.array(self.edges), data=np.array(self.data), mc=np.array(self.mc),
            varied=None if self.varied is None else np.array(self.varied),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningConditions:
    """Section ``[weights]``.

    luminosity : relative error; 0 for none
    prefiring  : ``[weights.prefiring]``
    pileup     : ``[weights.pileup]``, none if left out
    vertex     : ``[weights.vertex]``, none if left out
    """

    luminosity: float = LUMINOSITY
    prefiring: PrefiringTable | None = field(default_factory=PrefiringTable)
    pileup: Distribution | None = None
    vertex: Distribution | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.luminosity < 1:
            raise ValueError(f"luminosity = {self.luminosity}, expected a relative error from 0 to below 1")
        self.registry()

    def registry(self) -> EventWeights:
        """All entries in one."""
        entries: dict[str, WeightEntry] = {}
        if self.luminosity:
            entries["luminosity"] = Luminosity(relative=self.luminosity)
        if self.prefiring is not None:
            entries["prefiring"] = self.prefiring.entry()
        shapes: Mapping[str, Distribution | None] = {"pileup": self.pileup, "vertex": self.vertex}
        entries |= {name: shape.entry(name) for name, shape in shapes.items() if shape is not None}
        return EventWeights(entries=entries)
