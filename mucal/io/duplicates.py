"""Finding the same pair twice in any number of events, with memory for a small part of them at a time.

Each pair's identity goes to one of 64 temporary files, by a hash of run, lumi and event; at the end each is sorted by
itself.  Two pairs of one event are the same if pT agrees within 1e-3 and eta within 1e-3: files that print the same
pair with different digits are caught, two real pairs of an event are not.
"""

import errno
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Final, Self

import numpy as np

from mucal.arrays import BoolArray, IntArray
from mucal.errors import InputError, ResourceError
from mucal.io.event_table import EventTable
from mucal.ledger import EXAMPLES_KEPT
from mucal.track import Dimuons

BUCKETS: Final = 64
TOLERANCE: Final = 1e-3
_NEIGHBOURS: Final = 8
_RECORD: Final = np.dtype(
    [("run", "i8"), ("lumi", "i8"), ("event", "i8"), ("sequence", "i8"), ("pt", "f8", 2), ("eta", "f8", 2)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Pairs that came before: their sequence numbers, increasing, and those of the pairs they repeat."""

    sequence: IntArray
    first: IntArray


@dataclass(slots=True)
class DuplicateSpool:
    """Collects the identities of pairs; use as a context manager, so that the temporary files go.

    one_per_event : an event has one pair at most, so that equal run, lumi and event are enough
    """

    one_per_event: bool
    _files: list[IO[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._files = [tempfile.TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - closed by __exit__
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def add(self, dimuons: Dimuons, sequence: IntArray) -> None:
        """Note pairs under their sequence numbers, which increase."""
        records = np.empty(len(dimuons), dtype=_RECORD)
        for name in ("run", "lumi", "event", "pt", "eta"):
            records[name] = getattr(dimuons, name)
        records["sequence"] = sequence
        bucket = _bucket(dimuons)
        order = np.argsort(bucket, kind="stable")
        cuts = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        try:
            for file, start, stop in zip(self._files, cuts[:-1], cuts[1:], strict=True):
                file.write(records[order[start:stop]].tobytes())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ResourceError(
                    f"the disk is full while looking for duplicates in {tempfile.gettempdir()}",
                    kind="resource.disk",
                    do=f"free {_RECORD.itemsize} bytes a pair, or set TMPDIR to a larger disk",
                ) from error
            raise

    def finish(self) -> Repeats:
        """All pairs that repeat an earlier one."""
        again, first = [], []
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read(), dtype=_RECORD)
            repeat, of = _repeats(records, self.one_per_event)
            again.append(repeat)
            first.append(of)
        sequence, of = np.concatenate(again), np.concatenate(first)
        order = np.argsort(sequence, kind="stable")
        return Repeats(sequence=sequence[order], first=of[order])


def _bucket(dimuons: Dimuons) -> IntArray:
    mixed = dimuons.event.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= dimuons.lumi.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= dimuons.run.astype(np.uint64) * np.uint64(0x165667B19E3779F9)
    return (mixed >> np.uint64(58)).astype(np.int64)


def _repeats(records: np.ndarray, one_per_event: bool) -> tuple[IntArray, IntArray]:
    """Sequence numbers of repeats, and of what they repeat, each repeat once."""
    keys = (records["run"], records["lumi"], records["event"])
    if one_per_event:
        order = np.lexsort((records["sequence"], *keys))
    else:
        order = np.lexsort((records["sequence"], records["pt"][:, 0], *keys))
    ordered = _shared(records[order])
    again, first = [], []
    for step in range(1, _NEIGHBOURS + 1):
        a, b = ordered[:-step], ordered[step:]
        same = _same(a, b, one_per_event)
        if same.any():
            pair = np.stack([a["sequence"][same], b["sequence"][same]])
            again.append(pair.max(axis=0))
            first.append(pair.min(axis=0))
    if not again:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    sequence, of = np.concatenate(again), np.concatenate(first)
    order = np.lexsort((of, sequence))
    sequence, of = sequence[order], of[order]
    is_first = np.ones(sequence.size, dtype=bool)
    is_first[1:] = sequence[1:] != sequence[:-1]
    return sequence[is_first], of[is_first]


def _shared(ordered: np.ndarray) -> np.ndarray:
    """Only the records whose event has another one beside them: few, as a rule."""
    beside = _same_event(ordered[:-1], ordered[1:])
    keep = np.zeros(ordered.size, dtype=bool)
    keep[:-1] |= beside
    keep[1:] |= beside
    return ordered[keep]


def _same_event(a: np.ndarray, b: np.ndarray) -> BoolArray:
    same: BoolArray = (a["event"] == b["event"]) & (a["lumi"] == b["lumi"]) & (a["run"] == b["run"])
    return same


def _same(a: np.ndarray, b: np.ndarray, one_per_event: bool) -> BoolArray:
    same = _same_event(a, b)
    if not one_per_event:
        same &= np.all(np.abs(a["pt"] - b["pt"]) <= TOLERANCE * a["pt"], axis=1)
        same &= np.all(np.abs(a["eta"] - b["eta"]) <= TOLERANCE, axis=1)
    return same


def refuse_repeats(repeats: Repeats, files: Sequence[EventTable], of: str, *, do: str) -> None:
    """Raises InputError with the first places of rows that came twice, if any did.

    files : as they were read, one after the other
    of    : how many rows there were, as "4096 pairs"
    do    : the remedy
    """
    if not repeats.sequence.size:
        return
    pairs = zip(repeats.first[:EXAMPLES_KEPT], repeats.sequence[:EXAMPLES_KEPT], strict=True)
    shown = [f"{_locate(files, int(b))} repeats {_locate(files, int(a))}" for a, b in pairs]
    raise InputError(
        f"{repeats.sequence.size} of {of} come twice", kind="input.duplicates",
        where={f"{i + 1}": text for i, text in enumerate(shown)}, do=do,
    )  # fmt: skip


def _locate(files: Sequence[EventTable], sequence: int) -> str:
    for table in files:
        if sequence < table.entries:
            return f"{table.path} entry {sequence}"
        sequence -= table.entries
    raise IndexError(sequence)
