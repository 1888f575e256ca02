"""The groups of nuisances: how many there are, what they add up to, what each source says."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.errors import ConfigError, InputError
from mucal.scale import Closure, PixelMultiplicity


def config(**changes) -> CalibrationConfig:
    return CalibrationConfig(pt_definition="refit", **changes)


def closure_of(calibration: Calibration, **changes) -> Closure:
    b = 24
    return replace(
        Closure(
            eta_edges=calibration.scale.eta_edges[::2], A=np.zeros(b), M=np.zeros(b), mean_k=np.full(b, 1 / 42),
            cov=np.diag(np.repeat([1e-9, 1e-12], b)), resonance="z", reference_mass=91.188,
            reference_mass_error=0.0021,
        ),
        **changes,
    )  # fmt: skip


def test_the_cms_model_has_314_named_nuisances(cms_like: Calibration):
    counts = {group: len(cms_like.nuisances(group)) for group in dict.fromkeys(cms_like.groups)}
    assert counts == {
        "jpsi_stat": 144, "zclosure_stat": 48, "zclosure_lep": 1, "resolution_stat": 72, "pixel_mult": 49,
    }  # fmt: skip
    assert len(cms_like.nuisances()) == len(set(cms_like.names)) == 314
    assert cms_like.nuisances("pixel")[-1] == "pixel_mult_048"


def test_closure_modes_add_up_to_its_covariance(cms_like: Calibration):
    closure = closure_of(cms_like)
    cal = assemble(cms_like.scale, None, None, config(), closures=[closure])
    rows = [cal.variation(name) for name in cal.nuisances("zclosure_stat")]
    # each closure bin covers two bins of the table, whose variations are equal
    first = np.array([[row[0][::2], row[2][::2]] for row in rows]).reshape(48, 48)
    assert_allclose(first.T @ first, closure.cov, atol=1e-10 * 1e-9)
    assert_allclose([row[0][1::2] for row in rows], [row[0][::2] for row in rows], rtol=0)
    assert not np.any([row[1] for row in rows])  # no e


def test_the_mass_of_the_z_is_one_uniform_nuisance(cms_like: Calibration):
    shift = cms_like.variation("zclosure_lep")
    assert_allclose(shift[0], 0.0021 / 91.188, rtol=1e-12)
    assert not np.any(shift[1:])


def test_where_the_mass_of_the_z_is_measured_it_is_no_nuisance(cms_like: Calibration):
    cal = assemble(cms_like.scale, None, None, config(z_mass_nuisance=False), closures=[closure_of(cms_like)])
    assert "zclosure_lep" not in cal.names
    # a scale has the uncertainty of some mass
    assert cal.names[-1] == "reference_mass_jpsi"


def test_the_mass_of_the_z_takes_the_place_of_the_jpsi_s(cms_like: Calibration):
    cal = assemble(cms_like.scale, None, None, config(), closures=[closure_of(cms_like)])
    assert cal.names[-1] == "zclosure_lep"
    assert "reference_mass_jpsi" not in cal.names
    none = config(reference_mass_nuisance=False)
    assert set(assemble(cms_like.scale, None, None, none).groups) == {"jpsi_stat"}


def test_the_mass_of_the_jpsi_can_be_asked_for_beside_the_closure(cms_like: Calibration):
    cal = assemble(cms_like.scale, None, None, config(reference_mass_nuisance=True), closures=[closure_of(cms_like)])
    assert cal.names[-2:] == ("zclosure_lep", "reference_mass_jpsi")


def test_a_configured_factor_says_what_the_closure_asks_for(cms_like: Calibration):
    source = cms_like.sources[0]
    assert "standard deviations times 2.1" in source
    assert "closure of z: chi2/ndf" in source


def test_the_factor_can_be_that_of_the_closure(cms_like: Calibration):
    rng = np.random.default_rng(9)
    blank = closure_of(cms_like)
    jacobian = blank.projection(cms_like.scale.eta_edges)
    spread = blank.cov + 9.0 * jacobian @ cms_like.scale.cov @ jacobian.T
    d = np.linalg.cholesky(spread) @ rng.normal(size=48)
    closure = replace(blank, A=d[:24], M=d[24:])
    cal = assemble(cms_like.scale, None, None, config(scale_factor="closure"), closures=[closure])
    # one experiment with 48 numbers: a relative error of 1/sqrt(2 48), some of it the closure's own
    assert cal.factors["jpsi_stat"] == pytest.approx(3.0, abs=4 * 3.0 * 0.15)
    assert cal.factors["jpsi_stat"] != 3.0
    once = assemble(cms_like.scale, None, None, config(scale_factor=1.0))
    assert_allclose(cal.scale_variations[0], cal.factors["jpsi_stat"] * once.scale_variations[0], rtol=1e-12)


def test_a_closure_that_does_not_contradict_the_errors_asks_for_no_factor(cms_like: Calibration):
    rng = np.random.default_rng(10)
    blank = closure_of(cms_like)
    wide = replace(blank, cov=400.0 * blank.cov)  # twenty times the errors: it says nothing of the table
    d = np.sqrt(np.diag(wide.cov)) * rng.normal(size=48)
    closure = replace(wide, A=d[:24], M=d[24:])
    cal = assemble(cms_like.scale, None, None, config(scale_factor="closure"), closures=[closure])
    assert cal.factors["jpsi_stat"] == 1.0
    assert "the applied 1 is not contradicted" in cal.sources[0]


def test_a_factor_of_the_closure_needs_one(cms_like: Calibration):
    with pytest.raises(ConfigError, match="no closure is given"):
        assemble(cms_like.scale, None, None, config(scale_factor="closure"))


def test_another_resonance_serves_the_factor_alone(cms_like: Calibration):
    upsilon = closure_of(cms_like, resonance="upsilon1s", reference_mass=9.4604, reference_mass_error=1e-4)
    cal = assemble(cms_like.scale, None, None, config(), closures=[upsilon])
    assert set(cal.groups) == {"jpsi_stat", "reference_mass"}
    assert "closure of upsilon1s" in cal.sources[0]


def test_closure_bins_that_cut_a_bin_of_the_table_are_refused(cms_like: Calibration):
    shifted = closure_of(cms_like, eta_edges=np.concatenate([[-2.4], np.linspace(-2.15, 2.25, 23), [2.4]]))
    with pytest.raises(ValueError, match="unions of the table's"):
        assemble(cms_like.scale, None, None, config(), closures=[shifted])


def test_two_closures_with_one_resonance_are_refused(cms_like: Calibration):
    with pytest.raises(ValueError, match="expected each resonance once"):
        assemble(cms_like.scale, None, None, config(), closures=[closure_of(cms_like)] * 2)


def test_a_closure_without_a_mass_is_refused(cms_like: Calibration):
    with pytest.raises(InputError, match="states no mass with an uncertainty"):
        assemble(cms_like.scale, None, None, config(), closures=[closure_of(cms_like, reference_mass_error=0.0)])


# ------------------------------------------------------------------------------------------------ pixel hits

ETA, CHARGE = np.array([-2.35, 0.05, 2.35, 0.05]), np.array([1, -1, 1, 1])
FIRED, HITS = np.array([True, False, True, True]), np.array([0, 3, 0, 2])


def test_the_pixel_weight_is_no_part_of_the_nominal_by_default(cms_like: Calibration):
    assert cms_like.pixel_weight(ETA, CHARGE, FIRED, HITS).tolist() == [1.0] * 4


def test_a_pixel_nuisance_is_the_whole_weight_in_its_bin(cms_like: Calibration):
    up, down = cms_like.vary_pixel_weight(ETA, CHARGE, FIRED, HITS, "pixel_mult_000")
    assert isinstance(cms_like.pixels, PixelMultiplicity)
    whole = cms_like.pixels.data_zero[1, 1, 0] / cms_like.pixels.mc_zero[1, 1, 0]
    assert_allclose(up, [whole, 1.0, 1.0, 1.0], rtol=1e-14)
    assert_allclose(down, [1 / whole, 1.0, 1.0, 1.0], rtol=1e-14)


def test_the_common_pixel_nuisance_is_the_product_of_all(cms_like: Calibration):
    common, _ = cms_like.vary_pixel_weight(ETA, CHARGE, FIRED, HITS, "pixel_mult_048")
    each = [cms_like.vary_pixel_weight(ETA, CHARGE, FIRED, HITS, f"pixel_mult_{i:03d}")[0] for i in range(48)]
    assert_allclose(common, np.prod(each, axis=0), rtol=1e-12)


def test_where_the_weight_is_nominal_up_takes_it_away(cms_like: Calibration):
    cal = assemble(cms_like.scale, None, None, config(pixels_in_nominal=True), pixels=cms_like.pixels)
    nominal = cal.pixel_weight(ETA, CHARGE, FIRED, HITS)
    up, down = cal.vary_pixel_weight(ETA, CHARGE, FIRED, HITS, "pixel_mult_048")
    assert_allclose(up, 1.0)
    assert_allclose(down, nominal**2, rtol=1e-14)
    assert np.all(nominal != 1.0)


def test_weights_conserve_the_number_of_muons(cms_like: Calibration):
    # of 40 muons in one cell one has no pixel hit, as p = 0.025 of the simulation
    hits = np.array([0] + [2] * 39)
    up, _ = cms_like.vary_pixel_weight(np.full(40, 1.05), np.ones(40, dtype=int), np.ones(40, dtype=bool), hits,
                                       "pixel_mult_048")  # fmt: skip
    assert up.sum() == pytest.approx(40.0, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_pixel": [0.5]}, r"n_pixel\[0\] = 0\.5, expected a whole number of hits"),
        ({"n_pixel": [-1]}, r"n_pixel\[0\] = -1"),
        ({"triggered": [2]}, r"triggered\[0\] = 2, expected true or false"),
        ({"charge": [0]}, "charge 1"),
        ({"eta": [2.5]}, "range:eta 1"),
    ],
)
def test_bad_muons_are_refused(cms_like: Calibration, changes: dict[str, list[float]], message: str):
    columns = {"eta": [0.0], "charge": [1], "triggered": [True], "n_pixel": [0]} | changes
    with pytest.raises(ValueError, match=message):
        cms_like.pixel_weight(**columns)


def test_muons_outside_can_get_nan(cms_like: Calibration):
    found = cms_like.pixel_weight([0.0, 2.5], [1, 1], [True, True], [0, 0], outside="nan")
    assert np.isnan(found).tolist() == [False, True]


def test_each_kind_names_the_method_that_varies_it(cms_like: Calibration):
    with pytest.raises(ValueError, match="use vary_pixel_weight"):
        cms_like.vary(10.0, 0.0, 0.0, 1, "pixel_mult_000")
    with pytest.raises(ValueError, match="varies the scale; use vary"):
        cms_like.vary_pixel_weight(ETA, CHARGE, FIRED, HITS, "jpsi_stat_000")


def test_a_calibration_without_pixel_hits_says_so(calibration: Calibration):
    with pytest.raises(ValueError, match="does not know the pixel hits"):
        calibration.pixel_weight(ETA, CHARGE, FIRED, HITS)


def test_all_of_it_survives_saving(tmp_path, cms_like: Calibration):
    cms_like.save(tmp_path / "calibration.h5")
    back = Calibration.load(tmp_path / "calibration.h5")
    assert back.names == cms_like.names
    assert np.array_equal(back.pixel_variations, cms_like.pixel_variations)
    assert back.pixels is not None
    assert np.array_equal(back.pixels.ln_weights, cms_like.pixels.ln_weights)
