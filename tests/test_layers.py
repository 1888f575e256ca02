"""Imports point up the list of rooms and never down."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mucal"

# Rooms on one line do not know each other; a room may import any line above its own.
LAYERS = [
    ["units", "errors"],
    ["arrays", "ledger"],
    ["store"],
    ["numerics"],
    ["track", "detector", "theory"],
    ["propagation"],
    ["refit"],
    ["globalcor", "massfit", "efficiency"],
    ["scale"],
    ["calibration"],
    ["templates"],
    ["likelihood"],
    ["wmass"],
    ["io", "simulation", "plot"],
    ["report"],
    ["workflow"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def rooms_imported(source: str) -> set[str]:
    """The rooms of mucal named by any import statement, also those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mucal.")}
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"relative import in line {node.lineno}; imports are absolute")
        elif isinstance(node, ast.ImportFrom) and node.module == "mucal":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mucal."):
            found.add(node.module.split(".")[1])
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_up_the_list(path: Path):
    room = room_of(path)
    assert room in LEVEL, f"{room} is not a room of the list"
    wrong = {other for other in rooms_imported(path.read_text()) if other != room and LEVEL[other] >= LEVEL[room]}
    assert not wrong, f"{room} must not know {sorted(wrong)}"


def test_a_downward_import_is_found():
    assert rooms_imported(
        "def f():\n    from mucal.cli import main\nimport mucal.io.tables\nfrom mucal import plot"
    ) == {
        "cli",
        "io",
        "plot",
    }


def test_no_room_is_a_drawer():
    names = {part.removesuffix(".py") for p in FILES for part in p.relative_to(PACKAGE).parts}
    assert not names & {"utils", "util", "helpers", "common", "base", "misc"}
