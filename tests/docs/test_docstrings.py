"""Every module, public function, class and method says what it is."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mucal"
FILES = sorted(PACKAGE.rglob("*.py"))
INHERITED = {
    "list_commands", "get_command", "resolve_command", "format_commands",  # click.Group
    "columns", "nuisances", "weight", "log_change",  # WeightEntry
    "path", "format", "tree", "entries",  # EventTable
}  # fmt: skip
"""Methods whose class or protocol above says what they do."""
INLINED = {"path_of_q", "q_of_path"}
"""Inverse of each other, one formula each, beside the loop that uses them."""


def silent(source: str) -> list[str]:
    """Names in a module that are public and have no docstring."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else []
        methods = [m for m in members if isinstance(m, ast.FunctionDef) and m.name not in INHERITED]
        for one in [*([node] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []), *methods]:
            if not one.name.startswith("_") and one.name not in INLINED and not ast.get_docstring(one):
                found.append(one.name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_everything_public_has_a_docstring(path: Path):
    assert silent(path.read_text()) == []


def test_what_says_nothing_is_found():
    source = (
        'def f(): pass\nclass A:\n  "A."\n  def g(self): pass\n  def _h(self): pass\nclass _B:\n  def k(self): pass\n'
    )
    assert silent(source) == ["the module", "f", "g"]
