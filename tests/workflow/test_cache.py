"""Stages kept by what they were made from: any run takes up what another one made, and ends with the same bytes."""

from pathlib import Path

import pytest

from mucal.store import sha256
from mucal.workflow import run
from mucal.workflow.progress import Event

from .conftest import small


def taken_up(told: list[Event]) -> list[str]:
    return [event.stage for event in told if event.text == "taken up from the cache"]


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Filled by one run."""
    run(small(), tmp_path / "first", cache=tmp_path / "cache")
    return tmp_path / "cache"


def test_another_folder_takes_up_every_stage_and_ends_with_the_same_bytes(
    cache: Path, small_run: Path, tmp_path: Path
):  # fmt: skip
    kept, told = files(cache), []
    run(small(), tmp_path / "second", cache=cache, tell=told.append)
    stages = {path.relative_to(tmp_path / "second").as_posix() for path in (tmp_path / "second/stages").glob("*.h5")}
    assert set(taken_up(told)) == stages
    assert len(kept) == len(stages)
    assert files(cache) == kept
    assert files(tmp_path / "second") == files(tmp_path / "first") == files(small_run)


def test_another_table_from_the_same_histograms_makes_only_the_table_anew(cache: Path, tmp_path: Path):
    told: list[Event] = []
    n = len(files(cache))
    run(small("scale.prior={M=1e-4}"), tmp_path / "second", cache=cache, tell=told.append)
    assert taken_up(told) == ["stages/simulation.h5", "stages/pass_0.h5"]
    assert len(files(cache)) == n + 2  # its table and the masses corrected with it
    run(small("scale.prior={M=1e-4}"), tmp_path / "plain")
    assert files(tmp_path / "second") == files(tmp_path / "plain")


def test_a_damaged_stage_is_made_again(cache: Path, tmp_path: Path):
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    told: list[Event] = []
    run(small(), tmp_path / "second", cache=cache, tell=told.append)
    assert not taken_up(told)
    assert sum("made again" in event.text for event in told) == len(files(cache))
    assert files(tmp_path / "second") == files(tmp_path / "first")
