"""Files written by the first version of the format still load."""

import hashlib
import runpy
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mucal import store
from mucal.store import Result

GOLDEN = Path(__file__).parents[1] / "golden"
SHA256 = "9dae9851cf18343704b7c5ff24048f305e1e82b8ca7f7a95feee3311caf56b8b"


def same(found: Any, expected: Any) -> bool:
    """Equal field by field, arrays bit for bit."""
    if isinstance(expected, np.ndarray):
        return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    if isinstance(expected, Result):
        own = [f.name for f in fields(expected)]
        return type(found) is type(expected) and all(same(getattr(found, n), getattr(expected, n)) for n in own)
    if isinstance(expected, tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)


def test_the_golden_file_is_the_one_written_by_the_first_version():
    assert hashlib.sha256((GOLDEN / "result_v1.h5").read_bytes()).hexdigest() == SHA256


def test_a_file_of_the_first_version_loads_bit_for_bit():
    script = runpy.run_path(str(GOLDEN / "make_result.py"))
    assert same(script["Golden"].load(GOLDEN / "result_v1.h5"), script["example"]())


def test_a_file_of_the_first_version_shows_its_header():
    header = store.read_header(GOLDEN / "result_v1.h5")
    assert (header["type"], header["schema"], header["mucal"]) == ("Golden", 1, "0.1.0")
    assert header["arrays"]["parts/1/values"]["shape"] == [3]
