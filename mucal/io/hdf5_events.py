"""Events in an HDF5 group: one plain dataset a column.  Whatever leads out of the file or runs code is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from mucal.errors import InputError, MucalError, nearest
from mucal.io.event_table import Chunk, Column, Kind, first_line, unreadable

MAX_RATIO: Final = 1100
"""Stored bytes can grow by 1032 at most when deflate expands them; a dataset that claims more is not believed."""
FREE_BYTES: Final = 2**30
"""Below this a claim is harmless, since only slices are read: a column of one repeated value may take no space."""
MAX_PIECE: Final = 2**28
"""Bytes of one HDF5 chunk, which the library holds at once; larger ones are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdf5Events:
    """The datasets of one group of an HDF5 file (an `EventTable`).  `entries` is the length of the longest."""

    path: Path
    tree: str
    entries: int
    columns: Mapping[str, Column]
    lengths: Mapping[str, int]
    format: str = field(default="hdf5", init=False)

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, `rows` at a time.  Raises InputError if their lengths differ."""
        self._check_lengths(names)
        total = self.lengths[names[0]]
        start = 0
        try:
            with h5py.File(self.path, "r") as file:
                group = file[self.tree]
                for start in range(0, total, rows):
                    stop = min(start + rows, total)
                    columns = {name: _values(group[name], start, stop) for name in names}
                    yield Chunk(start=start, rows=stop - start, columns=columns)
        except Exception as error:  # damaged bytes surface as whatever the library raises
            raise unreadable(self, error, start) from error

    def _check_lengths(self, names: Sequence[str]) -> None:
        lengths = {name: self.lengths[name] for name in names}
        if len(set(lengths.values())) > 1:
            short = min(lengths, key=lambda name: lengths[name])
            long = max(lengths, key=lambda name: lengths[name])
            raise InputError(
                f"columns '{short}' and '{long}' have {lengths[short]} and {lengths[long]} rows",
                kind="input.lengths_differ",
                where={"file": self.path, "tree": self.tree, "entry": lengths[short]},
            )


def open_hdf5(path: Path, tree: str | None, names: Sequence[str]) -> Hdf5Events:
    """The datasets of group `tree` (default: the root group); those in `names` must be safe to read.

    Raises InputError for a damaged file, a missing group, or a named dataset that is a link elsewhere, virtual,
    external, made of objects or declared larger than the file can hold.
    """
    try:
        with h5py.File(path, "r") as file:
            group = _group(path, file, tree or "/")
            columns, lengths = {}, {}
            for name in dict.fromkeys([*(n for n in names if _is_inside(group, n)), *_datasets(group)]):
                found = _refusal(group, name, path.stat().st_size)
                if found is not None and name in names:
                    raise InputError(
                        f"object '{name}' is {found}; it is not read",
                        kind="input.refused",
                        where={"file": path, "tree": tree or "/", "object": name},
                        do="write the column as a plain one-dimensional dataset of numbers in this file",
                    )
                columns[name] = _column(group, name) if found is None else Column(kind="other", type=found)
                lengths[name] = group[name].size if found is None else 0
            entries = max((lengths[n] for n in names if n in lengths), default=max(lengths.values(), default=0))
            return Hdf5Events(path=path, tree=tree or "/", entries=entries, columns=columns, lengths=lengths)
    except MucalError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the library raises
        raise InputError(
            f"{path.name} cannot be opened as an HDF5 file: {first_line(error)}",
            kind="input.damaged",
            where={"file": path},
            do="copy the file again from its source",
        ) from error


def _group(path: Path, file: h5py.File, tree: str) -> h5py.Group:
    at: Any = file
    for part in tree.strip("/").split("/"):
        if not part:
            continue
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            available = [n for n in at if isinstance(at.get(n, getlink=True), h5py.HardLink)]
            raise InputError(
                f"there is no group '{tree}'; {at.name} holds {', '.join(available[:20]) or 'nothing'}",
                kind="input.missing_tree",
                where={"file": path, "near": ", ".join(nearest(part, available))},
                do="set tree to a group of the file",
            )
        if not isinstance(link, h5py.HardLink):
            raise InputError(
                f"object '{part}' is a link out of its place; it is not read",
                kind="input.refused",
                where={"file": path, "object": f"{at.name}/{part}"},
            )
        at = at[part]
    if not isinstance(at, h5py.Group):
        raise InputError(
            f"'{tree}' is a dataset, expected a group of columns", kind="input.missing_tree", where={"file": path}
        )
    return at


def _datasets(group: h5py.Group) -> list[str]:
    return [
        name
        for name in group
        if not isinstance(group.get(name, getlink=True), h5py.HardLink) or isinstance(group[name], h5py.Dataset)
    ]


def _is_inside(group: h5py.Group, name: str) -> bool:
    return group.get(name, getlink=True) is not None


def _refusal(group: h5py.Group, name: str, size: int) -> str | None:
    """Why a dataset is not read, or None."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return "a link out of its place"
    item = group[name]
    if not isinstance(item, h5py.Dataset):
        return f"a {type(item).__name__.lower()}, not a dataset"
    if item.external or item.is_virtual:
        return "stored in another file"
    if item.dtype.kind == "O":
        return "made of objects"
    if item.ndim != 1:
        return f"an array of {item.ndim} dimensions"
    logical = item.size * item.dtype.itemsize
    stored = min(item.id.get_storage_size(), size)
    if logical > max(FREE_BYTES, MAX_RATIO * stored):
        return f"declared as {logical} bytes, of which {stored} are in the file"
    if item.chunks is not None and item.chunks[0] * item.dtype.itemsize > MAX_PIECE:
        return f"stored in pieces of {item.chunks[0] * item.dtype.itemsize} bytes, more than {MAX_PIECE}"
    return None


def _column(group: h5py.Group, name: str) -> Column:
    dtype = group[name].dtype
    kind: Kind = "text" if dtype.kind == "S" else "number" if dtype.kind in "biuf" else "other"
    return Column(kind=kind, type=str(dtype))


def _values(dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    values = np.asarray(dataset[start:stop])
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
