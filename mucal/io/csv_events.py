"""Events in a CSV file, plain or gzipped, one header line and commas; never more than a block of it in memory."""

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.csv as pc

from mucal.errors import InputError
from mucal.io.event_table import Chunk, Column, first_line, unreadable
from mucal.io.file_magic import GZIP
from mucal.io.parquet_events import arrow_values

BLOCK: Final = 2**20
"""Bytes parsed at a time; a line longer than this is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvEvents:
    """The table of one CSV file (an `EventTable`).

    columns     : number or text, by the first data line
    header_line : number of the line with the names; blank lines may stand before it
    whole_line  : whether the last line has its line end; without it the file may have been cut
    """

    path: Path
    entries: int
    columns: Mapping[str, Column]
    header_line: int
    whole_line: bool
    tree: str = field(default="", init=False)
    format: str = field(default="csv", init=False)

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, at most `rows` lines at a time; numbers as float64, or int64 where all of it is whole."""
        start = 0
        try:
            with _text(self.path) as stream:
                reader = pc.open_csv(
                    stream,
                    read_options=pc.ReadOptions(block_size=BLOCK, use_threads=False, column_names=list(self.columns),
                                                skip_rows=self.header_line),
                    convert_options=pc.ConvertOptions(
                        column_types={n: _arrow_type(self.columns[n]) for n in names}, include_columns=list(names)
                    ),
                )  # fmt: skip
                for batch in reader:
                    for first in range(0, batch.num_rows, rows):
                        piece = batch.slice(first, rows)
                        columns = {name: arrow_values(piece.column(name)) for name in names}
                        yield Chunk(start=start, rows=piece.num_rows, columns=columns)
                        start += piece.num_rows
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self, error, start) from error
        if start != self.entries:
            raise unreadable(self, ValueError(f"{start} of {self.entries} lines came"), start)


def open_csv(path: Path) -> CsvEvents:
    """The table of a CSV file, its lines counted (and its compression checked to the last byte).

    Raises InputError for a truncated gzip stream, a header without names, repeated names or no data.
    """
    scan = _scan(path)
    header = scan.lines[0]
    names = [name.strip().strip('"') for name in header.split(",")]
    repeated = sorted({name for name in names if names.count(name) > 1 or not name})
    if repeated or len(names) < 2:
        raise InputError(
            f"the header of {path.name} names column {repeated[0]!r} twice or not at all"
            if repeated
            else f"the first line of {path.name} is no comma-separated header: {header[:60]!r}",
            kind="input.csv_header",
            where={"file": path, "line": 1},
        )
    values = scan.lines[1].split(",") if len(scan.lines) > 1 else []
    columns = {
        name: _column(values[i] if i < len(values) else "") for i, name in enumerate(names)
    }  # a short first line is refused by the parser
    return CsvEvents(
        path=path, entries=scan.count - 1, columns=columns, header_line=scan.header_line, whole_line=scan.whole_line
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """The first two lines, how many there are, the number of the first, and whether the last is ended; none blank."""

    lines: tuple[str, ...]
    count: int
    header_line: int
    whole_line: bool


def _scan(path: Path) -> _Scan:
    head: list[str] = []
    header_line, count, ended, size = 0, 0, True, 0
    try:
        with _text(path) as file:
            while line := file.readline(BLOCK):
                size += len(line)
                ended = line.endswith((b"\n", b"\r"))
                if len(line) == BLOCK and not ended:
                    raise InputError(
                        f"a line of {path.name} is longer than {BLOCK} bytes",
                        kind="input.csv_line",
                        where={"file": path, "line": count + 1},
                    )
                header_line += not count
                if line.strip():
                    count += 1
                    if len(head) < 2:
                        head.append(line.decode("utf-8-sig").strip())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path.name} is truncated or damaged: {path.stat().st_size} bytes, of which {size} bytes of text came out",
            kind="input.truncated",
            where={"file": path},
            do='copy the file again from its source, or set on_bad_file = "skip" (it will be listed in the ledger)',
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not text: {first_line(error)}", kind="input.foreign_file", where={"file": path}
        ) from error
    if not count:
        raise InputError(f"{path.name} is empty", kind="input.empty_file", where={"file": path})
    return _Scan(lines=tuple(head), count=count, header_line=header_line, whole_line=ended)


def _text(path: Path) -> IO[bytes]:
    with open(path, "rb") as file:
        compressed = file.read(2) == GZIP
    return cast(IO[bytes], gzip.open(path)) if compressed else open(path, "rb")


def _column(value: str) -> Column:
    text = value.strip()
    if not text:
        return Column(kind="number", type="float64")
    try:
        int(text)
        return Column(kind="number", type="int64")
    except ValueError:
        pass
    try:
        float(text)
        return Column(kind="number", type="float64")
    except ValueError:
        return Column(kind="text", type="string")


def _arrow_type(column: Column) -> pa.DataType:
    return pa.string() if column.kind == "text" else pa.float64()
