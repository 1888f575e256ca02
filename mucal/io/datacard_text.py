"""The text of a combine-style datacard: simple cards line by line, anything else refused with its line number."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from mucal.errors import InputError, nearest

EFFECTS: Final = ("lnN", "shape", "shapeN")
DIRECTIVES: Final = (*EFFECTS, "rateParam", "param", "autoMCStats", "group")
LARGEST: Final = 1e30
"""Events; beyond, squares leave the range of numbers."""
MAX_BYTES: Final = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: its number from 1, and its words."""

    number: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One nuisance: name, kind (of `EFFECTS`), and its word for each column, "-" for none."""

    name: str
    kind: str
    columns: tuple[str, ...]
    line: int


@dataclass(slots=True, kw_only=True)
class Card:
    """What a card says, by directive.

    counts             : imax, jmax, kmax -> number and line
    channels, observed : in order; counts, -1 for those of the histogram
    column_channels, column_processes, column_signal, rates : a column of the table each
    shapes             : (process, channel) -> file, nominal pattern, varied pattern
    rate_params        : (name, channel pattern, process pattern, start, line)
    params             : name -> (mean, sigma)
    auto_stats         : channel pattern -> threshold, with signals, line
    """

    path: Path
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    observed: tuple[float, ...] = ()
    column_channels: tuple[str, ...] = ()
    column_processes: tuple[str, ...] = ()
    column_signal: tuple[bool, ...] = ()
    rates: tuple[float, ...] = ()
    shapes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    rate_params: list[tuple[str, str, str, float, int]] = field(default_factory=list)
    params: dict[str, tuple[float, float]] = field(default_factory=dict)
    auto_stats: dict[str, tuple[float, bool, int]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def where(self, line: int | str) -> dict[str, str]:
        """The place of a line, as an error says it."""
        return {"file": f"{self.path}:{line}"}


def looks_like_card(text: str) -> bool:
    """Whether text starts as cards do: with imax, jmax or kmax, after comments."""
    first = next((line.split() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#-"), [""])
    return first[0] in ("imax", "jmax", "kmax", "shapes", "bin", "Combination")


def read_card(path: str | Path) -> Card:
    """A card's text, checked line by line.

    Raises InputError with file and line for what is not understood: nothing is skipped.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path.name} is no card: it has more than {MAX_BYTES} bytes", kind="datacard.size")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not text at byte {error.start}", kind="datacard.text", where={"file": path}
        ) from error
    card = Card(path=path)
    lines = list(_lines(text))
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        _read_line(card, line, following)
    _check(card)
    return card


def _read_line(card: Card, line: Line, following: Line | None) -> None:
    first = line.words[0]
    match first:
        case "imax" | "jmax" | "kmax":
            if len(line.words) > 1 and line.words[1] != "*":
                card.counts[first] = int(_number(card, line, line.words[1])), line.number
        case "bin":
            _bins(card, line, following)
        case "observation":
            card.observed = tuple(_events(card, line, word) for word in line.words[1:])
        case "process":
            _processes(card, line)
        case "rate":
            card.rates = tuple(_events(card, line, word) for word in line.words[1:])
        case "shapes":
            _shapes(card, line)
        case "Combination":  # the title that combineCards.py writes
            pass
        case _:
            _effect(card, line)


def _lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), start=1):
        words = tuple(line.split("#")[0].split())
        if words and set(words[0]) != {"-"}:
            yield Line(number=number, words=words)


def _bins(card: Card, line: Line, following: Line | None) -> None:
    """The first `bin` line names the channels, the second the columns."""
    if following is not None and following.words[0] == "observation":
        card.channels = line.words[1:]
    else:
        card.column_channels = line.words[1:]


def _processes(card: Card, line: Line) -> None:
    try:
        numbers = [int(word) for word in line.words[1:]]
    except ValueError:
        card.column_processes = line.words[1:]
        return
    card.column_signal = tuple(number <= 0 for number in numbers)


def _shapes(card: Card, line: Line) -> None:
    words = line.words[1:]
    if len(words) == 3 and words[2] == "FAKE":
        card.shapes[words[0], words[1]] = ("FAKE",)
        return
    if len(words) not in (4, 5) or any(":" in word for word in words[3:]):
        _refuse(card, line, "expected: shapes PROCESS CHANNEL FILE HISTOGRAM [VARIED]; workspaces are not read")
    card.shapes[words[0], words[1]] = words[2:]


def _effect(card: Card, line: Line) -> None:
    name, kind = line.words[0], line.words[1] if len(line.words) > 1 else ""
    if kind in EFFECTS:
        card.effects.append(Effect(name=name, kind=kind, columns=line.words[2:], line=line.number))
    elif kind == "rateParam":
        _rate_param(card, line)
    elif kind == "param":
        if len(line.words) != 4 or "/" in line.words[3]:
            _refuse(card, line, "expected: NAME param MEAN SIGMA")
        card.params[name] = _number(card, line, line.words[2]), _number(card, line, line.words[3])
    elif kind == "autoMCStats":
        more = [_number(card, line, word) for word in line.words[2:]]
        if not 1 <= len(more) <= 3 or (len(more) == 3 and more[2] != 1):
            _refuse(card, line, "expected: CHANNEL autoMCStats THRESHOLD [WITH_SIGNAL [1]]")
        card.auto_stats[name] = more[0], len(more) > 1 and more[1] != 0, line.number
    elif kind == "group":
        if len(line.words) < 4 or line.words[2] not in ("=", "+="):
            _refuse(card, line, "expected: NAME group = NUISANCE …")
        before = card.groups.get(name, ()) if line.words[2] == "+=" else ()
        card.groups[name] = (*before, *line.words[3:])
    else:
        close = nearest(kind, DIRECTIVES, 1)
        _refuse(card, line, f"'{kind or name}' is not read" + (f"; the nearest is '{close[0]}'" if close else ""))


def _rate_param(card: Card, line: Line) -> None:
    words = line.words
    if len(words) not in (5, 6) or (len(words) == 6 and not words[5].startswith("[")):
        _refuse(card, line, "expected: NAME rateParam CHANNEL PROCESS START [LOW,HIGH]; formulas are not read")
    card.rate_params.append((words[0], words[2], words[3], _number(card, line, words[4]), line.number))


def _check(card: Card) -> None:
    """The table is rectangular, and says what imax, jmax and kmax announce."""
    columns = len(card.column_channels)
    _same(card, "observation", card.observed, len(card.channels))
    for what, words in (
        ("process", card.column_processes),
        ("process numbers", card.column_signal),
        ("rate", card.rates),
    ):
        _same(card, what, words, columns)
    for effect in card.effects:
        if len(effect.columns) != columns:
            raise InputError(
                f"{effect.kind} '{effect.name}' has {len(effect.columns)} columns, the table has {columns}",
                kind="datacard.columns",
                where=card.where(effect.line),
            )
    if not columns or not card.channels:
        raise InputError(
            f"{card.path.name} has no table of channels, processes and rates", kind="datacard.structure",
            where={"file": card.path},
        )  # fmt: skip
    unknown = set(card.column_channels) - set(card.channels)
    if unknown:
        raise InputError(
            f"channel '{min(unknown)}' has no observation", kind="datacard.structure", where={"file": card.path}
        )
    found = {"imax": len(card.channels), "jmax": len(set(card.column_processes)) - 1, "kmax": len(card.effects)}
    for name, (count, number) in card.counts.items():
        # free and derived parameters may be counted by kmax or not
        if count != found[name] and not (name == "kmax" and count == found[name] + len(card.params)):
            raise InputError(
                f"{name} is {count}, but the card has {found[name]}",
                kind="datacard.count",
                where=card.where(number),
                do="correct the number or write *",
            )


def _same(card: Card, what: str, words: Sequence[object], expected: int) -> None:
    if len(words) != expected:
        raise InputError(
            f"'{what}' has {len(words)} columns, expected {expected}",
            kind="datacard.columns",
            where={"file": card.path},
        )


def _events(card: Card, line: Line, word: str) -> float:
    number = _number(card, line, word)
    if number < 0 and number != -1:
        _refuse(card, line, f"'{word}' events; expected at least 0, or -1 for the integral of a histogram")
    return number


def _number(card: Card, line: Line, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan  # larger than nothing
    if not abs(number) < LARGEST:
        _refuse(card, line, f"'{word}' is no number")
    return number


def _refuse(card: Card, line: Line, what: str) -> NoReturn:
    raise InputError(
        f"line {line.number}: {what}",
        kind="datacard.directive",
        where={**card.where(line.number), "line": " ".join(line.words)[:100]},
    )
