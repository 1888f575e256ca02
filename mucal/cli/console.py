"""What a user sees: progress bars on a terminal, plain lines in a pipe, one JSON object when asked."""

import json
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.progress import Progress

    from mucal.workflow import Event, Tell

_ASKED_TO_STOP: Final = threading.Event()

QUIET_SECONDS: Final = 10.0
"""A piped command reports its progress this often, no more."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end a command as KeyboardInterrupt.

    An exception raised at an unlucky moment, as inside a callback of a library, is swallowed there: so the wish is kept
    and raised again with the next thing that a stage tells.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _ASKED_TO_STOP.clear()
    with suppress(ValueError):  # not in the main thread: whoever started it handles signals
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _stop)
    try:
        yield
    finally:
        with suppress(ValueError, TypeError):
            for number, handler in before.items():
                signal.signal(number, handler)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    _ASKED_TO_STOP.set()
    raise KeyboardInterrupt


def stop_was_asked() -> bool:
    """Whether a signal asked the command that runs, or ran last, to stop."""
    return _ASKED_TO_STOP.is_set()


def _heed() -> None:
    if stop_was_asked():
        raise KeyboardInterrupt


@contextmanager
def listening(*, as_json: bool = False) -> Iterator["Tell"]:
    """A listener for the stages; with JSON on standard output, everything else goes to standard error."""
    if sys.stderr.isatty() and sys.stdout.isatty() and not as_json:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, transient=True) as bars:
            yield _Terminal(bars).tell
    else:
        yield _Plain(as_json).tell


class _Terminal:
    """One bar for the stage that runs; lines scroll above it."""

    def __init__(self, bars: "Progress") -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def tell(self, event: "Event") -> None:
        """Print a line above the bars, or move the bar of the stage."""
        _heed()
        if event.text:
            self.bars.console.print(f"{event.stage:<22} {event.text}", markup=False, highlight=False, soft_wrap=True)
            return
        if event.stage not in self.tasks:
            for task in self.tasks.values():
                self.bars.remove_task(task)
            self.tasks = {event.stage: self.bars.add_task(event.stage, total=event.total)}
        self.bars.update(self.tasks[event.stage], completed=event.done, total=event.total)


class _Plain:
    """Lines as they come; progress of long stages every few seconds."""

    def __init__(self, to_error: bool) -> None:
        self.to_error = to_error
        self.last = time.monotonic()

    def tell(self, event: "Event") -> None:
        """Print a line, or how far the stage is, if it is silent for long."""
        _heed()
        if event.text:
            click.echo(f"{event.stage:<22} {event.text}", err=self.to_error)
        elif time.monotonic() - self.last > QUIET_SECONDS:
            self.last = time.monotonic()
            of = f" of {event.total}" if event.total is not None else ""
            click.echo(f"{event.stage:<22} {event.done}{of} {event.unit}", err=self.to_error)


def finish(plain: Mapping[str, Any], lines: list[str], *, as_json: bool) -> None:
    """The end of a command: its result as JSON, or as lines for people."""
    if as_json:
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False, default=str))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines:
            for part in [line] if width is None else folded(line, width):
                click.echo(part)


def folded(line: str, width: int) -> list[str]:
    """A row of a table in a narrow terminal: its first cell on a line of its own, the others below where they fit.

    The others stay under each other, as all rows of a table have one length; anything else is left to the terminal.
    """
    cell = re.match(r"(\S+(?: \S+)*)?\s{2,}", line)
    if len(line) <= width or cell is None or cell.end() < len(line) - width:
        return [line]
    first = cell[1] or ""
    rest = (" " * len(first) + line[len(first) :])[-width:]
    return [first, rest] if first else [rest]


def paths(texts: tuple[str, ...]) -> tuple[Path, ...]:
    """File names of the command line as paths."""
    return tuple(Path(text) for text in texts)
