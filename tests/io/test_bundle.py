import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal import __version__
from mucal.calibration import Calibration, load
from mucal.calibration.manifest import read_manifest
from mucal.errors import InputError, NotCertified, ResourceError
from mucal.io import verify_bundle, write_bundle
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
