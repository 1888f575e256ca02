"""What a ROOT or HDF5 file holds, by name: trees, histograms, groups with their columns.  Only headers are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import uproot

from mucal.errors import InputError
from mucal.io.event_table import first_line

MAX_OBJECTS: Final = 2000
"""Objects of one file that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileObject:
    """One object of a file.

    name    : with its folders
    kind    : its class in a ROOT file; "group" in HDF5
    detail  : size and range of a histogram, entries of a tree
    columns : name -> type, of a group
    """

    name: str
    kind: str
    detail: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def root_objects(path: Path) -> list[FileObject]:
    """The objects of a ROOT file, without its folders.  Raises InputError if it cannot be read."""
    try:
        with uproot.open({str(path): None}, array_cache=None, object_cache=None) as file:
            classes = file.classnames(cycle=False)
            named = [(name, kind) for name, kind in classes.items() if not kind.startswith("TDirectory")]
            return [FileObject(name=n, kind=k, detail=_detail(file, n, k)) for n, k in named[:MAX_OBJECTS]]
    except Exception as error:  # damaged bytes surface as whatever the parser raises
        raise _damaged(path, error) from error


def _detail(file: Any, name: str, kind: str) -> str:
    if kind.startswith(("TH1", "TH2", "TH3", "TProfile")):
        axes = [file[name].member(f"f{a}axis") for a in "XYZ"[: _dimension(kind)]]
        return " x ".join(f"{a.member('fNbins')} bins in {a.low:g} to {a.high:g}" for a in axes)
    if kind in ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"):
        return f"{file[name].num_entries} rows"
    return ""


def _dimension(kind: str) -> int:
    return int(kind[2]) if kind.startswith("TH") else 2 if kind.startswith("TProfile2") else 1


def hdf5_groups(path: Path) -> list[FileObject]:
    """The groups of an HDF5 file that hold datasets, with these.  Links are not followed.

    Raises InputError if the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            return list(_groups(file, set()))
    except Exception as error:  # damaged bytes surface as whatever the library raises
        raise _damaged(path, error) from error


def _groups(group: h5py.Group, seen: set[int]) -> Iterator[FileObject]:
    address = h5py.h5o.get_info(group.id).addr
    if address in seen or len(seen) > MAX_OBJECTS:  # a group can hold itself
        return
    seen.add(address)
    inside = {n: group[n] for n in group if isinstance(group.get(n, getlink=True), h5py.HardLink)}
    columns = [(n, f"{item.dtype} {_shape(item)}") for n, item in inside.items() if isinstance(item, h5py.Dataset)]
    if columns:
        yield FileObject(name=group.name, kind="group", columns=tuple(columns[:MAX_OBJECTS]))
    for item in inside.values():
        if isinstance(item, h5py.Group):
            yield from _groups(item, seen)


def _shape(dataset: h5py.Dataset) -> str:
    return "x".join(map(str, dataset.shape or ())) or "scalar"


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path.name} cannot be read: {first_line(error)}",
        kind="input.damaged",
        where={"file": path},
        do="copy the file again from its source",
    )
