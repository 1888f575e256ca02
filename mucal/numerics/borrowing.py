"""The decorator of kernels that only borrow their arrays.

numba counts references to every array that a function receives or views, with atomic instructions; in a function of
many branches it cannot remove them, and in kernels of 50 ns they are two thirds of the time.  A kernel that creates no
array needs no counting: its caller holds the arrays.  `_nrt=False` turns the counting off, and numba refuses to compile
such a kernel if it creates an array.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

INDEX: Final = 0x3FFFFFFF
"""An index that a kernel computes, `& INDEX`: then the compiler knows that it is not negative and leaves out Python's
counting from the end, which doubles the cost of reading a table."""

_options: Final[dict[str, Any]] = {"cache": True, "_nrt": False}


def borrowing(function: F) -> F:
    """The function compiled, without reference counts; it must not create arrays."""
    compiled: F = njit(**_options)(function)
    return compiled


def inlined(function: F) -> F:
    """As `borrowing`, and put into its callers: for a few lines that are handed several arrays, seven words each."""
    compiled: F = njit(forceinline=True, **_options)(function)
    return compiled
