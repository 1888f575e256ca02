"""Command lines and Python blocks of README and docs: commands and options exist, complete programs run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mucal.cli.program import program

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?:bash)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and arguments of `mucal`, of fenced and indented blocks."""
    for page in PAGES:
        text = page.read_text()
        indented = re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
        for line in [*"".join(FENCE.findall(text)).splitlines(), *indented]:
            if found := re.match(r"(?:.*&& )?mucal ([a-z].*?)(?:  #.*)?$", line):
                yield page.relative_to(TOP).as_posix(), found.group(1)


LINES = [pytest.param(line, id=f"{page}: {line}") for page, line in command_lines()]


def options_of(words: list[str]) -> tuple[set[str], list[str]]:
    """The options that the named command has, and the words after its name."""
    found: click.Command | None = program
    context = click.Context(program)
    while isinstance(found, click.Group):
        name, words = words[0], words[1:]
        found = found.get_command(context, name)
        assert found is not None, f"no command '{name}'"
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}, words


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_exists_with_its_options(line: str):
    options, words = options_of(shlex.split(line))
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= options, f"no option {', '.join(sorted(used - options))}"


def test_lines_of_commands_are_found():
    assert len(LINES) > 50


def test_the_program_of_how_to_fit_histograms_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    page = (TOP / "docs" / "how_to" / "histograms.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "histograms.md", "exec"), {})
    assert capsys.readouterr().out.startswith("r_Z = 1.0000 +- 0.0")
    assert (tmp_path / "model.h5").is_file()
