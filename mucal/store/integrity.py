"""A result file is opened once, checked whole and only then given to HDF5; what it holds is checked before use."""

import json
import os
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mucal.errors import InputError, VerificationError
from mucal.store.first_line import AGAIN, intact
from mucal.store.layout import HEADER, MAX_HEADER_BYTES, array_digest


def verify(path: str | Path) -> None:
    """A result file is whole: its bytes have the length and digest that its first line states.

    Raises InputError for a missing, foreign or truncated file; VerificationError, naming the damaged array, if any
    byte changed.
    """
    with _open(Path(path)) as raw:
        _verify(raw, Path(path))


def read_header(path: str | Path) -> dict[str, Any]:
    """The readable header of a result file of any type, after verification."""
    with open_result(path) as (_, header):
        return header


@contextmanager
def open_result(path: str | Path) -> Iterator[tuple[h5py.File, dict[str, Any]]]:
    """The HDF5 file, verified and without anything foreign, and its header.

    The file is opened once: a writer that replaces it meanwhile changes nothing here.  Raises as `verify` does, and
    InputError for what a result never holds.
    """
    path = Path(path)
    with _open(path) as raw:
        _verify(raw, path)
        with h5py.File(raw, "r") as file:
            header = _read_header(file, path, _size(raw))
            _refuse_foreign(file, header, path, _size(raw))
            yield file, header


def _open(path: Path) -> BufferedReader:
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    return open(path, "rb")


def _size(raw: BufferedReader) -> int:
    return os.fstat(raw.fileno()).st_size


def _verify(raw: BufferedReader, path: Path) -> None:
    if not intact(raw, path):
        raise VerificationError(
            f"{path.name} is damaged: {_damage(raw, path)}", kind="verify.damaged", where={"file": path}, do=AGAIN
        )


def _damage(raw: BufferedReader, path: Path) -> str:
    """Which array of a damaged file differs from its own digest, if the file can still be parsed."""
    try:
        with h5py.File(raw, "r") as file:
            header = _read_header(file, path, _size(raw))
            for name, entry in header["arrays"].items():
                if array_digest(np.asarray(file[name][()])) != entry["sha256"]:
                    return f"the digest of array '{name}' differs"
    except Exception as error:  # the file is known to be damaged: whatever HDF5 makes of it is only a description
        return f"its structure cannot be read ({type(error).__name__})"
    return "its header or structure changed, its arrays did not"


def _read_header(file: h5py.File, path: Path, size: int) -> dict[str, Any]:
    unreadable = InputError(f"{path.name} has no readable header", kind="input.foreign_file", where={"file": path})
    link = file.get(HEADER, getlink=True)
    dataset = file[HEADER] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.dtype != np.uint8:
        raise unreadable
    if dataset.size > min(MAX_HEADER_BYTES, size):
        raise unreadable
    try:
        header: dict[str, Any] = json.loads(dataset[()].tobytes())
        known = isinstance(header["type"], str) and all(
            {"shape", "dtype"} <= e.keys() for e in header["arrays"].values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable from error
    if not known:
        raise unreadable
    return header


def _refuse_foreign(file: h5py.File, header: Mapping[str, Any], path: Path, size: int) -> None:
    """Only plain datasets that the header lists, none larger than the file, no link leading elsewhere."""
    seen = {HEADER}

    def refuse(name: str, found: str) -> typing.NoReturn:
        raise InputError(
            f"object '{name}' is {found}; a result holds plain arrays only",
            kind="input.refused",
            where={"file": path, "object": name},
        )

    def walk(group: h5py.Group, prefix: str) -> None:
        """Refuse what is no plain array, group by group."""
        for key in group:
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                refuse(name, "a link out of its place")
            item = group[key]
            if isinstance(item, h5py.Group):
                walk(item, f"{name}/")
                continue
            if not isinstance(item, h5py.Dataset):
                refuse(name, f"a {type(item).__name__}")
            if item.external or item.is_virtual:
                refuse(name, "stored in another file")
            if item.dtype.kind not in "biuf":
                refuse(name, f"of type {item.dtype}")
            if item.size * item.dtype.itemsize > size:
                refuse(name, f"declared as {item.shape} of {item.dtype}, more than the {size} bytes of the file")
            if name != HEADER:
                entry = header["arrays"].get(name)
                if entry is None or (list(item.shape), item.dtype.str) != (entry["shape"], entry["dtype"]):
                    refuse(name, "not the array that the header describes")
            seen.add(name)

    walk(file, "")
    missing = sorted(set(header["arrays"]) - seen)
    if missing:
        raise InputError(
            f"array '{missing[0]}' is listed in the header but absent", kind="input.refused", where={"file": path}
        )
