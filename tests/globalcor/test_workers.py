"""Chunks that fail, and workers that die."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mucal.globalcor import accumulate

from .conftest import CHUNKS, Sample, content


class Fails(Sample):
    """Fails for some rows: always, or until a file exists."""

    def __init__(self, registry, row: int, until: Path | None = None, kill: bool = False) -> None:
        super().__init__(registry)
        self.row, self.until, self.kill = row, until, kill

    def __call__(self, chunk):
        if chunk.start <= self.row < chunk.stop and (self.until is None or not self.until.exists()):
            if self.until is not None:
                self.until.touch()
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError(f"row {self.row}")
        return super().__call__(chunk)


def test_a_chunk_that_fails_once_is_tried_again(registry, tmp_path):
    told = []
    found = accumulate(Fails(registry, 40, tmp_path / "once"), CHUNKS, registry, tell=told.append)
    assert found.failed == ()
    assert told[1].attempts == ("MemoryError: row 40",)
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)


def test_a_killed_worker_costs_nothing(registry, tmp_path):
    produce = Fails(registry, 40, tmp_path / "once", kill=True)
    found = accumulate(produce, CHUNKS, registry, workers=partial(ProcessPoolExecutor, 2))
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)


def test_a_chunk_that_always_fails_is_named_and_the_others_are_kept(registry):
    found = accumulate(Fails(registry, 40), CHUNKS, registry)
    assert found.failed == ("chunk/1",)
    assert found.ledger.used == 270


class OnlySmall(Sample):
    def __call__(self, chunk):
        if chunk.number == 2 and chunk.stop - chunk.start > 15:
            raise MemoryError
        return super().__call__(chunk)


def test_a_chunk_too_large_for_a_worker_is_halved_to_the_same_bytes(registry, tmp_path):
    found = accumulate(OnlySmall(registry), CHUNKS, registry)
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)
