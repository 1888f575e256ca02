"""The table of benchmarks: rows that tests record, printed as Markdown when all have run; what a second core gives."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


ROUNDS = 7
EXPONENTS = np.linspace(0.0, 1.0, 50_000)


def _exponentials(n_threads: int, passes: int) -> None:
    """As many passes of numpy's exp, which lets go of the interpreter, shared among threads."""
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda _: [np.exp(EXPONENTS) for _ in range(passes // n_threads)], range(n_threads)))


def _second_core(work: Callable[[int], object]) -> tuple[float, float]:
    """Wall time with one thread over that with two: of work(n_threads), and of numpy's exp, which is the limit.

    exp takes as long as the work, so that other processes disturb both alike; all four in turns, medians.
    """

    def seconds(task: Callable[[int], object], n: int) -> float:
        start = time.perf_counter()
        task(n)
        return time.perf_counter() - start

    work(1)
    passes = int(100 * seconds(work, 1) / seconds(lambda n: _exponentials(n, 100), 1))
    tasks = [(task, n) for task in (work, lambda n: _exponentials(n, passes)) for n in (1, 2)]
    one, two, limit_one, limit_two = np.median([[seconds(*task) for task in tasks] for _ in range(ROUNDS)], axis=0)
    return float(one / two), float(limit_one / limit_two)


@pytest.fixture
def second_core() -> Callable[[Callable[[int], object]], tuple[float, float]]:
    """`_second_core`"""
    return _second_core


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows:
        terminalreporter.write_line("")
        terminalreporter.write_line("| stage | sizes | ms of processor time | growth | peer | peer over ours |")
        terminalreporter.write_line("|---|---|---|---|---|---|")
        for row in rows:
            terminalreporter.write_line(row.markdown())
