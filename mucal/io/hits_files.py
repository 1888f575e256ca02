"""Opening files of recorded tracks, and checking that each holds what is asked for before anything is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mucal.errors import InputError, MucalError, nearest
from mucal.io.event_table import EventTable, place
from mucal.io.file_head import HEAD_ROWS, PLAUSIBLE_PT
from mucal.io.file_magic import check_length, identify
from mucal.io.hits_columns import from_chunk, open_saved
from mucal.io.hits_input import LENGTHS, LISTS, MAY_LACK, RECORDED, TRUTH, HitsInput
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root
from mucal.store import is_result

PLAUSIBLE_SIGMA: Final = (1e-5, 1.0)
"""cm: the median error of a file's precise coordinates lies between."""


def holds_hits(table: EventTable, config: HitsInput | None = None) -> bool:
    """Whether a table has the columns of recorded tracks."""
    config = config or HitsInput()
    return not [key for key in lacking(table, config, RECORDED) if key not in MAY_LACK]


def names_hits(path: Path, config: HitsInput) -> bool:
    """Whether a file can be opened and has the columns of recorded tracks, as a configuration names them."""
    try:
        return holds_hits(_table(path, config), config)
    except MucalError:
        return False


def open_tracks(path: Path, config: HitsInput) -> EventTable:
    """The checked table of a file.

    Raises InputError if it is missing, foreign, truncated or damaged, lacks a column, or has other units.
    """
    table = _table(path, config)
    if not holds_hits(table, config):
        raise _missing(table, config, [key for key in lacking(table, config, RECORDED) if key not in MAY_LACK])
    for key in (*RECORDED, *(() if lacking(table, config, TRUTH) else TRUTH)):
        _check_kind(table, config, key)
    if table.entries:
        _check_units(table, config)
    return table


def _table(path: Path, config: HitsInput) -> EventTable:
    if path.is_file() and is_result(path):
        return open_saved(path)
    found = identify(path, config.format)
    if found not in ("root", "parquet"):
        raise InputError(
            f"{path.name} is {found.upper()}; tracks with hits are read from ROOT, Parquet, or a saved Hits",
            kind="input.foreign_file",
            where={"file": path},
            do="write lists of hits, one row a track, as docs/file_formats.md describes",
        )
    check_length(path, found)
    return open_root(path, config.tree) if found == "root" else open_parquet(path)


def lacking(table: EventTable, config: HitsInput, keys: Sequence[str]) -> list[str]:
    """Our names of the columns that a file lacks."""
    return [key for key in keys if not all(name in table.columns for name in config.names(key))]


def _missing(table: EventTable, config: HitsInput, keys: Sequence[str]) -> InputError:
    names = [name for key in keys for name in config.names(key) if name not in table.columns]
    others = f" (and {', '.join(repr(name) for name in names[1:])})" if len(names) > 1 else ""
    return InputError(
        f"{'branch' if table.format == 'root' else 'column'} '{names[0]}'{others} is missing",
        kind="input.missing_branch",
        where={
            **place(table), "asked": config.asked(keys[0]),
            "near": ", ".join(nearest(names[0], table.columns)) or f"none; there are {', '.join(table.columns)}",
        },
        do=f"set columns.{keys[0]} to a name of the file",
    )  # fmt: skip


def _check_kind(table: EventTable, config: HitsInput, key: str) -> None:
    names = config.names(key)
    wanted = "jagged" if key in LISTS or (key in LENGTHS and len(names) == 1) else "number"
    for name in names:
        column = table.columns.get(name)
        if column is not None and column.kind != wanted:
            raise InputError(
                f"column '{name}' is of type {column.type}; expected "
                + ("a list of numbers a track" if wanted == "jagged" else "one number a track"),
                kind="input.wrong_type",
                where={**place(table), "asked": config.asked(key)},
                do=f"write one column a component and name them in columns.{key}" if key in LENGTHS else "",
            )


def _check_units(table: EventTable, config: HitsInput) -> None:
    names = [name for key in RECORDED for name in config.names(key) if name in table.columns]
    head = from_chunk(table, config, next(iter(table.chunks(names, HEAD_ROWS))), truth=False)
    with np.errstate(all="ignore"):
        pt = np.abs(np.cos(head.seed[:, 1]) / head.seed[:, 0])
    for what, values, unit, (low, high) in (
        ("pT of the seeds", pt, "GeV", PLAUSIBLE_PT),
        ("sigma_u", head.sigma_u, "cm", PLAUSIBLE_SIGMA),
    ):
        good = values[np.isfinite(values)]
        median = float(np.median(good)) if good.size else None
        if median is not None and not low <= median <= high:
            raise InputError(
                f"the median {what} of the first {good.size} is {median:.4g}, implausible in {unit} "
                f"(expected {low:g} to {high:g})",
                kind="input.units",
                where=place(table),
                do="write q/p in 1/GeV and lengths in cm; nothing is rescaled on a guess",
            )


def notes_of(tables: Sequence[EventTable], config: HitsInput, skipped: Sequence[tuple[Path, InputError]]) -> list[str]:
    """What a user should know: skipped files, and columns that files lack."""
    notes = [f"skipped {path}: {error.what}" for path, error in skipped]
    for table in tables:
        notes += [
            f"{table.path.name} lacks '{key}': {MAY_LACK[key]}" for key in lacking(table, config, tuple(MAY_LACK))
        ]
    return notes
