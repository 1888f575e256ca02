from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mucal.errors import ConfigError
from mucal.io.column_writer import write_columns


def chunk(first: int, n: int) -> dict[str, np.ndarray]:
    return {"event": np.arange(first, first + n), "pt": np.linspace(1.0, 2.0, n)}


def test_chunks_come_back_as_one_table(tmp_path: Path):
    assert write_columns(tmp_path / "a.parquet", [chunk(0, 0), chunk(0, 5), chunk(5, 7)]) == 12
    table = pq.read_table(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.asarray(table["event"]), np.arange(12))
    assert table.column_names == ["event", "pt"]


def test_another_suffix_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\.csv"):
        write_columns(tmp_path / "a.csv", [chunk(0, 1)])


def test_nothing_stands_under_the_name_after_a_failure(tmp_path: Path):
    def broken():
        yield chunk(0, 5)
        raise RuntimeError("reading failed")

    with pytest.raises(RuntimeError):
        write_columns(tmp_path / "a.parquet", broken())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path):
    write_columns(tmp_path / "a.parquet", [chunk(0, 5)])
    with pytest.raises(FileExistsError):
        write_columns(tmp_path / "a.parquet", [chunk(0, 1)])
    assert write_columns(tmp_path / "a.parquet", [chunk(0, 1)], overwrite=True) == 1
