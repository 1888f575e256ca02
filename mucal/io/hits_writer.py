"""Recorded tracks to Parquet, ROOT or HDF5: streamed, verified by reading back, and renamed into place."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from mucal.errors import ConfigError, VerificationError
from mucal.io.event_table import Jagged
from mucal.io.hits_columns import Columns, no_hits, to_columns
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root
from mucal.store import replace_file
from mucal.track.hits import Hits

_CHECKED_ROWS: Final = 20_000


def write_hits(path: str | Path, hits: Hits | Iterable[Hits], *, tree: str = "Events", overwrite: bool = False) -> Path:
    """Write tracks to a .parquet (zstd, page checksums), .root (TTree) or .h5 (a saved `Hits`) file.

    hits : all tracks, or chunks of them; never more than one chunk is held, except for .h5, which holds all.  Chunks
           either all have their truth or none; one chunk becomes one row group
    tree : name of the TTree

    The file is read back and compared column by column before it gets its name.  Raises ConfigError for another
    suffix, ValueError if only some chunks have their truth, FileExistsError unless `overwrite`, ResourceError if the
    disk is full.
    """
    suffix = Path(path).suffix.lower()
    chunks = iter([hits] if isinstance(hits, Hits) else hits)
    first = next(chunks, None)
    if suffix == ".h5":
        parts = [*([] if first is None else [first]), *chunks]
        return (Hits.concatenate(parts) if parts else no_hits(truth=False)).save(path, overwrite=overwrite)
    if suffix not in (".parquet", ".root"):
        raise ConfigError(
            f"tracks are written to .parquet, .root or .h5, not '{suffix}'", kind="config.suffix", where={"file": path}
        )
    first = no_hits(truth=False) if first is None else first
    kinds = to_columns(first.select(slice(0)))
    digests = {name: _Digest() for name in kinds}

    def rows() -> Iterator[Columns]:
        """The chunks as columns, checked against the first, digested and counted."""
        for chunk in _chained(first, chunks):
            columns = to_columns(chunk)
            if columns.keys() != kinds.keys():
                raise ValueError("some chunks of hits have their truth and some have not; give it to all or none")
            for name, values in columns.items():
                digests[name].add(values, kinds[name])
            yield columns

    write = _write_parquet if suffix == ".parquet" else _write_root
    return replace_file(
        path,
        lambda temporary: write(temporary, kinds, rows(), tree),
        check=lambda temporary: _compare(temporary, kinds, digests, tree),
        overwrite=overwrite,
    )


def _chained(first: Hits, others: Iterator[Hits]) -> Iterator[Hits]:
    yield first
    yield from others


def _content(values: np.ndarray | Jagged) -> np.ndarray:
    return values.content if isinstance(values, Jagged) else values


def _dtype(values: np.ndarray | Jagged) -> np.dtype:
    return _content(values).dtype


def _write_parquet(path: Path, kinds: Columns, rows: Iterator[Columns], tree: str) -> None:
    def kind(values: np.ndarray | Jagged) -> pa.DataType:
        number = pa.from_numpy_dtype(_dtype(values))
        return pa.list_(number) if isinstance(values, Jagged) else number

    schema = pa.schema([(name, kind(values)) for name, values in kinds.items()])
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, write_page_checksum=True, use_dictionary=_REPEATED
    ) as writer:
        for columns in rows:
            arrays = [_arrow(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


# the stubs of pyarrow know neither a list of columns here nor offsets of 32 bits below: both are Any
_REPEATED: Final[Any] = ["run", "lumi", "charge", "module_id", "sigma_u", "sigma_v", "gen_parent"]


def _arrow(values: np.ndarray | Jagged, kind: pa.DataType) -> Any:
    if not isinstance(values, Jagged):
        return pa.array(values, type=kind)
    offsets: Any = pa.array(values.offsets.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values.content), type=kind)


def _write_root(path: Path, kinds: Columns, rows: Iterator[Columns], tree: str) -> None:
    types = {
        name: f"var * {_dtype(values)}" if isinstance(values, Jagged) else _dtype(values)
        for name, values in kinds.items()
    }
    with uproot.recreate(path) as file:
        written = file.mktree(tree, types)
        for columns in rows:
            if len(_content(columns["run"])):
                written.extend({name: _awkward(values) for name, values in columns.items()})


def _awkward(values: np.ndarray | Jagged) -> Any:
    if not isinstance(values, Jagged):
        return values
    return ak.Array(
        ak.contents.ListOffsetArray(ak.index.Index64(values.offsets), ak.contents.NumpyArray(values.content))
    )


class _Digest:
    """Of a column, whatever the chunks it comes in."""

    def __init__(self) -> None:
        self.counts, self.content = hashlib.sha256(), hashlib.sha256()

    def add(self, values: np.ndarray | Jagged, kind: np.ndarray | Jagged) -> None:
        dtype = _dtype(kind)
        if isinstance(values, Jagged):
            self.counts.update(np.ascontiguousarray(np.diff(values.offsets), dtype=np.int64).tobytes())
            values = values.content
        self.content.update(np.ascontiguousarray(values, dtype=dtype).tobytes())

    def same(self, other: "_Digest") -> bool:
        return (self.counts.digest(), self.content.digest()) == (other.counts.digest(), other.content.digest())


def _compare(path: Path, kinds: Columns, digests: dict[str, _Digest], tree: str) -> None:
    found = {name: _Digest() for name in kinds}
    table = open_parquet(path) if path.suffix.lower() == ".parquet" else open_root(path, tree)
    for chunk in table.chunks(list(kinds), _CHECKED_ROWS):
        for name, kind in kinds.items():
            found[name].add(chunk.columns[name], kind)
    for name, digest in digests.items():
        if not found[name].same(digest):
            raise VerificationError(f"column '{name}' reads back differently", kind="verify.read_back")
