"""The HDF5 of a rabbit tensor: its arrays, flattened or not, within limits, and nothing that points elsewhere."""

import pickletools
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError

MAX_BYTES: Final = 2**35
"""Of one array as declared: above the largest tensor that fits into a big machine."""
SHAPE: Final = "original_shape"


def load_filters() -> None:
    """The decompression filters of newer rabbit files, if their package is there."""
    if find_spec("hdf5plugin") is not None:
        import_module("hdf5plugin")


def array(file: Any, name: str, shape: Sequence[int | None] = (), *, path: Path) -> Any:
    """One dataset in its original shape.

    shape : what it must be; None for any length of a dimension, () for any shape

    Raises InputError, before anything is allocated, for another shape, a link, and a size beyond the budget.
    """
    dataset = _dataset(file, name, path)
    found = _shape(dataset)
    where = {"file": path, "dataset": name}
    if shape and (len(found) != len(shape) or any(want not in (None, n) for n, want in zip(found, shape, strict=True))):
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"'{name}' has shape {found}, expected {wanted}", kind="rabbit.shape", where=where)
    size = int(np.prod(found, dtype=object)) if found else 1
    if size != dataset.size or size * dataset.dtype.itemsize > MAX_BYTES:
        raise InputError(
            f"'{name}' declares {found} of {dataset.dtype} and stores {dataset.size} numbers; at most "
            f"{MAX_BYTES / 2**30:g} GiB are read",
            kind="rabbit.shape",
            where=where,
        )
    try:
        values = dataset[()]
    except OSError as error:
        raise InputError(
            f"'{name}' cannot be read: {str(error).splitlines()[0][:120]}",
            kind="rabbit.unreadable",
            where=where,
            do="install hdf5plugin if it is compressed with Blosc2; otherwise copy the file again from its source",
        ) from error
    return np.asarray(values).reshape(found)


def shape(file: Any, name: str, *, path: Path) -> tuple[int, ...]:
    """The original shape of one dataset, which is not read."""
    return _shape(_dataset(file, name, path))


def group(file: Any, name: str, *, path: Path) -> Any:
    """One group of the file itself.  Raises InputError for anything else."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Group):
        raise InputError(f"'{name}' is no group of this file", kind="input.refused", where={"file": path})
    return file[name]


def floats(file: Any, name: str, shape: Sequence[int | None] = (), *, path: Path) -> FloatArray:
    """One dataset of finite numbers.  Raises InputError as `array` does, and for NaN or infinity."""
    values: FloatArray = np.ascontiguousarray(array(file, name, shape, path=path), dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"'{name}' is not finite in {int(bad.sum())} places, the first is {list(at)}",
            kind="rabbit.values",
            where={"file": path, "dataset": name},
        )
    return values


def texts(file: Any, name: str, *, path: Path) -> tuple[str, ...]:
    """One dataset of names; none if it is absent."""
    if name not in file:
        return ()
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in array(file, name, (None,), path=path).tolist())


def sparse(file: Any, name: str, *, path: Path) -> tuple[IntArray, FloatArray, tuple[int, ...]]:
    """Indices (N, 2), values (N,) and dense shape of a sparse array."""
    parts = group(file, name, path=path)
    if "dense_shape" not in parts.attrs:
        raise InputError(f"'{name}' is not a sparse array", kind="rabbit.shape", where={"file": path})
    values = floats(parts, "values", (None,), path=path)
    indices = np.asarray(array(parts, "indices", (values.size, 2), path=path), dtype=np.int64)
    shape = tuple(int(n) for n in parts.attrs["dense_shape"])
    if indices.size and (indices.min() < 0 or np.any(indices.max(axis=0) >= np.array(shape))):
        raise InputError(
            f"'{name}' has indices outside its shape {shape}",
            kind="rabbit.shape",
            where={"file": path, "dataset": name},
        )
    return indices, values, shape


def systematic_type(file: Any, *, path: Path) -> str:
    """What the file's own notes call its effects, "log_normal" or "normal"; "unknown" if unreadable, "" without notes.

    The notes are a pickle.  It is never loaded: its list of text constants is looked through, which runs nothing.
    """
    if "meta" not in file:
        return ""
    try:
        content = array(file, "meta/pickle_data", (None,), path=path).astype(np.uint8).tobytes()
        words = [str(word) for op, word, _ in pickletools.genops(content) if "UNICODE" in op.name]
    except (InputError, ValueError, KeyError):
        return "unknown"
    found = dict(pairwise(words)).get("systematic_type", "")
    return found if found in ("log_normal", "normal") else "unknown"


def _shape(dataset: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in dataset.attrs.get(SHAPE, dataset.shape))


def _dataset(file: Any, name: str, path: Path) -> Any:
    where = {"file": path, "dataset": name}
    group, _, leaf = name.rpartition("/")
    parent = file[group] if group and isinstance(file.get(group, getlink=True), h5py.HardLink) else file
    link = parent.get(leaf, getlink=True)
    if link is None:
        raise InputError(f"there is no '{name}' in this file", kind="rabbit.missing", where=where)
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"'{name}' is a link out of its place", kind="input.refused", where=where)
    dataset = parent[leaf]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise InputError(f"'{name}' is no plain array of this file", kind="input.refused", where=where)
    return dataset
