"""Finished chunks of a long command: taken up if they are whole and of the same run, else made again or refused."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mucal.errors import ConfigError
from mucal.workflow.parts import Parts


def chunk(parts: Parts, number: int, text: str) -> tuple[str, Mapping[str, int]]:
    """A chunk of text, with its length as what is said of it."""
    return parts.once(
        number, ".txt", lambda: (text, {"length": len(text)}), lambda path, made: path.write_text(made), Path.read_text
    )


def test_a_finished_chunk_is_taken_up_and_a_damaged_one_is_made_again(tmp_path):
    parts = Parts(tmp_path / "out", "one", resume=False)
    assert chunk(parts, 0, "first") == ("first", {"length": 5})
    assert chunk(parts, 1, "second") == ("second", {"length": 6})
    (parts.folder / "000001.json").write_text('{"len')
    again = Parts(tmp_path / "out", "one", resume=True)
    assert chunk(again, 0, "not made") == ("first", {"length": 5})
    assert chunk(again, 1, "2") == ("2", {"length": 1})
    assert again.taken == 1
    assert chunk(Parts(tmp_path / "out", "one", resume=False), 0, "anew") == ("anew", {"length": 4})


def test_chunks_of_another_run_are_refused(tmp_path):
    Parts(tmp_path / "out", "one", resume=False)
    with pytest.raises(ConfigError, match="of other inputs, another configuration or another version"):
        Parts(tmp_path / "out", "two", resume=True)
    Parts(tmp_path / "out", "two", resume=False)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, resume):
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no finished chunks"):
        Parts(tmp_path / "out", "one", resume=resume)
    assert (tmp_path / "out.parts" / "mine.txt").read_text() == "mine"


def test_nothing_is_left_of_a_whole_output(tmp_path):
    parts = Parts(tmp_path / "out", "one", resume=False)
    chunk(parts, 0, "first")
    parts.clear()
    assert not parts.folder.exists()
