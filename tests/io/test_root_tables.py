from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import hist
import numpy as np
import pytest
import uproot
from numpy.testing import assert_allclose, assert_array_equal

from mucal.calibration import Calibration
from mucal.errors import InputError, NotCertified
from mucal.io import read_root_tables, write_root_tables
from mucal.io.root_tables import root_bytes


def test_tables_come_back_bit_for_bit(calibration: Calibration, tmp_path: Path):
    found = read_root_tables(write_root_tables(calibration, tmp_path / "tables.root"))
    for name in ("eta_edges", "A", "e", "M", "cov"):
        assert_array_equal(getattr(found.scale, name), getattr(calibration.scale, name))
    assert (found.scale.pt_range, found.scale.resonance) == ((4.0, 70.0), "jpsi")
    for part in ("resolution_data", "resolution_mc"):
        for name in ("eta_edges", "a", "b", "c", "d", "cov"):
            assert_array_equal(getattr(getattr(found, part), name), getattr(getattr(calibration, part), name))


def test_errors_are_the_diagonal_of_the_covariance(calibration: Calibration, tmp_path: Path):
    with uproot.open(write_root_tables(calibration, tmp_path / "tables.root")) as file:
        diagonal = np.diag(file["covariance_matrix"].values()).reshape(6, 3)
        for i, name in enumerate(("A", "e", "M")):
            assert_array_equal(file[name].variances(), diagonal[:, i])


def test_the_covariance_is_eta_major(calibration: Calibration, tmp_path: Path):
    with uproot.open(write_root_tables(calibration, tmp_path / "tables.root")) as file:
        matrix = file["covariance_matrix"].values()
        names = str(file["covariance_order"]).split()
    assert names[:4] == ["A_00", "e_00", "M_00", "A_01"]
    cov = calibration.scale.cov
    assert matrix[3, 1] == cov[1, 6]  # A of bin 1 with e of bin 0
    assert matrix[5, 2] == cov[13, 12]  # M of bins 1 and 0


def test_variations_stand_beside_the_covariance_they_come_from(calibration: Calibration, tmp_path: Path):
    with uproot.open(write_root_tables(calibration, tmp_path / "tables.root")) as file:
        variations = file["scale_variations"].values()
        matrix = file["covariance_matrix"].values()
    stat = variations[:18]
    error = np.sqrt(np.diag(matrix))
    assert_allclose(stat.T @ stat / np.outer(error, error), 2.1**2 * matrix / np.outer(error, error), atol=1e-9)


def test_histograms_are_read_by_hist_with_units_in_their_titles(calibration: Calibration, tmp_path: Path):
    with uproot.open(write_root_tables(calibration, tmp_path / "tables.root")) as file:
        found = file["M"].to_hist()
        assert file["M"].member("fYaxis").member("fTitle") == "M [GeV^{-1}]"
    assert isinstance(found, hist.Hist)
    assert found.axes[0].label == "#eta"
    assert_array_equal(found.values(), calibration.scale.M)


def test_what_is_not_certified_is_not_written(calibration: Calibration, tmp_path: Path):
    with pytest.raises(NotCertified, match="no validity range in pt"):
        write_root_tables(replace(calibration, pt_range=(0.0, np.inf)), tmp_path / "tables.root")
    assert list(tmp_path.iterdir()) == []


def test_the_date_is_the_stated_one(calibration: Calibration, tmp_path: Path):
    when = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    path = write_root_tables(calibration, tmp_path / "tables.root", date=when)
    with uproot.open(path) as file:
        for key in file.keys(recursive=True):
            assert file.key(key).fDatime == (31 << 26 | 2 << 22 | 3 << 17 | 4 << 12 | 5 << 6 | 6)
    assert root_bytes(calibration, date=when) == path.read_bytes()
    assert root_bytes(calibration) != path.read_bytes()


def changed(path: Path, target: Path, **changes) -> Path:
    """The same file with some objects replaced, or left out if None, as another tool would write it."""
    with uproot.open(path) as file, uproot.recreate(target) as new:
        for key in file.keys(recursive=True, cycle=False):
            if key in changes and changes[key] is None:
                continue
            if file.classname_of(key).startswith("TH"):
                new[key] = changes.get(key, file[key].to_hist())
            elif file.classname_of(key) == "TObjString":
                new[key] = changes.get(key, str(file[key]))
    return target


@pytest.fixture
def tables(calibration: Calibration, tmp_path: Path) -> Path:
    return write_root_tables(calibration, tmp_path / "tables.root")


def test_tables_of_another_tool_are_read(tables: Path, tmp_path: Path, calibration: Calibration):
    path = changed(tables, tmp_path / "other.root", manifest=None, covariance_order=None)
    found = read_root_tables(path)
    assert_array_equal(found.scale.A, calibration.scale.A)
    assert found.scale.resonance == ""


def test_a_missing_histogram_is_named(tables: Path, tmp_path: Path):
    with pytest.raises(InputError, match="histogram 'M' is missing") as caught:
        read_root_tables(changed(tables, tmp_path / "other.root", M=None))
    assert "covariance_matrix" in caught.value.where["known"]


def test_different_eta_axes_are_refused(tables: Path, tmp_path: Path):
    other = hist.Hist.new.Reg(6, -2.5, 2.5).Weight()
    with pytest.raises(InputError, match="'e' and 'A' have different eta axes"):
        read_root_tables(changed(tables, tmp_path / "other.root", e=other))


def test_errors_that_are_not_the_diagonal_are_refused(tables: Path, tmp_path: Path):
    with uproot.open(tables) as file:
        other = file["A"].to_hist()
    other.variances()[2] *= 1.0001
    with pytest.raises(InputError, match="variance of row 'A_02'"):
        read_root_tables(changed(tables, tmp_path / "other.root", A=other))


def test_a_covariance_in_another_order_is_refused_with_the_first_name(
    tables: Path, tmp_path: Path, calibration: Calibration
):
    order = " ".join(calibration.parameter_names)
    with pytest.raises(InputError, match="row 1 is 'A_01', expected 'e_00'"):
        read_root_tables(changed(tables, tmp_path / "other.root", covariance_order=order))


def test_a_covariance_that_is_none_is_refused_with_file_and_eigenvalue(tables: Path, tmp_path: Path):
    with uproot.open(tables) as file:
        other = file["covariance_matrix"].to_hist()
    other.values()[0, 1] = other.values()[1, 0] = 1.0
    with pytest.raises(InputError, match="smallest eigenvalue is -") as caught:
        read_root_tables(changed(tables, tmp_path / "other.root", covariance_matrix=other))
    assert caught.value.where["dataset"] == "covariance_matrix"
    assert caught.value.where["file"].endswith("other.root")


def test_nan_in_a_table_is_refused(tables: Path, tmp_path: Path):
    with uproot.open(tables) as file:
        other = file["e"].to_hist()
    other.values()[3] = np.nan
    with pytest.raises(InputError, match="1 of 6 numbers of 'e' are not finite"):
        read_root_tables(changed(tables, tmp_path / "other.root", e=other))


@pytest.mark.parametrize("text", ["no json", "[" * 5000, '{"tables": {"scale": {"pt_range": "wide"}}}'])
def test_an_unreadable_manifest_is_refused(tables: Path, tmp_path: Path, text: str):
    with pytest.raises(InputError, match="'manifest'"):
        read_root_tables(changed(tables, tmp_path / "other.root", manifest=text))


def test_a_truncated_file_is_refused(tables: Path):
    tables.write_bytes(tables.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        read_root_tables(tables)


def test_a_scale_without_resolution_is_written_and_read(calibration: Calibration, tmp_path: Path):
    alone = replace(
        calibration,
        resolution_data=None,
        resolution_mc=None,
        resolution_variations=np.zeros((0, 3, 0)),
        **{name: getattr(calibration, name)[:19] for name in ("names", "groups", "kinds", "sources")},
    )
    found = read_root_tables(write_root_tables(alone, tmp_path / "scale.root"))
    assert found.resolution_data is None
    assert_array_equal(found.scale.cov, calibration.scale.cov)


def test_the_closure_comes_back_with_its_covariance(tmp_path, cms_like: Calibration):
    path = write_root_tables(cms_like, tmp_path / "c.root")
    back, closure = read_root_tables(path), cms_like.closure
    assert closure is not None
    assert back.closure is not None
    for name in ("eta_edges", "A", "M", "cov"):
        np.testing.assert_array_equal(getattr(back.closure, name), getattr(closure, name))


def test_the_closure_is_ordered_a_m_of_each_bin(tmp_path, cms_like: Calibration):
    with uproot.open(write_root_tables(cms_like, tmp_path / "c.root")) as file:
        matrix = file["closure/covariance_matrix"].values()
        errors = [file[f"closure/{name}"].variances() for name in ("AZ", "MZ")]
    np.testing.assert_allclose(np.diag(matrix), np.stack(errors, axis=1).ravel(), rtol=1e-12)
