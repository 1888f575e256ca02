"""All nuisances at once: compiled loops against their numpy twins, weights by hand, what has none.

The weights against moved muons are in test_weights_and_moved_muons.py.
"""

from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.calibration import Calibration, application, response_weights, vary_all


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
