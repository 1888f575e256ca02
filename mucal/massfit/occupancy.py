"""Kinematic bins with events enough: thin bins merged with a neighbour in pT, in data and simulation alike.

Bins are merged within one pair of eta bins only: the equations of `scale` stand for one eta of each muon, and average
over its momenta.  A bin that stays thin, for there is no neighbour left, is left as it is: the fit marks it LOW_STATS.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, MassHistograms

DATA: Final = 500.0
"""Events of data that a bin of J/psi needs; 750 for the Z."""
SIMULATION: Final = 1000.0
"""And simulated ones; 750 for the Z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """Which bins go together: the index of every bin of a binning, and of the bin that it is counted in.

    index : (B, 4)
    into  : (B, 4)  of one of the bins that are merged, the fullest in data
    """

    index: IntArray
    into: IntArray

    def __post_init__(self) -> None:
        check_shapes(self, index=(self.into.shape[0], 4))

    @property
    def n_merged(self) -> int:
        """Bins that are counted in another one."""
        return int(np.any(self.index != self.into, axis=1).sum())

    def apply(self, histograms: MassHistograms) -> MassHistograms:
        """The histograms with bins merged; bins that the merging does not know stay alone."""
        known = {tuple(row): tuple(to) for row, to in zip(self.index.tolist(), self.into.tolist(), strict=True)}
        targets = np.array([known.get(tuple(row), tuple(row)) for row in histograms.index.tolist()], dtype=np.int64)
        index, place = np.unique(targets.reshape(-1, 4), axis=0, return_inverse=True)
        place = place.reshape(-1)
        counts = np.zeros((index.shape[0], histograms.counts.shape[1]))
        sums = np.zeros((index.shape[0], *histograms.sums.shape[1:]))
        np.add.at(counts, place, histograms.counts)
        np.add.at(sums, place, histograms.sums)
        return replace(histograms, index=index, counts=counts, sums=sums)


def merge_thin(
    data: MassHistograms, simulation: MassHistograms | None = None, *, min_data: float = DATA,
    min_simulation: float = SIMULATION,
) -> Merging:  # fmt: skip
    """The merging of thin bins that data and simulation share.

    The thinnest bin of a pair of eta bins, relative to what is asked for, joins the thinnest of its neighbours (one
    step in one of the momenta), until none is thin or has a neighbour.

    min_data, min_simulation : events that a bin needs
    """
    events: dict[tuple[int, ...], list[float]] = {}
    for k, histograms in enumerate((data, simulation)):
        if histograms is not None:
            for row, n in zip(histograms.index.tolist(), histograms.n_events.tolist(), strict=True):
                events.setdefault(tuple(row), [0.0, 0.0])[k] = n
    asked = np.array([min_data, min_simulation if simulation is not None else 0.0])
    groups: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for row in events:
        groups.setdefault((row[ETA_PLUS], row[ETA_MINUS]), []).append(row)
    index, into = [], []
    for rows in groups.values():
        for cells in _merged(rows, np.array([events[row] for row in rows]), asked):
            fullest = max(cells, key=lambda i: events[rows[i]][0])
            index += [rows[i] for i in cells]
            into += [rows[fullest]] * len(cells)
    order = np.lexsort(np.array(index).reshape(-1, 4).T[::-1])
    return Merging(
        index=np.array(index, dtype=np.int64).reshape(-1, 4)[order],
        into=np.array(into, dtype=np.int64).reshape(-1, 4)[order],
    )


def _merged(rows: list[tuple[int, ...]], events: FloatArray, asked: FloatArray) -> list[list[int]]:
    """Lists of positions in `rows` that go together."""
    momenta = np.array(rows)[:, [PT_PLUS, PT_MINUS]]
    groups = [[i] for i in range(len(rows))]
    share = [_share(events[i], asked) for i in range(len(rows))]
    alone: set[int] = set()
    while True:
        thin = [g for g in range(len(groups)) if share[g] < 1.0 and g not in alone]
        if not thin:
            return groups
        first = min(thin, key=lambda g: share[g])
        near = [g for g in range(len(groups)) if g != first and _touch(momenta[groups[first]], momenta[groups[g]])]
        if not near:
            alone.add(first)
            continue
        other = min(near, key=lambda g: share[g])
        groups[other] += groups[first]
        share[other] = _share(events[groups[other]].sum(axis=0), asked)
        del groups[first], share[first]
        alone = set()


def _share(events: FloatArray, asked: FloatArray) -> float:
    """Events over those asked for, of data or of simulation, whichever is less; 1 or more is enough."""
    return float(np.min(np.divide(events, asked, out=np.ones(2), where=asked > 0)))


def _touch(one: IntArray, other: IntArray) -> bool:
    """Whether two sets of cells have neighbours: one step apart in one momentum."""
    return bool(np.any(np.abs(one[:, None, :] - other[None, :, :]).sum(axis=2) == 1))
