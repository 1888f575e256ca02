"""The modes of the detector of a run from hits, beside the statistics of its table or in their place."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import load
from mucal.detector import barrel
from mucal.errors import ConfigError
from mucal.globalcor import EVEN, ODD, GlobalCorrections, ProbeBias
from mucal.report import UncertaintyModel
from mucal.report.scale_models import MASSES, ScaleModels
from mucal.scale import ScaleTable
from mucal.scale.detector_modes import DetectorModes, curvature_errors
from mucal.workflow import load_analysis, load_run, run
from mucal.workflow.alternatives import Alternatives
from mucal.workflow.detector_model import mass_slopes, run_modes
from mucal.workflow.w_muons import WSample, scale_slope

from .test_tracked import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a few hundred pairs through a barrel: the default one, and one with modes of the detector."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "c.toml").write_text(TINY)
    plain = "calibration.scale_factor=1.0"
    run(load_analysis(folder / "c.toml", settings=(plain,)), folder / "statistics")
    shutil.copytree(folder / "statistics", folder / "detector")
    asked = load_analysis(folder / "c.toml", settings=(plain, "calibration.scale_nuisances='detector'"))
    run(asked, folder / "detector", resume=True)
    return folder


def test_the_release_has_one_model_or_the_other(folder: Path):
    statistics, detector = (load(folder / name / "calibration") for name in ("statistics", "detector"))
    assert set(statistics.groups) == {"jpsi_stat", "reference_mass"}
    modes = DetectorModes.load(folder / "detector/detector_modes.h5")
    assert set(detector.groups) == {"detector", "reference_mass"}
    assert detector.groups.count("detector") == len(modes.leading)
    assert np.array_equal(detector.scale_variations[: len(modes.leading)], modes.variations)
    # what the masses say of A, e and M has statistics that no mode holds: with the modes it is not applied
    assert np.any(statistics.scale.A != 0.0)
    assert not detector.scale.parameters.any()
    assert_allclose(detector.scale.cov, modes.cov, rtol=1e-12)
    assert np.array_equal(ScaleTable.load(folder / "detector/scale.h5").A, statistics.scale.A)
    notes = [json.loads((folder / name / "result.json").read_text())["notes"] for name in ("statistics", "detector")]
    assert ["applies no scale table" in " ".join(told) for told in notes] == [False, True]


def test_the_result_is_json_that_any_parser_reads(folder: Path):
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((folder / "statistics/result.json").read_text(), parse_constant=refused)
    assert found["headline"]["z_mev_jpsi_stat"] is None  # no Z were generated


def test_modes_and_comparison_are_there_whichever_was_chosen(folder: Path):
    found = [ScaleModels.load(folder / name / "scale_models.h5") for name in ("statistics", "detector")]
    assert [one.released for one in found] == ["jpsi_stat", "detector"]
    assert found[0].models == found[1].models == ("jpsi_stat", "detector")
    for name in ("even", "odd", "masses"):
        assert np.array_equal(getattr(found[0], name), getattr(found[1], name), equal_nan=True)
    for name in ("statistics", "detector"):
        results = load_run(folder / name).tracks
        assert results is not None
        assert results.detector is not None
        assert results.models is not None
        page = (folder / name / "report.html").read_text(encoding="utf-8")
        assert "Uncertainty of the scale in two models" in page


def test_their_w_masses_are_those_of_the_groups_of_the_release(folder: Path):
    for name, group in (("statistics", "jpsi_stat"), ("detector", "detector")):
        model = UncertaintyModel.load(folder / name / "uncertainties.h5")
        found = ScaleModels.load(folder / name / "scale_models.h5")
        assert_allclose(found.mass(group, "m_W"), model.w_impact[model.groups.index(group)], rtol=1e-6)
        assert np.isnan(found.mass(group, "m_Z"))  # none were generated
        headline = json.loads((folder / name / "result.json").read_text())["headline"]
        assert_allclose(headline[f"w_mev_{group}"], found.mass(group, "m_W"), rtol=1e-12)


def test_errors_of_the_curvature_are_those_of_the_muons_without_noise(folder: Path):
    # the covariance carried to other muons track by track, without A, e and M in between
    modes = DetectorModes.load(folder / "statistics/detector_modes.h5")
    probes = ProbeBias.load(folder / "statistics/probes.h5")
    for i, pt in enumerate(probes.momenta):
        found = curvature_errors(modes.cov, float(pt))
        for parity, (error,) in zip((EVEN, ODD), found, strict=True):
            # some 120 muons in the one bin, whose own errors differ by 10 %: 1 % of the mean
            assert error == pytest.approx(probes.common(i, parity)[1], rel=0.03)


def test_the_modes_of_the_run_are_those_of_its_corrections_in_python(folder: Path):
    corrections = GlobalCorrections.load(folder / "statistics/corrections.h5")
    config = load_analysis(folder / "c.toml").tracks
    kept = DetectorModes.load(folder / "statistics/detector_modes.h5")
    notes: list[str] = []
    found = run_modes(config, barrel(), corrections, kept.eta_edges, notes)
    assert not notes
    assert np.array_equal(found.variations, kept.variations)


def test_where_no_muon_can_be_fitted_there_are_no_modes_and_a_note(folder: Path):
    corrections = GlobalCorrections.load(folder / "statistics/corrections.h5")
    config = load_analysis(folder / "c.toml").tracks
    notes: list[str] = []
    assert run_modes(config, barrel(), corrections, np.array([2.5, 2.6]), notes) is None
    assert "no modes of the detector: 0 tracks in 2.5 <= eta < 2.6" in notes[0]


def test_a_slope_is_what_a_common_shift_does_to_each_charge(folder: Path):
    table = ScaleTable.load(folder / "statistics/scale.h5")
    w = WSample.load(folder / "statistics/stages/w_muons.h5")
    slopes = mass_slopes(w, (), table)
    assert slopes.shape == (len(MASSES), 3 * table.n_bins)
    both, plus, minus, split, of_z = slopes
    assert_allclose(both, scale_slope(w, table), rtol=1e-12)
    assert_allclose(plus + minus, 2 * both, rtol=1e-9)
    assert_allclose(split, plus - minus, rtol=1e-12)
    assert plus[2] * minus[2] < 0  # M is odd in charge
    assert plus[0] < 0 > minus[0]  # curvature up, mass down
    assert np.all(np.isnan(of_z))
    assert np.all(np.isnan(mass_slopes(None, (), table)))


def test_modes_of_the_detector_of_a_run_without_hits_are_refused():
    with pytest.raises(ConfigError, match=r"scale_nuisances = 'detector', but this run does not begin with hits"):
        load_analysis(preset="dimuons", settings=("calibration.scale_nuisances='detector'",))


def test_another_word_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="expected one of 'statistics' or 'detector'"):
        load_analysis(settings=("calibration.scale_nuisances='modes'",))


def test_tables_of_other_global_corrections_are_no_alternative(folder: Path):
    own = GlobalCorrections.load(folder / "statistics/corrections.h5")
    Alternatives(corrections={"same": own}).require_same_corrections(own)
    other = replace(own, theta=own.theta + 1e-9)
    with pytest.raises(ConfigError, match="'fsr': its run found other global corrections"):
        Alternatives(corrections={"fsr": other}).require_same_corrections(own)
