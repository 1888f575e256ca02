"""All nuisances at once: compiled loops against their numpy twins; weights of the response against moved muons."""

import inspect
from dataclasses import dataclass, replace
from operator import attrgetter

import awkward as ak
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import chdtrc

from mucal.calibration import (
    Calibration, CalibrationConfig, application, assemble, groups, response_weights, vary_all,
)  # fmt: skip
from mucal.calibration.product import KINDS
from mucal.calibration.response_map import ResponseMap, count_response, response_map
from mucal.scale import ResolutionTable
from mucal.scale.detector_modes import DetectorModes


@pytest.fixture
def muons() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    n = 3000
    return {
        "pt": rng.uniform(4.0, 99.0, n), "eta": rng.uniform(-2.4, 2.3999, n), "phi": rng.uniform(-3, 3, n),
        "charge": rng.choice([-1, 1], n),
    }  # fmt: skip


def test_the_compiled_correction_is_numpys_to_the_last_bit(
    cms_like: Calibration, muons: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    muons["eta"][:48] = cms_like.scale.eta_edges[:48]  # on the edges
    slow = cms_like.correct(**muons)
    slow_up, slow_down = cms_like.vary(**muons, nuisance="jpsi_stat_003", sample="mc")
    monkeypatch.setattr(application, "COMPILED", 1)
    assert_array_equal(cms_like.correct(**muons), slow)
    up, down = cms_like.vary(**muons, nuisance="jpsi_stat_003", sample="mc")
    assert_array_equal(up, slow_up)
    assert_array_equal(down, slow_down)


def test_the_compiled_correction_refuses_what_numpy_refuses(
    cms_like: Calibration, muons: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(application, "COMPILED", 1)
    for i, (name, value) in enumerate(
        [("pt", np.nan), ("pt", 3.9), ("pt", 100.0), ("eta", 2.4), ("eta", np.nan), ("phi", np.inf), ("charge", 0)]
    ):
        muons[name][i] = value
    found = cms_like.correct(**muons, outside="nan")
    assert_array_equal(np.flatnonzero(np.isnan(found)), np.arange(7))
    with pytest.raises(ValueError, match="7 of 3000 muons are outside the calibration"):
        cms_like.correct(**muons)


def test_all_momenta_are_those_of_vary(cms_like: Calibration, muons: dict[str, np.ndarray]):
    found = vary_all(cms_like, muons["pt"], muons["eta"], muons["charge"], sample="data")
    assert found.shape == (3000, 193, 2)
    for i in (0, 100, 144, 192):
        up, down = cms_like.vary(**muons, nuisance=cms_like.names[i])
        assert_allclose(found[:, i], np.stack([up, down], axis=1), rtol=1e-15 * 4)


def test_muons_outside_are_refused_by_name(cms_like: Calibration):
    with pytest.raises(ValueError, match="range:eta 1"):
        vary_all(cms_like, [10.0], [2.5], [1])


def test_a_nuisance_that_turns_the_curvature_is_refused_as_by_vary(cms_like: Calibration):
    variations = np.zeros_like(cms_like.scale_variations)
    variations[1, 2] = 0.03  # 1 - 0.03 * 50 < 0
    turning = replace(cms_like, scale_variations=variations)
    with pytest.raises(ValueError, match="turns the sign of its curvature"):
        turning.vary([20.0, 50.0], [0.0, 0.0], [0.0, 0.0], [1, 1], cms_like.names[1], "mc")
    with pytest.raises(ValueError, match="'jpsi_stat_001' turns the sign of the curvature of muon 1, pt = 50 GeV"):
        vary_all(turning, [20.0, 50.0], [0.0, 0.0], [1, 1])
    assert vary_all(turning, [], [], []).shape == (0, 193, 2)


def test_jagged_muons_have_all_momenta_of_flat_ones(cms_like: Calibration, muons: dict[str, np.ndarray]):
    columns = [muons[name][:3] for name in ("pt", "eta", "charge")]
    jagged = [ak.unflatten(column, [2, 0, 1]) for column in columns]
    assert_array_equal(vary_all(cms_like, *jagged), vary_all(cms_like, *columns))


GOOD = {
    "pt": [10.0, 20.0, 30.0], "eta": [0.1, -0.2, 2.3], "charge": [1, -1, 1], "pt_gen": [10.1, 19.8, 30.2],
    "triggered": [True, False, True], "n_pixel": [0, 3, 0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pt", np.nan, r"1 of 3 muons have no response to weigh by; the first, \[2\], has pt = nan"),
        ("pt", 0.0, "has pt = 0"),
        ("pt_gen", np.inf, "pt_gen = inf"),
        ("pt_gen", -30.0, "pt_gen = -30"),
        ("eta", np.nan, "eta = nan"),
        ("charge", 2, "charge = 2"),
        ("n_pixel", -1, r"n_pixel\[2\] = -1, expected a whole number of hits"),
        ("n_pixel", 0.5, r"n_pixel\[2\] = 0\.5"),
        ("triggered", 2, r"triggered\[2\] = 2, expected true or false"),
    ],
)
def test_a_muon_without_a_weight_is_refused(cms_like: Calibration, name: str, value: float, message: str):
    with pytest.raises(ValueError, match=message):
        response_weights(cms_like, **GOOD | {name: [*GOOD[name][:2], value]})


def test_weights_by_pixel_hits_are_those_of_vary_pixel_weight(cms_like: Calibration):
    # the last muon is outside the range of eta
    columns = {name: [*values, values[0]] for name, values in GOOD.items()} | {"eta": [0.1, -0.2, 2.3, 2.5]}
    found = response_weights(cms_like, **columns)[:, -49:]
    hits = [columns[name] for name in ("eta", "charge", "triggered", "n_pixel")]
    for i, name in enumerate(cms_like.nuisances("pixel")):
        pair = np.nan_to_num(cms_like.vary_pixel_weight(*hits, name, outside="nan"), nan=1.0)
        assert_allclose(found[:, i], np.transpose(pair), rtol=1e-6)
    assert np.all(found[:3, -1] != 1.0)


def test_jagged_muons_have_the_weights_of_flat_ones(cms_like: Calibration):
    jagged = {name: ak.unflatten(ak.Array(values), [2, 0, 1]) for name, values in GOOD.items()}
    assert_array_equal(response_weights(cms_like, **jagged), response_weights(cms_like, **GOOD))


def test_weights_by_hand(cms_like: Calibration):
    mc, data = cms_like.resolution_mc, cms_like.resolution_data
    assert mc is not None
    assert data is not None
    # a positive muon of 40 GeV in the middle, measured with a curvature 1 % too large
    j = 12
    sigma = np.sqrt(mc.a[j] + mc.c[j] * 1600 + mc.b[j] / (1 + 370 / 1600))
    z = 0.01 / sigma
    found = response_weights(cms_like, [40 / 1.01], [0.05], [1], [40.0])[0]
    dA, de, dM = cms_like.scale_variations[7, :, 24]
    t = z * (dA - de / 40 + dM * 40) / sigma
    assert_allclose(found[7], [1 + t, 1 - t], rtol=1e-6)
    da, db, dc = cms_like.resolution_variations[3, :, j]
    t = (z * z - 1) * (da + dc * 1600 + db / (1 + 370 / 1600)) / (2 * sigma**2)
    assert_allclose(found[193 + 3], [1 + t, 1 - t], rtol=1e-6)
    assert_array_equal(found[265:], 1.0)  # no pixel hits given


def test_a_muon_outside_has_weights_of_one(cms_like: Calibration):
    found = response_weights(cms_like, [40.0, 40.0], [0.0, 2.6], [1, 1], [40.5, 40.5])
    assert found.shape == (2, 314, 2)
    assert_array_equal(found[1], 1.0)
    assert np.any(found[0] != 1.0)


def test_weights_are_limited(cms_like: Calibration):
    found = response_weights(cms_like, [40.0], [0.0], [1], [80.0])  # measured at twice its curvature
    assert np.abs(found).max() == 10.0


# ---------------------------------------------------------- W1, weights of the response, against W2, moved muons

N = 300_000
BINS = np.linspace(30.0, 46.0, 9)
SIZE = 5e-4
"""Of dk/k: large enough for some hundred muons to change each bin, small enough for linear weights (0.8 % of it)."""
SHARE = 0.8
"""Of the variance that smearing adds, the largest change of it: smearing less must still be smearing."""
CASES = [
    *((f"jpsi_stat_{i:03d}", "simulated") for i in (0, 20, 90, 143)), ("jpsi_stat_007", "smeared"),
    *((f"detector_{i:03d}", "simulated") for i in (0, 1)),
    *((f"zclosure_stat_{i:03d}", "simulated") for i in (0, 30, 47)),
    *((name, "simulated") for name in ("zclosure_lep", "zclosure_M", "reference_mass_jpsi", "alternative_line")),
    *((f"resolution_stat_{i:03d}", "smeared") for i in (0, 5, 17, 30, 71)),
    *((f"pixel_mult_{i:03d}", "simulated") for i in (0, 23, 48)),
    *((name, "mapped") for name in ("jpsi_stat_020", "zclosure_M", "resolution_stat_030", "pixel_mult_048")),
]  # fmt: skip
"""Nuisance, and the muons that it is compared with."""
RARE = 1e-3 / (2 * len(CASES))
"""One false alarm in a thousand sets of seeds, up and down of all cases together."""


@dataclass(frozen=True)
class Muons:
    """N muons of a Jacobian-like peak: generated pT, pull of the curvature, and what decides on pixel hits."""

    gen: np.ndarray
    pull: np.ndarray
    eta: np.ndarray
    charge: np.ndarray
    fired: np.ndarray
    u: np.ndarray
    event: np.ndarray

    @staticmethod
    def drawn(seed: int, tail: float = 0.0) -> "Muons":
        """A share `tail` of the muons is measured twice as badly as the calibration knows."""
        rng = np.random.default_rng(seed)
        return Muons(
            gen=40.0 * np.sqrt(1.0 - rng.uniform(0, 0.7, N) ** 2) * rng.normal(1.0, 0.08, N),
            pull=rng.normal(size=N) * np.where(rng.uniform(size=N) < tail, 2.0, 1.0),
            eta=rng.uniform(-2.4, 2.4, N), charge=rng.choice([-1.0, 1.0], N), fired=rng.integers(0, 2, N),
            u=rng.uniform(size=N), event=seed * N + np.arange(N),
        )  # fmt: skip

    def measured(self, table: ResolutionTable, shift: np.ndarray | float = 0.0, worse: np.ndarray | float = 1.0):
        """pT by the same pulls with sigma^2 of a table, its a, b, c shifted, the error `worse` times as large."""
        return self.gen / (1.0 + worse * np.sqrt(variance(table, self.gen, self.eta, shift)) * self.pull)

    @property
    def place(self) -> tuple[np.ndarray, ...]:
        """As `Calibration.smear` wants them after pT."""
        return self.eta, 0 * self.eta, 0 * self.event, 0 * self.event, self.event


def variance(table: ResolutionTable, pt: np.ndarray, eta: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
    j = np.searchsorted(table.eta_edges, eta, side="right") - 1
    a, b, c = (np.stack([table.a, table.b, table.c]) + shift)[:, j]
    return a + c * pt**2 + b / (1.0 + table.d[j] / pt**2)


def worse_data(calibration: Calibration, factor: float) -> Calibration:
    """Data of `factor` times the variance of simulation."""
    mc = calibration.resolution_mc
    a, b, c = (factor * x for x in (mc.a, mc.b, mc.c))
    return replace(calibration, resolution_data=replace(mc, a=a, b=b, c=c))


@pytest.fixture(scope="module")
def everything(cms_like: Calibration) -> list[Calibration]:
    """All groups of nuisances: without modes of the detector and with them, in the place of the statistics."""
    rng = np.random.default_rng(77)
    scale, pixels = cms_like.scale, cms_like.pixels
    patterns = rng.normal(size=(3, 3, 48)) * np.array([1e-5, 1e-4, 1e-6])[:, None]
    A, e, M = patterns[2]
    line = replace(scale, A=scale.A + A, e=scale.e + e, M=scale.M + M)
    modes = DetectorModes(eta_edges=scale.eta_edges, variations=patterns[:2], leading=("a", "b"), residual=np.zeros(3))
    # more muons without pixel hits than there are, for more of them to change
    pixels = replace(pixels, mc_zero=0.1 * pixels.mc, data_zero=rng.uniform(0.05, 0.2, (2, 2, 48)) * pixels.data)
    config = CalibrationConfig(pt_definition="refit", reference_mass_nuisance=True, adhoc_A=1e-5, adhoc_M=1e-6)
    resolutions = worse_data(cms_like, 1.3).resolution_data, cms_like.resolution_mc
    return [
        assemble(scale, *resolutions, config, closures=[cms_like.closure], pixels=pixels, alternatives={"line": line},
                 detector=detector)
        for detector in (None, modes)
    ]  # fmt: skip


def test_every_group_of_nuisances_is_compared_and_every_kind_by_a_map(everything: list[Calibration]):
    group, kind = ({n: w for cal in everything for n, w in zip(cal.names, of(cal), strict=True)}
                   for of in (attrgetter("groups"), attrgetter("kinds")))  # fmt: skip
    makers = [
        name for name, f in inspect.getmembers(groups, inspect.isfunction)
        if not name.startswith("_") and inspect.signature(f).return_annotation is groups.Group
    ]  # fmt: skip
    assert len(set(group.values())) == len(makers), "a group that is not in `everything`"
    assert {group[name] for name, _ in CASES} == set(group.values())
    assert {kind[name] for name, how in CASES if how == "mapped"} == set(KINDS)


def alone(calibration: Calibration, name: str) -> Calibration:
    """One nuisance with its own pattern; SIZE its largest shift at 40 GeV, or SHARE its largest of the smearing."""
    i, shift = calibration.names.index(name), calibration.variation(name)
    kind, none = calibration.kinds[i], np.zeros((0, 3, 48))
    found = {"scale": none, "resolution": np.zeros((0, 3, 24)), "pixel": np.zeros((0, 48))}
    if kind == "scale":
        dA, de, dM = shift
        shift = shift * SIZE / np.max(np.abs(dA - de / 40) + np.abs(40 * dM))
    elif kind == "resolution":
        pt, eta = np.meshgrid(np.linspace(25.0, 55.0, 31), np.linspace(-2.35, 2.35, 24))
        data, mc = (variance(t, pt, eta) for t in (calibration.resolution_data, calibration.resolution_mc))
        change = variance(calibration.resolution_data, pt, eta, shift) - data
        shift = shift * SHARE / np.max(np.abs(change) / (data - mc))
    found[kind] = shift[None]
    return replace(
        calibration, names=(name,), groups=(calibration.groups[i],), kinds=(kind,), sources=("",),
        **{f"{kind}_variations": variations for kind, variations in found.items()},
    )  # fmt: skip


def bins_of(pt: np.ndarray, *cells: np.ndarray) -> np.ndarray:
    """(N,) bin of pT and of two-fold cells, 0 or 1 each; -1 outside BINS."""
    found = np.searchsorted(BINS, pt, side="right") - 1
    inside = (pt >= BINS[0]) & (pt < BINS[-1])
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
    used = np.flatnonzero(np.diag(cov)[:size] > 0)
    chi2 = difference[used] @ np.linalg.solve(cov[np.ix_(used, used)], difference[used])
    return float(chdtrc(used.size, chi2))


Move = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Bins before and after, and weights."""


def scale_moves(cal: Calibration, s: Muons, pt: np.ndarray, **response) -> list[Move]:
    weights = response_weights(cal, pt, s.eta, s.charge, s.gen, **response).astype(float)
    moved = cal.vary(pt, s.eta, 0 * pt, s.charge, cal.names[0], "mc")
    dA, de, dM = cal.scale_variations[0][:, cal.scale.bin_index(s.eta)]
    cells = s.charge > 0, dA - de / 40 + s.charge * dM * 40 > 0  # which muons move up: their effects add
    return [(bins_of(pt, *cells), bins_of(moved[side], *cells), weights[:, 0, side]) for side in (0, 1)]


def resolution_moves(cal: Calibration, s: Muons, pt: np.ndarray, **response) -> list[Move]:
    """Another resolution of the data: the same random numbers, a longer or a shorter stride."""
    nominal = cal.smear(pt, *s.place, muon=0)
    weights = response_weights(cal, nominal, s.eta, s.charge, s.gen, **response).astype(float)
    moved = cal.vary_smearing(pt, *s.place, cal.names[0], muon=0)
    data, shift = cal.resolution_data, cal.resolution_variations[0]
    wider = variance(data, 40.0, s.eta, shift) > variance(data, 40.0, s.eta)
    return [(bins_of(nominal, wider), bins_of(moved[side], wider), weights[:, 0, side]) for side in (0, 1)]


def pixel_moves(cal: Calibration, s: Muons, pt: np.ndarray, **response) -> list[Move]:
    """Other hits by the same random number; a muon without any is measured twice as badly.

    Up takes simulation's hits to those of data.  Down is the weight to the power -1, which takes data's hits to those
    of simulation: of simulated muons it would not keep the number, by (p_data - p_mc)^2 / (p_data (1 - p_data)).
    """
    table = cal.pixels
    j = np.searchsorted(table.eta_edges, s.eta, side="right") - 1
    cell = (s.fired, (s.charge > 0).astype(int), j)
    p_mc, p_data = (table.mc_zero / table.mc)[cell], (table.data_zero / table.data)[cell]
    touched = cal.pixel_variations[0][j] > 0
    without = s.u < p_mc, s.u < np.where(touched, p_data, p_mc)
    found = []
    for start, end in (without, without[::-1]):
        side = len(found)
        hits = {"triggered": s.fired, "n_pixel": np.where(start, 0, 3)}
        weights = response_weights(cal, pt, s.eta, s.charge, s.gen, **hits, **response).astype(float)
        bins = [
            np.where(touched, bins_of(s.measured(cal.resolution_mc, worse=1.0 + w), w, p_data > p_mc), -1)
            for w in (start, end)
        ]
        found.append((*bins, weights[:, 0, side]))
    return found


MOVES = {"scale": scale_moves, "resolution": resolution_moves, "pixel": pixel_moves}


@pytest.fixture(scope="module")
def response(everything: list[Calibration]) -> ResponseMap:
    """The response of smeared muons with tails; other muons than those that are weighed."""
    cal, s = everything[0], Muons.drawn(101, tail=0.2)
    pt = cal.smear(s.measured(cal.resolution_mc), *s.place, muon=0)
    edges = {"pt_edges": np.array([10.0, 31.0, 35.0, 38.0, 41.0, 70.0]), "eta_edges": np.linspace(-2.4, 2.4, 13)}
    return response_map(count_response(pt, s.gen, s.eta, s.charge, **edges))


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{how}" for name, how in CASES])
def moves(request: pytest.FixtureRequest, everything: list[Calibration], response: ResponseMap) -> list[Move]:
    """Up and down of one nuisance."""
    name, how = request.param
    cal = alone(next(cal for cal in everything if name in cal.names), name)
    s = Muons.drawn(100, tail=0.2 if how == "mapped" else 0.0)
    by = {"simulated": {}, "smeared": {"smeared": True}, "mapped": {"response": response}}[how]
    return MOVES[cal.kinds[0]](cal, s, s.measured(cal.resolution_mc), **by)


def test_weights_and_moved_muons_agree(moves: list[Move]):
    for before, after, weight in moves:
        print("PRINT", compare(before, after, weight))
        assert compare(before, after, weight) > RARE


def test_the_comparison_would_see_another_sign_or_size(moves: list[Move]):
    for before, after, weight in moves:
        print("PRINT", *[compare(before, after, 1.0 + f * (weight - 1.0)) for f in (-1, 0, 0.5, 1.5,2)])
        assert compare(before, after, 2.0 - weight) < 1e-9
        assert compare(before, after, 2.0 * weight - 1.0) < 1e-9
