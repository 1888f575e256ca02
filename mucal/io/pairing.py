"""From lists of muons to at most one pair an event, with a reason for every event that gives none.

The rule: the highest-pT mu+ goes with the highest-pT mu-, among the muons that pass the selections; never by mass.
Like-sign pairs (charge = "same"): the first two muons of one charge met on the way down in pT.  Either (charge =
"any"): the two of highest pT.  Of muons with equal pT the one first in the file counts as higher.

An event's reason is the first that applies, in this order: no_era; uncertified; fewer_than_two_muons; the selections,
as listed (a NaN in an event's own column is nonfinite:COLUMN; a muon with NaN passes no selection); nonfinite and range
of each quantity, and charge, where any muon that is left has a bad value; acceptance; same_charge; inconsistent:mass;
window.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.io.dimuon_input import CARTESIAN, IDS, POLAR, DimuonInput
from mucal.io.muon_lists import MuonLists
from mucal.io.runs import NO_ERA, UNCERTIFIED, CertifiedRuns, era_of
from mucal.track import Dimuons, invariant_mass

MAX_MOMENTUM: Final = 1e5
"""GeV: above any beam that is planned."""
MAX_ETA: Final = 15.0
"""Above the beam rapidity of any collider that is planned."""
MAX_PHI: Final = 2 * np.pi * (1 + 1e-6)
"""Both conventions, -pi to pi and 0 to 2 pi, in single precision; degrees are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What a chunk of events gave.

    dimuons : the pairs that are kept
    kept    : (n,) indices of their events in the chunk
    reason  : (E,) index into `reasons` of each event, 0 for those kept
    reasons : reason names; the first is empty
    """

    dimuons: Dimuons
    kept: IntArray
    reason: IntArray
    reasons: tuple[str, ...]


class _Sieve:
    """Gives each event the first reason that applies to it."""

    def __init__(self, events: int) -> None:
        self.reason = np.zeros(events, dtype=np.int64)
        self.names = [""]

    def reject(self, events: BoolArray, name: str) -> None:
        if name not in self.names:
            self.names.append(name)
        self.reason[events & (self.reason == 0)] = self.names.index(name)

    @property
    def alive(self) -> BoolArray:
        undecided: BoolArray = self.reason == 0
        return undecided


def make_pairs(lists: MuonLists, config: DimuonInput, certified: CertifiedRuns | None = None) -> Pairs:
    """The pair of each event, or the reason why there is none."""
    sieve = _Sieve(len(lists))
    if config.eras:
        sieve.reject(era_of(lists.ids["run"], config.eras) < 0, NO_ERA)
    if certified is not None:
        sieve.reject(~certified.hold(lists.ids["run"], lists.ids["lumi"]), UNCERTIFIED)
    candidate = np.ones(lists.event_of.size, dtype=bool)
    sieve.reject(_count(lists, candidate) < 2, "fewer_than_two_muons")
    candidate = _apply_selections(lists, config, sieve, candidate)
    muons = _reject_bad(lists, config, sieve, candidate)
    candidate = _apply_acceptance(lists, muons, config, sieve, candidate)
    first, second = _choose(lists, muons["pt"], muons["charge"], config, candidate)
    unpaired = "opposite_charge" if config.charge == "same" else "same_charge"
    sieve.reject(first < 0, unpaired)
    kept = np.flatnonzero(sieve.alive)
    pairs = np.stack([first[kept], second[kept]], axis=1)
    kept, pairs = _check_masses(lists, muons, config, sieve, kept, pairs)
    dimuons = _dimuons(lists, muons, kept, pairs)
    return Pairs(dimuons=dimuons, kept=kept, reason=sieve.reason, reasons=tuple(sieve.names))


def _count(lists: MuonLists, candidate: BoolArray) -> IntArray:
    return np.bincount(lists.event_of[candidate], minlength=len(lists)).astype(np.int64)


def _any(lists: MuonLists, muons: BoolArray) -> BoolArray:
    found = np.zeros(len(lists), dtype=bool)
    found[lists.event_of[muons]] = True
    return found


def _apply_selections(lists: MuonLists, config: DimuonInput, sieve: _Sieve, candidate: BoolArray) -> BoolArray:
    for selection in config.selections():
        name = f"selection:{selection.text}"
        if selection.column in lists.flat:
            values = lists.flat[selection.column]
            if values.dtype.kind == "f":
                sieve.reject(np.isnan(values), f"nonfinite:{selection.column}")
            sieve.reject(~selection.passes(values), name)
        else:
            candidate = candidate & selection.passes(lists.per_muon[selection.column])
            sieve.reject(_count(lists, candidate) < 2, name)
    return candidate


def _reject_bad(lists: MuonLists, config: DimuonInput, sieve: _Sieve, candidate: BoolArray) -> dict[str, FloatArray]:
    """Every quantity of the muons, pt, eta and phi included; events with a bad value are rejected."""
    muons = dict(lists.muons)
    for key in (*POLAR, *CARTESIAN, "e", "charge"):
        if key in muons:
            sieve.reject(_any(lists, candidate & np.isnan(muons[key])), f"nonfinite:{key}")
    if lists.mass is not None:
        sieve.reject(np.isnan(lists.mass), "nonfinite:mass")
        sieve.reject(~(np.abs(lists.mass) < 2 * MAX_MOMENTUM), "range:mass")
    for key in (*CARTESIAN, "e"):
        if key in muons:
            sieve.reject(_any(lists, candidate & ~(np.abs(muons[key]) < MAX_MOMENTUM)), f"range:{key}")
    if "pt" not in muons:
        muons.update(_polar(muons["px"], muons["py"], muons["pz"]))
    for key, good in (
        ("pt", (muons["pt"] > 0) & (muons["pt"] < MAX_MOMENTUM)),
        ("eta", np.abs(muons["eta"]) < MAX_ETA),
        ("phi", np.abs(muons["phi"]) <= MAX_PHI),
    ):
        sieve.reject(_any(lists, candidate & ~good), f"range:{key}")
    sieve.reject(_any(lists, candidate & (np.abs(muons["charge"]) != 1)), "charge")
    return muons


def _polar(px: FloatArray, py: FloatArray, pz: FloatArray) -> dict[str, FloatArray]:
    with np.errstate(all="ignore"):  # bad values are rejected by name, before and after
        pt = np.hypot(px, py)
        return {"pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px)}


def _apply_acceptance(
    lists: MuonLists, muons: dict[str, FloatArray], config: DimuonInput, sieve: _Sieve, candidate: BoolArray
) -> BoolArray:
    if config.pt_min is not None:
        candidate = candidate & (muons["pt"] >= config.pt_min)
        sieve.reject(_count(lists, candidate) < 2, f"selection:pt >= {config.pt_min:g}")
    if config.eta_max is not None:
        candidate = candidate & (np.abs(muons["eta"]) <= config.eta_max)
        sieve.reject(_count(lists, candidate) < 2, f"selection:abs(eta) <= {config.eta_max:g}")
    return candidate


def _choose(
    lists: MuonLists, pt: FloatArray, charge: FloatArray, config: DimuonInput, candidate: BoolArray
) -> tuple[IntArray, IntArray]:
    """Indices of each event's two muons, (PLUS, MINUS) or (leading, trailing); -1 where there is no pair."""
    if config.charge == "opposite":
        plus = _highest(lists, pt, candidate & (charge > 0))
        minus = _highest(lists, pt, candidate & (charge < 0))
        found = (plus >= 0) & (minus >= 0)
        return np.where(found, plus, -1), np.where(found, minus, -1)
    if config.charge == "same":
        plus, second_plus = _two_highest(lists, pt, candidate & (charge > 0))
        minus, second_minus = _two_highest(lists, pt, candidate & (charge < 0))
        height = np.append(pt, -np.inf)  # at -1, no muon
        use_plus = height[second_plus] > height[second_minus]
        use_plus |= (height[second_plus] == height[second_minus]) & (second_plus < second_minus)
        return np.where(use_plus, plus, minus), np.where(use_plus, second_plus, second_minus)
    first, second = _two_highest(lists, pt, candidate)
    sign = np.append(charge, 0.0)
    swap = (sign[first] < 0) & (sign[second] > 0)
    return np.where(swap, second, first), np.where(swap, first, second)


def _two_highest(lists: MuonLists, pt: FloatArray, allowed: BoolArray) -> tuple[IntArray, IntArray]:
    """Indices of each event's two allowed muons of highest pT; -1, -1 where there are fewer."""
    first = _highest(lists, pt, allowed)
    others = allowed.copy()
    others[first[first >= 0]] = False
    second = _highest(lists, pt, others)
    return np.where(second < 0, -1, first), second


def _highest(lists: MuonLists, pt: FloatArray, allowed: BoolArray) -> IntArray:
    """Index of each event's allowed muon of highest pT, of equal ones the first; -1 where there is none."""
    found = np.full(len(lists), -1, dtype=np.int64)
    muons = np.flatnonzero(allowed)
    if muons.size:
        event = lists.event_of[muons]
        starts = np.flatnonzero(np.diff(event, prepend=-1))
        top = np.repeat(np.maximum.reduceat(pt[muons], starts), np.diff(starts, append=muons.size))
        backwards = muons[pt[muons] == top][::-1]  # the last assignment stays: the first muon
        found[lists.event_of[backwards]] = backwards
    return found


def _check_masses(
    lists: MuonLists,
    muons: dict[str, FloatArray],
    config: DimuonInput,
    sieve: _Sieve,
    kept: IntArray,
    pairs: IntArray,
) -> tuple[IntArray, IntArray]:
    """Those pairs whose masses agree and lie in the window."""
    with np.errstate(invalid="ignore"):  # far forward the cancellation can leave a negative square
        mass = invariant_mass(muons["pt"][pairs], muons["eta"][pairs], muons["phi"][pairs])
    _reject_some(sieve, kept[~np.isfinite(mass)], "nonfinite:mass")
    if config.check_mass is not None:
        differ = np.zeros(kept.size, dtype=bool)
        for other in _other_masses(lists, muons, kept, pairs):
            differ |= ~(np.abs(other - mass) <= config.check_mass)
        _reject_some(sieve, kept[differ], "inconsistent:mass")
    if config.mass_range is not None:
        low, high = config.mass_range
        _reject_some(sieve, kept[~((mass >= low) & (mass < high))], "window")
    good = sieve.alive[kept]
    return kept[good], pairs[good]


def _reject_some(sieve: _Sieve, events: IntArray, name: str) -> None:
    mask = np.zeros(sieve.reason.size, dtype=bool)
    mask[events] = True
    sieve.reject(mask, name)


def _other_masses(lists: MuonLists, muons: dict[str, FloatArray], kept: IntArray, pairs: IntArray) -> list[FloatArray]:
    """The pair mass from every other source the file has."""
    masses = []
    if "px" in muons:
        px, py, pz = (muons[key][pairs] for key in CARTESIAN)
        polar = _polar(px, py, pz)
        masses.append(invariant_mass(polar["pt"], polar["eta"], polar["phi"]))
        if "e" in muons:
            squared = muons["e"][pairs].sum(axis=1) ** 2 - sum(p.sum(axis=1) ** 2 for p in (px, py, pz))
            masses.append(np.sqrt(np.maximum(squared, 0.0)))
    if lists.mass is not None:
        masses.append(lists.mass[kept])
    return masses


def _dimuons(lists: MuonLists, muons: dict[str, FloatArray], kept: IntArray, pairs: IntArray) -> Dimuons:
    ids = {key: lists.ids[key][kept] if key in lists.ids else np.zeros(kept.size, dtype=np.int64) for key in IDS}
    return Dimuons(
        **ids,
        pt=muons["pt"][pairs],
        eta=muons["eta"][pairs],
        phi=muons["phi"][pairs],
        charge=muons["charge"][pairs].astype(np.int64),
    )
