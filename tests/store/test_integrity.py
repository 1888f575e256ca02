"""Damage is detected, and nothing foreign gets in."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal import store
from mucal.errors import InputError, VerificationError
from mucal.store import BLOCK, Result
from mucal.store.integrity import open_result


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Result):
    values: np.ndarray
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Result):
    array: np.ndarray
    inner: Inner


def example() -> Outer:
    return Outer(array=np.arange(12.0).reshape(3, 4), inner=Inner(values=np.array([1, -2], dtype=np.int16), label="η"))


def rewrite(path: Path, change) -> None:
    """Change the HDF5 inside a result and put a right first line before it: a forgery, not damage."""
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)


def seal(path: Path) -> None:
    line = f"mucal-result 1 sha256 {store.sha256(path, skip=BLOCK)} bytes {path.stat().st_size}\n"
    with open(path, "r+b") as raw:
        raw.write(line.encode().ljust(BLOCK, b"\0"))


def test_every_flipped_bit_is_detected(tmp_path: Path):
    path = Inner(values=np.arange(3.0), label="x").save(tmp_path / "r.h5")
    good = path.read_bytes()
    # every byte of the first line and of the superblock, then every seventh; a bit of each
    for i in (*range(BLOCK + 100), *range(BLOCK + 100, len(good), 7)):
        path.write_bytes(good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1 :])
        with pytest.raises((VerificationError, InputError)):
            store.verify(path)


def test_a_damaged_array_is_named(tmp_path: Path):
    path = example().save(tmp_path / "r.h5")
    content = path.read_bytes()
    at = content.index(example().array.tobytes())
    path.write_bytes(content[: at + 9] + bytes([content[at + 9] ^ 4]) + content[at + 10 :])
    with pytest.raises(VerificationError, match="the digest of array 'array' differs") as caught:
        Outer.load(path)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("keep", [0, 5, 100, BLOCK, BLOCK + 1, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int):
    path = example().save(tmp_path / "r.h5")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises((InputError, VerificationError)):
        Outer.load(path)


def test_truncation_tells_bytes_found_and_expected(tmp_path: Path):
    path = example().save(tmp_path / "r.h5")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"truncated: {size - 1} bytes, expected {size}"):
        Outer.load(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89HDF\r\n\x1a\n", b"\x80\x04\x95"])
def test_a_foreign_file_is_refused_by_its_first_bytes(tmp_path: Path, content: bytes):
    (tmp_path / "r.h5").write_bytes(content)
    with pytest.raises(InputError, match="not a mucal result: starts with"):
        Outer.load(tmp_path / "r.h5")


def test_another_result_is_refused_by_its_type(tmp_path: Path):
    path = Inner(values=np.zeros(1)).save(tmp_path / "r.h5")
    with pytest.raises(InputError, match="holds a Inner, expected a Outer"):
        Outer.load(path)


def forged(tmp_path: Path, change) -> Path:
    path = Inner(values=np.arange(4.0)).save(tmp_path / "r.h5")
    rewrite(path, change)
    return path


def external_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.SoftLink("/values")


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.h5", "values", shape=(4,))
    del file["values"]
    file.create_virtual_dataset("values", layout)


def external_storage(file: h5py.File) -> None:
    del file["values"]
    file.create_dataset("values", shape=(4,), dtype="f8", external=[("/etc/passwd", 0, 32)])


def object_array(file: h5py.File) -> None:
    file.create_dataset("objects", data=["text"], dtype=h5py.string_dtype())


def terabytes(file: h5py.File) -> None:
    del file["values"]
    file.create_dataset("values", shape=(2**40,), dtype="f8", chunks=(1024,))


def other_shape(file: h5py.File) -> None:
    del file["values"]
    file["values"] = np.arange(3.0)


def unlisted(file: h5py.File) -> None:
    file["more"] = np.zeros(2)


def absent(file: h5py.File) -> None:
    del file["values"]


def named_type(file: h5py.File) -> None:
    file["type"] = np.dtype("f8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "'elsewhere' is a link out of its place"),
        (soft_link, "'elsewhere' is a link out of its place"),
        (virtual_dataset, "'values' is stored in another file"),
        (external_storage, "'values' is stored in another file"),
        (object_array, "'objects' is of type object"),
        (terabytes, r"'values' is declared as \(1099511627776,\) of float64, more than the"),
        (other_shape, "'values' is not the array that the header describes"),
        (unlisted, "'more' is not the array that the header describes"),
        (absent, "'values' is listed in the header but absent"),
        (named_type, "'type' is a Datatype"),
    ],
)
def test_what_is_not_a_plain_array_is_refused_by_name(tmp_path: Path, change, message: str):
    path = forged(tmp_path, change)
    for read in (Inner.load, store.read_header):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert caught.value.exit_code == 3


def without_header(file: h5py.File) -> None:
    del file["header"]


def linked_header(file: h5py.File) -> None:
    del file["header"]
    file["header"] = h5py.ExternalLink("other.h5", "/header")


def set_header(file: h5py.File, text: bytes) -> None:
    del file["header"]
    file["header"] = np.frombuffer(text, dtype=np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        without_header,
        linked_header,
        lambda file: set_header(file, b"no json"),
        lambda file: set_header(file, b"[" * 100_000),
        lambda file: set_header(file, b"[]"),
        lambda file: set_header(file, b'{"arrays": []}'),
        lambda file: set_header(file, b'{"arrays": {}, "type": "Inner"}'),
    ],
)
def test_a_forged_header_is_an_input_error(tmp_path: Path, change):
    with pytest.raises(InputError):
        Inner.load(forged(tmp_path, change))


def edited(tmp_path: Path, **changes) -> Path:
    def edit(file: h5py.File) -> None:
        header = json.loads(file["header"][()].tobytes())
        header.update(changes)
        set_header(file, json.dumps(header).encode())

    return forged(tmp_path, edit)


def test_a_newer_schema_names_both_versions(tmp_path: Path):
    path = edited(tmp_path, schema=99, mucal="9.9")
    with pytest.raises(InputError, match=r"schema 99 \(mucal 9\.9\); this is mucal .* reads up to schema 1"):
        Inner.load(path)


def test_fields_of_a_newer_writer_are_ignored_and_missing_ones_take_their_default(tmp_path: Path):
    path = edited(tmp_path, fields={"new_field": 3})
    assert Inner.load(path).label == ""


def test_a_reader_keeps_the_file_that_it_verified(tmp_path: Path):
    path = Inner(values=np.zeros(4)).save(tmp_path / "r.h5")
    with open_result(path) as (file, _):
        Inner(values=np.ones(3)).save(path, overwrite=True)
        assert_array_equal(file["values"][()], np.zeros(4))
    assert_array_equal(Inner.load(path).values, np.ones(3))
