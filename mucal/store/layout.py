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
    """Write contiguous arrays under their names, and the header.  Nothing is copied, however large they are.

    Raises OSError for a disk that is full.
    """
    text = json.dumps(plain_values(header, "header"), ensure_ascii=False).encode()
    with _Disk(path, "w+") as disk:
        with _create(disk) as file:
            file.create_dataset(HEADER, data=np.frombuffer(text, dtype=np.uint8))
            for name, array in arrays.items():
                _make_groups(file, name.rpartition("/")[0])
                file.create_dataset(name, data=array)
        if disk.failure is not None:
            raise disk.failure
        size = disk.seek(0, io.SEEK_END)
        disk.seek(BLOCK)
        digest = hashlib.file_digest(disk, "sha256").hexdigest()
        disk.seek(0)
        disk.write(first_block(digest, size))
        if disk.failure is not None:
            raise disk.failure


class _Disk(io.FileIO):
    """A file that HDF5 may write to: it is told that every write succeeded, and the first failure is kept for us.

    Of a write that fails (disk full) HDF5 itself makes a crash of the process, later, while it closes the file.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of the content, keeping the first failure for later."""
        rest = memoryview(content).cast("B")
        size = rest.nbytes
        while rest.nbytes and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        found = super().readinto(buffer) or 0
        if self.failure is not None:  # what was not written reads as nothing
            memoryview(buffer).cast("B")[found:] = bytes(memoryview(buffer).nbytes - found)
            return memoryview(buffer).nbytes
        return found


def describe(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the header says of each array."""
    return {
        name: {"dtype": a.dtype.str, "shape": list(a.shape), "sha256": array_digest(a)} for name, a in arrays.items()
    }


def array_digest(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of the elements of a contiguous array."""
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def _create(disk: _Disk) -> h5py.File:
    """A new HDF5 file behind a user block, in which no time stands: equal results give equal bytes."""
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_userblock(BLOCK)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, disk)
    return h5py.File(h5py.h5f.create(b"ours", h5py.h5f.ACC_TRUNC, creation, access))


def _make_groups(file: h5py.File, name: str) -> None:
    """The groups on the way to `name`, as far as they are missing, without a time."""
    if name and name not in file:
        outer, _, inner = name.rpartition("/")
        _make_groups(file, outer)
        creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        creation.set_obj_track_times(False)
        h5py.h5g.create((file[outer] if outer else file).id, inner.encode(), gcpl=creation)
