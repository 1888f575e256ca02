"""Dimuons from files: everything is checked when they are opened, then they come in chunks of bounded size."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import IntArray
from mucal.errors import InputError
from mucal.io.correlated_selection import correlated_selections
from mucal.io.csv_events import CsvEvents
from mucal.io.dimuon_input import DimuonInput
from mucal.io.duplicates import DuplicateSpool, Repeats, refuse_repeats
from mucal.io.event_files import (
    check_distinct,
    check_kinds,
    missing_columns,
    missing_error,
    open_table,
    require_known_defaults,
)
from mucal.io.event_table import EventTable, file_ledger
from mucal.io.file_head import check_units
from mucal.io.muon_lists import MuonLists, muon_lists
from mucal.io.pairing import Pairs, make_pairs
from mucal.io.runs import era_of, read_certified, refuse_no_era
from mucal.io.siblings import missing_siblings
from mucal.ledger import EXAMPLES_KEPT, Ledger
from mucal.store import sha256
from mucal.track import Dimuons

BAD: Final = ("nonfinite:", "range:")
"""Reasons that begin so mean that the numbers are bad; so does `charge`."""


class DimuonSource:
    """Dimuons of one or more files, in chunks; made by `open_dimuons`.

    Iterating gives `Dimuons` of at most about `chunk_rows` pairs and starts anew each time.  While it runs, `ledger`
    holds the counts so far; read = used + rejected, always.  At the end it raises InputError if more than
    `max_bad_fraction` of the events were bad, if pairs came twice (`duplicates`), or if a run belongs to no era.

    files       : the opened tables: path, format, tree, entries, columns
    entries     : rows in all
    file_ledger : files read, used, and skipped by reason
    notes       : what a user should know, as that duplicates cannot be looked for
    """

    def __init__(
        self, files: Sequence[EventTable], config: DimuonInput, file_ledger: Ledger, notes: Sequence[str]
    ) -> None:
        self.files = tuple(files)
        self.config = config
        self.file_ledger = file_ledger
        self.notes = tuple(notes)
        self.entries = sum(table.entries for table in files)
        self._unit = "pairs" if config.layout == "pair" else "events"
        self._ledger = Ledger(unit=self._unit)
        self._eras = dict.fromkeys(config.eras, Ledger(unit=self._unit))
        self._certified = None if config.certified is None else read_certified(config.certified)

    @property
    def era_ledgers(self) -> Mapping[str, Ledger]:
        """Era -> its counts, of the iteration that runs or ran last."""
        return self._eras

    @property
    def ledger(self) -> Ledger:
        """Counts of the iteration that runs or ran last."""
        return self._ledger

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """File as the user named it -> SHA-256, the list of certified sections among them; made when first asked."""
        paths = [str(table.path) for table in self.files]
        paths += [] if self.config.certified is None else [str(self.config.certified)]
        return {path: sha256(path) for path in paths}

    def read(self) -> Dimuons:
        """All pairs at once."""
        return Dimuons.concatenate(list(self))

    def __iter__(self) -> Iterator[Dimuons]:
        if self.config.duplicates == "first" and self._has_ids:
            with DuplicateSpool(one_per_event=self.config.layout != "pair") as spool:
                for _ in self._stream(spool, None):
                    pass
                repeats = spool.finish()
            yield from self._stream(None, repeats)
        elif self._has_ids:
            with DuplicateSpool(one_per_event=self.config.layout != "pair") as spool:
                yield from self._stream(spool, None)
                refuse_repeats(
                    spool.finish(), self.files, f"{self._ledger.used} pairs",
                    do='remove the repeated files or rows, or set duplicates = "first" to keep the first of each',
                )  # fmt: skip
        else:
            yield from self._stream(None, None)
        self._refuse_bad()

    @property
    def _has_ids(self) -> bool:
        return self.config.columns.event is not None

    def _stream(self, spool: DuplicateSpool | None, repeats: Repeats | None) -> Iterator[Dimuons]:
        self._ledger = Ledger(unit=self._unit)
        self._eras = dict.fromkeys(self.config.eras, self._ledger)
        offset = 0
        for table in self.files:
            for lists in muon_lists(table, self.config, self.config.chunk_rows):
                pairs = make_pairs(lists, self.config, self._certified)
                sequence = offset + lists.entry[pairs.kept]
                if repeats is not None:
                    pairs, sequence = _without_repeats(pairs, sequence, repeats)
                dimuons = pairs.dimuons if self._has_ids else replace(pairs.dimuons, event=sequence)
                if spool is not None:
                    spool.add(dimuons, sequence)
                total = self._ledger + _chunk_ledger(table, lists, pairs, self._unit)
                self._ledger = _in_order(total, pairs.reasons)
                self._count_eras(lists, pairs)
                yield dimuons
            offset += table.entries

    def _count_eras(self, lists: MuonLists, pairs: Pairs) -> None:
        if not self.config.eras:
            return
        era = era_of(lists.ids["run"], self.config.eras)
        for i, name in enumerate(self.config.eras):
            counts = np.bincount(pairs.reason[era == i], minlength=len(pairs.reasons))
            rejected = {reason: int(n) for reason, n in zip(pairs.reasons[1:], counts[1:], strict=True) if n}
            found = Ledger(unit=self._unit, read=int(counts.sum()), used=int(counts[0]), rejected=rejected)
            self._eras[name] = _in_order(self._eras[name] + found, pairs.reasons)

    def _refuse_bad(self) -> None:
        refuse_no_era(self._ledger, self.config.eras)
        bad = {r: n for r, n in self._ledger.rejected.items() if r.startswith(BAD) or r == "charge"}
        count, limit = sum(bad.values()), self.config.max_bad_fraction
        if count > limit * self._ledger.read:
            raise InputError(
                f"{count} of {self._ledger.read} {self._unit} are bad, more than {limit:.3g}: "
                + ", ".join(f"{reason} {n}" for reason, n in bad.items()),
                kind="input.bad_fraction",
                where={reason: "; ".join(self._ledger.examples[reason]) for reason in bad},
                do="mend the input or select the good events; max_bad_fraction sets the limit",
            )


def open_dimuons(files: str | Path | Sequence[str | Path], config: DimuonInput) -> DimuonSource:
    """Dimuons of `files`, each checked before the first is read.

    Checked are: existence, format, length, the same file twice, the tree, every column by name and kind, and the
    medians of pT and mass (a unit other than GeV is refused, never rescaled).

    files  : one path or several; ROOT, Parquet, CSV, CSV.gz or HDF5
    config : the column map and the selections

    At most one pair an event is made where events are lists of muons: the highest-pT mu+ with the highest-pT mu-,
    never chosen by mass (`mucal.io.pairing`).  Raises InputError that names file, column and remedy; with
    on_bad_file = "skip" such files are left out and counted in `file_ledger`.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    if not paths:
        raise InputError("no input file is given", kind="input.missing_file", do="name at least one file")
    require_known_defaults(config)
    check_distinct(paths)
    skipped: list[tuple[Path, InputError]] = []
    tables: list[EventTable] = []
    for path in paths:
        with _skipping(path, config, skipped):
            tables.append(open_table(path, config))
    good = []
    for table in _with_columns(tables, config, skipped, len(paths)):
        with _skipping(table.path, config, skipped):
            check_kinds(table, config)
            check_units(table, config)
            good.append(table)
    return DimuonSource(good, config, file_ledger(len(paths), skipped), _notes(good, config, skipped))


@contextmanager
def _skipping(path: Path, config: DimuonInput, skipped: list[tuple[Path, InputError]]) -> Iterator[None]:
    """Note an unusable file instead of failing, if the user asked for that."""
    try:
        yield
    except InputError as error:
        if config.on_bad_file == "fail":
            raise
        skipped.append((path, error))


def _with_columns(
    tables: Sequence[EventTable], config: DimuonInput, skipped: list[tuple[Path, InputError]], files: int
) -> list[EventTable]:
    """The tables that have every asked column; the error for one that lacks some says how many files do."""
    missing = [(table, found) for table in tables if (found := missing_columns(table, config))]
    for table, found in missing:
        with _skipping(table.path, config, skipped):
            raise missing_error(table, found, files, len(missing))
    lacking = [table for table, _ in missing]
    return [table for table in tables if table not in lacking]


def _notes(tables: Sequence[EventTable], config: DimuonInput, skipped: Sequence[tuple[Path, InputError]]) -> list[str]:
    notes = [f"skipped {path}: {error.what}" for path, error in skipped]
    notes += missing_siblings([*(table.path for table in tables), *(path for path, _ in skipped)])
    notes += correlated_selections(config)
    if config.columns.event is None:
        notes.append("columns names no event number: the same pair twice is not noticed")
    for table in tables:
        filled = [name for name in config.asked() if name not in table.columns]
        notes += [f"{table.path.name} lacks '{name}': {config.defaults[name]:g} is used" for name in filled]
        if isinstance(table, CsvEvents) and not table.whole_line:
            notes.append(f"the last line of {table.path.name} has no line end: the file may have been cut")
    return notes


def _without_repeats(pairs: Pairs, sequence: IntArray, repeats: Repeats) -> tuple[Pairs, IntArray]:
    again = np.isin(sequence, repeats.sequence)
    reason = pairs.reason.copy()
    reason[pairs.kept[again]] = len(pairs.reasons)
    cleaned = Pairs(
        dimuons=pairs.dimuons.select(~again),
        kept=pairs.kept[~again],
        reason=reason,
        reasons=(*pairs.reasons, "duplicate"),
    )
    return cleaned, sequence[~again]


def _chunk_ledger(table: EventTable, lists: MuonLists, pairs: Pairs, unit: str) -> Ledger:
    counts = np.bincount(pairs.reason, minlength=len(pairs.reasons))
    rejected = {name: int(counts[i]) for i, name in enumerate(pairs.reasons) if i and counts[i]}
    examples = {
        name: tuple(
            _example(table, lists, int(i))
            for i in np.flatnonzero(pairs.reason == pairs.reasons.index(name))[:EXAMPLES_KEPT]
        )
        for name in rejected
    }
    return Ledger(unit=unit, read=len(lists), used=int(counts[0]), rejected=rejected, examples=examples)


def _in_order(ledger: Ledger, reasons: Sequence[str]) -> Ledger:
    """The same counts in the order in which reasons apply, wherever the chunks were cut."""
    names = [name for name in reasons if name in ledger.rejected]
    names += [name for name in ledger.rejected if name not in names]
    return replace(ledger, rejected={name: ledger.rejected[name] for name in names})


def _example(table: EventTable, lists: MuonLists, i: int) -> str:
    where = f"{table.path} entry {lists.entry[i]}"
    if "event" not in lists.ids:
        return where
    ids = [str(int(lists.ids[key][i])) for key in ("run", "lumi", "event") if key in lists.ids]
    return f"{where} ({':'.join(ids)})"
