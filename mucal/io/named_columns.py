"""Flat columns of numbers from ROOT, Parquet or CSV under the names that a stage knows them by, in chunks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mucal.errors import InputError, nearest
from mucal.io.csv_events import open_csv
from mucal.io.event_table import Chunk, EventTable, Jagged, place
from mucal.io.file_magic import check_length, identify
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root

CHUNK: Final = 500_000

Rows = tuple[dict[str, np.ndarray], dict[str, object]]
"""Name -> values of a chunk, and where it stands (file, tree, first row), for messages."""


def stream_columns(
    files: Sequence[str | Path],
    names: Mapping[str, str],
    *,
    optional: Sequence[str] = (),
    tree: str | None = None,
    asked: str = "columns",
    vectors: Sequence[str] = (),
    rows: int = CHUNK,
) -> Iterator[Rows]:
    """Chunks of the columns of all files.

    names    : what -> column in the file
    optional : whats that a file may lack
    tree     : of a ROOT file that holds several
    asked    : the configuration's key, for messages
    vectors  : whats that may hold lists of numbers of one length, which become (N, K)
    rows     : at a time

    Raises InputError for files that cannot be read, columns that are missing, and columns that are no plain numbers.
    """
    for path in files:
        table = _open(Path(path), tree)
        found = _found(table, names, optional, asked)
        for chunk in table.chunks(list(dict.fromkeys(found.values())), rows):
            yield _values(table, chunk, found, asked, vectors), place(table, chunk.start)


def _open(path: Path, tree: str | None) -> EventTable:
    kind = identify(path, "auto")
    if kind == "csv":
        return open_csv(path)
    check_length(path, kind)
    if kind == "root":
        return open_root(path, tree)
    if kind == "parquet":
        return open_parquet(path)
    raise InputError(
        f"{path.name} is a file of {kind}; expected ROOT, Parquet or CSV",
        kind="input.wrong_format",
        where={"file": path},
    )


def _found(table: EventTable, names: Mapping[str, str], optional: Sequence[str], asked: str) -> dict[str, str]:
    found = {}
    for name, column in names.items():
        if column in table.columns:
            found[name] = column
        elif name not in optional:
            raise InputError(
                f"column '{column}' is missing",
                kind="input.missing_branch",
                where={**place(table), "asked": f"{asked}.{name}", "near": ", ".join(nearest(column, table.columns))},
                do=f"set {asked}.{name} to one of the file's names",
            )
    return found


def _values(
    table: EventTable, chunk: Chunk, names: Mapping[str, str], asked: str, vectors: Sequence[str]
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, column in names.items():
        values = chunk.columns[column]
        if isinstance(values, Jagged) and name in vectors:
            values = _matrix(values, column, place(table, chunk.start))
        if isinstance(values, Jagged) or values.dtype.kind not in "biuf":
            raise InputError(
                f"column '{column}' holds no plain numbers, one a row",
                kind="input.column_kind",
                where={**place(table, chunk.start), "asked": f"{asked}.{name}"},
            )
        found[name] = values
    return found


def _matrix(lists: Jagged, column: str, where: dict[str, object]) -> np.ndarray:
    """(N, K) of lists that all have K numbers."""
    lengths = np.diff(lists.offsets)
    if lengths.size and lengths.min() != lengths.max():
        raise InputError(
            f"lists of column '{column}' have {lengths.min()} to {lengths.max()} numbers; expected one length",
            kind="input.column_kind", where=where,
        )  # fmt: skip
    k = int(lengths[0]) if lengths.size else 0
    begin = int(lists.offsets[0])
    return lists.content[begin : begin + lengths.size * k].reshape(lengths.size, k)
