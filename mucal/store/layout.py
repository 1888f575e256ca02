"""The HDF5 part of a result file: one plain dataset for each array, and a header of JSON text."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mucal.store.first_line import BLOCK, first_block
from mucal.store.plain import plain_values

HEADER = "header"
MAX_HEADER_BYTES = 256 * 2**20


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write contiguous arrays under their names, and the header.

    The whole file is made in memory: for a moment the arrays are held twice.
    """
    text = json.dumps(plain_values(header, "header"), ensure_ascii=False).encode()
    buffer = io.BytesIO()
    with _create(buffer) as file:
        file.create_dataset(HEADER, data=np.frombuffer(text, dtype=np.uint8))
        for name, array in arrays.items():
            _make_groups(file, name.rpartition("/")[0])
            file.create_dataset(name, data=array)
    content = buffer.getbuffer()
    content[:BLOCK] = first_block(hashlib.sha256(content[BLOCK:]).hexdigest(), len(content))
    path.write_bytes(content)


def describe(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the header says of each array."""
    return {
        name: {"dtype": a.dtype.str, "shape": list(a.shape), "sha256": array_digest(a)} for name, a in arrays.items()
    }


def array_digest(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of the elements of a contiguous array."""
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def _create(buffer: io.BytesIO) -> h5py.File:
    """A new HDF5 file in memory, behind a user block, in which no time stands: equal results give equal bytes.

    HDF5 does not write to the disk itself: when a write of its own fails (disk full), the library brings the process
    down later, while it closes the file.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_userblock(BLOCK)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, buffer)
    return h5py.File(h5py.h5f.create(b"in memory", h5py.h5f.ACC_TRUNC, creation, access))


def _make_groups(file: h5py.File, name: str) -> None:
    """The groups on the way to `name`, as far as they are missing, without a time."""
    if name and name not in file:
        outer, _, inner = name.rpartition("/")
        _make_groups(file, outer)
        creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        creation.set_obj_track_times(False)
        h5py.h5g.create((file[outer] if outer else file).id, inner.encode(), gcpl=creation)
