"""Results come back bit for bit or not at all."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from mucal import store
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
