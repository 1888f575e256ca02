"""Which kinematic bins are fitted together: thin or failed ones with a neighbour in pT, in data and simulation alike.

Bins are merged within one pair of eta bins only: the equations of `scale` stand for one eta of each muon, and average
over its momenta.  A bin that stays thin, for there is no neighbour left, is left as it is: the fit marks it LOW_STATS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, MassHistograms, regrouped

DATA: Final = 500.0
"""Events of data that a bin of J/psi needs, as of the other quarkonia."""
SIMULATION: Final = 1000.0
"""And simulated ones."""
OTHERS: Final[Mapping[str, tuple[float, float]]] = {"z": (750.0, 750.0)}
"""Resonance -> both, where they differ from these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """Which bins go together: the index of every bin of a binning, and of the bin that it is counted in.

    index  : (B, 4)
    into   : (B, 4)  of one of the bins that are merged, the fullest in data
    failed : (B,)    bins that had events enough, and were merged because their mass fit failed
    """

    index: IntArray
    into: IntArray
    failed: BoolArray

    def __post_init__(self) -> None:
        b = self.into.shape[0]
        check_shapes(self, index=(b, 4), failed=(b,))

    @property
    def n_merged(self) -> int:
        """Bins that are counted in another one."""
        return int(np.any(self.index != self.into, axis=1).sum())

    def apply(self, histograms: MassHistograms) -> MassHistograms:
        """The histograms with bins merged; bins that the merging does not know stay alone."""
        known = {tuple(row): tuple(to) for row, to in zip(self.index.tolist(), self.into.tolist(), strict=True)}
        targets = np.array([known.get(tuple(row), tuple(row)) for row in histograms.index.tolist()], dtype=np.int64)
        return regrouped(histograms, targets)

    def joined(self, failed: IntArray, data: MassHistograms) -> "Merging":
        """With every failed bin counted in its neighbour, the one with the fewest events in data if it has several.

        failed : (F, 4)  merged bins; one that another failed bin has just joined waits for its new fit, one without a
                         neighbour stays
        data   : in the bins that are merged
        """
        known = dict(zip(map(tuple, data.index.tolist()), data.n_events.tolist(), strict=True))
        events = np.array([known.get(tuple(row), 0.0) for row in self.index.tolist()])
        into, has_failed = self.into.copy(), self.failed.copy()
        fresh = np.zeros(events.size, dtype=bool)
        for row in failed:
            own = np.all(into == row, axis=1) & ~fresh
            others = _beside(self.index, own)
            if not (own.any() and others.any()):
                continue
            near = [np.all(into == other, axis=1) for other in np.unique(into[others], axis=0)]
            together = own | min(near, key=lambda group: float(events[group].sum()))
            into[together] = self.index[together][np.argmax(events[together])]
            has_failed |= own
            fresh |= together
        return Merging(index=self.index, into=into, failed=has_failed)


def fewest_events(resonance: str) -> tuple[float, float]:
    """Events of data and of simulation that a kinematic bin needs for the mass fit of a resonance.

    Source: the minima of the public code of CMS-SMP-23-002.
    """
    return OTHERS.get(resonance, (DATA, SIMULATION))


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
        failed=np.zeros(order.size, dtype=bool),
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


def _beside(index: IntArray, own: BoolArray) -> BoolArray:
    """(B,) the bins of the same pair of eta bins one step in pT from some that belong together; not these."""
    eta, momenta = index[:, [ETA_PLUS, ETA_MINUS]], index[:, [PT_PLUS, PT_MINUS]]
    if not own.any():
        return own
    near = np.all(eta == eta[own][0], axis=1) & ~own
    result: BoolArray = near.copy()
    result[near] = [_touch(cell[None, :], momenta[own]) for cell in momenta[near]]
    return result
