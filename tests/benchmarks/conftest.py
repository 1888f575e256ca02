"""The table of benchmarks: rows that tests record, printed as Markdown when all have run."""

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage at several sizes.

    stage   : what was timed
    unit    : what its size counts
    sizes   : amounts of work
    seconds : processor seconds of each
    peer    : what the same work was compared with, in turns
    ratios  : seconds of the peer over ours, at each size
    """

    stage: str
    unit: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    peer: str
    ratios: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Exponent p of seconds ~ size^p."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])

    def markdown(self) -> str:
        """A line of the table."""
        sizes, times = " / ".join(f"{n:,}".replace(",", " ") for n in self.sizes), " / ".join(map(_ms, self.seconds))
        ratios = " / ".join(f"{ratio:.3g}" for ratio in self.ratios)
        return f"| {self.stage} | {sizes} {self.unit} | {times} | {self.growth:.2f} | {self.peer} | {ratios} |"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture
def table(request: pytest.FixtureRequest) -> list[Row]:
    """Where a benchmark puts its row."""
    return request.config.stash[ROWS]


@pytest.fixture
def make_row() -> type[Row]:
    return Row


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows:
        terminalreporter.write_line("")
        terminalreporter.write_line("| stage | sizes | ms of processor time | growth | peer | peer over ours |")
        terminalreporter.write_line("|---|---|---|---|---|---|")
        for row in rows:
            terminalreporter.write_line(row.markdown())
