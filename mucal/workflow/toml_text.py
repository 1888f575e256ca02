"""TOML with the line of every key: tomllib reads the values, a small scanner finds where each key stands.

A path is the key's dotted name, with a number for an element of an array: ``input.columns.pt``, ``spectra.0.window``.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mucal.errors import ConfigError

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PLAIN: Final = re.compile(r"[^,\]}\n#]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_AT: Final = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlText:
    """A configuration as it was read.

    name   : of the file, as the user gave it
    folder : against which relative file names in it are meant
    values : plain values
    lines  : path of a key -> its line
    """

    name: str
    folder: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, path: str) -> str:
        """`file.toml:14` of a key, or of the nearest enclosing one that is written down."""
        parts = path.split(".")
        for n in range(len(parts), 0, -1):
            if (key := ".".join(parts[:n])) in self.lines:
                line = self.lines[key]
                return f"{self.name}:{line}" if line else "--set"
        return self.name


def read_toml(path: str | Path, settings: tuple[str, ...] = ()) -> TomlText:
    """A TOML file, with `settings` of the form ``a.b=value`` laid over it (the value is TOML; else it is text).

    Raises ConfigError for a missing file, a syntax error (with line and column) or a malformed setting.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the configuration cannot be read: {error.strerror}", kind="config.missing_file", where={"file": path}
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the configuration is not UTF-8 text: byte {error.start}",
            kind="config.syntax",
            where={"file": path},
            do="save it as UTF-8",
        ) from error
    return overlay(parse_toml(text, str(path), path.parent), settings)


def parse_toml(text: str, name: str, folder: Path) -> TomlText:
    """TOML text under a name; arguments and exceptions as for `read_toml`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        at = f":{found[1]}:{found[2]}" if found and found[1] else f":{text.count(chr(10)) + 1}"
        raise ConfigError(
            f"{name}{at} {_AT.sub('', str(error)).lower()}", kind="config.syntax", where={"file": f"{name}{at}"}
        ) from error
    return TomlText(name=name, folder=folder, values=values, lines=_Scanner(text.replace("\r\n", "\n")).lines)


def overlay(document: TomlText, settings: tuple[str, ...]) -> TomlText:
    """The document with ``a.b=value`` settings laid over it; a key set so has line 0."""
    values: dict[str, Any] = _copy(document.values)
    lines = dict(document.lines)
    for setting in settings:
        key, equals, written = setting.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise ConfigError(f"--set {setting} is not of the form key=value", kind="config.setting")
        try:
            value = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            value = written
        _put(values, parts, value, setting)
        lines = {k: v for k, v in lines.items() if not k.startswith(f"{'.'.join(parts)}.")}
        lines[".".join(parts)] = 0
    return TomlText(name=document.name, folder=document.folder, values=values, lines=lines)


def _put(values: dict[str, Any], parts: list[str], value: Any, setting: str) -> None:
    here: Any = values
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise ConfigError(
                    f"--set {setting}: '{part}' is not an element of {'.'.join(parts[:i])} (0 to {len(here) - 1})",
                    kind="config.setting",
                )
            index: Any = int(part)
        elif isinstance(here, dict):
            index = part
            if not last:
                here.setdefault(part, {})
        else:
            raise ConfigError(f"--set {setting}: {'.'.join(parts[:i])} is not a table", kind="config.setting")
        if last:
            here[index] = value
        else:
            here = here[index]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


class _Scanner:
    """Where the keys of a *valid* TOML text stand; the grammar is that of TOML 1.0 less everything that checks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[str, int] = {}
        self.elements: dict[str, int] = {}
        table = ""
        pos = self.blank(0)
        while pos < len(text):
            if text[pos] == "[":
                array = text.startswith("[[", pos)
                start = pos
                parts, pos = self.key(pos + 1 + array)
                pos += 1 + array
                table = self.named(parts, array)
                self.note(table, start)
            else:
                pos = self.pair(pos, table)
            pos = self.blank(pos)

    def note(self, path: str, pos: int) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, pos) + 1)

    def named(self, parts: list[str], array: bool) -> str:
        """The path of a table header; a part that is an array of tables stands for its last element."""
        path = ""
        for i, part in enumerate(parts):
            path = f"{path}.{part}" if path else part
            if array and i == len(parts) - 1:
                self.elements[path] = self.elements.get(path, -1) + 1
            if path in self.elements:
                path = f"{path}.{self.elements[path]}"
        return path

    def blank(self, pos: int) -> int:
        found = _BLANK.match(self.text, pos)
        return found.end() if found else pos

    def key(self, pos: int) -> tuple[list[str], int]:
        """A dotted key and the position after it and the blanks behind it."""
        parts: list[str] = []
        while True:
            pos = self.blank(pos)
            quoted = self.text[pos] in "\"'"
            found = (_STRING if quoted else _BARE).match(self.text, pos)
            if found is None:
                return parts, pos
            parts.append(found[0][1:-1] if quoted else found[0])
            pos = self.blank(found.end())
            if self.text[pos] != ".":
                return parts, pos
            pos += 1

    def pair(self, pos: int, table: str) -> int:
        """One `key = value`; the position after it."""
        start = pos
        parts, pos = self.key(pos)
        for n in range(1, len(parts) + 1):
            self.note(".".join(filter(None, [table, *parts[:n]])), start)
        return self.value(self.blank(pos + 1), ".".join(filter(None, [table, *parts])))

    def value(self, pos: int, path: str) -> int:
        """Where the value that begins at `pos` ends; elements of tables and lists are placed on the way."""
        opening = self.text[pos]
        if opening not in "[{":
            found = (_STRING if opening in "\"'" else _PLAIN).match(self.text, pos)
            return found.end() if found else pos + 1
        element, pos = 0, self.blank(pos + 1)
        while self.text[pos] not in "]}":
            if opening == "{":
                pos = self.pair(pos, path)
            else:
                self.note(f"{path}.{element}", pos)
                pos = self.value(pos, f"{path}.{element}")
                element += 1
            pos = self.blank(pos)
            if self.text[pos] == ",":
                pos = self.blank(pos + 1)
        return pos + 1
