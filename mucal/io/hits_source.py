"""Recorded tracks from files: everything is checked when they are opened, then they come in chunks of bounded size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mucal.arrays import IntArray
from mucal.detector import Detector
from mucal.errors import InputError
from mucal.io.duplicates import DuplicateSpool, refuse_repeats
from mucal.io.event_files import check_distinct
from mucal.io.event_table import Chunk, EventTable, Jagged, file_ledger
from mucal.io.hits_columns import from_chunk, no_hits
from mucal.io.hits_files import lacking, notes_of, open_tracks
from mucal.io.hits_input import RECORDED, TRUTH, HitsInput
from mucal.io.hits_rows import judge
from mucal.ledger import EXAMPLES_KEPT, Ledger
from mucal.numerics import uniform
from mucal.store import sha256
from mucal.track import Dimuons
from mucal.track.hits import Hits


class HitsSource:
    """Tracks of one or more files, in chunks; made by `open_hits`.

    Iterating gives `Hits` of at most about `chunk_rows` tracks and starts anew each time; rows of a pair that stand
    together stay together.  While it runs, `ledger` holds the counts so far.  At the end it raises InputError if more
    than `max_bad_fraction` of the tracks were bad, or if tracks came twice.

    files       : the opened tables: path, format, tree, entries, columns
    entries     : tracks in all
    has_truth   : whether every file says what was generated
    file_ledger : files read, used, and skipped by reason
    notes       : what a user should know, as the columns that files lack
    """

    def __init__(
        self, files: Sequence[EventTable], config: HitsInput, detector: Detector | None, file_ledger: Ledger,
        notes: Sequence[str],
    ) -> None:  # fmt: skip
        self.files = tuple(files)
        self.config = config
        self.detector = detector
        self.file_ledger = file_ledger
        self.notes = tuple(notes)
        self.entries = sum(table.entries for table in files)
        self.has_truth = config.truth and all(not lacking(table, config, TRUTH) for table in files)
        self._ledger = Ledger(unit="tracks")

    @property
    def ledger(self) -> Ledger:
        """Counts of the iteration that runs or ran last."""
        return self._ledger

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """File as the user named it -> SHA-256.  Computed when first asked for."""
        return {str(table.path): sha256(table.path) for table in self.files}

    def read(self) -> Hits:
        """All tracks at once."""
        parts = list(self)
        return Hits.concatenate(parts) if parts else no_hits(truth=self.has_truth)

    def __iter__(self) -> Iterator[Hits]:
        if self.config.duplicates == "ignore":
            yield from self._stream(None)
        else:
            with DuplicateSpool(one_per_event=True) as spool:
                yield from self._stream(spool)
                refuse_repeats(
                    spool.finish(), self.files, f"{self._ledger.read} tracks",
                    do='remove the repeated files or rows; duplicates = "ignore" does not look for them',
                )  # fmt: skip
        self._refuse_bad()

    def _stream(self, spool: DuplicateSpool | None) -> Iterator[Hits]:
        self._ledger = Ledger(unit="tracks")
        offset = 0
        for table in self.files:
            for chunk in _whole_pairs(table.chunks(self._names(table), self.config.chunk_rows), self.config):
                found = from_chunk(table, self.config, chunk, truth=self.has_truth)
                rows = offset + chunk.start + np.arange(chunk.rows)
                if spool is not None:
                    spool.add(_identities(found), rows)
                reasons, reason = judge(found, self.detector)
                self._ledger = _in_order(self._ledger + _ledger_of(table, found, chunk.start, reasons, reason), reasons)
                if len(self.files) > 1:
                    found = replace(found, pair=_first_of_pair(found.pair, rows))
                yield found.select(reason < 0)
            offset += table.entries

    def _names(self, table: EventTable) -> list[str]:
        keys = (*RECORDED, *(TRUTH if self.has_truth else ()))
        return [name for key in keys for name in self.config.names(key) if name in table.columns]

    def _refuse_bad(self) -> None:
        count, read = self._ledger.read - self._ledger.used, self._ledger.read
        if count > self.config.max_bad_fraction * read:
            raise InputError(
                f"{count} of {read} tracks are bad, more than {self.config.max_bad_fraction:.3g}: "
                + ", ".join(f"{reason} {n}" for reason, n in self._ledger.rejected.items()),
                kind="input.bad_fraction",
                where={reason: "; ".join(self._ledger.examples[reason]) for reason in self._ledger.rejected},
                do="mend the input, or name the detector that it was recorded with; max_bad_fraction sets the limit",
            )


def open_hits(
    files: str | Path | Sequence[str | Path], config: HitsInput | None = None, *, detector: Detector | None = None
) -> HitsSource:
    """Recorded tracks of `files`, each checked before the first is read.

    Checked are: existence, format, length, the same file twice, the tree, every column by name and kind, and the
    medians of pT and of the errors (other units are refused, never rescaled).

    files    : one path or several; ROOT, Parquet, or a `Hits` saved as .h5
    config   : `HitsInput`
    detector : whose modules the hits lie on; with it unknown modules, hits off their module and hits out of order are
               rejected too

    With several files `pair` is renumbered, since each file counts by itself.  Raises InputError that names file,
    column and remedy; with on_bad_file = "skip" such files are left out and counted in `file_ledger`.
    """
    config = config or HitsInput()
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    if not paths:
        raise InputError("no input file is given", kind="input.missing_file", do="name at least one file")
    check_distinct(paths)
    tables, skipped = [], []
    for path in paths:
        try:
            tables.append(open_tracks(path, config))
        except InputError as error:
            if config.on_bad_file == "fail":
                raise
            skipped.append((path, error))
    return HitsSource(tables, config, detector, file_ledger(len(paths), skipped), notes_of(tables, config, skipped))


def read_hits(
    files: str | Path | Sequence[str | Path], config: HitsInput | None = None, *, detector: Detector | None = None
) -> Hits:
    """All good tracks of `files` at once; arguments and exceptions as for `open_hits`."""
    return open_hits(files, config, detector=detector).read()


def stream_hits(
    files: str | Path | Sequence[str | Path], chunk_size: int, config: HitsInput | None = None, *,
    detector: Detector | None = None,
) -> Iterator[Hits]:  # fmt: skip
    """The good tracks of `files`, about `chunk_size` rows of a file at a time; else as `open_hits`."""
    config = replace(config or HitsInput(), chunk_rows=chunk_size)
    return iter(open_hits(files, config, detector=detector))


# ------------------------------------------------------------------------------------------------ rows


def _whole_pairs(chunks: Iterator[Chunk], config: HitsInput) -> Iterator[Chunk]:
    """The same rows cut so that neighbouring rows of one pair stay together."""
    name = config.names("pair")[0]
    held: Chunk | None = None
    for chunk in chunks:
        joined = chunk if held is None else _joined(held, chunk)
        pair = joined.columns.get(name)
        cut = joined.rows
        if isinstance(pair, np.ndarray) and pair.size and pair[-1] >= 0:
            while cut > 0 and joined.rows - cut < 2 and pair[cut - 1] == pair[-1]:
                cut -= 1
        held = _part(joined, cut, joined.rows)
        if cut:
            yield _part(joined, 0, cut)
    if held is not None and held.rows:
        yield held


def _joined(first: Chunk, second: Chunk) -> Chunk:
    columns: dict[str, np.ndarray | Jagged] = {}
    for name, a in first.columns.items():
        b = second.columns[name]
        if isinstance(a, Jagged) and isinstance(b, Jagged):
            offsets = np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]])
            columns[name] = Jagged(offsets=offsets, content=np.concatenate([a.content, b.content]))
        elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            columns[name] = np.concatenate([a, b])
    return Chunk(start=first.start, rows=first.rows + second.rows, columns=columns)


def _part(chunk: Chunk, start: int, stop: int) -> Chunk:
    columns: dict[str, np.ndarray | Jagged] = {}
    for name, values in chunk.columns.items():
        if isinstance(values, Jagged):
            a, b = int(values.offsets[start]), int(values.offsets[stop])
            columns[name] = Jagged(offsets=values.offsets[start : stop + 1] - a, content=values.content[a:b])
        else:
            columns[name] = values[start:stop]
    return Chunk(start=chunk.start + start, rows=stop - start, columns=columns)


def _identities(hits: Hits) -> Dimuons:
    """Tracks in the form that the search for repeats knows: equal numbers, charge and seed make equal identities."""
    seed = np.ascontiguousarray(hits.seed).view(np.int64)
    word = uniform(0, "track", hits.lumi, hits.pair, hits.charge, seed[:, 0], seed[:, 2])
    none = np.zeros((len(hits), 2))
    return Dimuons(
        run=hits.run, lumi=word.view(np.int64), event=hits.event, pt=none, eta=none, phi=none,
        charge=none.astype(np.int64),
    )  # fmt: skip


def _first_of_pair(pair: IntArray, rows: IntArray) -> IntArray:
    """The row of the first track of each one's pair, -1 for singles."""
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    numbers: IntArray = np.where(pair >= 0, rows[first][inverse], -1)
    return numbers


def _ledger_of(table: EventTable, hits: Hits, start: int, reasons: Sequence[str], reason: IntArray) -> Ledger:
    def example(i: int) -> str:
        return f"{table.path} entry {start + i} ({hits.run[i]}:{hits.lumi[i]}:{hits.event[i]})"

    return Ledger(
        unit="tracks",
        read=len(hits),
        used=int(np.sum(reason < 0)),
        rejected={name: int(np.sum(reason == j)) for j, name in enumerate(reasons)},
        examples={
            name: tuple(example(int(i)) for i in np.flatnonzero(reason == j)[:EXAMPLES_KEPT])
            for j, name in enumerate(reasons)
        },
    )


def _in_order(ledger: Ledger, reasons: Sequence[str]) -> Ledger:
    return replace(ledger, rejected={name: ledger.rejected[name] for name in reasons if name in ledger.rejected})
