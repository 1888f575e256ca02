"""Which flat bins fall together when a channel is projected onto some of its axes."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError, nearest
from mucal.likelihood.channel import Channel
from mucal.likelihood.model import Model
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(Result):
    """Sums of flat bins.

    row     : (B,)  where each flat bin is added, -1 if nowhere
    channel :       the axes that remain; its bins are the rows
    """

    row: IntArray
    channel: Channel

    def __post_init__(self) -> None:
        check_shapes(self, row=(self.row.size,))
        if self.row.size and not -1 <= self.row.min() <= self.row.max() < self.channel.n_bins:
            raise ValueError(f"Projection.row lies outside -1..{self.channel.n_bins - 1}")

    @property
    def n_rows(self) -> int:
        """R"""
        return self.channel.n_bins

    def sum(self, values: FloatArray) -> FloatArray:
        """(B, ...) -> (R, ...)"""
        kept = np.flatnonzero(self.row >= 0)
        out = np.zeros((self.n_rows, *values.shape[1:]))
        np.add.at(out, self.row[kept], values[kept])
        return out


def project(model: Model, channel: str, axes: tuple[str, ...] | None = None) -> Projection:
    """A channel projected onto some axes, in their order in the channel; onto all of them by default.

    Raises InputError for a channel or an axis that is not there.
    """
    names = [c.name for c in model.channels]
    found = model.channels[names.index(_one_of("channel", channel, names))]
    kept = [found.axes.index(_one_of("axis", a, found.axes)) for a in (found.axes if axes is None else axes)]
    kept = sorted(set(kept))
    if not kept:
        raise InputError(f"channel '{channel}' is projected onto no axis", kind="likelihood.projection")
    shape = [found.shape[i] for i in kept]
    at = np.unravel_index(np.arange(found.n_bins), found.shape)
    rows = np.ravel_multi_index([at[i] for i in kept], shape)
    row = np.full(model.n_bins, -1, dtype=np.int64)
    first = sum(c.n_bins for c in model.channels[: names.index(channel)])
    row[first : first + found.n_bins] = rows
    left = Channel(name=channel, axes=tuple(found.axes[i] for i in kept), edges=tuple(found.edges[i] for i in kept))
    return Projection(row=row, channel=left)


def _one_of(what: str, name: str, known: list[str] | tuple[str, ...]) -> str:
    if name not in known:
        close = ", ".join(f"'{n}'" for n in nearest(name, known))
        raise InputError(
            f"no {what} '{name}' in this model" + (f"; the nearest are {close}" if close else ""),
            kind="likelihood.projection",
            where={what: ", ".join(known)},
        )
    return name
