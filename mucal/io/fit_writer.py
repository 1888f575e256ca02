"""Plain columns of fits to Parquet or ROOT: streamed, read back column by column, and renamed into place."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from mucal.errors import ConfigError, VerificationError
from mucal.io.event_table import Jagged
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root
from mucal.store import replace_file

_CHECKED_ROWS: Final = 100_000

Columns = Mapping[str, np.ndarray]


def write_fits(
    path: str | Path, chunks: Iterable[Columns], *, tree: str = "Events", overwrite: bool = False
) -> int:  # fmt: skip
    """Write chunks of equally named columns to a .parquet (zstd, page checksums) or .root (TTree) file.

    chunks : at least one, which may be empty of rows and fixes names and types; never more than one is held

    Returns the number of rows.  Raises ConfigError for another suffix, ValueError without any chunk, FileExistsError
    unless `overwrite`, ResourceError if the disk is full.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".parquet", ".root"):
        raise ConfigError(
            f"fits are written to .parquet or .root, not '{suffix}'", kind="config.suffix", where={"file": path}
        )
    stream = iter(chunks)
    first = next(stream, None)
    if first is None:
        raise ValueError("there is no chunk of columns to write")
    kinds = {name: values.dtype for name, values in first.items()}
    digests: dict[str, Any] = {name: hashlib.sha256() for name in kinds}
    written = 0

    def rows() -> Iterator[Columns]:
        """The chunks as they are written, digested and counted."""
        nonlocal written
        for chunk in chain([first], stream):
            for name, digest in digests.items():
                digest.update(np.ascontiguousarray(chunk[name], dtype=kinds[name]).tobytes())
            written += len(next(iter(chunk.values())))
            yield chunk

    write = _write_parquet if suffix == ".parquet" else _write_root
    replace_file(
        path,
        lambda temporary: write(temporary, kinds, rows(), tree),
        check=lambda temporary: _compare(temporary, kinds, digests, tree),
        overwrite=overwrite,
    )
    return written


def read_fits(path: str | Path) -> Columns:
    """The columns of a .parquet file of fits, whole.  Raises InputError if it is damaged."""
    table = open_parquet(Path(path))
    names, kinds = list(table.columns), {name: np.dtype(column.type) for name, column in table.columns.items()}
    parts: dict[str, list[Any]] = {name: [np.zeros(0, dtype=kind)] for name, kind in kinds.items()}
    for chunk in table.chunks(names, _CHECKED_ROWS):
        for name in names:
            parts[name].append(chunk.columns[name])
    return {name: np.concatenate(values).astype(kinds[name], copy=False) for name, values in parts.items()}


def _write_parquet(path: Path, kinds: dict[str, np.dtype], rows: Iterator[Columns], tree: str) -> None:
    schema = pa.schema([(name, pa.from_numpy_dtype(kind)) for name, kind in kinds.items()])
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, write_page_checksum=True) as writer:
        for values in rows:
            writer.write_table(pa.table({name: pa.array(values[name]) for name in kinds}, schema=schema))


def _write_root(path: Path, kinds: dict[str, np.dtype], rows: Iterator[Columns], tree: str) -> None:
    with uproot.recreate(path) as file:
        written = file.mktree(tree, kinds)
        for values in rows:
            if next(iter(values.values())).size:
                written.extend({name: np.asarray(values[name], dtype=kind) for name, kind in kinds.items()})


def _compare(path: Path, kinds: dict[str, np.dtype], digests: Mapping[str, Any], tree: str) -> None:
    found: dict[str, Any] = {name: hashlib.sha256() for name in kinds}
    table = open_parquet(path) if path.suffix.lower() == ".parquet" else open_root(path, tree)
    for chunk in table.chunks(list(kinds), _CHECKED_ROWS):
        for name, kind in kinds.items():
            values = chunk.columns[name]
            assert not isinstance(values, Jagged)
            found[name].update(np.ascontiguousarray(values, dtype=kind).tobytes())
    for name, digest in digests.items():
        if found[name].digest() != digest.digest():
            raise VerificationError(f"column '{name}' reads back differently", kind="verify.read_back")
