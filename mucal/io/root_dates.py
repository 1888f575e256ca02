"""The dates inside a ROOT file, set to one that is stated: the same tables then give the same bytes.

uproot takes dates from the clock.  They stand in the key before each record, in the copies of the keys that list a
directory, and (creation, modification) in the header of each directory.  Space that was freed while the file grew
still holds old keys; it is blanked.
"""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

EPOCH: Final = datetime(1995, 1, 1, tzinfo=UTC)
"""ROOT counts time from here; the date of a file that states none."""
_DIRECTORIES: Final = (b"TFile", b"TDirectory", b"TDirectoryFile")


def with_date(content: bytes, date: datetime) -> bytes:
    """The bytes of a ROOT file with every date replaced by one.

    Raises ValueError if its records do not follow each other from the first byte to the last.
    """
    raw = bytearray(content)
    version, begin = struct.unpack_from(">ii", raw, 4)
    wide = version >= 1_000_000
    end, free = struct.unpack_from(">qq" if wide else ">ii", raw, 12)
    name_bytes: int = struct.unpack_from(">i", raw, 36 if wide else 28)[0]
    _blank_gaps(raw, free, end)
    code = _code(date)
    for at in _records(raw, begin, end):
        raw[at + 10 : at + 14] = code
        key_bytes = struct.unpack_from(">h", raw, at + 14)[0]
        header = begin + name_bytes if at == begin else at + key_bytes
        if _class_name(raw, at) in _DIRECTORIES and _own_position(raw, header) == at:
            _date_directory(raw, header, code)
    return bytes(raw)


def _code(date: datetime) -> bytes:
    """ROOT's packed date, four bytes."""
    day = (date.year - 1995) << 26 | date.month << 22 | date.day << 17
    return struct.pack(">I", day | date.hour << 12 | date.minute << 6 | date.second)


def _records(raw: bytearray, begin: int, end: int) -> Iterator[int]:
    """Where each record begins; gaps, whose size is negative, are stepped over."""
    at = begin
    while at < end:
        size: int = struct.unpack_from(">i", raw, at)[0]
        if size == 0 or at + abs(size) > end:
            raise ValueError(f"the ROOT file is not a chain of records: {size} bytes at {at} of {end}")
        if size > 0:
            yield at
        at += abs(size)


def _blank_gaps(raw: bytearray, free: int, end: int) -> None:
    """Fill the freed parts of the file, which the record at `free` lists, with zeros and ROOT's mark of a gap."""
    size, _, object_bytes, _, key_bytes = struct.unpack_from(">ihiIh", raw, free)
    at, stop = free + key_bytes, free + min(size, key_bytes + object_bytes)
    while at < stop:
        wide = struct.unpack_from(">h", raw, at)[0] > 1000
        first, last = struct.unpack_from(">qq" if wide else ">ii", raw, at + 2)
        if 0 < first < end and last < end:
            raw[first : last + 1] = struct.pack(">i", first - last - 1).ljust(last + 1 - first, b"\0")
        at += 18 if wide else 10


def _class_name(raw: bytearray, at: int) -> bytes:
    """Class of the object in the record at `at`."""
    wide = struct.unpack_from(">h", raw, at + 4)[0] > 1000
    start = at + (34 if wide else 26)
    return bytes(raw[start + 1 : start + 1 + raw[start]])


def _own_position(raw: bytearray, header: int) -> int:
    """Where a directory header says that its record begins; the lists of keys carry the class of a directory, too."""
    if header + 26 > len(raw):
        return -1
    wide = struct.unpack_from(">h", raw, header)[0] > 1000
    found: int = struct.unpack_from(">q" if wide else ">i", raw, header + 18)[0]
    return found


def _date_directory(raw: bytearray, at: int, code: bytes) -> None:
    """The two dates of a directory header, and those of the keys that it lists."""
    wide = struct.unpack_from(">h", raw, at)[0] > 1000
    raw[at + 2 : at + 10] = code + code
    keys_at: int = struct.unpack_from(">q" if wide else ">i", raw, at + (34 if wide else 26))[0]
    if keys_at <= 0:
        return
    entry = keys_at + struct.unpack_from(">h", raw, keys_at + 14)[0]
    count = struct.unpack_from(">i", raw, entry)[0]
    entry += 4
    for _ in range(count):
        raw[entry + 10 : entry + 14] = code
        entry += struct.unpack_from(">h", raw, entry + 14)[0]
