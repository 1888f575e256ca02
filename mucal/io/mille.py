"""Mille binary files, the records that Millepede-II reads: C and Fortran flavour, float32 and float64, plain or gzip.

A record is one set of local parameters.  On disk it is two parallel arrays of n reals and n int32.  Entry 0 is
(0.0, number of errors); then come for each row (value, 0), the local derivatives (derivative, index from 1),
(sigma, 0) and the global derivatives (derivative, label from 1), zeros left out.  A row of value 0 and sigma -N is not
one: N words of any content follow.
Source: V. Blobel and C. Kleinwort, hep-ex/0208021, and the Millepede-II manual (DESY).
"""

import gzip
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError
from mucal.store import replace_file

FLAVOURS: Final = ("c", "fortran")
MOST_WORDS: Final = 10_000_000
"""Of a record; a larger count is a damaged file."""

LARGEST_LABEL: Final = 2**31 - 1
GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class MilleRecords:
    """R records of n rows: measurement minus prediction, and derivatives of the prediction.

    offsets                : (R+1,)  rows offsets[i] .. offsets[i+1] belong to record i
    value, sigma           : (n,)
    local_offsets          : (n+1,)
    local_index, local     : (l,)    local parameters, from 1, and the derivatives by them
    global_offsets         : (n+1,)
    label, derivative      : (g,)    global labels, from 1, and the derivatives by them
    errors                 : (R,)    error count of each record, normally 0
    """

    offsets: IntArray
    value: FloatArray
    sigma: FloatArray
    local_offsets: IntArray
    local_index: IntArray
    local: FloatArray
    global_offsets: IntArray
    label: IntArray
    derivative: FloatArray
    errors: IntArray

    def __post_init__(self) -> None:
        n, r = self.value.size, self.offsets.size - 1
        check_shapes(self, sigma=(n,), local_offsets=(n + 1,), global_offsets=(n + 1,), errors=(r,))
        check_shapes(self, local=(self.local_index.size,), derivative=(self.label.size,))

    def __len__(self) -> int:
        return int(self.offsets.size) - 1

    def without_zeros(self) -> "MilleRecords":
        """The same rows as a file holds them: derivatives of 0 left out."""
        loc, glo = self.local != 0, self.derivative != 0
        return MilleRecords(
            offsets=self.offsets, value=self.value, sigma=self.sigma, errors=self.errors,
            local_offsets=_kept(self.local_offsets, loc), local_index=self.local_index[loc], local=self.local[loc],
            global_offsets=_kept(self.global_offsets, glo), label=self.label[glo], derivative=self.derivative[glo],
        )  # fmt: skip


def _kept(offsets: IntArray, kept: np.ndarray) -> IntArray:
    before: IntArray = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return before[offsets]


def concatenate(parts: Iterable[MilleRecords]) -> MilleRecords:
    """The records of several tables, one after the other."""
    tables = list(parts)

    def whole(name: str, kind: type) -> Any:
        return np.concatenate([np.zeros(0, dtype=kind), *(getattr(t, name) for t in tables)])

    def offsets(name: str) -> IntArray:
        steps = [np.zeros(0, dtype=np.int64), *(np.diff(getattr(t, name)) for t in tables)]
        return np.concatenate([[0], np.cumsum(np.concatenate(steps))]).astype(np.int64)

    return MilleRecords(
        offsets=offsets("offsets"), value=whole("value", float), sigma=whole("sigma", float),
        local_offsets=offsets("local_offsets"), local_index=whole("local_index", int), local=whole("local", float),
        global_offsets=offsets("global_offsets"), label=whole("label", int), derivative=whole("derivative", float),
        errors=whole("errors", int),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ writing


def write_mille(
    path: str | Path,
    tables: Iterable[MilleRecords],
    *,
    flavour: str = "c",
    double: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write records; a name that ends with `.gz` is compressed.

    tables  : in chunks, so that memory does not grow with the file
    flavour : c or fortran
    double  : float64 reals; only the C flavour has them

    Raises ValueError for another flavour, numbers that are not finite, or labels out of range.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}; there are {', '.join(FLAVOURS)}")
    if double and flavour == "fortran":
        raise ValueError("the Fortran flavour has no float64; use the C flavour")

    def write(temporary: Path) -> None:
        """All records, packed if the name says so."""
        with open(temporary, "wb") as raw:
            if str(path).endswith(".gz"):
                with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
                    _write_tables(packed, tables, flavour, double)
            else:
                _write_tables(raw, tables, flavour, double)

    return replace_file(path, write, overwrite=overwrite)


def _write_tables(file: Any, tables: Iterable[MilleRecords], flavour: str, double: bool) -> None:
    kind = np.dtype("<f8") if double else np.dtype("<f4")
    for table in tables:
        _check(table)
        table = table.without_zeros()
        reals, integers, starts = _flat(table)
        with np.errstate(over="ignore"):
            reals = reals.astype(kind)
        if not np.all(np.isfinite(reals)):
            raise ValueError("a number of the records does not fit into float32; write float64")
        for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            n = stop - first
            words = struct.pack("<i", -2 * n if double else 2 * n)
            body = words + reals[first:stop].tobytes() + integers[first:stop].tobytes()
            marker = struct.pack("<i", len(body)) if flavour == "fortran" else b""
            file.write(marker + body + marker)


def _check(table: MilleRecords) -> None:
    for name in ("value", "sigma", "local", "derivative"):
        if not np.all(np.isfinite(getattr(table, name))):
            raise ValueError(f"MilleRecords.{name} holds numbers that are not finite")
    for name in ("local_index", "label"):
        numbers = getattr(table, name)
        if numbers.size and not (numbers.min() >= 1 and numbers.max() <= LARGEST_LABEL):
            raise ValueError(f"MilleRecords.{name} holds {numbers.min()} to {numbers.max()}; expected 1 to 2^31 - 1")
    special = (table.value == 0) & (table.sigma < 0)
    if np.any(special):
        raise ValueError(
            f"row {int(np.argmax(special))} has value 0 and a negative sigma: readers take it for another thing"
        )


def _flat(table: MilleRecords) -> tuple[FloatArray, np.ndarray, IntArray]:
    """All words of the records, and where each begins: reals, integers, (R+1,)."""
    n_local, n_global = np.diff(table.local_offsets), np.diff(table.global_offsets)
    size = 2 + n_local + n_global
    rows = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    record = np.repeat(np.arange(len(table)), np.diff(table.offsets))
    at = rows[:-1] + record + 1  # one word at the head of each record
    starts = rows[table.offsets] + np.arange(len(table) + 1)
    reals, integers = np.zeros(starts[-1]), np.zeros(starts[-1], dtype="<i4")
    integers[starts[:-1]] = table.errors
    reals[at], reals[at + 1 + n_local] = table.value, table.sigma
    local = np.repeat(at + 1 - table.local_offsets[:-1], n_local) + np.arange(table.local.size)
    reals[local], integers[local] = table.local, table.local_index
    label = np.repeat(at + 2 + n_local - table.global_offsets[:-1], n_global) + np.arange(table.label.size)
    reals[label], integers[label] = table.derivative, table.label
    return reals, integers, starts


# ------------------------------------------------------------------------------------------------ reading


def read_mille(path: str | Path, *, flavour: str | None = None, at_once: int = 10_000) -> Iterator[MilleRecords]:
    """The records of a file in chunks; special blocks are left out.

    flavour : c or fortran; None: as the first bytes say
    at_once : records a chunk

    Raises InputError, with the record and the byte, for a truncated or damaged file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    with open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        words = _Words(file, path)
        flavour = flavour or words.guess_flavour()
        found: list[MilleRecords] = []
        while (record := words.next_record(flavour)) is not None:
            found.append(record)
            if len(found) == at_once:
                yield concatenate(found)
                found = []
        if found:
            yield concatenate(found)


class _Words:
    """A file read record by record, with the place of each in messages."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.byte, self.record = 0, 0
        self.ahead = b""

    def guess_flavour(self) -> str:
        """Fortran records begin with their length in bytes and then the number of words, C ones with that number."""
        self.ahead = self._read(8, whole=False)
        if len(self.ahead) < 8:
            return "c"
        marker, words = struct.unpack("<ii", self.ahead)
        return "fortran" if words > 0 and marker == 4 + 4 * words else "c"

    def next_record(self, flavour: str) -> MilleRecords | None:
        """None at the end of the file."""
        self.record += 1
        if flavour == "fortran":
            head = self._take(4, whole=False)
            if not head:
                return None
            (marker,) = struct.unpack("<i", self._whole(head, 4))
        else:
            marker = None
        head = self._take(4, whole=False)
        if not head and marker is None:
            return None
        (words,) = struct.unpack("<i", self._whole(head, 4))
        self._check_words(words, marker)
        n = abs(words) // 2
        kind = np.dtype("<f4") if words > 0 else np.dtype("<f8")
        raw = np.frombuffer(self._take(n * kind.itemsize), dtype=kind)
        integers = np.frombuffer(self._take(4 * n), dtype="<i4").astype(np.int64)
        if marker is not None and struct.unpack("<i", self._take(4))[0] != marker:
            raise self._damaged("its two length markers differ")
        if not np.all(np.isfinite(raw)):
            raise self._damaged("it holds a number that is not finite")
        return self._parse(raw.astype(np.float64), integers)

    def _check_words(self, words: int, marker: int | None) -> None:
        if words == 0 or words % 2 or abs(words) > MOST_WORDS:
            raise self._damaged(f"its word count is {words}; expected an even number up to {MOST_WORDS}")
        if marker is not None and (words < 0 or marker != 4 + 4 * words):
            raise self._damaged(f"its length marker is {marker} for {words} words")

    def _parse(self, reals: FloatArray, integers: IntArray) -> MilleRecords:
        errors = np.array([integers[0]], dtype=np.int64)
        reals, integers = self._without_special(reals[1:], integers[1:])
        if integers.size and (integers.min() < 0 or integers[0] != 0):
            raise self._damaged(f"it holds the label {integers.min()}")
        zero = np.flatnonzero(integers == 0)
        if zero.size % 2:
            raise self._damaged(f"it holds {zero.size} delimiters, expected two a row")
        value, sigma = zero[0::2], zero[1::2]
        ends = np.append(value[1:], integers.size)
        word = np.arange(integers.size)
        row = np.searchsorted(value, word, side="right") - 1
        is_local = (integers > 0) & (word < sigma[row]) if value.size else np.zeros(0, dtype=bool)
        is_global = (integers > 0) & ~is_local
        return MilleRecords(
            offsets=np.array([0, value.size], dtype=np.int64), value=reals[value], sigma=reals[sigma], errors=errors,
            local_offsets=np.concatenate([[0], np.cumsum(sigma - value - 1)]).astype(np.int64),
            local_index=integers[is_local], local=reals[is_local],
            global_offsets=np.concatenate([[0], np.cumsum(ends - sigma - 1)]).astype(np.int64),
            label=integers[is_global], derivative=reals[is_global],
        )  # fmt: skip

    def _without_special(self, reals: FloatArray, integers: IntArray) -> tuple[FloatArray, IntArray]:
        """The words without special blocks: (0.0, 0), (-N, 0) and N words of any content."""
        heads = np.flatnonzero((integers[:-1] == 0) & (integers[1:] == 0) & (reals[:-1] == 0) & (reals[1:] < 0))
        for at in heads[:1]:  # one a record at most
            n = int(-reals[at + 1])
            if -reals[at + 1] != n or at + 2 + n > integers.size:
                raise self._damaged(f"its special block claims {-reals[at + 1]:g} words")
            gone = slice(int(at), int(at) + 2 + n)
            return np.delete(reals, gone), np.delete(integers, gone)
        return reals, integers

    def _take(self, n: int, *, whole: bool = True) -> bytes:
        data, self.ahead = self.ahead[:n], self.ahead[n:]
        if len(data) < n:
            data += self._read(n - len(data), whole=False)
        return self._whole(data, n) if whole else data

    def _whole(self, data: bytes, n: int) -> bytes:
        if len(data) < n:
            raise self._damaged(f"the file ends after {len(data)} of {n} bytes")
        return data

    def _read(self, n: int, *, whole: bool) -> bytes:
        try:
            data = self.file.read(n)
        except (EOFError, OSError) as error:  # gzip says so of a stream that ends early or has another checksum
            raise self._damaged(f"its gzip stream is damaged ({error})") from error
        self.byte += len(data)
        return self._whole(data, n) if whole else data

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"record {self.record} of {self.path.name} is damaged: {what}",
            kind="input.damaged",
            where={"file": self.path, "byte": self.byte},
            do="write the file again, or copy it again from its source",
        )
