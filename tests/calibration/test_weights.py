"""All nuisances at once: compiled loops against their numpy twins; weights of the response against moved muons."""

from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import chdtrc

from mucal.calibration import Calibration, application, response_weights, vary_all
from mucal.numerics.keyed import normal

N = 300_000


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


# -------------------------------------------------------------- weights of the response against moved muons

BINS = np.linspace(30.0, 46.0, 9)


@pytest.fixture(scope="module")
def sample(cms_like: Calibration) -> dict[str, np.ndarray]:
    """Muons of a Jacobian-like peak, measured with the resolution of the calibration's simulation."""
    rng = np.random.default_rng(100)
    mc = cms_like.resolution_mc
    assert mc is not None
    gen = 40.0 * np.sqrt(1.0 - rng.uniform(0, 0.7, N) ** 2) * rng.normal(1.0, 0.08, N)
    eta, charge = rng.uniform(-2.4, 2.4, N), rng.choice([-1.0, 1.0], N)
    j = np.searchsorted(mc.eta_edges, eta, side="right") - 1
    sigma = np.sqrt(mc.a[j] + mc.c[j] * gen**2 + mc.b[j] / (1 + mc.d[j] / gen**2))
    z = rng.normal(size=N)
    fired, u = rng.integers(0, 2, N), rng.uniform(size=N)
    return {"gen": gen, "pt": gen / (1 + sigma * z), "eta": eta, "charge": charge, "fired": fired, "u": u,
            "event": np.arange(N)}  # fmt: skip


def compare(before: np.ndarray, after: np.ndarray, weight: np.ndarray, cell: np.ndarray, n_cells: int) -> float:
    """chi2 of (weighted - moved) over all bins, with the covariance of that difference from the muons themselves.

    before, after : (N,) bin of each muon, -1 outside, before and after it was moved
    weight        : (N,) relative
    cell          : (N,) further division of the bins, 0 ... n_cells - 1
    """
    size = (BINS.size - 1) * n_cells
    old, new = (np.where(b >= 0, b * n_cells + cell, size) for b in (before, after))
    # each muon adds w to its old bin and takes 1 from its new one
    difference = np.bincount(old, weight, size + 1) - np.bincount(new, minlength=size + 1)
    cov = np.diag(np.bincount(old, weight**2, size + 1) + np.bincount(new, minlength=size + 1))
    both = np.bincount(old * (size + 1) + new, weight, (size + 1) ** 2).reshape(size + 1, size + 1)
    cov -= both + both.T
    return float(difference[:size] @ np.linalg.solve(cov[:size, :size], difference[:size]))


def bins_of(pt: np.ndarray) -> np.ndarray:
    inside = (pt >= BINS[0]) & (pt < BINS[-1])
    return np.where(inside, np.searchsorted(BINS, pt, side="right") - 1, -1)


SIZE = 5e-4
"""Of dk/k: large enough for some hundred muons to change each bin, small enough for linear weights (0.8 % of it)."""
CASES = ["jpsi_stat_000", "jpsi_stat_020", "jpsi_stat_090", "zclosure_stat_000", "zclosure_stat_030", "zclosure_lep"]


@pytest.fixture(scope="module")
def enlarged(cms_like: Calibration) -> Calibration:
    """Every scale nuisance with its own pattern, and SIZE as its largest shift at 40 GeV."""
    dA, de, dM = np.moveaxis(cms_like.scale_variations, 1, 0)
    largest = np.max(np.abs(dA - de / 40) + np.abs(40 * dM), axis=1)
    return replace(cms_like, scale_variations=cms_like.scale_variations * (SIZE / largest)[:, None, None])


@pytest.mark.parametrize("name", CASES)
def test_weights_and_shifts_of_the_scale_agree(enlarged: Calibration, sample: dict[str, np.ndarray], name: str):
    s = sample
    weights = response_weights(enlarged, s["pt"], s["eta"], s["charge"], s["gen"])[:, enlarged.names.index(name)]
    moved = enlarged.vary(s["pt"], s["eta"], 0 * s["pt"], s["charge"], name, "mc")
    charge = (s["charge"] > 0).astype(int)
    for side in (0, 1):
        chi2 = compare(bins_of(s["pt"]), bins_of(moved[side]), weights[:, side].astype(float), charge, 2)
        assert chdtrc(16, chi2) > 1e-3


def test_the_comparison_would_see_a_wrong_sign(enlarged: Calibration, sample: dict[str, np.ndarray]):
    s = sample
    weights = response_weights(enlarged, s["pt"], s["eta"], s["charge"], s["gen"])[:, -1 - 72 - 49]
    up, _ = enlarged.vary(s["pt"], s["eta"], 0 * s["pt"], s["charge"], "zclosure_lep", "mc")
    chi2 = compare(bins_of(s["pt"]), bins_of(up), weights[:, 1].astype(float), np.zeros(N, dtype=int), 1)
    assert chdtrc(8, chi2) < 1e-9


@pytest.mark.parametrize("name", ["resolution_stat_000", "resolution_stat_030"])
def test_weights_and_smearing_of_the_resolution_agree(cms_like: Calibration, sample: dict[str, np.ndarray], name: str):
    # simulation smeared to the data, and a wider resolution of the data: the same random numbers, a longer stride
    s = sample
    keys = (0 * s["event"], 0 * s["event"], s["event"])
    nominal = cms_like.smear(s["pt"], s["eta"], 0 * s["pt"], *keys, muon=0)
    up, _ = cms_like.vary_smearing(s["pt"], s["eta"], 0 * s["pt"], *keys, name, muon=0)
    weights = response_weights(cms_like, nominal, s["eta"], s["charge"], s["gen"], smeared=True)
    w = weights[:, cms_like.names.index(name), 0].astype(float)
    chi2 = compare(bins_of(nominal), bins_of(up), w, np.zeros(N, dtype=int), 1)
    assert chdtrc(8, chi2) > 1e-3


def test_weights_by_pixel_hits_and_other_hits_agree(cms_like: Calibration, sample: dict[str, np.ndarray]):
    # a muon without pixel hits is measured twice as badly; W2: more muons without, by the same random number
    s, table = sample, cms_like.pixels
    assert table is not None
    j = np.searchsorted(table.eta_edges, s["eta"], side="right") - 1
    cell = (s["fired"], (s["charge"] > 0).astype(int), j)
    without = [
        s["u"] < (zero / every)[cell] for zero, every in ((table.mc_zero, table.mc), (table.data_zero, table.data))
    ]
    sigma = 0.012 * np.stack([np.where(w, 2.0, 1.0) for w in without])
    pt = s["gen"] / (1 + sigma * normal(7, "test.pixels", s["event"]))
    hits = np.where(without[0], 0, 3)
    w, _ = cms_like.vary_pixel_weight(s["eta"], s["charge"], s["fired"], hits, "pixel_mult_048")
    chi2 = compare(bins_of(pt[0]), bins_of(pt[1]), w, np.zeros(N, dtype=int), 1)
    assert chdtrc(8, chi2) > 1e-3
