"""The dates inside a ROOT file, set to one that is stated: the same tables then give the same bytes.

uproot takes dates from the clock.  They stand in the key before each record, in the copies of the keys that list a
directory, and (creation, modification) in the header of each directory.  Space that was freed while the file grew
still holds old keys; it is blanked.  Everything is reached through the pointers that a reader follows.
"""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

EPOCH: Final = datetime(1995, 1, 1, tzinfo=UTC)
"""ROOT counts time from here; the date of a file that states none."""
_DIRECTORIES: Final = (b"TDirectory", b"TDirectoryFile")


def with_date(content: bytes, date: datetime) -> bytes:
    """The bytes of a ROOT file with every date replaced by one.

    Raises ValueError if two of its records overlap.
    """
    raw = bytearray(content)
    version, begin = struct.unpack_from(">ii", raw, 4)
    wide = version >= 1_000_000
    end, free = struct.unpack_from(">qq" if wide else ">ii", raw, 12)
    name_bytes: int = struct.unpack_from(">i", raw, 36 if wide else 28)[0]
    info: int = struct.unpack_from(">q" if wide else ">i", raw, 45 if wide else 37)[0]
    day = (date.year - 1995) << 26 | date.month << 22 | date.day << 17
    code = struct.pack(">I", day | date.hour << 12 | date.minute << 6 | date.second)

    records = {begin, free, info} - {0}
    for header in _directories(raw, begin + name_bytes):
        raw[header + 2 : header + 10] = code + code
        keys = _keys_at(raw, header)
        records.add(keys)
        for entry in _entries(raw, keys):
            raw[entry + 10 : entry + 14] = code
            records.add(_position(raw, entry))
    for at in records:
        raw[at + 10 : at + 14] = code
    _blank_between(raw, sorted(records), end)
    return bytes(raw)


def _directories(raw: bytearray, header: int) -> Iterator[int]:
    """Where the headers of a directory and of all below it stand."""
    yield header
    for entry in _entries(raw, _keys_at(raw, header)):
        if _class_name(raw, entry) in _DIRECTORIES:
            at = _position(raw, entry)
            yield from _directories(raw, at + struct.unpack_from(">h", raw, at + 14)[0])


def _keys_at(raw: bytearray, header: int) -> int:
    """Where the list of keys of a directory stands."""
    wide = struct.unpack_from(">h", raw, header)[0] > 1000
    found: int = struct.unpack_from(">q" if wide else ">i", raw, header + (34 if wide else 26))[0]
    return found


def _entries(raw: bytearray, keys: int) -> Iterator[int]:
    """Where each key in a list of keys stands."""
    entry = keys + struct.unpack_from(">h", raw, keys + 14)[0] + 4
    for _ in range(struct.unpack_from(">i", raw, entry - 4)[0]):
        yield entry
        entry += struct.unpack_from(">h", raw, entry + 14)[0]


def _position(raw: bytearray, key: int) -> int:
    """Where the record that a key stands for begins."""
    wide = struct.unpack_from(">h", raw, key + 4)[0] > 1000
    found: int = struct.unpack_from(">q" if wide else ">i", raw, key + 18)[0]
    return found


def _class_name(raw: bytearray, key: int) -> bytes:
    """Class of the object that a key stands for."""
    wide = struct.unpack_from(">h", raw, key + 4)[0] > 1000
    start = key + (34 if wide else 26)
    return bytes(raw[start + 1 : start + 1 + raw[start]])


def _blank_between(raw: bytearray, records: list[int], end: int) -> None:
    """Zeros wherever no record stands, with ROOT's mark of a gap, its negative length, if there is room for it."""
    for at, following in pairwise([*records, end]):
        stop = at + struct.unpack_from(">i", raw, at)[0]
        if stop > following:
            raise ValueError(f"the ROOT record at byte {at} ends at {stop}, beyond the next one at {following}")
        length = following - stop
        raw[stop:following] = (struct.pack(">i", -length) if length >= 4 else b"").ljust(length, b"\0")
