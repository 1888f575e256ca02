"""The digests of a run cover everything that it leaves, and themselves."""

import shutil
from pathlib import Path

import pytest

from mucal.errors import InputError, VerificationError
from mucal.workflow import verify, write_report
from mucal.workflow.verification import write_digests


@pytest.fixture
def out(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "out"))


def test_every_file_of_a_finished_run_is_covered(out: Path):
    states = verify([out])
    assert set(states.values()) == {"ok"}
    assert set(states) == {str(path) for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["report.html", "result.json", "digests.json", "scale.h5", "spectra/0_after.h5"])
def test_a_changed_byte_is_found(out: Path, name: str):
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(VerificationError):
        verify([out])


@pytest.mark.parametrize("name", ["report.html", "result.json", "scale.h5"])
def test_a_missing_file_is_found(out: Path, name: str):
    (out / name).unlink()
    with pytest.raises(VerificationError) as error:
        verify([out])
    assert name in str(error.value)


def test_a_page_written_again_is_covered_and_a_changed_result_is_still_found(out: Path):
    (out / "report.html").write_text("old")
    write_report(out)
    assert set(verify([out]).values()) == {"ok"}
    (out / "result.json").write_text((out / "result.json").read_text().replace('"pairs"', '"pairz"'))
    write_report(out)
    with pytest.raises(VerificationError, match="1 of"):
        verify([out])


def test_files_without_a_digest_are_listed(out: Path):
    (out / "notes.txt").write_text("mine")
    assert verify([out])[str(out / "notes.txt")] == "not covered"


def test_digests_that_the_result_lists_and_that_are_gone_are_missing(out: Path):
    (out / "digests.json").unlink()
    with pytest.raises(VerificationError) as raised:
        verify([out])
    assert raised.value.where == {"missing": str(out / "digests.json")}


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../b"])
def test_digests_that_leave_the_folder_are_refused(tmp_path: Path, name: str):
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "secret", tmp_path / "b"):
        path.write_text("x")
    (tmp_path / "run/a").mkdir()
    write_digests(tmp_path / "run", [name])
    with pytest.raises(InputError, match="not a file inside the folder"):
        verify([tmp_path / "run"])
