import gzip
import struct
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mucal.errors import InputError
from mucal.io.mille import MilleRecords, concatenate, read_mille, write_mille


def records(n: int, seed: int, *, single: bool = False) -> MilleRecords:
    """Random records of 1 to 6 rows, with some derivatives that are 0 and some rows without any."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 7, n)
    total = int(rows.sum())
    n_local, n_global = rng.integers(0, 5, total), rng.integers(0, 4, total)

    def numbers(size: int) -> np.ndarray:
        values = rng.normal(size=size) * (rng.uniform(size=size) > 0.2)
        return values.astype(np.float32).astype(np.float64) if single else values

    def offsets(sizes: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    sigma = rng.integers(1, 9, total) / 8.0
    return MilleRecords(
        offsets=offsets(rows), value=numbers(total), sigma=sigma, local_offsets=offsets(n_local),
        local_index=rng.integers(1, 10, n_local.sum()), local=numbers(n_local.sum()), global_offsets=offsets(n_global),
        label=rng.integers(1, 2**31, n_global.sum()), derivative=numbers(n_global.sum()),
        errors=rng.integers(0, 2, n),
    )  # fmt: skip


def assert_same(a: MilleRecords, b: MilleRecords) -> None:
    for f in fields(a):
        assert_array_equal(getattr(a, f.name), getattr(b, f.name), err_msg=f.name)


KINDS = [("c", False, ""), ("c", True, ""), ("fortran", False, ""), ("c", True, ".gz"), ("fortran", False, ".gz")]


@pytest.mark.parametrize(("flavour", "double", "ending"), KINDS)
def test_round_trip_is_exact(tmp_path, flavour, double, ending):
    written = records(37, 1, single=not double)
    path = write_mille(tmp_path / f"a.bin{ending}", [written], flavour=flavour, double=double)
    assert_same(concatenate(read_mille(path, at_once=10)), written.without_zeros())


@given(n=st.integers(1, 20), seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS))
@settings(max_examples=30, deadline=None)
def test_round_trip_of_any_records(tmp_path_factory, n, seed, kind):
    flavour, double, ending = kind
    written = records(n, seed, single=not double)
    path = write_mille(tmp_path_factory.mktemp("any") / f"a{ending}", [written], flavour=flavour, double=double)
    assert_same(concatenate(read_mille(path)), written.without_zeros())


def test_a_c_record_by_hand(tmp_path):
    # one row: 0.5 +- 0.25, local 2 with 1.0, global label 7 with -2.0
    one = MilleRecords(
        offsets=np.array([0, 1]), value=np.array([0.5]), sigma=np.array([0.25]), local_offsets=np.array([0, 1]),
        local_index=np.array([2]), local=np.array([1.0]), global_offsets=np.array([0, 1]), label=np.array([7]),
        derivative=np.array([-2.0]), errors=np.array([0]),
    )  # fmt: skip
    words = struct.pack("<i5f5i", 10, 0.0, 0.5, 1.0, 0.25, -2.0, 0, 0, 2, 0, 7)
    assert write_mille(tmp_path / "c.bin", [one]).read_bytes() == words
    marked = struct.pack("<i", 44) + words + struct.pack("<i", 44)
    assert write_mille(tmp_path / "f.bin", [one], flavour="fortran").read_bytes() == marked


def test_special_blocks_are_passed_over(tmp_path):
    real = [0.0, 0.0, -2.0, 3.0, 4.0, 0.5, 0.25]
    integer = [0, 0, 0, -5, 9, 0, 0]
    (tmp_path / "a.bin").write_bytes(struct.pack("<i7f7i", 14, *real, *integer))
    found = concatenate(read_mille(tmp_path / "a.bin"))
    assert_array_equal(found.value, [0.5])
    assert_array_equal(found.sigma, [0.25])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<i", 9) + bytes(36), "word count is 9"),
        (struct.pack("<i", 0), "word count is 0"),
        (struct.pack("<i", 2**30), "word count is 1073741824"),
        (struct.pack("<i5f5i", 10, 0, 0.5, 1, 0.25, -2, 0, 0, 2, 0, 7)[:-3], "the file ends after 17 of 20 bytes"),
        (struct.pack("<i5f5i", 10, 0, 0.5, 1, np.nan, -2, 0, 0, 2, 0, 7), "not finite"),
        (struct.pack("<i5f5i", 10, 0, 0.5, 1, 0.25, -2, 0, 0, 2, 3, 7), "1 delimiters"),
        (struct.pack("<i5f5i", 10, 0, 0.5, 1, 0.25, -2, 0, 0, 2, 0, -7), "label -7"),
        (struct.pack("<i3f3i", 6, 0, 0, -7, 0, 0, 0), "special block claims 7 words"),
        (struct.pack("<ii2f2ii", 20, 4, 0, 0, 0, 0, 21), "two length markers differ"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_mille(tmp_path / "a.bin"))


def test_a_cut_gzip_stream_is_refused(tmp_path):
    path = write_mille(tmp_path / "a.gz", [records(50, 2, single=True)])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"(gzip stream is damaged|the file ends)"):
        list(read_mille(path))


@given(at=st.integers(0, 3000), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_flipped_bits_give_records_or_our_error(tmp_path_factory, at, bit):
    path = write_mille(tmp_path_factory.mktemp("flip") / "a.bin", [records(10, 3, single=True)])
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= 1 << bit
    path.write_bytes(raw)
    with suppress(InputError):  # anything else fails the test
        assert all(np.isfinite(table.value).all() for table in read_mille(path))


def test_compressed_files_are_the_same_bytes_each_time(tmp_path):
    one = records(5, 4, single=True)
    a, b = (write_mille(tmp_path / name, [one]).read_bytes() for name in ("a.gz", "b.gz"))
    assert a == b
    assert gzip.decompress(a) == write_mille(tmp_path / "c.bin", [one]).read_bytes()


def test_what_cannot_be_written_is_refused(tmp_path):
    from dataclasses import replace

    one = records(3, 5)
    for bad, message in (
        (replace(one, value=np.full(one.value.size, np.inf)), "not finite"),
        (replace(one, label=np.zeros(one.label.size, dtype=np.int64)), "expected 1 to"),
        (replace(one, value=np.full(one.value.size, 1e300)), "does not fit into float32"),
        (replace(one, value=0 * one.value, sigma=-one.sigma), "negative sigma"),
    ):
        with pytest.raises(ValueError, match=message):
            write_mille(tmp_path / "a.bin", [bad])
    with pytest.raises(ValueError, match="no float64"):
        write_mille(tmp_path / "a.bin", [one], flavour="fortran", double=True)
    assert not (tmp_path / "a.bin").exists()
