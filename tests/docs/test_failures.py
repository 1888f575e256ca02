"""docs/failures.md names every kind of error, every exit code and every status that the code has, and no other."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from mucal.errors import MucalError, StatusEnum

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "failures.md").read_text()
SOURCES = {path: path.read_text() for path in sorted((TOP / "mucal").rglob("*.py"))}
ERRORS = {"MucalError", *(cls.__name__ for cls in MucalError.__subclasses__())}
KIND = re.compile(r"(input|config|usage|verify|resource)\.[a-z_]+")


def kinds_in(source: str) -> set[str]:
    """What errors are called in a module: literals given as kind, and literals that can be nothing else."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            kinds = [keyword.value for keyword in node.keywords if keyword.arg == "kind"] if name in ERRORS else []
            found |= {kind.value for kind in kinds if isinstance(kind, ast.Constant)}
            found |= {
                value.value
                for value in [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "kind")]
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and KIND.fullmatch(value.value)
            }
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            found |= {e.value for e in node.value.elts if isinstance(e, ast.Constant) and KIND.fullmatch(str(e.value))}
    return found


KINDS = set().union(*map(kinds_in, SOURCES.values()))
ROWS = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (.+ \| .+) \|$", PAGE, re.MULTILINE))
STATUSES = sorted(
    {
        f"{path.relative_to(TOP).with_suffix('').as_posix().replace('/', '.')}:{node.name}"
        for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "StatusEnum" for base in node.bases)
    }
)


def test_every_kind_of_error_has_its_remedy():
    missing = sorted(KINDS - ROWS.keys())
    assert not missing, f"docs/failures.md has no row '| `KIND` | found | do |' for {', '.join(missing)}"


def test_every_error_that_is_raised_names_its_kind():
    without = [
        f"{path.relative_to(TOP)}:{node.lineno}"
        for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
        and node.args and not any(keyword.arg in ("kind", None) for keyword in node.keywords)
    ]  # fmt: skip
    assert without == []


def test_no_row_is_left_of_an_error_that_is_gone():
    assert sorted(ROWS.keys() - KINDS) == []


def test_the_kinds_of_this_page_are_found_where_they_are_hidden():
    hidden = (
        'def f():\n  g("x", "input.field_gap")\n  return "a", "config.bad_value"\nraise InputError("x", kind="a.b")'
    )
    assert kinds_in(hidden) == {"input.field_gap", "config.bad_value", "a.b"}


@pytest.mark.parametrize("cls", MucalError.__subclasses__(), ids=lambda cls: cls.__name__)
def test_every_exit_code_stands_beside_its_exception(cls: type[MucalError]):
    assert re.search(rf"^\| {cls.exit_code} \| `{cls.__name__}` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("name", STATUSES)
def test_every_status_stands_with_its_sentence(name: str):
    module, _, enum = name.partition(":")
    statuses: type[StatusEnum] = getattr(import_module(module), enum)
    section = PAGE.partition(f"(`{module.removeprefix('mucal.')}.{enum}`)")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", section.replace("\\|", "/"), re.MULTILINE)
    assert rows == [(str(s.value), s.name, s.sentence.replace("|", "/")) for s in statuses]
