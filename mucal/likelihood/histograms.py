"""Histograms (hist, UHI: anything with axes, values and variances) and arrays, read into flat bins and log-ratios."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from mucal.arrays import FloatArray, same_edges
from mucal.errors import InputError
from mucal.likelihood.channel import Channel

SMALLEST_RATIO: Final = 1e-3
"""A variation that empties or flips a bin counts as this ratio to the nominal, as in the reference implementation."""

Negative = Literal["refuse", "zero"]
Templates = Mapping[str, Mapping[str, Any]]
"""channel -> process -> histogram, array of the channel's shape, or (for a variation) a factor on the nominal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One parameter that changes shapes: nuisance, or parameter of interest like a mass.

    name        : of the parameter, one unit of which is `up`
    up          : templates at +1
    down        : templates at -1; None mirrors `up` in the logarithm
    constrained : with a unit Gaussian around 0, or free
    groups      : groups in which its impact is counted
    additive    : adds events to the template, linear in the parameter, instead of multiplying it
    """

    name: str
    up: Templates
    down: Templates | None = None
    constrained: bool = True
    groups: tuple[str, ...] = ()
    additive: bool = False

    def __str__(self) -> str:
        where = "; ".join(f"{channel}: {', '.join(processes)}" for channel, processes in self.up.items())
        kind = "additive " if self.additive else ""
        sides = "one" if self.down is None else "two"
        return f"{kind}{'constrained' if self.constrained else 'free'} {sides}-sided, {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominal:
    """channels; processes; nominal and variances (B, P); where each channel's bins begin"""

    channels: tuple[Channel, ...]
    processes: tuple[str, ...]
    nominal: FloatArray
    variance: FloatArray
    start: Mapping[str, int] = field(default_factory=dict)


def read_nominal(nominal: Templates, negative: Negative) -> Nominal:
    """Histograms of all channels as flat bins, contents and variances of each process.

    Raises InputError for a histogram of another shape or with other edges than its channel.
    """
    channels = tuple(_channel(name, next(iter(histograms.values()))) for name, histograms in nominal.items())
    processes = tuple(dict.fromkeys(process for histograms in nominal.values() for process in histograms))
    n_bins = sum(channel.n_bins for channel in channels)
    values, variance, start = np.zeros((n_bins, len(processes))), np.zeros((n_bins, len(processes))), {}
    at = 0
    for channel in channels:
        start[channel.name] = at
        rows = slice(at, at + channel.n_bins)
        for process, histogram in nominal[channel.name].items():
            p = processes.index(process)
            values[rows, p] = _values(histogram, channel, process)
            variance[rows, p] = _variances(histogram, channel)
        at += channel.n_bins
    if negative == "zero":
        values[values < 0] = 0.0
    return Nominal(channels=channels, processes=processes, nominal=values, variance=variance, start=start)


def _channel(name: str, histogram: Any) -> Channel:
    axes = getattr(histogram, "axes", None)
    if axes is None:
        shape = np.shape(histogram)
        names = tuple(f"axis{i}" for i in range(len(shape)))
        return Channel(name=name, axes=names, edges=tuple(tuple(map(float, range(n + 1))) for n in shape))
    names = tuple(getattr(axis, "name", "") or f"axis{i}" for i, axis in enumerate(axes))
    return Channel(name=name, axes=names, edges=tuple(_edges(axis) for axis in axes))


def _edges(axis: Any) -> tuple[float, ...]:
    edges = getattr(axis, "edges", None)
    found = edges if edges is not None else [axis[0][0], *(axis[i][1] for i in range(len(axis)))]
    return tuple(float(edge) for edge in found)


def _values(histogram: Any, channel: Channel, process: str) -> FloatArray:
    values = np.asarray(histogram.values() if hasattr(histogram, "values") else histogram, dtype=float)
    if values.shape != channel.shape:
        raise InputError(
            f"template has shape {values.shape}, expected {channel.shape}",
            kind="likelihood.template_shape",
            where={"channel": channel.name, "process": process},
        )
    _check_axes(histogram, channel, process)
    return values.ravel()


def _check_axes(histogram: Any, channel: Channel, process: str) -> None:
    """The bins are those of the channel, up to the last bits of their edges; arrays state none."""
    for axis, name, edges in zip(getattr(histogram, "axes", ()), channel.axes, channel.edges, strict=False):
        found = _edges(axis)
        if not same_edges(found, edges):
            i = int(np.argmax(np.abs(np.subtract(found, edges))))
            raise InputError(
                f"template has other bins than its channel: edge {i} of axis '{name}' is {found[i]!r}, "
                f"expected {edges[i]!r}",
                kind="likelihood.template_axes",
                where={"channel": channel.name, "process": process},
                do="fill all histograms of a channel with one binning",
            )


def _variances(histogram: Any, channel: Channel) -> FloatArray:
    variances = histogram.variances() if hasattr(histogram, "variances") else None
    return np.zeros(channel.n_bins) if variances is None else np.asarray(variances, dtype=float).ravel()


def log_ratios(found: Nominal, variation: Variation) -> dict[int, tuple[FloatArray, FloatArray | None]]:
    """Process -> kappa, eta (B,)."""
    up = _side(found, variation, variation.up)
    if variation.down is None:
        return {p: (ratio, None) for p, ratio in up.items()}
    down = _side(found, variation, variation.down)
    zero = np.zeros(found.nominal.shape[0])
    pairs = {p: (up.get(p, zero), down.get(p, zero)) for p in {**up, **down}}
    return {p: (0.5 * (u - d), 0.5 * (u + d)) for p, (u, d) in pairs.items()}


def _side(found: Nominal, variation: Variation, templates: Templates) -> dict[int, FloatArray]:
    """Process -> logarithm of varied over nominal (B,), or their difference; 0 where the variation says nothing."""
    ratios: dict[int, FloatArray] = {}
    for name, histograms in templates.items():
        channel = _one_of(name, {c.name: c for c in found.channels}, "channel", variation)
        rows = slice(found.start[name], found.start[name] + channel.n_bins)
        for process, histogram in histograms.items():
            p = _one_of(process, {q: i for i, q in enumerate(found.processes)}, "process", variation)
            nominal = found.nominal[rows, p]
            varied = histogram * nominal if np.ndim(histogram) == 0 and _is_number(histogram) else None
            if varied is None:
                varied = _values(histogram, channel, process)
            _check_variation(varied, nominal, channel, process, variation)
            change = ratios.setdefault(p, np.zeros(found.nominal.shape[0]))
            if variation.additive:
                change[rows] = np.where(nominal > 0, varied - nominal, 0.0)
                continue
            ratio = np.divide(varied, nominal, out=np.ones(nominal.size), where=nominal > 0)
            change[rows] = np.log(np.maximum(ratio, SMALLEST_RATIO))
    return ratios


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _one_of(name: str, known: Mapping[str, Any], what: str, variation: Variation) -> Any:
    if name not in known:
        raise InputError(
            f"variation '{variation.name}' names {what} '{name}', which is not in the model",
            kind="likelihood.variation",
            where={what: ", ".join(known)},
        )
    return known[name]


def _check_variation(
    varied: FloatArray, nominal: FloatArray, channel: Channel, process: str, variation: Variation
) -> None:
    where = {"channel": channel.name, "process": process}
    bad = np.flatnonzero(~np.isfinite(varied))
    if bad.size:
        b = int(bad[0])
        raise InputError(
            f"variation '{variation.name}' is {varied[b]:g} in {bad.size} bins",
            kind="likelihood.variation",
            where={**where, "bin": channel.bin_text(b)},
        )
    if nominal.any() and not varied.any():
        raise InputError(
            f"variation '{variation.name}' is empty",
            kind="likelihood.variation",
            where=where,
            do="leave the process out of the variation if it has no effect",
        )
