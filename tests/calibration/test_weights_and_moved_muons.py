"""W1, weights of the response, against W2, muons that are moved, smeared or hit otherwise: all groups of nuisances.

Both fill the same histograms, within the covariance of their difference from the muons themselves.
"""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import chdtrc

from mucal.calibration import Calibration, CalibrationConfig, assemble, groups, response_weights
from mucal.calibration.product import KINDS
from mucal.calibration.response_map import ResponseMap, count_response, response_map
from mucal.scale import ResolutionTable
from mucal.scale.detector_modes import DetectorModes

N = 300_000
PT = np.linspace(30.0, 46.0, 9)
RESPONSE = np.linspace(0.96, 1.04, 9)
"""Of pT over generated pT: in a peak as broad as that of pT another resolution could not be seen."""
SIZE = 5e-4
"""Of dk/k: large enough for some hundred muons to change each bin, small enough for linear weights (0.8 % of it)."""
SHARE = 0.2
"""Of the variance that smearing adds, the largest change: 5 % of sigma^2; linear weights miss 4 % of its effect."""
CASES = [
    *((f"jpsi_stat_{i:03d}", "simulated") for i in (0, 20, 90, 143)), ("jpsi_stat_007", "smeared"),
    *((f"detector_{i:03d}", "simulated") for i in (0, 1)),
    *((f"zclosure_stat_{i:03d}", "simulated") for i in (0, 30, 47)),
    *((name, "simulated") for name in ("zclosure_lep", "zclosure_M", "reference_mass_jpsi", "alternative_line")),
    *((f"resolution_stat_{i:03d}", "smeared") for i in (0, 5, 17, 30, 71)),
    *((f"pixel_mult_{i:03d}", "simulated") for i in (0, 23, 48)),
    *((name, "mapped") for name in ("jpsi_stat_020", "zclosure_M", "resolution_stat_030", "pixel_mult_048")),
]  # fmt: skip
"""Nuisance, and the muons that it is compared with: `mapped` ones have tails and a map of their response."""
RARE = 1e-3 / (2 * len(CASES))
"""One false alarm in a thousand sets of seeds, up and down of all cases together."""
WRONG = 1e-9
"""What is wrong must be told from chance beyond doubt."""


class Muons:
    """N muons of a Jacobian-like peak; a share `tail` is measured twice as badly as the calibration knows."""

    def __init__(self, seed: int, tail: float = 0.0):
        rng = np.random.default_rng(seed)
        self.gen = 40.0 * np.sqrt(1.0 - rng.uniform(0, 0.7, N) ** 2) * rng.normal(1.0, 0.08, N)
        self.pull = rng.normal(size=N) * np.where(rng.uniform(size=N) < tail, 2.0, 1.0)
        self.eta, self.charge = rng.uniform(-2.4, 2.4, N), rng.choice([-1.0, 1.0], N)
        self.fired, self.u = rng.integers(0, 2, N), rng.uniform(size=N)  # for the hits in the pixel detector
        event = seed * N + np.arange(N)
        self.place = self.eta, 0 * self.eta, 0 * event, 0 * event, event

    def measured(self, table: ResolutionTable, shift: Any = 0.0, worse: Any = 1.0) -> np.ndarray:
        """pT with the resolution of a table, its a, b, c shifted, and the errors `worse` times as large."""
        sigma = np.sqrt(variance(table, self.gen, self.eta, shift))
        return self.gen / (1.0 + worse * sigma * self.pull)


def variance(table: ResolutionTable, pt: Any, eta: np.ndarray, shift: Any = 0.0) -> np.ndarray:
    j = np.searchsorted(table.eta_edges, eta, side="right") - 1
    a, b, c = (np.stack([table.a, table.b, table.c]) + shift)[:, j]
    return a + c * pt**2 + b / (1.0 + table.d[j] / pt**2)


def times(table: ResolutionTable, factor: float) -> ResolutionTable:
    return replace(table, a=factor * table.a, b=factor * table.b, c=factor * table.c)


@pytest.fixture(scope="module")
def everything(cms_like: Calibration) -> list[Calibration]:
    """All groups of nuisances: without modes of the detector, and with them in the place of the statistics."""
    rng = np.random.default_rng(77)
    scale, pixels = cms_like.scale, cms_like.pixels
    *patterns, (A, e, M) = rng.normal(size=(3, 3, 48)) * np.array([1e-5, 1e-4, 1e-6])[:, None]
    line = replace(scale, A=scale.A + A, e=scale.e + e, M=scale.M + M)
    modes = DetectorModes(
        eta_edges=scale.eta_edges, variations=np.array(patterns), leading=("a", "b"), residual=np.zeros(3)
    )
    # more muons without pixel hits than there are, for enough of them to change in one bin of eta
    pixels = replace(pixels, mc_zero=0.1 * pixels.mc, data_zero=rng.uniform(0.15, 0.25, (2, 2, 48)) * pixels.data)
    config = CalibrationConfig(pt_definition="refit", reference_mass_nuisance=True, adhoc_A=1e-5, adhoc_M=1e-6)
    resolutions = replace(times(cms_like.resolution_mc, 1.3), cov=cms_like.resolution_data.cov), cms_like.resolution_mc
    options = {"closures": [cms_like.closure], "pixels": pixels, "alternatives": {"line": line}}
    return [assemble(scale, *resolutions, config, **options, detector=detector) for detector in (None, modes)]


def test_every_group_of_nuisances_is_compared_and_every_kind_by_a_map(everything: list[Calibration]):
    of = {n: (g, k) for cal in everything for n, g, k in zip(cal.names, cal.groups, cal.kinds, strict=True)}
    known = {group for group, _ in of.values()}
    makers = {
        name for name, function in inspect.getmembers(groups, inspect.isfunction)
        if not name.startswith("_") and inspect.signature(function).return_annotation is groups.Group
    }  # fmt: skip
    assert len(known) == len(makers), f"{sorted(makers)} make groups; everything has {sorted(known)}"
    assert {of[name][0] for name, _ in CASES} == known
    assert {of[name][1] for name, how in CASES if how == "mapped"} == set(KINDS)


def alone(everything: list[Calibration], name: str) -> Calibration:
    """One nuisance of its own pattern; its largest shift at 40 GeV is SIZE, or SHARE of what smearing adds."""
    cal = next(cal for cal in everything if name in cal.names)
    i, shift = cal.names.index(name), cal.variation(name)
    if cal.kinds[i] == "scale":
        shift = shift * SIZE / np.max(np.abs(shift[0] - shift[1] / 40) + np.abs(40 * shift[2]))
    elif cal.kinds[i] == "resolution":
        data, eta = cal.resolution_data, np.linspace(-2.35, 2.35, 24)
        nominal = variance(data, 40.0, eta)
        added, change = nominal - variance(cal.resolution_mc, 40.0, eta), variance(data, 40.0, eta, shift) - nominal
        shift = shift * SHARE / np.max(np.abs(change) / added)
    variations = {f"{kind}_variations": getattr(cal, f"{kind}_variations")[:0] for kind in KINDS}
    variations[f"{cal.kinds[i]}_variations"] = shift[None]
    return replace(cal, names=(name,), groups=(cal.groups[i],), kinds=(cal.kinds[i],), sources=("",), **variations)


def bins_of(edges: np.ndarray, x: np.ndarray, *cells: np.ndarray) -> np.ndarray:
    """(N,) bin of x and of cells, each 0 or 1; -1 outside the edges."""
    found = np.searchsorted(edges, x, side="right") - 1
    inside = (found >= 0) & (x < edges[-1])
    for cell in cells:
        found = 2 * found + cell
    return np.where(inside, found, -1)


def compare(before: np.ndarray, after: np.ndarray, weight: np.ndarray) -> float:
    """Probability of the chi2 of (weighted - moved) over all bins, with the covariance of that difference.

    before, after : (N,) bin of each muon, -1 outside, before and after it was moved
    weight        : (N,) relative
    """
    size = max(before.max(), after.max()) + 1
    old, new = (np.where(b >= 0, b, size) for b in (before, after))
    # each muon adds w to its old bin and takes 1 from its new one
    difference = np.bincount(old, weight, size + 1) - np.bincount(new, minlength=size + 1)
    cov = np.diag(np.bincount(old, weight**2, size + 1) + np.bincount(new, minlength=size + 1))
    both = np.bincount(old * (size + 1) + new, weight, (size + 1) ** 2).reshape(size + 1, size + 1)
    cov -= both + both.T
    used = np.flatnonzero(np.bincount(old, minlength=size + 1)[:size])
    chi2 = difference[used] @ np.linalg.solve(cov[np.ix_(used, used)], difference[used])
    return float(chdtrc(used.size, chi2))


Move = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Bins before and after, and weights."""


def scale_moves(cal: Calibration, s: Muons, **response: Any) -> list[Move]:
    raw = s.measured(cal.resolution_mc)
    pt = cal.smear(raw, *s.place, muon=0) if response else raw
    weights = response_weights(cal, pt, s.eta, s.charge, s.gen, **response)[:, 0].astype(float)
    dA, de, dM = cal.scale_variations[0][:, cal.scale.bin_index(s.eta)]
    cells = s.charge > 0, dA - de / 40 + s.charge * dM * 40 > 0  # muons that move alike: their effects add
    moved = cal.vary(pt, s.eta, 0 * pt, s.charge, cal.names[0], "mc")
    before, *after = (bins_of(PT, p, *cells) for p in (pt, *moved))
    return [(before, after[i], weights[:, i]) for i in (0, 1)]


def resolution_moves(cal: Calibration, s: Muons, **response: Any) -> list[Move]:
    """The same random numbers, a longer or a shorter stride: `smear` itself, where it adds something."""
    raw = s.measured(cal.resolution_mc)
    pt = cal.smear(raw, *s.place, muon=0)
    weights = response_weights(cal, pt, s.eta, s.charge, s.gen, **response)[:, 0].astype(float)
    moved = cal.vary_smearing(raw, *s.place, cal.names[0], muon=0)
    before, *after = (bins_of(RESPONSE, p / s.gen, *widened(cal, s)) for p in (pt, *moved))
    return [(before, after[i], weights[:, i]) for i in (0, 1)]


def widened(cal: Calibration, s: Muons) -> tuple[np.ndarray, np.ndarray]:
    """Which muons the nuisance, up, measures worse at 40 GeV; and which have more than 38 GeV."""
    data = cal.resolution_data
    return variance(data, 40.0, s.eta, cal.resolution_variations[0]) > variance(data, 40.0, s.eta), s.gen > 38.0


def pixel_moves(cal: Calibration, s: Muons, **response: Any) -> list[Move]:
    """Other hits by the same random number; a muon without any is measured twice as badly.

    Up takes the hits of simulation to those of data.  Down is the weight to the power -1: it takes the hits of data to
    those of simulation.  (Of simulated muons it raises the number, by (p_data - p_mc)^2 / (p_data (1 - p_data)).)
    """
    table = cal.pixels
    j = np.searchsorted(table.eta_edges, s.eta, side="right") - 1
    cell = s.fired, (s.charge > 0).astype(int), j
    shares = (table.mc_zero / table.mc)[cell], (table.data_zero / table.data)[cell]
    without = [s.u < share for share in shares]
    pt = [s.measured(cal.resolution_mc, worse=1.0 + w) for w in without]
    bins = [np.where(cal.pixel_variations[0][j] > 0, bins_of(PT, p, w), -1) for p, w in zip(pt, without, strict=True)]
    found = []
    for start, end in ((0, 1), (1, 0)):
        hits = {"triggered": s.fired, "n_pixel": np.where(without[start], 0, 3)}
        weights = response_weights(cal, pt[start], s.eta, s.charge, s.gen, **hits, **response)
        found.append((bins[start], bins[end], weights[:, 0, start].astype(float)))
    return found


MOVES = {"scale": scale_moves, "resolution": resolution_moves, "pixel": pixel_moves}


@pytest.fixture(scope="module")
def response(everything: list[Calibration]) -> ResponseMap:
    """The response of smeared muons with tails; other muons than those that are weighed."""
    cal, s = everything[0], Muons(101, tail=0.2)
    pt = cal.smear(s.measured(cal.resolution_mc), *s.place, muon=0)
    edges = {"pt_edges": np.array([10.0, 31.0, 35.0, 38.0, 41.0, 70.0]), "eta_edges": np.linspace(-2.4, 2.4, 13)}
    return response_map(count_response(pt, s.gen, s.eta, s.charge, **edges))


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{how}" for name, how in CASES])
def moves(request: pytest.FixtureRequest, everything: list[Calibration], response: ResponseMap) -> list[Move]:
    """Up and down of one nuisance."""
    name, how = request.param
    cal, s = alone(everything, name), Muons(100, tail=0.2 if how == "mapped" else 0.0)
    by: dict[str, Any] = {"simulated": {}, "smeared": {"smeared": True}, "mapped": {"response": response}}[how]
    return MOVES[cal.kinds[0]](cal, s, **by)


def test_weights_and_moved_muons_agree(moves: list[Move]):
    for before, after, weight in moves:
        assert compare(before, after, weight) > RARE


def test_the_comparison_would_see_the_other_sign_and_twice_the_size(moves: list[Move]):
    for before, after, weight in moves:
        assert compare(before, after, 2.0 - weight) < WRONG
        assert compare(before, after, 2.0 * weight - 1.0) < WRONG


def test_the_comparison_would_see_tails_that_the_weights_do_not_know(everything: list[Calibration]):
    for before, after, weight in scale_moves(alone(everything, "zclosure_M"), Muons(100, tail=0.2), smeared=True):
        assert compare(before, after, weight) < WRONG


def test_where_data_are_better_weights_sharpen_what_smearing_leaves(everything: list[Calibration]):
    # both variations stay below simulation: no muon moves; the weights are those of muons that are measured anew
    cal, s = alone(everything, "resolution_stat_005"), Muons(100)
    mc, shift = cal.resolution_mc, cal.resolution_variations[0]
    cal = replace(cal, resolution_data=times(mc, 0.8))
    pt = s.measured(mc)
    for same in cal.vary_smearing(pt, *s.place, cal.names[0], muon=0):
        assert_array_equal(same, pt)
    weights = response_weights(cal, pt, s.eta, s.charge, s.gen, smeared=True)[:, 0].astype(float)
    before = bins_of(RESPONSE, pt / s.gen, *widened(cal, s))
    for i, sign in enumerate((1.0, -1.0)):
        after = bins_of(RESPONSE, s.measured(mc, sign * shift) / s.gen, *widened(cal, s))
        assert compare(before, after, weights[:, i]) > RARE
        assert compare(before, after, 2.0 - weights[:, i]) < WRONG


def test_smearing_stops_at_simulation_and_weights_go_on(everything: list[Calibration]):
    # down takes away twice what data have more than simulation: smearing follows half of the way
    cal, s = alone(everything, "resolution_stat_005"), Muons(100)
    mc, data = cal.resolution_mc, times(cal.resolution_mc, 1.05)
    twice = 2.0 * np.stack([data.a - mc.a, data.b - mc.b, data.c - mc.c])
    cal = replace(cal, resolution_data=data, resolution_variations=twice[None])
    raw = s.measured(mc)
    assert_array_equal(cal.vary_smearing(raw, *s.place, cal.names[0], muon=0)[1], raw)
    _, (before, after, weight) = resolution_moves(cal, s, smeared=True)
    assert compare(before, after, 0.5 + 0.5 * weight) > RARE
    assert compare(before, after, weight) < WRONG
