"""Events as lists of muons, the one form that every layout is brought to before anything is selected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.io.dimuon_input import IDS, DimuonInput
from mucal.io.event_table import Chunk, EventTable, Jagged, place

MAX_MUONS: Final = 10_000
"""Rows of one event; more are no event but a column that is constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonLists:
    """E events with M muons in all.

    entry      : (E,) row of the file, the first of several
    event_of   : (M,) index of each muon's event, never decreasing
    muons      : quantity -> (M,) float64, as the file has it: pt, eta, phi, px, py, pz, e, charge
    ids        : run, lumi, event -> (E,) int64, those the file has
    mass       : (E,) GeV, the file's own pair mass
    flat       : selected column -> (E,), of the event
    per_muon   : selected column -> (M,), of the muon
    """

    entry: IntArray
    event_of: IntArray
    muons: Mapping[str, FloatArray]
    ids: Mapping[str, IntArray]
    mass: FloatArray | None
    flat: Mapping[str, np.ndarray]
    per_muon: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return int(self.entry.size)


def muon_lists(table: EventTable, config: DimuonInput, rows: int) -> Iterator[MuonLists]:
    """The events of a table in chunks of about `rows` rows; an event is never split.

    Raises InputError if columns of one list have different lengths, or event numbers are no whole numbers.
    """
    needed = [name for name in config.asked() if name in table.columns]
    chunks = table.chunks(needed, rows)
    if config.layout == "rows":
        chunks = _whole_events(table, config, chunks)
    build = {"pair": _from_pairs, "rows": _from_rows, "jagged": _from_lists}[config.layout]
    for chunk in chunks:
        yield build(table, config, _with_defaults(chunk, config))


def _with_defaults(chunk: Chunk, config: DimuonInput) -> Chunk:
    """The declared default for each asked column that the file lacks."""
    missing = [name for name in config.asked() if name not in chunk.columns and name in config.defaults]
    filled = {name: np.full(chunk.rows, config.defaults[name]) for name in missing}
    return replace(chunk, columns={**chunk.columns, **filled})


def _from_pairs(table: EventTable, config: DimuonInput, chunk: Chunk) -> MuonLists:
    n = chunk.rows
    muons = {}
    for key, names in config.columns.muon_names().items():
        muons[key] = np.stack([_flat(chunk, name) for name in names], axis=1).astype(np.float64).ravel()
    if config.columns.fixed_charge is not None:
        muons["charge"] = np.tile(np.asarray(config.columns.fixed_charge, dtype=np.float64), n)
    mass = config.columns.mass
    return MuonLists(
        entry=np.arange(chunk.start, chunk.start + n),
        event_of=np.repeat(np.arange(n), 2),
        muons=muons,
        ids=_ids(table, config, chunk, np.arange(n)),
        mass=None if mass is None else _flat(chunk, mass).astype(np.float64),
        flat={s.column: _flat(chunk, s.column) for s in config.selections()},
        per_muon={},
    )


def _from_rows(table: EventTable, config: DimuonInput, chunk: Chunk) -> MuonLists:
    first = _first_rows(config, chunk)
    is_first = np.zeros(chunk.rows, dtype=np.int64)
    is_first[first] = 1
    return MuonLists(
        entry=chunk.start + first,
        event_of=np.cumsum(is_first) - 1,
        muons={key: _flat(chunk, str(name)).astype(np.float64) for key, name in config.columns.muon_names().items()},
        ids=_ids(table, config, chunk, first),
        mass=None,
        flat={},
        per_muon={s.column: _flat(chunk, s.column) for s in config.selections()},
    )


def _from_lists(table: EventTable, config: DimuonInput, chunk: Chunk) -> MuonLists:
    n = chunk.rows
    lists = {str(name): chunk.columns[str(name)] for name in config.columns.muon_names().values()}
    selected = {s.column: chunk.columns[s.column] for s in config.selections()}
    jagged = {name: values for name, values in {**lists, **selected}.items() if isinstance(values, Jagged)}
    reference = next(iter(jagged))
    counts = np.diff(jagged[reference].offsets)
    for name, values in jagged.items():
        _check_counts(table, chunk, (reference, counts), (name, np.diff(values.offsets)))
    return MuonLists(
        entry=np.arange(chunk.start, chunk.start + n),
        event_of=np.repeat(np.arange(n), counts),
        muons={k: jagged[str(name)].content.astype(np.float64) for k, name in config.columns.muon_names().items()},
        ids=_ids(table, config, chunk, np.arange(n)),
        mass=None,
        flat={name: values for name, values in selected.items() if not isinstance(values, Jagged)},
        per_muon={name: values.content for name, values in selected.items() if isinstance(values, Jagged)},
    )


def _check_counts(table: EventTable, chunk: Chunk, first: tuple[str, IntArray], second: tuple[str, IntArray]) -> None:
    differ = np.flatnonzero(first[1] != second[1])
    if differ.size:
        i = int(differ[0])
        raise InputError(
            f"columns '{first[0]}' and '{second[0]}' have {first[1][i]} and {second[1][i]} muons in one event",
            kind="input.lengths_differ",
            where=place(table, chunk.start + i),
        )


def _flat(chunk: Chunk, name: str) -> np.ndarray:
    values = chunk.columns[name]
    assert not isinstance(values, Jagged)  # the kinds were checked when the file was opened
    return values


def _ids(table: EventTable, config: DimuonInput, chunk: Chunk, rows: IntArray) -> dict[str, IntArray]:
    named = config.columns.event_names()
    return {
        key: _whole_numbers(table, chunk, named[key], _flat(chunk, named[key]))[rows] for key in IDS if key in named
    }


def _whole_numbers(table: EventTable, chunk: Chunk, name: str, values: np.ndarray) -> IntArray:
    """Event identifiers as int64; numbers that float64 cannot hold exactly are refused, never rounded."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    wrong = ~(np.abs(values) < 2.0**53) | (values != np.round(values))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            f"column '{name}' holds {values[i]!r}, expected a whole number below 2^53",
            kind="input.wrong_type",
            where=place(table, chunk.start + i),
        )
    return values.astype(np.int64)


# ------------------------------------------------------------------------------------------------ rows to events


def _first_rows(config: DimuonInput, chunk: Chunk) -> IntArray:
    """Rows at which an event begins."""
    names = [name for key, name in config.columns.event_names().items() if key in IDS and name in chunk.columns]
    if not names:
        return np.arange(0, chunk.rows, 2)
    changes = np.zeros(chunk.rows, dtype=bool)
    changes[:1] = True
    for name in names:
        values = _flat(chunk, name)
        changes[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


def _whole_events(table: EventTable, config: DimuonInput, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same rows cut between events: an event that may go on is held back until the next chunk."""
    held: Chunk | None = None
    for chunk in chunks:
        joined = chunk if held is None else _join(held, chunk)
        first = _first_rows(config, joined)
        by_two = not any(key in IDS for key in config.columns.event_names())
        cut = joined.rows - joined.rows % 2 if by_two else int(first[-1]) if first.size else 0
        if cut:
            yield _part(joined, 0, cut)
        held = _part(joined, cut, joined.rows)
        if held.rows > MAX_MUONS:
            raise InputError(
                f"more than {MAX_MUONS} rows from {held.start} on have the same event number",
                kind="input.giant_event",
                where=place(table, held.start),
                do="check that run, lumi and event in columns name the columns that tell events apart",
            )
    if held is None or not held.rows:
        return
    if not any(key in IDS for key in config.columns.event_names()):
        raise InputError(
            f"{table.path.name} has {held.start + held.rows} rows, an odd number; two rows an event were asked for",
            kind="input.lengths_differ",
            where=place(table, held.start),
            do="name run, lumi and event in columns if events have other numbers of muons",
        )
    yield held


def _join(first: Chunk, second: Chunk) -> Chunk:
    columns = {name: np.concatenate([_flat(first, name), _flat(second, name)]) for name in second.columns}
    return Chunk(start=first.start, rows=first.rows + second.rows, columns=columns)


def _part(chunk: Chunk, start: int, stop: int) -> Chunk:
    columns = {name: _flat(chunk, name)[start:stop] for name in chunk.columns}
    return Chunk(start=chunk.start + start, rows=stop - start, columns=columns)
