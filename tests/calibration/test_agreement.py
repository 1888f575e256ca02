"""Two releases agree in bytes, or in numbers, or it is said what differs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.calibration.agreement import compare_calibrations, compare_releases
from mucal.errors import VerificationError
from mucal.io import write_bundle
from mucal.scale import ScaleTable


def released(calibration: Calibration, folder: Path, **attachments: bytes) -> Path:
    return write_bundle(calibration, folder, attachments={f"{name}.html": text for name, text in attachments.items()})


def shifted(calibration: Calibration, bin_index: int, errors: float) -> Calibration:
    """With A of one bin moved by so many of its standard errors."""
    A = calibration.scale.A.copy()
    A[bin_index] += errors * np.sqrt(calibration.scale.cov[bin_index, bin_index])
    return replace(calibration, scale=replace(calibration.scale, A=A))


def test_the_same_calibration_agrees_in_bytes_with_or_without_a_page(calibration: Calibration, tmp_path: Path):
    one = released(calibration, tmp_path / "one")
    found = compare_releases(one, released(calibration, tmp_path / "other", report=b"<html>"))
    assert found.same_bytes
    assert found.single == ("report.html",)
    assert found.lines() == [f"the same bytes in all {len(found.files)} files of both; only one has report.html"]
    found.require(0.0)


def test_a_last_digit_is_other_bytes_and_the_same_numbers(calibration: Calibration, tmp_path: Path):
    A = calibration.scale.A.copy()
    A[2] = np.nextafter(A[2], 1.0)
    moved = replace(calibration, scale=replace(calibration.scale, A=A))
    found = compare_releases(released(calibration, tmp_path / "one"), released(moved, tmp_path / "other"))
    assert not found.same_bytes
    assert not found.files["calibration.h5"]
    assert found.files["nuisances.json"]
    assert 0 < found.largest < 1e-10
    found.require()


def test_a_number_that_moved_is_named_in_its_standard_errors(calibration: Calibration, tmp_path: Path):
    other = released(shifted(calibration, 4, 0.25), tmp_path / "other")
    found = compare_releases(released(calibration, tmp_path / "one"), other)
    assert_allclose(found.apart["scale"], 0.25, rtol=1e-9)
    assert found.apart["scale covariance"] == 0.0
    with pytest.raises(VerificationError, match=r"scale by 0\.25 standard errors"):
        found.require()
    found.require(0.3)


def test_another_covariance_is_found_beside_the_same_table(calibration: Calibration):
    cov = 1.1 * calibration.scale.cov
    meaning, apart = compare_calibrations(calibration, replace(calibration, scale=replace(calibration.scale, cov=cov)))
    assert meaning == ()
    assert apart["scale"] == 0.0
    # of all elements a variance, at most 1 in units of itself, moves most
    assert_allclose(apart["scale covariance"], 0.1, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pt_definition": "nanoaod"}, "pt_definition is not the same"),
        ({"pt_range": (4.0, 60.0)}, "pt_range is not the same"),
        ({"resolution_mc": None}, "resolution_mc has other bins or is there only once"),
    ],
)
def test_what_is_no_matter_of_rounding_never_agrees(calibration: Calibration, tmp_path: Path, change, said: str):
    other = released(replace(calibration, **change), tmp_path / "other")
    found = compare_releases(released(calibration, tmp_path / "one"), other)
    assert found.largest == np.inf
    with pytest.raises(VerificationError, match=said):
        found.require(1e9)


def test_pixel_counts_are_compared_in_their_errors(cms_like: Calibration):
    assert cms_like.pixels is not None
    data = cms_like.pixels.data.copy()
    data[1, 0, 3] += 2 * np.sqrt(data[1, 0, 3])
    _, apart = compare_calibrations(cms_like, replace(cms_like, pixels=replace(cms_like.pixels, data=data)))
    assert_allclose(apart["pixels"], 2.0, rtol=1e-9)
    assert apart["closure"] == apart["pixel_variations"] == 0.0


def test_a_last_digit_of_a_computed_factor_is_rounding_and_a_percent_is_not(calibration: Calibration):
    factors = {**calibration.factors, "jpsi_stat": np.nextafter(calibration.factors["jpsi_stat"], 9.0)}
    meaning, apart = compare_calibrations(calibration, replace(calibration, factors=factors))
    assert meaning == ()
    assert 0 < apart["factors"] < 1e-15
    factors = {**calibration.factors, "jpsi_stat": 1.01 * calibration.factors["jpsi_stat"]}
    _, apart = compare_calibrations(calibration, replace(calibration, factors=factors))
    assert_allclose(apart["factors"], 0.01, rtol=1e-9)


def test_sources_that_differ_by_rounding_agree_and_by_words_do_not(scale_table: ScaleTable, cms_like: Calibration):
    one, other = (
        assemble(scale_table, None, None, CalibrationConfig(pt_definition="refit", scale_factor=factor))
        for factor in (1.23456499999999, 1.23456500000001)
    )
    assert (one.sources[0][-7:], other.sources[0][-7:]) == ("1.23456", "1.23457")
    meaning, apart = compare_calibrations(one, other)
    assert meaning == ()
    assert max(apart.values()) < 1e-10
    percent = replace(one, sources=tuple(f"mode: layer_3 ({i}%), p = 1e-0{i % 9 + 1}" for i in range(len(one.names))))
    assert compare_calibrations(percent, replace(percent, sources=percent.sources[::-1]))[0] == ()
    for old, new in (("closure of z", "closure of upsilon1s"), ("chi2/ndf", "chi3/ndf")):
        sources = tuple(source.replace(old, new) for source in cms_like.sources)
        assert compare_calibrations(cms_like, replace(cms_like, sources=sources))[0] == ("sources is not the same",)


def test_factors_of_other_groups_never_agree(calibration: Calibration):
    other = replace(calibration, factors={**calibration.factors, "angles": 1.0})
    assert compare_calibrations(calibration, other)[0] == ("factors are those of other groups",)


def test_the_commit_of_mucal_is_no_difference(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in "ab":
        monkeypatch.setattr("mucal.io.release_manifest.commit", lambda name=name: 40 * name)
        write_bundle(calibration, tmp_path / name)
        assert f'"{40 * name}"' in (tmp_path / name / "manifest.json").read_text()
    assert compare_releases(tmp_path / "a", tmp_path / "b").same_bytes


def test_another_origin_is_told(calibration: Calibration, tmp_path: Path):
    other = calibration.with_provenance(replace(calibration.provenance, seed=99))
    found = compare_releases(released(calibration, tmp_path / "one"), released(other, tmp_path / "other"))
    assert found.origins == ("provenance.seed: None, 99",)
    assert found.largest == 0.0
