"""Every result says what it is: lines for people, a table in a notebook."""

from dataclasses import dataclass

import numpy as np
import pytest

from mucal.ledger import Ledger
from mucal.store import Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Result):
    x: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Result):
    values: np.ndarray
    empty: np.ndarray
    name: str
    inner: Inner
    parts: tuple[Inner, ...]
    names: tuple[str, ...]


def made(**changes: object) -> Outer:
    ledger = Ledger(unit="muons", read=3, used=2, rejected={"nonfinite:pt": 1})
    fields = {
        "values": np.array([[1.0, -2.5], [np.nan, 4.0]]), "empty": np.zeros(0), "name": "a < b", "inner": Inner(),
        "parts": (Inner(), Inner()), "names": tuple("abcdefgh"),
    }  # fmt: skip
    return Outer(**{**fields, **changes}, provenance=Provenance(ledgers={"read": ledger}))


def test_a_summary_tells_shapes_ranges_and_ledgers():
    assert made().summary() == [
        "Outer",
        "  values  (2x2)  -2.5 .. 4, 1 not finite",
        "  empty   (0)",
        "  name    a < b",
        "  inner   Inner",
        "  parts   2 x Inner",
        "  names   8 entries, first a",
        "  read: read 3 muons = used 2 + nonfinite:pt 1",
    ]


def test_long_values_are_cut():
    assert made(name="x" * 200).summary()[3] == f"  name    {'x' * 59}…"


def test_a_notebook_shows_text_as_text():
    page = made()._repr_html_()
    assert "a &lt; b" in page
    assert "a < b" not in page
    assert page.count("<tr>") == 6


def test_a_type_without_a_figure_says_which_have_one():
    with pytest.raises(TypeError, match=r"a Inner has no figure of its own; these have: BiasMap, .*ScaleTable"):
        Inner().plot()
