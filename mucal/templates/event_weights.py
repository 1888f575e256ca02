"""Weights of simulated events that correct running conditions, each with its nuisances: one registry for all.

An entry knows the columns it reads, its nominal weight and what its nuisances multiply that weight by.  The published
count is luminosity 1 and prefiring 14 (muon: 11 bins of |eta| and one hot spot, statistical; one systematic; ECAL: 1);
pileup and vertex weights have one each, off in that count.  Source: arXiv:2412.13872; see docs/physics/nonprompt.md.

Signs.  A nuisance at +1 stands for more luminosity, more prefiring (fewer events), more pileup, the vertex correction
taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from mucal.arrays import FloatArray, check_edges
from mucal.errors import InputError

Events = Mapping[str, FloatArray]

LUMINOSITY: Final = 0.012
"""Relative; arXiv:2412.13872."""
N_PREFIRING: Final = 11
MUON_SYSTEMATIC: Final = 0.11
"""Relative, of the muons' prefiring probability: common to all of |eta|."""
LARGEST_PROBABILITY: Final = 0.5
HOT_SPOT: Final = (1.24, 1.60, 2.44346, 2.79253)
"""Region with a probability of its own: eta low, high, phi low, high."""


class WeightEntry(Protocol):
    """What the registry asks of an entry."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of its nuisances."""
        ...

    def weight(self, events: Events, n: int) -> FloatArray:
        """(N,) nominal weights."""
        ...

    def log_change(self, name: str, events: Events, n: int) -> FloatArray:
        """(N,) ln(weight at +1 of a nuisance / nominal weight)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Luminosity:
    """Events that are normalised to the luminosity; the weight is 1.

    relative : standard error
    """

    relative: float = LUMINOSITY

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def nuisances(self) -> tuple[str, ...]:
        return ("luminosity",)

    def weight(self, events: Events, n: int) -> FloatArray:
        return np.ones(n)

    def log_change(self, name: str, events: Events, n: int) -> FloatArray:
        return np.full(n, np.log1p(self.relative))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionWeight:
    """Data over simulation of one quantity of the event: pileup, z of the vertex.

    name     : of the nuisance
    column   : that is read
    edges    : (K+1,)  beyond them the weight of the edge bin holds
    data, mc : (K,)    contents; only shapes matter
    varied   : (K,)    contents of data at +1; None: the nuisance takes the weight away
    """

    name: str
    column: str
    edges: FloatArray
    data: FloatArray
    mc: FloatArray
    varied: FloatArray | None = None

    def __post_init__(self) -> None:
        check_edges(f"{self.name}: edges", self.edges)
        k = self.edges.size - 1
        for what in ("data", "mc", "varied"):
            values = getattr(self, what)
            if values is None:
                continue
            if values.shape != (k,) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
                raise InputError(
                    f"{what} of the weight '{self.name}' must be {k} contents, finite, not negative, not all 0",
                    kind="weights.contents",
                )
            lost = (self.mc <= 0) & (values > 0)
            if what != "mc" and lost.any():
                i = int(np.argmax(lost))
                raise InputError(
                    f"{what} of the weight '{self.name}' has content where simulation has none",
                    kind="weights.no_simulation",
                    where={"bin": f"{self.column} {self.edges[i]:g} to {self.edges[i + 1]:g}"},
                    do="merge bins",
                )

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def nuisances(self) -> tuple[str, ...]:
        return (self.name,)

    def _ratio(self, contents: FloatArray, events: Events) -> FloatArray:
        i = np.clip(np.searchsorted(self.edges, events[self.column], side="right") - 1, 0, self.edges.size - 2)
        mc = self.mc / self.mc.sum()
        ratio = np.divide(contents / contents.sum(), mc, out=np.ones(mc.size), where=mc > 0)
        result: FloatArray = ratio[i]
        return result

    def weight(self, events: Events, n: int) -> FloatArray:
        return self._ratio(self.data, events)

    def log_change(self, name: str, events: Events, n: int) -> FloatArray:
        nominal = self._ratio(self.data, events)
        varied = np.ones(n) if self.varied is None else self._ratio(self.varied, events)
        both = (nominal > 0) & (varied > 0)
        result: FloatArray = np.where(both, np.log(np.where(both, varied, 1.0) / np.where(both, nominal, 1.0)), 0.0)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefiring:
    """Events lost because a muon or the calorimeter fired the trigger one crossing too early.

    The weight is (1 - p(muon 1)) (1 - p(muon 2)) (ECAL column); a muon that is not there has eta NaN.

    abs_eta_edges      : (12,)  of |eta|
    probability, stat  : (11,)  of each bin, and its standard error
    hot_spot           : eta low, high, phi low, high of a region with its own probability
    hot_probability, hot_stat : there
    systematic         : relative, common
    eta, phi           : columns of each muon
    ecal, ecal_up      : columns of the calorimeter's weight and of that at +1; None without
    """

    abs_eta_edges: FloatArray
    probability: FloatArray
    stat: FloatArray
    hot_spot: tuple[float, float, float, float] = HOT_SPOT
    hot_probability: float = 0.0
    hot_stat: float = 0.0
    systematic: float = MUON_SYSTEMATIC
    eta: tuple[str, ...] = ("eta",)
    phi: tuple[str, ...] = ("phi",)
    ecal: str | None = None
    ecal_up: str | None = None

    def __post_init__(self) -> None:
        check_edges("prefiring abs_eta_edges", self.abs_eta_edges)
        k = self.abs_eta_edges.size - 1
        if self.probability.shape != (k,) or self.stat.shape != (k,):
            raise ValueError(
                f"Prefiring has {self.probability.size} probabilities and {self.stat.size} errors for {k} bins of |eta|"
            )
        every = np.append(self.probability, self.hot_probability)
        if not (np.all(every >= 0) and np.all(every < LARGEST_PROBABILITY)):
            raise ValueError(f"prefiring probabilities go from {every.min():g} to {every.max():g}; expected 0 to 0.5")
        if (self.ecal is None) != (self.ecal_up is None) or len(self.eta) != len(self.phi):
            raise ValueError("Prefiring needs ecal and ecal_up together, and a phi for every eta")

    @property
    def columns(self) -> tuple[str, ...]:
        ecal = () if self.ecal is None or self.ecal_up is None else (self.ecal, self.ecal_up)
        return (*self.eta, *self.phi, *ecal)

    @property
    def nuisances(self) -> tuple[str, ...]:
        stat = tuple(f"prefiring_muon_stat_{i}" for i in range(self.probability.size))
        return (*stat, "prefiring_muon_stat_hot", "prefiring_muon_syst", *(("prefiring_ecal",) if self.ecal else ()))

    def _region(self, eta: FloatArray, phi: FloatArray) -> FloatArray:
        """(N,) bin of |eta|, the number of bins for the hot spot, -1 for none."""
        with np.errstate(invalid="ignore"):
            region = np.searchsorted(self.abs_eta_edges, np.abs(eta), side="right") - 1
            region = np.where((region < 0) | (region >= self.probability.size) | np.isnan(eta), -1, region)
            low, high, left, right = self.hot_spot
            hot = (eta >= low) & (eta < high) & (phi >= left) & (phi < right) & (self.hot_probability > 0)
        result: FloatArray = np.where(hot, self.probability.size, region)
        return result

    def weight(self, events: Events, n: int) -> FloatArray:
        result = np.ones(n) if self.ecal is None else np.asarray(events[self.ecal], dtype=float).copy()
        every = np.append(self.probability, [self.hot_probability, 0.0])
        for eta, phi in zip(self.eta, self.phi, strict=True):
            result *= 1.0 - every[self._region(events[eta], events[phi]).astype(int)]
        return result

    def log_change(self, name: str, events: Events, n: int) -> FloatArray:
        """(N,) ln of the weight at +1 of this nuisance over the nominal one."""
        if name == "prefiring_ecal" and self.ecal is not None and self.ecal_up is not None:
            ratio: FloatArray = np.log(events[self.ecal_up] / events[self.ecal])
            return ratio
        every = np.append(self.probability, [self.hot_probability, 0.0])
        if name == "prefiring_muon_syst":
            shift = self.systematic * every
        else:
            which = self.nuisances.index(name)
            shift = np.where(np.arange(every.size) == which, np.append(self.stat, [self.hot_stat, 0.0]), 0.0)
        change = np.log1p(-np.minimum(every + shift, 1.0 - 1e-9)) - np.log1p(-every)
        result = np.zeros(n)
        for eta, phi in zip(self.eta, self.phi, strict=True):
            result += change[self._region(events[eta], events[phi]).astype(int)]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWeights:
    """The registry: entries by name, whose weights multiply.

    entries : name, as "luminosity", "prefiring", "pileup", "vertex" -> entry
    """

    entries: Mapping[str, WeightEntry]

    def __post_init__(self) -> None:
        names = self.nuisances
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"nuisance '{twice}' belongs to two weights", kind="weights.two_meanings")

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Of all entries, in their order."""
        return tuple(name for entry in self.entries.values() for name in entry.nuisances)

    @property
    def columns(self) -> tuple[str, ...]:
        """That the entries read, each once."""
        return tuple(dict.fromkeys(name for entry in self.entries.values() for name in entry.columns))

    @property
    def groups(self) -> tuple[str, ...]:
        """(S,) the entry of each nuisance."""
        return tuple(group for group, entry in self.entries.items() for _ in entry.nuisances)

    def weight(self, events: Events) -> FloatArray:
        """(N,) product of all weights.  Raises InputError for a missing column or a weight that is not finite."""
        n = self._size(events)
        result = np.ones(n)
        for name, entry in self.entries.items():
            found = entry.weight(events, n)
            wrong = ~np.isfinite(found)
            if wrong.any():
                raise InputError(
                    f"{int(wrong.sum())} of {n} weights '{name}' are not finite, first at {int(np.argmax(wrong))}",
                    kind="weights.not_finite",
                )
            result = result * found
        return result

    def log_change(self, nuisance: str, events: Events) -> FloatArray:
        """(N,) ln(weight at +1 / nominal).  Raises ValueError for an unknown nuisance."""
        n = self._size(events)
        for entry in self.entries.values():
            if nuisance in entry.nuisances:
                return entry.log_change(nuisance, events, n)
        raise ValueError(f"no nuisance '{nuisance}' among {', '.join(self.nuisances)}")

    def _size(self, events: Events) -> int:
        for name, entry in self.entries.items():
            for column in entry.columns:
                if column not in events:
                    raise InputError(
                        f"the weight '{name}' needs the column '{column}'",
                        kind="weights.missing_column",
                        where={"known": ", ".join(events)},
                    )
        return int(np.asarray(next(iter(events.values()))).size) if events else 0
