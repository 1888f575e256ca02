"""Columns of muons as users hold them (numpy, awkward, pandas), flattened for arithmetic and put back in shape.

awkward and pandas are used only if the caller has imported them already: a column of theirs cannot exist otherwise.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray

Restore = Callable[[FloatArray], Any]


def flatten(columns: Mapping[str, Any]) -> tuple[dict[str, npt.NDArray[Any]], Restore]:
    """One-dimensional arrays of equal length, and the function that puts such an array into the columns' container.

    columns : name -> numbers, lists, numpy arrays, awkward arrays or pandas Series; the first one fixes the shape.
              A column with one value per event is repeated for the muons of the event.  Missing values become NaN
              (in integer columns 0: the muon's other missing values tell).

    Raises ValueError if the columns do not fit together or do not hold numbers.
    """
    if any(_is(value, "awkward", "Array") for value in columns.values()):
        return _flatten_awkward(columns)
    first = next(iter(columns.values()))
    arrays = {name: _numbers(name, value) for name, value in columns.items()}
    if _is(first, "pandas", "Series"):
        _check_indices(columns, first)
    return _flatten_numpy(arrays, first)


def local_index(column: Any) -> Any:
    """The position of each muon in its event: 0, 1, … along the innermost axis of a jagged or two-dimensional column.

    Raises ValueError for a flat column, where the events are not known.
    """
    if _is(column, "awkward", "Array") and column.ndim > 1:
        return sys.modules["awkward"].local_index(column, axis=-1)
    if not _is(column, "pandas", "Series") and np.ndim(column) > 1:
        return np.broadcast_to(np.arange(np.shape(column)[-1]), np.shape(column))
    raise ValueError(
        "pt is a flat column, so the muons of one event cannot be told apart and would share a random number; "
        "pass muon=, the number of each muon in its event"
    )


def _is(value: Any, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _numbers(name: str, value: Any) -> npt.NDArray[Any]:
    if _is(value, "pandas", "Series"):
        numpy_dtype = isinstance(value.dtype, np.dtype) and value.dtype.kind in "iuf"
        array = value.to_numpy() if numpy_dtype else _nullable(name, value)
    else:
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}, expected numbers")
    return _fill(array)


def _nullable(name: str, series: Any) -> npt.NDArray[Any]:
    """A Series of an extension type (nullable, arrow) as numbers; one of text or objects is refused."""
    kind = getattr(series.dtype, "kind", "O")
    if kind not in "iuf":
        raise ValueError(f"{name} has dtype {series.dtype}, expected numbers")
    if kind in "iu" and not series.isna().any():
        return np.asarray(series.to_numpy(dtype=np.int64))
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def _fill(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        return np.asarray(array.filled(np.nan if array.dtype.kind == "f" else 0))
    return array


def _check_indices(columns: Mapping[str, Any], first: Any) -> None:
    for name, value in columns.items():
        if _is(value, "pandas", "Series") and not value.index.equals(first.index):
            raise ValueError(f"{name} and {next(iter(columns))} have different pandas indices; align them first")


def _flatten_numpy(arrays: Mapping[str, npt.NDArray[Any]], first: Any) -> tuple[dict[str, npt.NDArray[Any]], Restore]:
    shape = max((array.shape for array in arrays.values()), key=len)
    flat = {}
    for name, array in arrays.items():
        if array.shape not in ((), shape) and array.shape != shape[: array.ndim]:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        expanded = array.reshape(array.shape + (1,) * (len(shape) - array.ndim))
        flat[name] = np.broadcast_to(expanded, shape).reshape(-1)

    def restore(values: FloatArray) -> Any:
        if _is(first, "pandas", "Series"):
            return type(first)(values, index=first.index, name=first.name)
        return values.reshape(shape) if shape else float(values[0])

    return flat, restore


def _flatten_awkward(columns: Mapping[str, Any]) -> tuple[dict[str, npt.NDArray[Any]], Restore]:
    ak = sys.modules["awkward"]
    given = [ak.from_regular(v, axis=None) if isinstance(v, ak.Array) else np.asarray(v) for v in columns.values()]
    together = ak.broadcast_arrays(*given)
    shape = together[0]
    for axis in range(shape.ndim - 1):
        if ak.any(ak.is_none(shape, axis=axis), axis=None):
            raise ValueError(f"{next(iter(columns))} holds a missing list in place of an event; drop such events first")
    flat = {}
    for name, array in zip(columns, together, strict=True):
        values = ak.to_numpy(ak.ravel(array), allow_missing=True)
        if values.dtype.kind not in "iuf" and values.size:
            raise ValueError(f"{name} has dtype {values.dtype}, expected numbers")
        flat[name] = _fill(values)
    counts = [ak.to_numpy(ak.ravel(ak.num(shape, axis=axis))) for axis in range(1, shape.ndim)]

    def restore(values: FloatArray) -> Any:
        jagged = ak.Array(values)
        for count in reversed(counts):
            jagged = ak.unflatten(jagged, count)
        return jagged

    return flat, restore
