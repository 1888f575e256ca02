"""How many threads the compiled stages use."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Inside, compiled code and the mass fits run in at most so many threads; None leaves it at all cores.

    No result depends on the number.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(before if threads is None else min(threads, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def current() -> int:
    """How many threads that is now."""
    return int(numba.get_num_threads())
