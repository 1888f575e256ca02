"""Events in a Parquet file, flat or with lists of muons; page checksums are verified where the file has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mucal.errors import InputError
from mucal.io.event_table import Chunk, Column, Jagged, Kind, first_line, unreadable

READ_AHEAD = 2**20
"""Bytes buffered per column, so that a file of one giant row group is still streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetEvents:
    """The table of one Parquet file (an `EventTable`)."""

    path: Path
    entries: int
    columns: Mapping[str, Column]
    tree: str = field(default="", init=False)
    format: str = field(default="parquet", init=False)

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, at most `rows` rows at a time."""
        start = 0
        try:
            with _open(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(names), use_threads=False):
                    columns = {name: arrow_values(batch.column(name)) for name in names}
                    yield Chunk(start=start, rows=batch.num_rows, columns=columns)
                    start += batch.num_rows
        except Exception as error:  # damaged bytes surface as whatever the library raises
            raise unreadable(self, error, start) from error
        if start != self.entries:
            raise unreadable(self, ValueError(f"{start} of {self.entries} rows came"), start)


def open_parquet(path: Path) -> ParquetEvents:
    """The table of a Parquet file.  Raises InputError if its footer cannot be read."""
    try:
        with _open(path) as file:
            columns = {f.name: Column(kind=_kind(f.type), type=str(f.type)) for f in file.schema_arrow}
            return ParquetEvents(path=path, entries=file.metadata.num_rows, columns=columns)
    except Exception as error:  # damaged bytes surface as whatever the library raises
        raise InputError(
            f"{path.name} cannot be opened as a Parquet file: {first_line(error)}",
            kind="input.damaged",
            where={"file": path},
            do="copy the file again from its source",
        ) from error


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=READ_AHEAD, pre_buffer=False, page_checksum_verification=True)


def _kind(kind: pa.DataType) -> Kind:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "jagged" if _kind(kind.value_type) == "number" else "other"
    if pa.types.is_dictionary(kind):
        return "text" if _kind(kind.value_type) == "text" else "other"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) else "other"


def arrow_values(array: Any) -> np.ndarray | Jagged:
    """Numpy values of an Arrow column; null becomes NaN, and an empty list or text."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        counts = np.asarray(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return Jagged(offsets=offsets, content=_flat(array.flatten()))
    return _flat(array)


def _flat(array: Any) -> np.ndarray:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.asarray(array.fill_null("").to_pylist(), dtype=str)
    return np.asarray(array.to_numpy(zero_copy_only=False))
