"""Pieces of work on threads, their results in order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run(work: Callable[[int], Any], n: int, n_threads: int) -> list[Any]:
    """work(0) .. work(n-1), in order, on some threads."""
    if n_threads == 1 or n == 1:
        return [work(i) for i in range(n)]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(work, range(n)))
