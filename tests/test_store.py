"""Results come back bit for bit or not at all."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from mucal import store
from mucal.errors import InputError, ResourceError, VerificationError
from mucal.ledger import Ledger
from mucal.store import BLOCK, Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Result):
    values: np.ndarray
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Result):
    array: np.ndarray
    inner: Inner
    several: tuple[Inner, ...] = ()
    maybe: Inner | None = None
    names: tuple[str, ...] = ()
    number: float = 0.0
    count: int = 0
    flag: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def example() -> Outer:
    ledger = Ledger(unit="events", read=5, used=3, rejected={"charge": 2}, examples={"charge": ("run 1",)})
    return Outer(
        array=np.arange(12.0).reshape(3, 4),
        inner=Inner(values=np.array([1, -2], dtype=np.int16), label="η"),
        several=(Inner(values=np.zeros(2)), Inner(values=np.ones((0, 3)))),
        names=("a", "b"),
        number=float("inf"),
        count=7,
        flag=True,
        facts={"edges": (1.0, 2.5), "nested": {"n": None}},
        provenance=Provenance(configuration={"x": 1.5}, seed=3, inputs={"f": "00"}, ledgers={"read": ledger}),
    )


def rewrite(path: Path, change) -> None:
    """Change the HDF5 inside a result and put a right first line before it: a forgery, not damage."""
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)


def seal(path: Path) -> None:
    line = f"mucal-result 1 sha256 {store.sha256(path, skip=BLOCK)} bytes {path.stat().st_size}\n"
    with open(path, "r+b") as raw:
        raw.write(line.encode().ljust(BLOCK, b"\0"))


# ------------------------------------------------------------------------------------------------ there and back


def test_a_result_comes_back_with_types_and_provenance(tmp_path: Path):
    found = Outer.load(example().save(tmp_path / "r.h5"))
    assert_array_equal(found.array, example().array)
    assert (found.inner.values.dtype, found.inner.label) == (np.int16, "η")
    assert [part.values.shape for part in found.several] == [(2,), (0, 3)]
    assert (found.maybe, found.names, found.number, found.count, found.flag) == (None, ("a", "b"), np.inf, 7, True)
    assert found.facts == example().facts
    assert found.provenance == example().provenance


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, np.dtype(">f8"), np.dtype("<i2")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back_bit_for_bit(tmp_path: Path, array: np.ndarray):
    found = Inner.load(Inner(values=array).save(tmp_path / "r.h5", overwrite=True)).values
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(number=st.floats(allow_nan=False), label=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_number_and_text_comes_back(tmp_path: Path, number: float, label: str):
    whole = Outer(array=np.zeros(1), inner=Inner(values=np.zeros(1), label=label), number=number)
    found = Outer.load(whole.save(tmp_path / "r.h5", overwrite=True))
    assert (found.number, found.inner.label) == (number, label)


def test_nan_and_negative_zero_keep_their_bits(tmp_path: Path):
    array = np.array([np.nan, -0.0, np.inf, 5e-324]).view(np.int64)
    array[0] ^= 12345  # a NaN with a payload
    found = Inner.load(Inner(values=array.view(np.float64)).save(tmp_path / "r.h5")).values
    assert_array_equal(found.view(np.int64), array)


def test_transposed_arrays_keep_their_meaning(tmp_path: Path):
    array = np.arange(6.0).reshape(2, 3).T
    assert_array_equal(Inner.load(Inner(values=array).save(tmp_path / "r.h5")).values, array)


def test_equal_results_give_equal_bytes(tmp_path: Path):
    one = example().save(tmp_path / "one.h5").read_bytes()
    time.sleep(1.1)  # HDF5 would count seconds
    assert example().save(tmp_path / "two.h5").read_bytes() == one


def test_what_json_cannot_say_is_refused(tmp_path: Path):
    for wrong in ({"x": object()}, {"x": {1, 2}}, {1: "x"}):
        with pytest.raises(TypeError, match="a result holds"):
            Outer(array=np.zeros(1), inner=Inner(values=np.zeros(1)), facts=wrong).save(tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["text"]), np.array([1j])])
def test_arrays_of_objects_are_not_saved(tmp_path: Path, array: np.ndarray):
    with pytest.raises(TypeError, match="save numbers or booleans"):
        Inner(values=array).save(tmp_path / "r.h5")


# ------------------------------------------------------------------------------------------------ atomicity


def test_nothing_is_overwritten_silently(tmp_path: Path):
    path = example().save(tmp_path / "r.h5")
    with pytest.raises(FileExistsError):
        Inner(values=np.zeros(1)).save(path)
    Outer.load(path)


@pytest.mark.parametrize("where", ["_sync", "_write", "_compare"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "quota")])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch, where: str, error: OSError):
    path = Inner(values=np.zeros(3)).save(tmp_path / "r.h5")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(store, where, fail)
    with pytest.raises(ResourceError, match="disk is full") as caught:
        Inner(values=np.ones(3)).save(path, overwrite=True)
    assert caught.value.exit_code == 6
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]
    assert path.read_bytes() == before


def test_the_failing_of_any_write_keeps_the_old_file(tmp_path: Path):
    """A process limited to n bytes per file, for n across the whole of it: each write in turn is the one that fails."""
    path = Inner(values=np.zeros(300)).save(tmp_path / "r.h5")
    before, size = path.read_bytes(), path.stat().st_size
    code = (
        "import resource, signal, sys, numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_store import Inner\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"for limit in range(0, {size}, {max(1, size // 40)}):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    try:\n"
        f"        Inner(values=np.ones(300)).save({str(path)!r}, overwrite=True)\n"
        "        print('saved', limit)\n"
        "    except OSError as error:\n"
        "        pass\n"
    )
    run = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]
    assert path.read_bytes() == before


def test_what_reads_back_differently_is_not_kept(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(store, "_write", lambda result, path: WRITE(Inner(values=result.values + 1), path))
    with pytest.raises(VerificationError, match="'values' reads back differently"):
        Inner(values=np.zeros(3)).save(tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []


WRITE = store._write


def test_an_interrupt_leaves_nothing(tmp_path: Path):
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.replace_file(tmp_path / "r.h5", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path):
    path = Inner(values=np.zeros(20_000)).save(tmp_path / "r.h5")
    code = (
        "import sys, numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_store import Inner\n"
        "print('ready', flush=True)\n"
        "for i in range(1, 100_000):\n"
        f"    Inner(values=np.full(20_000, float(i))).save({str(path)!r}, overwrite=True)\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        values = Inner.load(path).values
        assert values.size == 20_000
        assert np.all(values == values[0])


# ------------------------------------------------------------------------------------------------ damage


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


# ------------------------------------------------------------------------------------------------ foreign and forged


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


# ------------------------------------------------------------------------------------------------ headers


def test_the_header_of_any_result_can_be_shown(tmp_path: Path):
    header = store.read_header(example().save(tmp_path / "r.h5"))
    assert header["type"] == "Outer"
    assert header["fields"]["count"] == 7
    entry = header["arrays"]["inner/values"]
    assert (entry["dtype"], entry["shape"]) == ("<i2", [2])
    assert entry["sha256"] == hashlib.sha256(b"\x01\x00\xfe\xff").hexdigest()


def test_the_header_reads_without_any_tool(tmp_path: Path):
    path = example().save(tmp_path / "r.h5")
    first = path.read_bytes()[:BLOCK].split(b"\n")[0].split(b" ")
    assert first[:3] == [b"mucal-result", b"1", b"sha256"]
    assert first[3].decode() == store.sha256(path, skip=BLOCK)
    assert int(first[5]) == path.stat().st_size
    assert store.is_result(path)


def test_bytes_are_written_like_results(tmp_path: Path):
    store.write_bytes(tmp_path / "x", b"one")
    with pytest.raises(FileExistsError):
        store.write_bytes(tmp_path / "x", b"two")
    store.write_bytes(tmp_path / "x", b"two", overwrite=True)
    assert (tmp_path / "x").read_bytes() == b"two"
