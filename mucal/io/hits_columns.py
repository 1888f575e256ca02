"""Recorded tracks to columns of a file and back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.io.event_table import Chunk, Column, EventTable, Jagged, place
from mucal.io.hits_input import LENGTHS, LISTS, PER_HIT, RECORDED, TRUTH, HitsInput
from mucal.track.hits import Hits, HitsTruth

Columns = dict[str, np.ndarray | Jagged]


def to_columns(hits: Hits) -> Columns:
    """Every column of tracks under our names; lists share the tracks' offsets."""
    named = {key: getattr(hits, key) for key in RECORDED}
    if hits.truth is not None:
        t = hits.truth
        named |= dict(zip(TRUTH, (t.state, t.vertex, t.parent, t.mass, t.hit_u, t.hit_v), strict=True))
    columns: Columns = {}
    for key, values in named.items():
        if key in LISTS:
            columns[key] = Jagged(offsets=hits.offsets, content=values)
        elif key in LENGTHS:
            offsets = np.arange(len(hits) + 1, dtype=np.int64) * LENGTHS[key]
            columns[key] = Jagged(offsets=offsets, content=np.ascontiguousarray(values, dtype=np.float64).ravel())
        else:
            columns[key] = values
    return columns


def from_chunk(table: EventTable, config: HitsInput, chunk: Chunk, *, truth: bool) -> Hits:
    """The tracks of a chunk as the file has them, good or bad.

    Raises InputError where columns do not fit together: lists of different lengths, or numbers that are not whole.
    """
    offsets = _jagged(chunk, config.names("module_id")[0]).offsets
    n, k = chunk.rows, int(offsets[-1])
    lists = {key: _list(table, config, chunk, key, offsets) for key in PER_HIT if _has(chunk, config, key)}
    seed = _vector(table, config, chunk, "seed")
    columns: dict[str, Any] = {key: _whole(table, config, chunk, key) for key in ("run", "event")}
    instead = {
        "lumi": np.zeros(n, dtype=np.int64), "pair": np.full(n, -1, dtype=np.int64),
        "charge": np.sign(np.nan_to_num(seed[:, 0])).astype(np.int64),
    }  # fmt: skip
    for key, default in instead.items():
        columns[key] = _whole(table, config, chunk, key) if _has(chunk, config, key) else default
    for key in ("u", "v", "sigma_u", "sigma_v"):
        columns[key] = lists[key].astype(np.float64) if key in lists else np.full(k, np.nan)
    return Hits(
        **columns,
        seed=seed,
        seed_ref=_vector(table, config, chunk, "seed_ref"),
        offsets=offsets,
        module_id=_whole_numbers(table, chunk, "module_id", lists["module_id"], offsets),
        truth=_truth(table, config, chunk, offsets) if truth else None,
    )


def _truth(table: EventTable, config: HitsInput, chunk: Chunk, offsets: IntArray) -> HitsTruth:
    return HitsTruth(
        state=_vector(table, config, chunk, "gen_state"),
        vertex=_vector(table, config, chunk, "gen_vertex"),
        parent=_whole(table, config, chunk, "gen_parent"),
        mass=_flat(chunk, config.names("gen_mass")[0]).astype(np.float64),
        hit_u=_list(table, config, chunk, "gen_u", offsets).astype(np.float64),
        hit_v=_list(table, config, chunk, "gen_v", offsets).astype(np.float64),
    )


def _has(chunk: Chunk, config: HitsInput, key: str) -> bool:
    return all(name in chunk.columns for name in config.names(key))


def _flat(chunk: Chunk, name: str) -> np.ndarray:
    values = chunk.columns[name]
    assert not isinstance(values, Jagged)  # the kinds were checked when the file was opened
    return values


def _jagged(chunk: Chunk, name: str) -> Jagged:
    values = chunk.columns[name]
    assert isinstance(values, Jagged)
    return values


def _list(table: EventTable, config: HitsInput, chunk: Chunk, key: str, offsets: IntArray) -> np.ndarray:
    name, reference = config.names(key)[0], config.names("module_id")[0]
    values = _jagged(chunk, name)
    differ = np.flatnonzero(np.diff(values.offsets) != np.diff(offsets))
    if differ.size:
        i = int(differ[0])
        raise InputError(
            f"columns '{reference}' and '{name}' have {np.diff(offsets)[i]} and {np.diff(values.offsets)[i]} hits in "
            "one track",
            kind="input.lengths_differ",
            where={**place(table, chunk.start + i), "asked": config.asked(key)},
            do="write one value a hit in every list",
        )
    return values.content


def _vector(table: EventTable, config: HitsInput, chunk: Chunk, key: str) -> FloatArray:
    """(N, 3) or (N, 5), from one column of lists or from one column a component."""
    names, length = config.names(key), LENGTHS[key]
    if len(names) > 1:
        return np.stack([_flat(chunk, name) for name in names], axis=1).astype(np.float64)
    values = _jagged(chunk, names[0])
    differ = np.flatnonzero(np.diff(values.offsets) != length)
    if differ.size:
        i = int(differ[0])
        raise InputError(
            f"column '{names[0]}' has {np.diff(values.offsets)[i]} numbers in one track, expected {length}",
            kind="input.lengths_differ",
            where={**place(table, chunk.start + i), "asked": config.asked(key)},
        )
    return values.content.astype(np.float64).reshape(chunk.rows, length)


def _whole(table: EventTable, config: HitsInput, chunk: Chunk, key: str) -> IntArray:
    return _whole_numbers(table, chunk, config.names(key)[0], _flat(chunk, config.names(key)[0]), None)


def _whole_numbers(
    table: EventTable, chunk: Chunk, name: str, values: np.ndarray, offsets: IntArray | None
) -> IntArray:
    """Numbers as int64; those that are not whole or that float64 cannot hold exactly are refused, never rounded."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    wrong = ~(np.abs(values) < 2.0**53) | (values != np.round(values))
    if wrong.any():
        i = int(np.argmax(wrong))
        row = i if offsets is None else int(np.searchsorted(offsets, i, side="right")) - 1
        raise InputError(
            f"column '{name}' holds {float(values[i])!r}, expected a whole number below 2^53",
            kind="input.wrong_type",
            where=place(table, chunk.start + row),
        )
    return values.astype(np.int64)


def no_hits(*, truth: bool) -> Hits:
    """No tracks."""
    none, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
    generated = HitsTruth(
        state=np.zeros((0, 5)), vertex=np.zeros((0, 3)), parent=whole, mass=none, hit_u=none, hit_v=none
    )
    return Hits(
        run=whole, lumi=whole, event=whole, pair=whole, charge=whole, seed=np.zeros((0, 5)), seed_ref=np.zeros((0, 3)),
        offsets=np.zeros(1, dtype=np.int64), module_id=whole, u=none, v=none, sigma_u=none, sigma_v=none,
        truth=generated if truth else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedHits:
    """A `Hits` that was saved as a result file, as a table under our own names (an `EventTable`)."""

    path: Path
    hits: Hits
    columns: Mapping[str, Column]
    tree: str = field(default="", init=False)
    format: str = field(default="hdf5", init=False)

    @property
    def entries(self) -> int:
        """Tracks."""
        return len(self.hits)

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, at most `rows` tracks at a time."""
        for start in range(0, len(self.hits), rows):
            part = self.hits.select(slice(start, start + rows))
            columns = to_columns(part)
            yield Chunk(start=start, rows=len(part), columns={name: columns[name] for name in names})


def open_saved(path: Path) -> SavedHits:
    """The tracks of a result file.  Raises as `Hits.load` does."""
    hits = Hits.load(path)
    kinds: dict[str, Column] = {
        name: Column(kind="jagged" if isinstance(values, Jagged) else "number", type="saved")
        for name, values in to_columns(hits.select(slice(0))).items()
    }
    return SavedHits(path=path, hits=hits, columns=kinds)
