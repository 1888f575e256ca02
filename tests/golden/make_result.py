"""Makes result_v1.h5, a result with a field of every kind; it was run with the first version of the format.

Files of users are as old as their first calibration.  The file is not made anew when the code changes: the test
that reads it (tests/store/test_golden.py) says whether files already written still load.

    python tests/golden/make_result.py FILE
"""

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mucal.ledger import Ledger
from mucal.store import Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPart(Result):
    values: np.ndarray
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden(Result):
    floats: np.ndarray
    bits: np.ndarray
    big_endian: np.ndarray
    scalar: np.ndarray
    empty: np.ndarray
    part: GoldenPart
    parts: tuple[GoldenPart, ...] = ()
    absent: GoldenPart | None = None
    names: tuple[str, ...] = ()
    number: float = 0.0
    count: int = 0
    flag: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def example() -> Golden:
    """The result in the file."""
    ledger = Ledger(unit="events", read=5, used=3, rejected={"charge": 2}, examples={"charge": ("run 1",)})
    return Golden(
        floats=np.array([[0.1, -0.0, np.inf], [5e-324, 2.0**53 + 2.0, np.nan]]),
        bits=np.array([True, False, True]),
        big_endian=np.array([1, 2**40, -3], dtype=">i8"),
        scalar=np.array(7.25, dtype=np.float32),
        empty=np.zeros((0, 4), dtype=np.uint16),
        part=GoldenPart(values=np.array([1, -2], dtype=np.int16), label="η → µµ"),
        parts=(GoldenPart(values=np.zeros(2)), GoldenPart(values=np.arange(3, dtype=np.uint8), label="second")),
        names=("a", "b"),
        number=float("-inf"),
        count=2**62,
        flag=True,
        facts={"edges": (1.0, 2.5), "nested": {"none": None, "tiny": 5e-324}},
        provenance=Provenance(
            mucal="0.1.0",
            configuration={"x": 1.5, "names": ["a", "b"]},
            seed=3,
            inputs={"events.root": "00ff"},
            ledgers={"read": ledger},
        ),
    )


if __name__ == "__main__":
    example().save(sys.argv[1])
