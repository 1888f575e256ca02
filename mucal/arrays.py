"""Array types, and the one check every table makes: that its arrays have the shapes its docstring states."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LAST_BITS: Final = 4
"""Units in the last place by which one edge, computed in two ways, may differ from itself."""


def check_shapes(table: object, **expected: tuple[int, ...]) -> None:
    """Every named array of `table` has the expected shape.

    Raises ValueError that names the table, the array and both shapes.
    """
    for name, shape in expected.items():
        found = np.shape(getattr(table, name))
        if found != shape:
            raise ValueError(f"{type(table).__name__}.{name} has shape {found}, expected {shape}")


def check_edges(name: str, edges: Any) -> None:
    """Bin edges are one-dimensional, finite and strictly increasing.

    Raises ValueError with the first offending pair.
    """
    array = np.asarray(edges, dtype=float)
    if array.ndim != 1 or array.size < 2:
        raise ValueError(f"{name} has shape {array.shape}, expected at least two bin edges in one dimension")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}[{int(np.argmin(np.isfinite(array)))}] is not finite")
    steps = np.diff(array)
    if not np.all(steps > 0):
        i = int(np.argmin(steps > 0))
        raise ValueError(
            f"{name} must increase strictly: {name}[{i}] = {array[i]!r}, {name}[{i + 1}] = {array[i + 1]!r}"
        )


def same_edges(one: Any, other: Any) -> bool:
    """Whether two lists of bin edges mean the same bins: as many, and each alike to the last four bits.

    An edge near 0 counts as alike within the last bits of the widest edge: -2.4 + 24 x 0.1 is not 0.
    """
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if first.shape != second.shape:
        return False
    scale = np.maximum(np.abs(first), np.abs(second))
    spacing = np.spacing(np.where(scale < np.max(scale, initial=0.0) * 1e-9, np.max(scale, initial=0.0), scale))
    return bool(np.all(np.abs(first - second) <= LAST_BITS * spacing))
