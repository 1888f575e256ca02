"""A table of events in a file, whatever its format: named columns, read in chunks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from mucal.arrays import IntArray
from mucal.errors import InputError
from mucal.ledger import Ledger

Kind = Literal["number", "text", "jagged", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the file declares it: what kind it is, and the type in the file's words."""

    kind: Kind
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Jagged:
    """Lists of numbers, one list a row: those of row i are ``content[offsets[i]:offsets[i + 1]]``."""

    offsets: IntArray
    content: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive rows: the number of the first one, how many, and their columns."""

    start: int
    rows: int
    columns: Mapping[str, np.ndarray | Jagged]


class EventTable(Protocol):
    """One file's table, opened and checked.

    path, format, tree : where it is
    entries            : number of rows
    columns            : name -> column
    """

    @property
    def path(self) -> Path: ...
    @property
    def format(self) -> str: ...
    @property
    def tree(self) -> str: ...
    @property
    def entries(self) -> int: ...
    @property
    def columns(self) -> Mapping[str, Column]: ...

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, at most `rows` rows at a time, in order."""
        ...


def place(table: EventTable, entry: int | None = None) -> dict[str, object]:
    """Where an error is: the file, its tree and, if known, the row."""
    return {"file": table.path, "tree": table.tree, "entry": "" if entry is None else entry}


def unreadable(table: EventTable, error: Exception, entry: int) -> InputError:
    """The error for a file whose data cannot be read from row `entry` on."""
    return InputError(
        f"{table.path.name} cannot be read from row {entry} on: {first_line(error)}",
        kind="input.damaged",
        where=place(table, entry),
        do="copy the file again from its source, or leave it out",
    )


def first_line(error: Exception) -> str:
    """The first line of a library's message, at most 200 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def file_ledger(files: int, skipped: Sequence[tuple[Path, InputError]]) -> Ledger:
    """Files read, used and skipped by reason.  Raises InputError if all were skipped."""
    if len(skipped) == files:
        raise InputError(
            f"none of the {files} files can be read; the first: {skipped[0][1].what}",
            kind="input.no_files",
            where={"file": skipped[0][0]},
        )
    rejected: dict[str, int] = {}
    examples: dict[str, tuple[str, ...]] = {}
    for path, error in skipped:
        reason = error.kind.removeprefix("input.")
        rejected[reason] = rejected.get(reason, 0) + 1
        examples[reason] = (*examples.get(reason, ()), f"{path}: {error.what}")
    return Ledger(unit="files", read=files, used=files - len(skipped), rejected=rejected, examples=examples)
