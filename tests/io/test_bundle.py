import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mucal import __version__
from mucal.calibration import Calibration, CalibrationConfig, assemble, load
from mucal.calibration.manifest import read_manifest
from mucal.errors import InputError, NotCertified, ResourceError, VerificationError
from mucal.io import release_manifest, verify_bundle, write_bundle
from mucal.io.bundle import read_attachments, read_evidence
from mucal.io.correctionlib import corrections_document
from mucal.io.muonscare import muonscare_document
from mucal.scale import PixelMultiplicity
from mucal.store import files

FILES = {
    "calibration.h5",
    "corrections.json.gz",
    "corrections.root",
    "corrections_raw.json.gz",
    "manifest.json",
    "muonscare.json.gz",
    "nuisances.json",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_release_holds_its_files_and_leaves_nothing_else(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release")
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["release"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_written_twice_the_bytes_are_the_same(calibration: Calibration, tmp_path: Path, monkeypatch):
    one = contents(write_bundle(calibration, tmp_path / "one"))
    # the clock must not matter: any time that is taken from it is another one
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert contents(write_bundle(calibration, tmp_path / "another name")) == one


def test_a_date_is_written_only_if_it_is_stated(calibration: Calibration, tmp_path: Path, monkeypatch):
    assert "date" not in read_manifest(write_bundle(calibration, tmp_path / "one"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    assert read_manifest(write_bundle(calibration, tmp_path / "two"))["date"] == "2026-01-01T00:00:00+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="expected whole seconds"):
        write_bundle(calibration, tmp_path / "three")


def test_the_manifest_tells_what_a_user_must_know(calibration: Calibration, tmp_path: Path):
    manifest = read_manifest(write_bundle(calibration, tmp_path / "release"))
    assert manifest["mucal"] == __version__
    assert manifest["validity"]["pt_range"] == [4.0, 70.0]
    assert manifest["validity"]["muon_pt_definition"] == "refit"
    assert manifest["reference"]["pdg_edition"] == 2026
    assert manifest["factors"] == {"jpsi_stat": 2.1, "reference_mass": 1.0, "resolution_stat": 10.0}
    assert manifest["nuisances"] == {"jpsi_stat": 18, "reference_mass": 1, "resolution_stat": 12}
    assert set(manifest["versions"]) == {"numpy", "h5py", "correctionlib", "uproot"}
    assert manifest["provenance"]["configuration"]["calibration"]["scale_factor"] == 2.1
    assert set(manifest["files"]) == FILES - {"manifest.json"}


def test_every_nuisance_is_described(calibration: Calibration, tmp_path: Path):
    text = (write_bundle(calibration, tmp_path / "release") / "nuisances.json").read_text()
    found = json.loads(text)["nuisances"]
    assert [row["name"] for row in found] == list(calibration.names)
    assert found[18]["source"].startswith("mass of jpsi, 3.0969 +- 6e-06 GeV")


def test_attachments_belong_to_the_release(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release", attachments={"report.html": b"<html>"})
    assert verify_bundle(folder).states["report.html"] == "ok"
    (folder / "report.html").write_bytes(b"<HTML>")
    assert not verify_bundle(folder).whole


@pytest.mark.parametrize("name", ["../up.html", "manifest.json", "calibration.h5", ""])
def test_attachments_are_plain_files_of_their_own(calibration: Calibration, tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="cannot be attached"):
        write_bundle(calibration, tmp_path / "release", attachments={name: b""})


def test_attachments_and_evidence_come_back(calibration: Calibration, tmp_path: Path):
    attachments, evidence = (
        {"report.html": b"<html>", "fits.parquet": bytes(range(256))},
        {"closures": {"z": {"ndf": 3}}},
    )
    folder = write_bundle(calibration, tmp_path / "release", attachments=attachments, evidence=evidence)
    assert read_attachments(folder) == attachments
    assert read_evidence(folder) == evidence
    again = write_bundle(load(folder), tmp_path / "again", attachments=attachments, evidence=evidence)
    assert contents(again) == contents(folder)


def test_a_release_without_attachments_has_none(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release")
    assert read_attachments(folder) == {}
    assert read_evidence(folder) == {}
    assert "evidence" not in read_manifest(folder)


def test_a_file_that_the_manifest_does_not_list_is_no_attachment(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release")
    (folder / "notes.txt").write_text("mine")
    assert read_attachments(folder) == {}


@pytest.mark.parametrize("damage", ["changed", "longer", "missing"])
def test_attachments_that_are_not_what_was_released_are_refused(calibration: Calibration, tmp_path: Path, damage: str):
    folder = write_bundle(calibration, tmp_path / "release", attachments={"report.html": b"<html>"})
    if damage == "missing":
        (folder / "report.html").unlink()
    else:
        (folder / "report.html").write_bytes(b"<htmL>" if damage == "changed" else b"<html>\n")
    expected = "missing" if damage == "missing" else "damaged"
    with pytest.raises(VerificationError, match=rf"report\.html is {expected}"):
        read_attachments(folder)


def test_an_attachment_that_changes_after_it_was_verified_is_refused(
    calibration: Calibration, tmp_path: Path, monkeypatch
):
    folder = write_bundle(calibration, tmp_path / "release", attachments={"report.html": b"<html>"})
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: whole(path) + b"x" * (path.name == "report.html"))
    with pytest.raises(VerificationError, match="changed while it was read"):
        read_attachments(folder)


def test_the_commit_stands_in_the_manifest_alone(calibration: Calibration, tmp_path: Path, monkeypatch):
    made = {}
    for name, commit in (("one", "1" * 40), ("two", "2" * 40 + "-dirty"), ("none", None)):
        monkeypatch.setattr(release_manifest, "commit", lambda commit=commit: commit)
        made[name] = write_bundle(calibration, tmp_path / name)
        assert read_manifest(made[name]).get("git") == commit
    files = [read_manifest(folder)["files"] for folder in made.values()]
    assert files[0] == files[1] == files[2]
    without = [
        {k: v for k, v in read_manifest(f).items() if k not in ("git", "manifest_sha256")} for f in made.values()
    ]
    assert without[0] == without[1] == without[2]


def test_the_fits_of_all_tables_have_their_p_value(cms_like: Calibration, tmp_path: Path):
    closure = cms_like.closure
    assert closure is not None
    # chi2 of 2 degrees of freedom: p = exp(-chi2/2)
    measured = replace(cms_like, closure=replace(closure, chi2=3.0, ndf=2))
    fit = read_manifest(write_bundle(measured, tmp_path / "release"))["fit"]
    assert set(fit) == {"scale", "resolution_data", "resolution_mc", "closure"}
    assert fit["closure"] == {"chi2": 3.0, "ndf": 2, "p_value": pytest.approx(np.exp(-1.5), rel=1e-14)}
    assert fit["scale"] == {"chi2": 0.0, "ndf": 0, "p_value": None}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a correction, itself first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def under(node: Any, key: str | int) -> dict[str, Any]:
    """The first category of that key below a node."""
    return next(n["value"] for n in nodes(node) if n.get("key") == key)


@pytest.fixture(scope="module")
def with_pixels(calibration: Calibration) -> Calibration:
    muons = np.full((2, 2, 6), 1e5)
    pixels = PixelMultiplicity(
        eta_edges=calibration.scale.eta_edges, data=muons, data_zero=np.linspace(2e3, 4e3, 24).reshape(2, 2, 6),
        mc=muons, mc_zero=0.025 * muons,
    )  # fmt: skip
    tables = (calibration.scale, calibration.resolution_data, calibration.resolution_mc)
    return assemble(*tables, CalibrationConfig(pt_definition="refit", pixels_in_nominal=True), pixels=pixels)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("pt_scale", ("nom", -1)), ("pt_scale", ("jpsi_stat_000_up", 1)), ("pt_scale", ("jpsi_stat_007_down", -1)),
        ("pt_scale", ("reference_mass_jpsi_up", 1)), ("pt_scale_mc", ("nom", 1)),
        ("pt_scale", ("scale_total_up", 1)), ("pt_scale_mc", ("scale_total_down", -1)),
        ("pt_scale_mc", ("jpsi_stat_017_up", 1)), ("pt_scale_mc", ("reference_mass_jpsi_down", -1)),
        ("scale_params", ("e", "jpsi_stat_010_down")), ("scale_params", ("M", "nom")),
        ("sigma_rel", ("data", "nom")), ("sigma_rel", ("data", "resolution_stat_011_up")), ("sigma_rel", ("mc", "nom")),
        ("sigma_extra", ("nom",)), ("sigma_extra", ("resolution_stat_000_down",)),
        ("pixel_weight", ("nom", -1, 0)), ("pixel_weight", ("pixel_mult_003_up", -1, 1)),
        ("pixel_weight", ("pixel_mult_006_down", -1, 0)),
    ],
)  # fmt: skip
def test_a_file_that_reads_back_differently_is_not_released(
    with_pixels: Calibration, tmp_path: Path, monkeypatch, name: str, path: tuple[str | int, ...]
):
    def broken(calibration: Calibration) -> dict[str, Any]:
        document = corrections_document(calibration)
        node = next(c for c in document["corrections"] if c["name"] == name)["data"]
        for key in path:
            node = under(node, key)
        bins = next(n for n in nodes(node) if n.get("input") == "eta")["content"]
        if isinstance(bins[3], dict):
            bins[3]["parameters"][0] += 1e-9
        else:
            bins[3] += 1e-9
        return document

    monkeypatch.setattr("mucal.io.bundle.corrections_document", broken)
    with pytest.raises(VerificationError, match=f"reads back differently: {name} for "):
        write_bundle(with_pixels, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


def test_a_raw_file_that_holds_the_factors_is_not_released(calibration: Calibration, tmp_path: Path, monkeypatch):
    # the nominal values are right, and so is every error but for its factor
    monkeypatch.setattr("mucal.io.bundle.corrections_document", lambda _: corrections_document(calibration))
    with pytest.raises(VerificationError, match="reads back differently: pt_scale for jpsi_stat_000_up"):
        write_bundle(calibration, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sign", ["up", "down"])
def test_an_envelope_of_too_large_an_error_is_not_released(
    calibration: Calibration, tmp_path: Path, monkeypatch, sign: str
):
    def broken(calibration: Calibration) -> dict[str, Any]:
        document = corrections_document(calibration)
        node = under(document["corrections"][0]["data"], f"scale_total_{sign}")
        bins = next(n for n in nodes(node) if n.get("input") == "eta")["content"]
        bins[3]["parameters"][3] *= 1.0 + 1e-6  # the sum of the squares of all shifts of A
        return document

    monkeypatch.setattr("mucal.io.bundle.corrections_document", broken)
    with pytest.raises(VerificationError, match=f"reads back differently: pt_scale for scale_total_{sign}"):
        write_bundle(calibration, tmp_path / "release")


@pytest.mark.parametrize(
    ("name", "key"),
    [("m_data", "nom"), ("m_data", "stat"), ("m_data", "rho_stat"), ("a_data", "nom"), ("a_data", "stat"),
     ("m_mc", "nom"), ("a_mc", "nom")],
)  # fmt: skip
def test_a_file_of_the_cms_shape_with_another_scale_is_not_released(
    calibration: Calibration, tmp_path: Path, monkeypatch, name: str, key: str
):
    def broken(calibration: Calibration) -> dict[str, Any]:
        document = muonscare_document(calibration)
        node = under(next(c for c in document["corrections"] if c["name"] == name)["data"], key)
        bins = next(n for n in nodes(node) if n.get("input") == "eta")["content"]
        bins[3]["content"][0] += 1e-6 if key == "rho_stat" else 1e-9
        return document

    monkeypatch.setattr("mucal.io.bundle.muonscare_document", broken)
    kind = "stat" if key == "rho_stat" else key
    expected = f"m_{name[2:]}, a_{name[2:]} for {kind}"
    with pytest.raises(VerificationError, match=f"reads back differently: {expected}"):
        write_bundle(calibration, tmp_path / "release")


def test_a_release_with_pixel_hits_in_the_nominal_is_written(with_pixels: Calibration, tmp_path: Path):
    assert load(write_bundle(with_pixels, tmp_path / "release")).names == with_pixels.names


def test_the_covariances_of_all_tables_are_named(cms_like: Calibration, tmp_path: Path):
    text = (write_bundle(cms_like, tmp_path / "release") / "nuisances.json").read_text()
    found = json.loads(text)["covariances"]
    assert {name: entry["rows"] for name, entry in found.items()} == {
        "scale": 144, "resolution_data": 72, "resolution_mc": 72, "closure": 48,
    }  # fmt: skip


def test_a_release_is_not_overwritten_silently(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release")
    before = contents(folder)
    with pytest.raises(FileExistsError):
        write_bundle(calibration, folder)
    assert contents(folder) == before


def test_overwriting_replaces_our_files_and_touches_no_others(calibration: Calibration, tmp_path: Path):
    folder = write_bundle(calibration, tmp_path / "release", attachments={"old.html": b"old"})
    (folder / "massfit.h5").write_bytes(b"theirs")
    other = replace(calibration, era="another")
    write_bundle(other, folder, overwrite=True)
    assert load(folder).era == "another"
    assert (folder / "massfit.h5").read_bytes() == b"theirs"
    assert not (folder / "old.html").exists()
    assert verify_bundle(folder).whole


def test_a_folder_with_other_files_takes_a_release(calibration: Calibration, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "massfit.h5").write_bytes(b"theirs")
    folder = write_bundle(calibration, tmp_path / "run")
    assert verify_bundle(folder).states["massfit.h5"] == "extra"
    assert load(folder).names == calibration.names


def test_what_is_not_certified_is_not_released(calibration: Calibration, tmp_path: Path):
    broken = replace(calibration, pt_range=(0.0, np.inf))
    with pytest.raises(NotCertified):
        write_bundle(broken, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", range(6))
def test_a_full_disk_at_any_file_leaves_nothing(calibration: Calibration, tmp_path: Path, monkeypatch, failing: int):
    calls = 0

    def sync(path: Path) -> None:
        nonlocal calls
        if path.is_file():
            calls += 1
            if calls == failing + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_sync", sync)
    with pytest.raises(ResourceError, match="disk is full"):
        write_bundle(calibration, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


def test_a_release_interrupted_while_overwriting_does_not_load(calibration: Calibration, tmp_path: Path, monkeypatch):
    folder = write_bundle(calibration, tmp_path / "release")
    whole = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target == folder / "manifest.json":
            raise KeyboardInterrupt
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(replace(calibration, era="another"), folder, overwrite=True)
    assert not verify_bundle(folder).whole
