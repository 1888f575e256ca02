"""Bins of the channels: where reconstructed muons and pairs are counted, and cells of what was generated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges
from mucal.theory.boson_pt import Z_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Binning:
    """Axes of a histogram; bins are [low, high), flat with the last axis running fastest.

    axes  : names
    edges : of each axis, strictly increasing
    """

    axes: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.edges):
            raise ValueError(f"{len(self.axes)} axis names for {len(self.edges)} axes")
        for name, edges in zip(self.axes, self.edges, strict=True):
            check_edges(f"edges of axis '{name}'", edges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def n_bins(self) -> int:
        """Bins in all."""
        return int(np.prod(self.shape))

    def index(self, values: Sequence[FloatArray]) -> IntArray:
        """Flat bin of each event, -1 outside (and for NaN).

        values : one array (N,) an axis
        """
        flat = np.zeros(np.shape(values[0]), dtype=np.int64)
        inside = np.ones(flat.shape, dtype=bool)
        for value, edges in zip(values, self.edges, strict=True):
            at = np.searchsorted(np.array(edges), value, side="right") - 1
            inside &= (value >= edges[0]) & (value < edges[-1])
            flat = flat * (len(edges) - 1) + at
        return np.where(inside, flat, -1)

    def along(self, axis: str) -> IntArray:
        """(B,) index along one axis of every flat bin."""
        return np.unravel_index(np.arange(self.n_bins), self.shape)[self.axes.index(axis)].astype(np.int64)

    def centres(self, axis: str) -> FloatArray:
        """(B,) centre along one axis of every flat bin."""
        edges = np.array(self.edges[self.axes.index(axis)])
        result: FloatArray = (0.5 * (edges[1:] + edges[:-1]))[self.along(axis)]
        return result


def containing_bins(outer: FloatArray, inner: FloatArray, what: str = "calibration") -> IntArray:
    """The bin of `outer`, edges of a `what`, that each bin of `inner` lies in.

    Raises ValueError if one lies in two.
    """
    index = np.searchsorted(outer, inner[:-1] + 1e-9, side="right") - 1
    inside = (index >= 0) & (index < outer.size - 1)
    if not np.all(inside) or np.any(inner[1:] > outer[np.minimum(index + 1, outer.size - 1)] + 1e-9):
        raise ValueError(
            f"the histogram's bins of eta do not lie within those of the {what} ({outer.size - 1} from "
            f"{outer[0]:g} to {outer[-1]:g}); choose edges that include the {what}'s"
        )
    return index.astype(np.int64)


def _steps(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(float(x) for x in np.round(np.linspace(low, high, count + 1), 10))


_CHARGE: Final = (-2.0, 0.0, 2.0)
_ETA: Final = _steps(-2.4, 2.4, 48)
_MASS: Final = (60.0, 70.0, 75.0, 78.0, 80.0, 82.0, *map(float, range(84, 99)), 100.0, 102.0, 105.0, 110.0, 120.0)
_MAX_ETA: Final = (-2.4, -2.0, -1.6, -1.4, -1.2, -1.0, -0.6, 0.0, 0.6, 1.0, 1.2, 1.4, 1.6, 2.0, 2.4)

_PAIR_Y: Final = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.8, 2.5)

_BOSON_PT: Final = (0.0, 2.0, 4.0, 6.0, 8.0, 9.7, 12.4, 15.0, 18.0, 21.4, 27.0, 34.0, 50.0, 100.0)
"""Of those of `CELLS`, so that variations of generated bosons are exact."""

CHANNELS: Final[Mapping[str, Binning]] = {
    "w": Binning(axes=("charge", "eta", "pt"), edges=(_CHARGE, _ETA, _steps(26.0, 56.0, 30))),
    "wlike": Binning(axes=("charge", "eta", "pt"), edges=(_CHARGE, _ETA, _steps(26.0, 60.0, 34))),
    "dilepton": Binning(axes=("mass", "max_eta"), edges=(_MASS, _MAX_ETA)),
    "kinematics": Binning(
        axes=("pair_pt", "pair_y"), edges=((*Z_STEPS, 100.0), (*(-y for y in _PAIR_Y[:0:-1]), *_PAIR_Y))
    ),
    "boson_w": Binning(axes=("charge", "boson_pt"), edges=(_CHARGE, _BOSON_PT)),
    "boson_z": Binning(axes=("boson_pt",), edges=(_BOSON_PT,)),
}
"""The channels of arXiv:2412.13872: 2880, 3264, 350 and 800 bins, and generated bosons; pT and mass in GeV."""

CELLS: Final = Binning(
    axes=("boson_pt", "boson_y"),
    edges=(
        (*map(float, range(10)), 9.7, 11.0, 12.4, 14.0, 15.0, 16.0, 18.0, 20.0, 21.4, 24.0, 27.0, 29.5, 34.0, 40.0,
         50.0, 60.0, 100.0, np.finfo(float).max),
        (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.2, 2.4, 2.7, 3.0, 3.4, np.finfo(float).max),
    ),
)  # fmt: skip
"""Cells of the boson's pT (GeV) and |y|; their edges include those of all published bins of pT and |y|."""
