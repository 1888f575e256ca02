"""docs/bad_inputs.md has a row for every kind of bad input, and the tests that it names exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "bad_inputs.md").read_text()
ROWS = re.findall(r"^\| (B\d\d) \| (.+) \|$", TEXT, re.MULTILINE)
LONG = re.findall(r"^\| ([LP]\d+) \| (.+) \|$", TEXT, re.MULTILINE)
NAMED = [(row, *test) for row, text in [*ROWS, *LONG] for test in re.findall(r"`([\w/]+\.py)::(\w+)`", text)]


@cache
def named_in(path: str) -> set[str]:
    tree = ast.parse((TOP / "tests" / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_kind_of_bad_input_has_its_row():
    assert [row for row, _ in ROWS] == [f"B{i:02d}" for i in range(1, 49)]


def test_every_row_names_a_test():
    assert {row for row, _, _ in NAMED} == {row for row, _ in [*ROWS, *LONG]}
    assert len(LONG) == 13 + 5


@pytest.mark.parametrize(("row", "path", "name"), NAMED, ids=lambda value: str(value))
def test_a_named_test_exists(row: str, path: str, name: str):
    assert name in named_in(path), f"{row}: tests/{path} has no {name}"
