"""What a file is by its first bytes, and whether it is as long as it says, before any library opens it."""

import struct
from pathlib import Path
from typing import Final

from mucal import store
from mucal.errors import InputError

MAGIC: Final = {
    "root": b"root",
    "parquet": b"PAR1",
    "hdf5": b"\x89HDF\r\n\x1a\n",
}
NAMES: Final = {"root": "ROOT", "parquet": "Parquet", "hdf5": "HDF5", "csv": "CSV"}
GZIP: Final = b"\x1f\x8b"
_REFUSED: Final = {
    ".pkl": "a pickle", ".pickle": "a pickle", ".lz4": "a compressed pickle", ".npy": "a numpy file",
    ".npz": "a numpy archive", ".joblib": "a pickle", ".pt": "a pickle", ".feather": "an Arrow file",
}  # fmt: skip
CONVERSION: Final = (
    "convert it where it was made: pandas.DataFrame(...).to_parquet('dimuons.parquet'), then give that file"
)


def identify(path: Path, wanted: str = "auto") -> str:
    """The format of a file: root, parquet, hdf5 or csv.

    Raises InputError if there is no such file, it is empty, is of a kind that is not read, or is not what was wanted.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "missing"
        raise InputError(
            f"there is no file {path}" if found == "missing" else f"{path} is a folder, expected a file",
            kind="input.missing_file",
            where={"file": path},
            do="only local files are read: copy it here first" if "://" in str(path) else "check the path",
        )
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise InputError(f"{path.name} is empty", kind="input.empty_file", where={"file": path})
    _refuse_head(path, head)
    found = next((name for name, magic in MAGIC.items() if head.startswith(magic)), "csv")
    if found == "csv" and not _looks_like_csv(path, head):
        found = "unknown"
    if found != wanted and (wanted != "auto" or found == "unknown"):
        expected = NAMES.get(wanted, "ROOT, Parquet, HDF5 or CSV")
        raise InputError(
            f"not a {expected} file: starts with {_shown(head)}", kind="input.foreign_file", where={"file": path}
        )
    return found


def check_length(path: Path, found: str) -> None:
    """A ROOT, Parquet or HDF5 file is as long as its header or footer says.

    Raises InputError with the bytes found and expected.
    """
    size = path.stat().st_size
    if found == "parquet":
        _check_parquet(path, size)
        return
    expected = _root_length(path) if found == "root" else _hdf5_length(path)
    if expected is not None and size < expected:
        _truncated(path, f"{size} bytes, expected {expected}")


def refuse_objects(path: Path) -> None:
    """Raises InputError for a pickle and other files that can run code when opened, or that lack column names."""
    with open(path, "rb") as file:
        _refuse_head(path, file.read(16))


def _refuse_head(path: Path, head: bytes) -> None:
    name = next((text for suffix, text in _REFUSED.items() if path.suffix.lower() == suffix), None)
    if name is None and (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        name = "a pickle"
    if name is None and head.startswith(b"\x93NUMPY"):
        name = "a numpy file"
    if name is not None:
        raise InputError(
            f"{path.name} is {name}, which is not read: it can run code when opened, or lacks column names",
            kind="input.refused",
            where={"file": path},
            do=CONVERSION,
        )


def _looks_like_csv(path: Path, head: bytes) -> bool:
    if head.startswith(GZIP):
        return path.name.lower().endswith((".csv.gz", ".txt.gz"))
    if head.startswith(store.MAGIC):
        return False
    text = all(byte >= 32 or byte in b"\t\r\n" for byte in head)
    return text and not head.lstrip().startswith((b"<", b"{", b"["))


def _shown(head: bytes) -> str:
    return "'" + "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in head[:4]) + "'"


def _truncated(path: Path, detail: str) -> None:
    raise InputError(
        f"{path.name} is truncated: {detail}",
        kind="input.truncated",
        where={"file": path},
        do='copy the file again from its source, or set on_bad_file = "skip" (it will be listed in the ledger)',
    )


def _root_length(path: Path) -> int | None:
    """fEND of the file header, the first byte after the last record."""
    with open(path, "rb") as file:
        head = file.read(32)
    if len(head) < 32:
        _truncated(path, f"{len(head)} bytes, not even a ROOT header")
    version: int = struct.unpack(">i", head[4:8])[0]
    end: int = struct.unpack(">q", head[12:20])[0] if version >= 1_000_000 else struct.unpack(">i", head[12:16])[0]
    return end


def _hdf5_length(path: Path) -> int | None:
    """End-of-file address of the superblock, for the common 8-byte offsets."""
    with open(path, "rb") as file:
        head = file.read(64)
    if len(head) < 48:
        _truncated(path, f"{len(head)} bytes, not even an HDF5 superblock")
    version = head[8]
    offsets, at = (head[13], 40) if version == 0 else (head[13], 44) if version == 1 else (head[9], 28)
    if offsets != 8:
        return None
    end: int = struct.unpack("<Q", head[at : at + 8])[0]
    return end


def _check_parquet(path: Path, size: int) -> None:
    with open(path, "rb") as file:
        file.seek(max(0, size - 8))
        tail = file.read(8)
    if size < 12 or tail[4:] != MAGIC["parquet"]:
        _truncated(path, f"{size} bytes that end without the Parquet footer")
    footer: int = struct.unpack("<I", tail[:4])[0]
    if footer + 12 > size:
        _truncated(path, f"{size} bytes, but a footer of {footer} bytes is announced")
