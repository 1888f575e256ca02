"""Array types, and the one check every table makes: that its arrays have the shapes its docstring states."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


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
