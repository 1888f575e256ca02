import json
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

import mucal
from mucal.calibration import Calibration, FileState, load, verify_bundle
from mucal.calibration.manifest import MANIFEST, manifest_bytes, read_manifest
from mucal.errors import InputError, VerificationError
from mucal.io import write_bundle

HEAVY = ("numba", "awkward", "uproot", "matplotlib", "pandas", "scipy.stats", "tensorflow", "correctionlib", "pyarrow")


@pytest.fixture
def bundle(calibration: Calibration, tmp_path: Path) -> Path:
    return write_bundle(calibration, tmp_path / "release")


def rewritten(bundle: Path, **changes) -> None:
    """A manifest with other content, whose own digest is right."""
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    (bundle / MANIFEST).write_bytes(manifest_bytes({**manifest, **changes}))


def test_a_folder_and_its_table_load_the_same(bundle: Path, calibration: Calibration):
    for path in (bundle, bundle / "calibration.h5", str(bundle)):
        found = mucal.load(path)
        assert_array_equal(found.scale.A, calibration.scale.A)
        assert found.names == calibration.names


def test_loading_and_correcting_bring_in_nothing_heavy(bundle: Path):
    code = (
        "import sys, mucal, numpy as np\n"
        f"cal = mucal.load({str(bundle)!r})\n"
        "cal.correct(np.array([10.0]), np.zeros(1), np.zeros(1), np.ones(1))\n"
        "cal.vary(10.0, 0.0, 0.0, 1, 'jpsi_stat_000')\n"
        "cal.smear(10.0, 0.0, 0.0, 1, 1, 1, muon=0)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_whole_release_verifies(bundle: Path):
    report = verify_bundle(bundle)
    assert report.whole
    assert set(report.states.values()) == {FileState.OK}
    report.require_whole()


@pytest.mark.parametrize(
    "name", ["calibration.h5", "corrections.json.gz", "corrections.root", "muonscare.json.gz", "nuisances.json"]
)
def test_a_flipped_bit_in_any_file_is_found(bundle: Path, name: str):
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert verify_bundle(bundle).states[name] == FileState.DAMAGED
    with pytest.raises(VerificationError, match=f"{name} is damaged") as caught:
        load(bundle)
    assert caught.value.exit_code == 7


def test_a_flipped_bit_anywhere_in_the_manifest_is_found(bundle: Path):
    path = bundle / MANIFEST
    good = path.read_bytes()
    for i in range(0, len(good), 7):
        content = bytearray(good)
        content[i] ^= 1 << (i % 8)
        path.write_bytes(content)
        with pytest.raises(VerificationError, match="damaged"):
            read_manifest(bundle)


def test_a_missing_file_is_found_and_a_foreign_one_named(bundle: Path):
    (bundle / "nuisances.json").unlink()
    (bundle / "notes.txt").write_text("mine")
    report = verify_bundle(bundle)
    assert report.states["nuisances.json"] == FileState.MISSING
    assert report.states["notes.txt"] == FileState.EXTRA
    assert "missing  nuisances.json" in report.lines()
    with pytest.raises(VerificationError, match=r"nuisances\.json is missing"):
        report.require_whole()


def test_a_foreign_file_does_not_spoil_a_release(bundle: Path):
    (bundle / "notes.txt").write_text("mine")
    load(bundle)


def test_a_symbolic_link_in_a_release_is_refused(bundle: Path, tmp_path: Path):
    (bundle / "nuisances.json").rename(tmp_path / "elsewhere.json")
    (bundle / "nuisances.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match=r"'nuisances\.json' is a symbolic link") as caught:
        load(bundle)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("target", ["/etc/hostname", "nowhere"])
def test_a_link_that_the_manifest_does_not_name_is_refused(bundle: Path, target: str):
    (bundle / "more.json").symlink_to(target)
    for check in (load, verify_bundle):
        with pytest.raises(InputError, match=r"'more\.json' is a symbolic link"):
            check(bundle)


def test_a_linked_manifest_is_refused(bundle: Path, tmp_path: Path):
    (bundle / MANIFEST).rename(tmp_path / MANIFEST)
    (bundle / MANIFEST).symlink_to(tmp_path / MANIFEST)
    with pytest.raises(InputError, match="symbolic link"):
        load(bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b.json", "..", "C:x", "a\\b", ""])
def test_a_manifest_that_leaves_its_folder_is_refused(bundle: Path, name: str):
    files = read_manifest(bundle)["files"]
    rewritten(bundle, files={**files, name: {"sha256": "0", "bytes": 1}})
    with pytest.raises(InputError, match="not a plain file of the folder"):
        load(bundle)


def test_a_newer_release_names_both_versions(bundle: Path):
    rewritten(bundle, schema=99, mucal="7.0")
    with pytest.raises(InputError, match=r"schema 99 \(mucal 7\.0\).*reads up to schema 1"):
        load(bundle)


def test_keys_of_a_newer_writer_are_accepted(bundle: Path):
    rewritten(bundle, something_new={"a": 1})
    load(bundle)


def test_a_folder_without_manifest_is_no_release(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        load(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"a": NaN}', "{'a'"])
def test_a_manifest_that_is_none_is_refused(bundle: Path, text: str):
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(VerificationError, match="damaged"):
        load(bundle)


def test_the_manifest_of_something_else_is_refused(bundle: Path):
    rewritten(bundle, type="Recipe")
    with pytest.raises(InputError, match="not that of a calibration"):
        load(bundle)
