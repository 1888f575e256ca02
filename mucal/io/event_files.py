"""Opening event files, and checking that each holds the columns that are asked for before anything is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mucal.errors import ConfigError, InputError, nearest
from mucal.io.csv_events import open_csv
from mucal.io.dimuon_input import IDS, DimuonInput, as_pair
from mucal.io.event_table import EventTable, place
from mucal.io.file_magic import check_length, identify
from mucal.io.hdf5_events import open_hdf5
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root
from mucal.store import sha256


def open_table(path: Path, config: DimuonInput) -> EventTable:
    """The event table of a file, whatever its format.

    Raises InputError if the file is missing, empty, foreign, truncated, damaged or unsafe, or lacks the tree.
    """
    found = identify(path, config.format)
    if found == "csv":
        return open_csv(path)
    check_length(path, found)
    if found == "root":
        return open_root(path, config.tree)
    if found == "parquet":
        return open_parquet(path)
    return open_hdf5(path, config.tree, list(config.asked()))


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingColumn:
    """A column that a file lacks: its name, who asked for it, and the names most like it."""

    column: str
    asked: str
    near: tuple[str, ...]


def missing_columns(table: EventTable, config: DimuonInput) -> tuple[MissingColumn, ...]:
    """The asked columns that a file lacks and that have no default."""
    return tuple(
        MissingColumn(column=name, asked=asked, near=tuple(nearest(name, table.columns)))
        for name, asked in config.asked().items()
        if name not in table.columns and name not in config.defaults
    )


def missing_error(table: EventTable, missing: Sequence[MissingColumn], files: int = 1, lacking: int = 1) -> InputError:
    """The error for a file without a required column."""
    first = missing[0]
    noun = {"root": "branch", "hdf5": "dataset"}.get(table.format, "column")
    others = f" (and {', '.join(repr(m.column) for m in missing[1:])})" if len(missing) > 1 else ""
    return InputError(
        f"{noun} '{first.column}'{others} is missing",
        kind="input.missing_branch",
        where={
            **place(table),
            "files": f"missing in {lacking} of {files} files" if files > 1 else "",
            "asked": first.asked,
            "near": ", ".join(first.near),
        },
        do=f"set {first.asked.split()[-1]} to a name of the file, or set "
        'on_bad_file = "skip" (the file will be listed in the ledger)',
    )


def check_kinds(table: EventTable, config: DimuonInput) -> None:
    """Every asked column is of a kind that the layout can use.

    Raises InputError that names the column, its type and what was expected.
    """
    asked = config.asked()
    muon_names = [name for names in config.columns.muon_names().values() for name in as_pair(names)]
    wanted = "jagged" if config.layout == "jagged" else "number"
    for name in muon_names:
        _expect(table, name, (wanted,), asked[name], config.layout, muon_names)
    for name in config.columns.event_names().values():
        _expect(table, name, ("number",), asked[name], config.layout, muon_names)
    for selection in config.selections():
        text = isinstance(selection.literal, str)
        kinds = ("text",) if text else ("number", "jagged") if config.layout == "jagged" else ("number",)
        _expect(table, selection.column, kinds, f"{config.places.get('select', '')} select", config.layout, [])
    _check_odd(table, config)


_MEANING = {"number": "one number a row", "jagged": "a list of numbers a row", "text": "text", "other": "another type"}


def _expect(
    table: EventTable, name: str, kinds: tuple[str, ...], asked: str, layout: str, beside: Sequence[str]
) -> None:
    column = table.columns.get(name)
    if column is None or column.kind in kinds:
        return
    other = next((n for n in beside if n != name and n in table.columns and table.columns[n].kind in kinds), None)
    contrast = f", while '{other}' is {_MEANING[table.columns[other].kind]}" if other else ""
    raise InputError(
        f"column '{name}' is {_MEANING[column.kind]} ({column.type}){contrast}; expected "
        f"{' or '.join(_MEANING[kind] for kind in kinds)}",
        kind="input.wrong_type",
        where={**place(table), "asked": asked.strip(), "layout": layout},
        do='set layout = "jagged" for lists of muons, "pair" for one row a pair, "rows" for one row a muon',
    )


def _check_odd(table: EventTable, config: DimuonInput) -> None:
    by_two = not any(key in IDS for key in config.columns.event_names())
    if config.layout == "rows" and by_two and table.entries % 2:
        raise InputError(
            f"{table.path.name} has {table.entries} rows, an odd number; two rows an event were asked for",
            kind="input.lengths_differ",
            where=place(table),
            do="name run, lumi and event in columns if events have other numbers of muons",
        )


def check_distinct(paths: Sequence[Path]) -> None:
    """No file is given twice: neither the same path, also through links, nor the same bytes under two names.

    Raises InputError that names both.  Only files of equal size are compared by digest.
    """
    by_target: dict[Path, Path] = {}
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        if not path.is_file():
            continue
        target = path.resolve()
        if target in by_target:
            _twice(by_target[target], path, "the same file is given twice")
        by_target[target] = path
        by_size.setdefault(path.stat().st_size, []).append(path)
    for same_size in by_size.values():
        by_digest: dict[str, Path] = {}
        for path in same_size if len(same_size) > 1 else ():
            digest = sha256(path)
            if digest in by_digest:
                _twice(by_digest[digest], path, "two files hold the same bytes")
            by_digest[digest] = path


def _twice(first: Path, second: Path, what: str) -> None:
    raise InputError(
        f"{what}: {first}" + ("" if first == second else f" and {second}"),
        kind="input.same_file",
        where={"file": first, "again": second},
        do="give each file once",
    )


def column_place(config: DimuonInput, key: str) -> str:
    """ "config.toml:14 columns.pt", or the key alone where its place is not known."""
    return f"{config.places.get(key, '')} {key}".strip()


def require_known_defaults(config: DimuonInput) -> None:
    """Every default is for a column that is asked for.  Raises ConfigError with the nearest name."""
    asked = config.asked()
    for name in config.defaults:
        if name not in asked:
            raise ConfigError(
                f"defaults names column '{name}', which nothing asks for",
                kind="config.unknown_key",
                where={"asked": column_place(config, "defaults"), "near": ", ".join(nearest(name, asked))},
                do="remove it or mend its name",
            )
