"""Distortions to inject: simple shapes in eta, whose recovery tells what a calibration can and cannot see."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.numerics import normal
from mucal.scale import ScaleTable


def _spike(x: FloatArray) -> FloatArray:
    shape = np.zeros_like(x)
    shape[x.size // 3] = 1.0
    return shape


_SHAPES: Final[Mapping[str, Callable[[FloatArray], FloatArray]]] = {
    "none": np.zeros_like,
    "uniform": np.ones_like,
    "sine": lambda x: np.sin(2.0 * x),
    "odd": lambda x: x / np.max(np.abs(x)),
    "spike": _spike,
}
PATTERNS: Final = (*_SHAPES, "random")


def injected_table(
    pattern: str, eta_edges: FloatArray, *, A: float = 1e-3, e: float = 4e-3, M: float = 5e-5, seed: int = 0
) -> ScaleTable:
    """A distortion of one shape in eta, constant in each bin, with no errors.

    pattern   : "none", "uniform", "sine" (sin 2 eta), "odd" (eta), "spike" (one bin), "random" (normal, per parameter)
    eta_edges : (B+1,)
    A, e, M   : sizes (-, GeV, 1/GeV) that multiply the shape
    seed      : of the pattern "random"

    Raises ConfigError for an unknown pattern.
    """
    if pattern not in PATTERNS:
        raise ConfigError(
            f"no injection pattern '{pattern}'; the nearest are {', '.join(nearest(pattern, PATTERNS) or PATTERNS)}",
            kind="config.unknown_pattern",
            where={"known": ", ".join(PATTERNS)},
        )
    edges = np.asarray(eta_edges, dtype=float)
    centres = 0.5 * (edges[1:] + edges[:-1])
    if pattern == "random":
        shapes = [normal(seed, f"injected {name}", np.arange(centres.size)) for name in "AeM"]
    else:
        shapes = [_SHAPES[pattern](centres)] * 3
    return ScaleTable(
        eta_edges=edges, A=A * shapes[0], e=e * shapes[1], M=M * shapes[2], cov=np.zeros((3 * centres.size,) * 2)
    )
