"""Chunks made by workers, handed on in order, each exactly once."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, replace

import numpy as np

from mucal.refit import ProfiledBlocks

Produce = Callable[["Chunk"], ProfiledBlocks]
MakeExecutor = Callable[[], Executor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows start .. stop of a sample, number `number` of its chunks."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A chunk and its blocks, or what went wrong.

    attempts : what each try said, if some failed
    """

    chunk: Chunk
    blocks: ProfiledBlocks | None
    attempts: tuple[str, ...] = ()


def divide(n: int, size: int) -> tuple[Chunk, ...]:
    """n rows in chunks of `size`."""
    return tuple(Chunk(number=i, start=at, stop=min(at + size, n)) for i, at in enumerate(range(0, n, size)))


def in_order(
    produce: Produce, chunks: Sequence[Chunk], workers: MakeExecutor | None = None, *, ahead: int = 4, retries: int = 1
) -> Iterator[Made]:
    """The blocks of the chunks, in the order of the chunks, at most `ahead` of them held.

    A chunk that fails is tried again, then in two halves; then it is handed on without blocks.

    workers : makes an executor, as `lambda: ProcessPoolExecutor(2)` or `client.get_executor` of dask.distributed; a new
              one is made if it breaks, as when a worker is killed.  None: in this process
    """
    if workers is None:
        for chunk in chunks:
            yield _rescued(produce, chunk, (), retries)
        return
    pool = _Pool(workers)
    waiting: deque[tuple[Chunk, Future[ProfiledBlocks]]] = deque()
    try:
        rest = deque(chunks)
        while rest or waiting:
            while rest and len(waiting) < ahead:
                chunk = rest.popleft()
                waiting.append((chunk, pool.submit(produce, chunk)))
            chunk, future = waiting.popleft()
            try:
                yield Made(chunk=chunk, blocks=future.result())
            except BrokenExecutor:  # by which of them is not known: this one alone first, then the others
                pool.renew()
                others = [one for one, _ in waiting]
                waiting.clear()
                rest.extendleft(reversed(others))
                yield _rescued(pool.alone(produce), chunk, (), retries)
            except Exception as error:
                yield _rescued(pool.alone(produce), chunk, (_sentence(error),), retries)
    finally:
        for _, future in waiting:
            future.cancel()
        pool.close()


class _Pool:
    """An executor that is made again when it breaks."""

    def __init__(self, make: MakeExecutor) -> None:
        self.make = make
        self.executor = make()

    def submit(self, produce: Produce, chunk: Chunk) -> "Future[ProfiledBlocks]":
        try:
            return self.executor.submit(produce, chunk)
        except BrokenExecutor:
            self.renew()
            return self.executor.submit(produce, chunk)

    def alone(self, produce: Produce) -> Produce:
        """The function run by a worker while nothing else is."""

        def one(chunk: Chunk) -> ProfiledBlocks:
            try:
                return self.submit(produce, chunk).result()
            except BrokenExecutor:
                self.renew()
                raise

        return one

    def renew(self) -> None:
        self.close()
        self.executor = self.make()

    def close(self) -> None:
        self.executor.shutdown(wait=False)


def _rescued(produce: Produce, chunk: Chunk, attempts: tuple[str, ...], retries: int) -> Made:
    """A chunk tried until it works, `retries` times after the first; then in halves."""
    while len(attempts) <= retries:
        try:
            return Made(chunk=chunk, blocks=produce(chunk), attempts=attempts)
        except Exception as error:
            attempts = (*attempts, _sentence(error))
    middle = (chunk.start + chunk.stop) // 2
    if middle == chunk.start:
        return Made(chunk=chunk, blocks=None, attempts=attempts)
    halves = []
    for part in (replace(chunk, stop=middle), replace(chunk, start=middle)):
        try:
            halves.append(produce(part))
        except Exception as error:
            return Made(chunk=chunk, blocks=None, attempts=(*attempts, _sentence(error)))
    return Made(chunk=chunk, blocks=joined(halves), attempts=attempts)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def joined(parts: Sequence[ProfiledBlocks]) -> ProfiledBlocks:
    """The candidates of several blocks of one registry, one after the other."""

    def offsets(name: str) -> np.ndarray:
        steps = [np.diff(getattr(part, name)) for part in parts]
        return np.concatenate([[0], np.cumsum(np.concatenate(steps))]).astype(np.int64)

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return ProfiledBlocks(
        digest=parts[0].digest, candidate=whole("candidate"), label_offsets=offsets("label_offsets"),
        label=whole("label"), gradient=whole("gradient"), n_rows=whole("n_rows"),
        factor_offsets=offsets("factor_offsets"), factor=whole("factor"), chi2=whole("chi2"), weight=whole("weight"),
        ndof=whole("ndof"),
    )  # fmt: skip
