"""The ROOT files of W-mass programs: what they would read, under their checks."""

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.errors import InputError
from mucal.io import root_tables
from mucal.io.root_tables import table_bytes
from mucal.io.wremnants import labels, left_out, read_variations, write_wremnants
from mucal.scale import ScaleTable
from mucal.scale.detector_modes import DetectorModes


@pytest.fixture(scope="module")
def folder(cms_like: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wremnants")
    write_wremnants(cms_like, path)
    return path


@pytest.mark.parametrize(
    ("name", "symbols"),
    [
        ("calibration.root", "A e M"),
        ("closure.root", "AZ MZ"),
        ("resolution.root", "a b c"),
        ("resolution_mc.root", "a b c"),
    ],
)
def test_variances_are_the_diagonal_of_the_covariance(folder: Path, name: str, symbols: str):
    with uproot.open(folder / name) as file:
        histograms = [file[symbol] for symbol in symbols.split()]
        matrix = file["covariance_matrix"].values()
        axes = [histogram.axis().edges() for histogram in histograms]
    variances = np.stack([histogram.variances() for histogram in histograms], axis=1).reshape(-1)
    assert_allclose(np.diag(matrix), variances, rtol=1e-5)
    assert all(np.array_equal(axis, axes[0]) for axis in axes)


def test_variations_add_up_to_the_covariance(folder: Path, cms_like: Calibration):
    found = read_variations(folder / "calibration.root")
    assert found.variations.shape == (48, 3, 144)
    assert_allclose(found.parameters[:, 1], cms_like.scale.e)
    total = np.einsum("ikn,jln->kilj", found.variations, found.variations).reshape(144, 144)
    error = np.sqrt(np.diag(cms_like.scale.cov))
    assert_allclose(total / np.outer(error, error), cms_like.scale.cov / np.outer(error, error), atol=1e-10)
    closure = read_variations(folder / "closure.root")
    assert closure.variations.shape == (24, 2, 48)
    assert_allclose(closure.parameters.T.reshape(-1), cms_like.closure.residual)


def test_every_nuisance_of_the_cms_model_has_a_label_of_its_own(folder: Path, cms_like: Calibration):
    found = labels(cms_like)
    assert len(set(found.values())) == len(found) == 314
    assert found["jpsi_stat_017"] == "Scale_correction_unc17"
    assert found["zclosure_lep"] == "ScaleClosA_correction_unc0"
    stated = json.loads((folder / "names.json").read_text())
    assert stated["labels"] == found
    assert stated["left_out"] == []
    assert stated["factors"]["jpsi_stat"] == 2.1


def test_nuisances_without_a_label_are_listed(calibration: Calibration, tmp_path: Path):
    write_wremnants(calibration, tmp_path)
    stated = json.loads((tmp_path / "names.json").read_text())
    assert stated["left_out"] == list(left_out(calibration)) == ["reference_mass_jpsi"]
    assert sorted([*stated["labels"], *stated["left_out"]]) == sorted(calibration.names)


def test_a_uniform_sagitta_of_ones_own_has_their_label(scale_table: ScaleTable):
    cal = assemble(scale_table, None, None, CalibrationConfig(pt_definition="refit", adhoc_M=1e-6))
    assert labels(cal)["zclosure_M"] == "ScaleClosM_correction_unc0"


def test_modes_of_the_detector_stand_for_the_statistics_in_file_and_labels(scale_table: ScaleTable, tmp_path: Path):
    rng = np.random.default_rng(3)
    shifts = rng.normal(size=(5, 3, 6)) * np.array([1e-5, 5e-5, 1e-6])[None, :, None]
    modes = DetectorModes(
        eta_edges=scale_table.eta_edges, variations=shifts, leading=tuple("abcde"), residual=np.zeros(3)
    )
    cal = assemble(scale_table, None, None, CalibrationConfig(pt_definition="refit"), detector=modes)
    write_wremnants(cal, tmp_path)
    assert labels(cal) == {f"detector_{i:03d}": f"Scale_correction_unc{i}" for i in range(5)}
    found = read_variations(tmp_path / "calibration.root").variations
    # as many variations as labels; the others are rounding
    assert_allclose(np.sum(found[..., :5] ** 2, axis=-1), np.sum(shifts**2, axis=0).T, rtol=1e-8)
    error = np.sqrt(np.sum(shifts**2, axis=0)).T
    assert np.max(np.abs(found[..., 5:]) / error[..., None]) < 1e-4


def test_errors_that_are_not_those_of_the_matrix_are_refused(cms_like: Calibration, tmp_path: Path, monkeypatch):
    curve = root_tables.curve
    monkeypatch.setattr(root_tables, "curve", lambda name, x, y, variance: curve(name, x, y, 1.1 * variance))
    (tmp_path / "calibration.root").write_bytes(table_bytes(cms_like.scale))
    with pytest.raises(InputError, match="errors of the histograms are not those of 'covariance_matrix'"):
        read_variations(tmp_path / "calibration.root")


def test_nothing_is_overwritten_unasked(folder: Path, cms_like: Calibration):
    with pytest.raises(FileExistsError):
        write_wremnants(cms_like, folder)
    before = (folder / "calibration.root").read_bytes()
    write_wremnants(cms_like, folder, overwrite=True)
    assert (folder / "calibration.root").read_bytes() == before


def test_a_file_of_another_name_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is not of this layout"):
        read_variations(tmp_path / "other.root")
