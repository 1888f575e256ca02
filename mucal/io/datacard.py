"""Simple combine-style datacards read as models.

| in the card  | here                                                                                                |
|--------------|-----------------------------------------------------------------------------------------------------|
| signals      | the rate r multiplies every process with a number of at most 0                                      |
| rateParam    | a free rate; with a `param` line of its name a constrained one                                       |
| lnN          | log-ratio, by combine's own interpolation                                                           |
| shape        | log-ratio of the integral times an additive effect on the shape; templates of bins normalised        |
| shapeN       | log-ratio in each bin                                                                               |
| autoMCStats  | factor of the finite simulation, one a bin, "normal"; it multiplies the bin, combine adds to it       |

Interpolation between templates that are not symmetric differs near 0; it is refused beyond a stated size.  Whatever is
not in this table is refused with its line.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError, nearest
from mucal.io.datacard_histograms import Histogram, Histograms
from mucal.io.datacard_text import Card, Effect, read_card
from mucal.io.fit_input import FitInput
from mucal.io.histfactory import EXACT, fit_input_of
from mucal.io.pyhf_workspace import Modifier, Sample, Workspace
from mucal.likelihood import Channel

SMALLEST_RATIO: Final = 1e-3
RATE_TOLERANCE: Final = 0.01
"""A stated rate and the integral of its histogram may differ by this much, as combine allows."""


def read_datacard(path: str | Path, *, largest_difference: float = EXACT) -> FitInput:
    """The model and data of a card; its histograms are read from ROOT files beside it.

    largest_difference : of any expected events, relative, that our interpolation may make

    Raises InputError with the line for anything that is not understood or cannot be said exactly.
    """
    card = read_card(path)
    with Histograms(card) as histograms:
        samples = {channel: tuple(_samples(card, histograms, channel)) for channel in card.channels}
        counts, channels = {}, []
        for channel, stated in zip(card.channels, card.observed, strict=True):
            data = histograms.get("data_obs", channel) if histograms.has("data_obs", channel) else None
            counts[channel] = _counts(card, channel, stated, data, samples[channel])
            channels.append(_channel(channel, data))
    found = Workspace(
        channels=samples,
        counts=counts,
        measurement=Path(path).stem,
        poi="r" if any(card.column_signal) else "",
        settings=dict(_settings(card)),
    )
    _check_names(card, samples)
    return fit_input_of(
        found,
        ("lnN", "code4p"),
        largest_difference,
        form="datacard",
        channels=tuple(channels),
        groups=card.groups,
        notes=("factors of autoMCStats multiply their bin",) if card.auto_stats else (),
    )


def _channel(name: str, data: Histogram | None) -> Channel:
    return data.channel(name) if data is not None else Channel(name=name, axes=("bin",), edges=((0.0, 1.0),))


def _counts(card: Card, channel: str, stated: float, data: Histogram | None, samples: tuple[Sample, ...]) -> FloatArray:
    if data is None:
        counts = np.array([stated])
    else:
        counts = data.values
        if stated != -1 and abs(stated - counts.sum()) > 0.5:
            raise InputError(
                f"observation {stated:g} of '{channel}' is not the integral {counts.sum():g} of its histogram",
                kind="datacard.rate",
                where={"file": card.path},
            )
    for sample in samples:
        if sample.nominal.size != counts.size:
            raise InputError(
                f"'{sample.name}' has {sample.nominal.size} bins in '{channel}', the data have {counts.size}",
                kind="datacard.shapes",
                where={"file": card.path, **sample.where},
            )
    return counts


def _samples(card: Card, histograms: Histograms, channel: str) -> Iterator[Sample]:
    for column, name in enumerate(card.column_processes):
        if card.column_channels[column] != channel or card.rates[column] == 0.0:
            continue
        where = {"channel": channel, "sample": name}
        rate = card.rates[column]
        shape = histograms.get(name, channel) if histograms.has(name, channel) else None
        nominal = np.array([rate]) if shape is None else _scaled(card, shape.values, rate, where)
        modifiers = [
            *_rate_modifiers(card, channel, name, column),
            *_effects(card, histograms, channel, name, column, nominal),
            *_simulation(card, channel, column, shape, nominal),
        ]
        yield Sample(name=name, nominal=nominal, modifiers=tuple(modifiers), where=where)


def _scaled(card: Card, values: FloatArray, rate: float, where: dict[str, str]) -> FloatArray:
    integral = float(values.sum())
    if rate == -1:
        return values
    if abs(integral - rate) > RATE_TOLERANCE * max(1.0, rate):
        raise InputError(
            f"rate {rate:g} is not the integral {integral:g} of the histogram",
            kind="datacard.rate",
            where={"file": card.path, **where},
            do="correct the rate or write -1",
        )
    scaled: FloatArray = values * (rate / integral)
    return scaled


def _rate_modifiers(card: Card, channel: str, process: str, column: int) -> Iterator[Modifier]:
    names = ["r"] if card.column_signal[column] else []
    for name, in_channel, of_process, _, _ in card.rate_params:
        if fnmatchcase(channel, in_channel) and fnmatchcase(process, of_process):
            names.append(name)
    for name in names:
        yield Modifier(name=name, kind="lumi" if name in card.params else "normfactor", data=np.zeros(0))


def _effects(
    card: Card, histograms: Histograms, channel: str, process: str, column: int, nominal: FloatArray
) -> Iterator[Modifier]:
    for effect in card.effects:
        word = effect.columns[column]
        if word in ("-", "0"):
            continue
        if effect.kind == "lnN":
            yield Modifier(name=effect.name, kind="normsys", data=_high_low(card, effect, word))
            continue
        if word not in ("1", "1.0"):
            raise InputError(
                f"{effect.kind} '{effect.name}' is scaled by {word}; only templates of one standard deviation are read",
                kind="datacard.directive",
                where=card.where(effect.line),
            )
        up, down = (histograms.get(process, channel, effect.name + side, effect.line).values for side in ("Up", "Down"))
        _check_templates(card, effect, process, nominal, up, down)
        yield from _templates(effect, nominal, up, down)


def _templates(effect: Effect, nominal: FloatArray, up: FloatArray, down: FloatArray) -> Iterator[Modifier]:
    if effect.kind == "shapeN":
        ratios = [np.divide(side, nominal, out=np.ones(side.size), where=nominal > 0) for side in (up, down)]
        yield Modifier(name=effect.name, kind="shapeN", data=np.log(np.maximum(ratios, SMALLEST_RATIO)))
        return
    factors = np.array([up.sum(), down.sum()]) / nominal.sum()
    yield Modifier(name=effect.name, kind="normsys", data=factors)
    yield Modifier(name=effect.name, kind="histosys", data=np.stack([up, down]) / factors[:, None])


def _check_templates(
    card: Card, effect: Effect, process: str, nominal: FloatArray, up: FloatArray, down: FloatArray
) -> None:
    for side, values in (("Up", up), ("Down", down)):
        if values.size != nominal.size or values.sum() <= 0:
            raise InputError(
                f"template '{effect.name}{side}' of '{process}' has {values.size} bins and integral {values.sum():g}; "
                f"the nominal has {nominal.size} bins",
                kind="datacard.shapes",
                where=card.where(effect.line),
            )


def _high_low(card: Card, effect: Effect, word: str) -> FloatArray:
    """The factors at +1 and -1 of `k` or `low/high`."""
    try:
        numbers = [float(part) for part in word.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) <= 0:
        raise InputError(
            f"lnN '{effect.name}' has '{word}', expected a factor above 0, or two as 0.9/1.1",
            kind="datacard.number",
            where=card.where(effect.line),
        )
    return np.array([numbers[-1], numbers[0] if len(numbers) == 2 else 1 / numbers[0]])


def _simulation(
    card: Card, channel: str, column: int, shape: Histogram | None, nominal: FloatArray
) -> Iterator[Modifier]:
    found = [value for pattern, value in card.auto_stats.items() if fnmatchcase(channel, pattern)]
    if not found or shape is None or found[-1][0] < 0:
        return
    threshold, with_signals, line = found[-1]
    if card.column_signal[column] and not with_signals:
        return
    if threshold > 0:
        raise InputError(
            f"autoMCStats with threshold {threshold:g} gives bins with few events Poisson terms, which are not read",
            kind="datacard.directive",
            where=card.where(line),
            do="set the threshold to 0: one Gaussian factor for every bin",
        )
    scale = float(nominal.sum() / shape.values.sum())
    yield Modifier(name=f"autoMCStats_{channel}", kind="staterror", data=scale * np.sqrt(shape.variances))


def _settings(card: Card) -> Iterator[tuple[str, dict[str, Any]]]:
    starts = {name: start for name, _, _, start, _ in card.rate_params}
    for name, start in starts.items():
        settings: dict[str, Any] = {"inits": [start]}
        if name in card.params:
            mean, sigma = card.params[name]
            settings |= {"auxdata": [mean], "sigmas": [sigma]}
        yield name, settings


def _check_names(card: Card, samples: dict[str, tuple[Sample, ...]]) -> None:
    """Every parameter acts on something, and groups name parameters."""
    acting = {modifier.name for found in samples.values() for sample in found for modifier in sample.modifiers}
    lines = {name: line for name, _, _, _, line in card.rate_params} | {e.name: e.line for e in card.effects}
    for name, line in lines.items():
        if name not in acting:
            raise InputError(f"'{name}' acts on no process of the card", kind="datacard.unused", where=card.where(line))
    for name in card.params:
        if name not in lines:
            raise InputError(
                f"'{name} param' belongs to no rateParam", kind="datacard.directive", where={"file": card.path}
            )
    for group, members in card.groups.items():
        for name in members:
            if name not in acting:
                raise InputError(
                    f"group '{group}' names '{name}', which is no parameter of the card",
                    kind="datacard.group",
                    where={"file": card.path, "near": ", ".join(nearest(name, acting))},
                )
