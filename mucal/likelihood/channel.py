"""One channel: a histogram's axes, and how its bins are named to people."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import check_edges
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(Result):
    """The axes of one histogram, whose bins are flattened with the last axis running fastest.

    name  : of the channel
    axes  : name of each axis
    edges : bin edges of each axis, strictly increasing
    """

    name: str
    axes: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.edges) or not self.axes:
            raise ValueError(f"channel '{self.name}' has {len(self.axes)} axis names for {len(self.edges)} axes")
        for axis, edges in zip(self.axes, self.edges, strict=True):
            check_edges(f"edges of axis '{axis}' of channel '{self.name}'", edges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def n_bins(self) -> int:
        """Bins in all."""
        return int(np.prod(self.shape))

    def bin_text(self, flat: int) -> str:
        """Where a flat bin lies, as ``bin 7: eta 0.1..0.2, pt 26..27``."""
        at = np.unravel_index(flat, self.shape)
        places = (f"{a} {e[int(i)]:g}..{e[int(i) + 1]:g}" for a, e, i in zip(self.axes, self.edges, at, strict=True))
        return f"bin {flat}: {', '.join(places)}"
