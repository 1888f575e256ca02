"""Models from histograms (hist, UHI: anything with axes, values and variances) and from arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.likelihood.blocks import Effect, effect, gather
from mucal.likelihood.channel import Channel
from mucal.likelihood.model import Model

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
class _Nominal:
    """channels; processes; nominal and variances (B, P); where each channel's bins begin"""

    channels: tuple[Channel, ...]
    processes: tuple[str, ...]
    nominal: FloatArray
    variance: FloatArray
    start: Mapping[str, int] = field(default_factory=dict)


def build(
    nominal: Templates,
    variations: Sequence[Variation] = (),
    *,
    rates: Mapping[str, Sequence[str]] | None = None,
    pois: Sequence[str] = (),
    inflation: float = 1.0,
    negative: Negative = "refuse",
) -> Model:
    """The model of histograms.

    nominal    : channel -> process -> histogram; its variances are the finite simulation's
    variations : shape parameters, with names all different
    rates      : parameter, free and starting at 1 -> processes that it multiplies
    pois       : names of the parameters of interest
    inflation  : factor on the standard errors of the simulation (1.26 in the measurement of m_W)
    negative   : bins of a template below 0 are refused, or become "zero": the process is absent there

    Raises InputError for templates, variations and names that cannot be used, with channel, process and bin.
    Source: arXiv:2412.13872; the log-ratios are (1) of docs/physics/likelihood.md.
    """
    found = _read_nominal(nominal, negative)
    rates = rates or {}
    names = (*rates, *(variation.name for variation in variations))
    _refuse_two_meanings(rates, variations)
    effects = gather(_effects(found, variations, first=len(rates)))
    groups: dict[str, tuple[str, ...]] = {}
    for variation in variations:
        for group in variation.groups:
            groups[group] = (*groups.get(group, ()), variation.name)
    return Model(
        channels=found.channels,
        processes=found.processes,
        parameters=names,
        nominal=found.nominal,
        sumw2=inflation**2 * found.variance,
        effects=effects,
        rate=_rate_of(rates, found.processes),
        centre=np.array([1.0] * len(rates) + [0.0] * len(variations)),
        precision=np.array([0.0] * len(rates) + [float(variation.constrained) for variation in variations]),
        pois=tuple(pois),
        groups=groups,
    )


def from_arrays(
    nominal: FloatArray,
    kappa: FloatArray,
    *,
    parameters: Sequence[str],
    processes: Sequence[str],
    eta: FloatArray | None = None,
    sumw2: FloatArray | None = None,
    free: Sequence[str] = (),
    additive: Sequence[str] = (),
    rates: Mapping[str, Sequence[str]] | None = None,
    pois: Sequence[str] = (),
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> Model:
    """The model of dense arrays, as one channel "bins" with the axis "bin".

    nominal    : (B, P)
    kappa      : (B, P, S)  half the difference of the log-ratios up and down
    parameters : names of the S shape parameters
    processes  : names
    eta        : (B, P, S)  half their sum; None if all are symmetric
    sumw2      : (B, P) variances of the simulation, or (B,) their sum, which is then shared in proportion to the
                 nominal; None for exactly known templates
    additive   : shape parameters whose kappa and eta are events added instead of log-ratios
    free       : shape parameters without a constraint
    rates      : parameter -> processes that it multiplies; these come before the shape parameters
    """
    rates = rates or {}
    n_bins, n_processes = nominal.shape
    filled = nominal > 0
    effects = (
        effect(p, len(rates) + j, kappa[:, p, j], None if eta is None else eta[:, p, j], filled[:, p], name in additive)
        for p in range(n_processes)
        for j, name in enumerate(parameters)
    )
    return Model(
        channels=(Channel(name="bins", axes=("bin",), edges=(tuple(float(i) for i in range(n_bins + 1)),)),),
        processes=tuple(processes),
        parameters=(*rates, *parameters),
        nominal=np.ascontiguousarray(nominal, dtype=float),
        sumw2=_shared(sumw2, nominal),
        effects=gather(one for one in effects if one is not None),
        rate=_rate_of(rates, tuple(processes)),
        centre=np.array([1.0] * len(rates) + [0.0] * len(parameters)),
        precision=np.array([0.0] * len(rates) + [float(name not in free) for name in parameters]),
        pois=tuple(pois),
        groups=groups or {},
    )


def _shared(sumw2: FloatArray | None, nominal: FloatArray) -> FloatArray:
    """(B, P); a sum (B,) in proportion to the nominal: one factor a process then acts as one factor a bin does."""
    if sumw2 is None:
        return np.zeros(nominal.shape)
    if np.ndim(sumw2) == 2:
        return np.array(sumw2, dtype=float)
    total = nominal.sum(axis=1, keepdims=True)
    share = np.divide(nominal, total, out=np.zeros(nominal.shape), where=total > 0)
    shared: FloatArray = share * np.asarray(sumw2, dtype=float)[:, None]
    return shared


def _read_nominal(nominal: Templates, negative: Negative) -> _Nominal:
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
    return _Nominal(channels=channels, processes=processes, nominal=values, variance=variance, start=start)


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
    return values.ravel()


def _variances(histogram: Any, channel: Channel) -> FloatArray:
    variances = histogram.variances() if hasattr(histogram, "variances") else None
    return np.zeros(channel.n_bins) if variances is None else np.asarray(variances, dtype=float).ravel()


def _effects(found: _Nominal, variations: Sequence[Variation], first: int) -> Iterator[Effect]:
    filled = found.nominal > 0
    for column, variation in enumerate(variations, start=first):
        for p, (kappa, eta) in _log_ratios(found, variation).items():
            one = effect(p, column, kappa, eta, filled[:, p], variation.additive)
            if one is not None:
                yield one


def _log_ratios(found: _Nominal, variation: Variation) -> dict[int, tuple[FloatArray, FloatArray | None]]:
    """Process -> kappa, eta (B,)."""
    up = _side(found, variation, variation.up)
    if variation.down is None:
        return {p: (ratio, None) for p, ratio in up.items()}
    down = _side(found, variation, variation.down)
    zero = np.zeros(found.nominal.shape[0])
    pairs = {p: (up.get(p, zero), down.get(p, zero)) for p in {**up, **down}}
    return {p: (0.5 * (u - d), 0.5 * (u + d)) for p, (u, d) in pairs.items()}


def _side(found: _Nominal, variation: Variation, templates: Templates) -> dict[int, FloatArray]:
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


def _rate_of(rates: Mapping[str, Sequence[str]], processes: tuple[str, ...]) -> np.ndarray:
    """(P,) parameter that multiplies each process, or (P, R) if there are several; -1 for none."""
    found: dict[str, list[int]] = {process: [] for process in processes}
    for j, (name, members) in enumerate(rates.items()):
        for process in members:
            if process not in processes or j in found[process]:
                raise InputError(
                    f"rate '{name}' names process '{process}', which is not in the model or was named before",
                    kind="likelihood.rate",
                    where={"process": ", ".join(processes)},
                )
            found[process].append(j)
    rate = np.full((len(processes), max(1, *map(len, found.values()))), -1, dtype=np.int64)
    for p, members_of in enumerate(found.values()):
        rate[p, : len(members_of)] = members_of
    return rate[:, 0] if rate.shape[1] == 1 else rate


def _refuse_two_meanings(rates: Mapping[str, Sequence[str]], variations: Sequence[Variation]) -> None:
    seen = {name: f"rate of {', '.join(members)}" for name, members in rates.items()}
    for variation in variations:
        if variation.name in seen:
            raise InputError(
                f"parameter '{variation.name}' has two meanings",
                kind="likelihood.duplicate_name",
                where={"first": seen[variation.name], "second": str(variation)},
                do="join the templates into one variation, or give each its own name",
            )
        seen[variation.name] = str(variation)
