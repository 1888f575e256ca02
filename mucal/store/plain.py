"""Values that JSON can say, there and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain_values(value: Any, name: str) -> Any:
    """JSON values; floats that JSON does not know are spelt out.  Raises TypeError for anything else."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if np.isfinite(number) else {"float": repr(number)}
    if isinstance(value, tuple | list):
        return [plain_values(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_values(item, f"{name}.{key}") for key, item in value.items()}
    raise TypeError(f"{name} is a {type(value).__name__}; a result holds arrays, results, text, numbers and mappings")


def from_plain(value: Any) -> Any:
    """The inverse of `plain_values`; sequences come back as tuples."""
    if isinstance(value, dict):
        if list(value) == ["float"]:
            return float(value["float"])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    return value
