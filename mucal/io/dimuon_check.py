"""What a run would find in its inputs, without running it: columns, near names, head statistics, problems."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.io.correlated_selection import correlated_selections
from mucal.io.csv_events import CsvEvents
from mucal.io.dimuon_input import IDS, DimuonInput
from mucal.io.dimuon_source import BAD, DimuonSource
from mucal.io.event_files import (
    MissingColumn,
    check_distinct,
    check_kinds,
    missing_columns,
    missing_error,
    open_table,
    require_known_defaults,
)
from mucal.io.event_table import Chunk, Column, EventTable, Jagged
from mucal.io.file_head import HEAD_ROWS, Head, check_units, read_head
from mucal.io.runs import read_certified
from mucal.io.siblings import missing_siblings
from mucal.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Smallest, median and largest value of a quantity in the first rows of a file."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """One input file.

    path, format, tree, entries : where the events are; format is empty if the file could not be opened
    columns  : asked column -> its type in the file
    missing  : asked columns that the file lacks, with near names
    head     : quantity -> its range in the first rows: pt and mass in GeV, eta
    ledger   : what pairing makes of the first rows, with all selections
    problem  : the error that reading would raise, if any
    warnings : what is allowed but worth a look
    """

    path: Path
    format: str = ""
    tree: str = ""
    entries: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[MissingColumn, ...] = ()
    head: Mapping[str, Range] = field(default_factory=dict)
    ledger: Ledger | None = None
    problem: InputError | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All input files.

    files    : one entry a file, in order
    problems : errors that concern several files, as the same file given twice
    warnings : what concerns all files and is allowed, as files of a series that are not given
    """

    files: tuple[FileCheck, ...]
    problems: tuple[InputError, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file can be read."""
        return not self.problems and all(f.problem is None for f in self.files)

    def lines(self) -> list[str]:
        """The report as text, one finding a line."""
        lines = [f"problem  {error.what}" for error in self.problems]
        lines += [f"warning  {text}" for text in self.warnings]
        for f in self.files:
            lines += _file_lines(f)
        good = sum(f.problem is None for f in self.files)
        return [*lines, f"{good} of {len(self.files)} files can be read"]


def check_dimuons(files: str | Path | Sequence[str | Path], config: DimuonInput) -> CheckReport:
    """What `open_dimuons` with the same arguments would find, for every file rather than up to the first error.

    Raises ConfigError where the configuration itself is wrong.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    require_known_defaults(config)
    problems: list[InputError] = []
    try:
        check_distinct(paths)
    except InputError as error:
        problems.append(error)
    try:
        if config.certified is not None:
            read_certified(config.certified)
    except InputError as error:
        problems.append(error)
        config = replace(config, certified=None)
    return CheckReport(
        files=tuple(_check_file(path, config) for path in paths),
        problems=tuple(problems),
        warnings=(
            *missing_siblings([path for path in paths if path.parent.is_dir()]),
            *correlated_selections(config),
        ),
    )


def _check_file(path: Path, config: DimuonInput) -> FileCheck:
    try:
        table = open_table(path, config)
    except InputError as error:
        return FileCheck(path=path, problem=error)
    found = FileCheck(
        path=path,
        format=table.format,
        tree=table.tree,
        entries=table.entries,
        columns={name: table.columns[name].type for name in config.asked() if name in table.columns},
        missing=missing_columns(table, config),
        warnings=_warnings(table, config),
    )
    if found.missing:
        return replace(found, problem=missing_error(table, found.missing))
    try:
        check_kinds(table, config)
        found = replace(found, head=_ranges(read_head(table, config)))
        check_units(table, config)
    except InputError as error:
        return replace(found, problem=error)
    return _paired(found, table, config)


def _paired(found: FileCheck, table: EventTable, config: DimuonInput) -> FileCheck:
    """The finding with what a run over the first rows alone would count and refuse: bad events, repeated pairs."""
    source = DimuonSource([_FirstRows(table, config)], config, Ledger(unit="files", read=1, used=1), ())
    problem = None
    try:
        for _ in source:
            pass
    except InputError as error:
        problem = error
    ledger = source.ledger
    bad = {reason: n for reason, n in ledger.rejected.items() if reason.startswith(BAD) or reason == "charge"}
    told = [
        f"{n} of the first {ledger.read} {ledger.unit} are bad: {reason}, as {ledger.examples[reason][0]}"
        for reason, n in bad.items()
    ]
    return replace(found, ledger=ledger, problem=problem, warnings=(*found.warnings, *told))


class _FirstRows:
    """The first rows of a table (an `EventTable`), cut between events."""

    def __init__(self, table: EventTable, config: DimuonInput) -> None:
        self.table = table
        self.config = config
        self.path: Path = table.path
        self.format: str = table.format
        self.tree: str = table.tree
        self.entries: int = min(table.entries, HEAD_ROWS)
        self.columns: Mapping[str, Column] = table.columns

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The first chunk of the named columns."""
        for chunk in self.table.chunks(names, min(rows, HEAD_ROWS)):
            yield self._whole_events(chunk) if chunk.rows < self.table.entries else chunk
            return

    def _whole_events(self, chunk: Chunk) -> Chunk:
        """Without the rows of the last event, which may go on behind the head."""
        if self.config.layout != "rows":
            return chunk
        ids = [c for key, c in self.config.columns.event_names().items() if key in IDS and c in chunk.columns]
        last = np.ones(chunk.rows, dtype=bool)
        for name in ids:
            values = _flat(chunk, name)
            last &= values == values[-1]
        cut = int(np.flatnonzero(~last)[-1]) + 1 if ids and not last.all() else chunk.rows - chunk.rows % 2
        columns = {name: _flat(chunk, name)[:cut] for name in chunk.columns}
        return Chunk(start=chunk.start, rows=cut, columns=columns)


def _flat(chunk: Chunk, name: str) -> np.ndarray:
    values = chunk.columns[name]
    assert not isinstance(values, Jagged)  # the kinds were checked
    return values


def _ranges(head: Head) -> dict[str, Range]:
    def of(values: FloatArray) -> Range:
        return Range(low=float(values.min()), median=float(np.median(values)), high=float(values.max()))

    named = {"pt": head.pt, "eta": head.eta, "mass": head.mass, "mass column": head.file_mass}
    return {name: of(values) for name, values in named.items() if values.size}


def _warnings(table: EventTable, config: DimuonInput) -> tuple[str, ...]:
    warnings = []
    if table.entries == 0:
        warnings.append("holds no rows")
    if isinstance(table, CsvEvents) and not table.whole_line:
        warnings.append("the last line has no line end: the file may have been cut")
    if config.columns.event is None:
        warnings.append("columns names no event number: the same pair twice is not noticed")
    warnings += [
        f"'{name}' is missing: its default {config.defaults[name]:g} is used"
        for name in config.asked()
        if name not in table.columns and name in config.defaults
    ]
    return tuple(warnings)


def _file_lines(f: FileCheck) -> list[str]:
    where = f"{f.format} {f.tree}".strip()
    lines = [f"{f.path}  {where}  {f.entries:,} rows".replace(",", " ") if f.format else str(f.path)]
    if f.columns:
        lines.append("  columns  " + ", ".join(f"{name} ({kind})" for name, kind in f.columns.items()))
    lines += [f"  missing  {m.column}   asked {m.asked}   near {', '.join(m.near) or 'nothing'}" for m in f.missing]
    lines += [f"  {name:<11}  {r.low:.4g} to {r.high:.4g}, median {r.median:.4g}" for name, r in f.head.items()]
    if f.ledger is not None:
        lines.append(f"  {'pairing':<11}  {f.ledger.line()}" + (" (first rows)" if f.entries > HEAD_ROWS else ""))
    lines += [f"  warning  {text}" for text in f.warnings]
    return [*lines, *([f"  problem  {f.problem.what}"] if f.problem else [])]
