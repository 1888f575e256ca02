"""Channels of samples with modifiers become a model, whatever file said so.

A sample whose rates differ between channels or bins is as many processes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.io.fit_input import FitInput
from mucal.io.pyhf_interpolation import HistoCode, NormCode, histo_difference, norm_difference
from mucal.io.pyhf_parameters import explicit_staterror, modifiers, parameters_of_workspace, relative_errors
from mucal.io.pyhf_workspace import Modifier, Sample, Workspace
from mucal.likelihood import Channel, Model, observe
from mucal.likelihood.blocks import Effect, effect, gather

EXACT: Final = 1e-6
"""Largest relative difference of expected events that counts as none."""
LARGEST_FACTOR: Final = 1e9
"""By which one standard error may change a normalisation; beyond, a number was misread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """Bins of a sample with the same rates: places in the channel and in the model"""

    channel: str
    sample: Sample
    local: IntArray
    bins: IntArray
    rates: tuple[str, ...]


def fit_input_of(
    found: Workspace,
    codes: tuple[NormCode, HistoCode],
    largest_difference: float,
    *,
    form: str,
    notes: tuple[str, ...] = (),
    channels: tuple[Channel, ...] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> FitInput:
    """The model and data of channels of samples with modifiers.

    codes              : interpolation of normsys and histosys where they come from
    largest_difference : of any expected events, relative, that our interpolation may make
    form, notes        : the format, and what a reader should know
    channels           : with their axes; plain bins by default
    groups             : of parameters

    Raises InputError for what the likelihood cannot say, with the number.
    """
    explicit = explicit_staterror(found)
    parameters = parameters_of_workspace(found, explicit)
    cells = list(_cells(found, explicit))
    processes = _name_processes(cells)
    names = tuple(parameters)
    model = Model(
        channels=channels or tuple(_plain_channel(name, samples) for name, samples in found.channels.items()),
        processes=tuple(processes.values()),
        parameters=names,
        nominal=_fill(cells, processes, {id(cell): cell.sample.nominal[cell.local] for cell in cells}),
        sumw2=_fill(cells, processes, _variances(found, cells, explicit)),
        effects=gather(_effects(cells, processes, names, codes, largest_difference)),
        rate=_rates(processes, names),
        centre=np.array([parameter.centre for parameter in parameters.values()]),
        precision=np.array([parameter.precision for parameter in parameters.values()]),
        pois=(found.poi,) if found.poi else (),
        groups=groups or {},
        frozen=tuple(name for name in names if found.settings.get(name.split("[")[0], {}).get("fixed")),
    )
    gamma = any(modifier.kind == "shapesys" for _, modifier in modifiers(found))
    return FitInput(
        model=model,
        observation=observe(model, np.concatenate([found.counts[name] for name in found.channels])),
        mc_stat="gamma" if gamma else "normal" if model.sumw2.any() else "none",
        per="process" if gamma else "bin",
        start={name: p.start for name, p in parameters.items() if p.start != p.centre},
        format=form,
        notes=notes,
    )


def _plain_channel(name: str, samples: tuple[Sample, ...]) -> Channel:
    edges = tuple(map(float, range(samples[0].nominal.size + 1)))
    return Channel(name=name, axes=("bin",), edges=(edges,))


def _cells(found: Workspace, explicit: bool) -> Iterator[_Cell]:
    start = 0
    for channel, samples in found.channels.items():
        size = samples[0].nominal.size
        for sample in samples:
            rates = [_rates_of(found, sample, explicit, i) for i in range(size)]
            for same in dict.fromkeys(rates):
                local = np.array([i for i in range(size) if rates[i] == same], dtype=np.int64)
                yield _Cell(channel=channel, sample=sample, local=local, bins=start + local, rates=same)
        start += size


def _rates_of(found: Workspace, sample: Sample, explicit: bool, i: int) -> tuple[str, ...]:
    rates = [m.name for m in sample.modifiers if m.kind in ("normfactor", "lumi")]
    for modifier in sample.modifiers:
        if modifier.kind == "shapefactor":
            rates.append(f"{modifier.name}[{i}]")
        if modifier.kind == "staterror" and explicit:
            samples = found.channels[sample.where["channel"]]
            if relative_errors(samples, modifier.name)[i] > 0:
                rates.append(f"{modifier.name}[{i}]")
    return tuple(sorted(rates))


_Key = tuple[str, tuple[str, ...]]


def _name_processes(cells: list[_Cell]) -> dict[_Key, str]:
    """Sample and rates -> name of the process: the sample's, with its places if there are several."""
    groups: dict[_Key, list[_Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.sample.name, cell.rates), []).append(cell)
    several = Counter(name for name, _ in groups)
    named = {}
    for (name, rates), members in groups.items():
        places = [
            cell.channel
            + ("" if cell.local.size == cell.sample.nominal.size else f"[{','.join(map(str, cell.local))}]")
            for cell in members
        ]
        named[name, rates] = f"{name} in {' and '.join(places)}" if several[name] > 1 else name
    return named


def _place(processes: Mapping[_Key, str], cell: _Cell) -> int:
    return list(processes).index((cell.sample.name, cell.rates))


def _fill(cells: list[_Cell], processes: Mapping[_Key, str], values: Mapping[int, FloatArray]) -> FloatArray:
    """(B, P) from the values of the cells, by their id."""
    out = np.zeros((1 + max(int(cell.bins.max()) for cell in cells), len(processes)))
    for cell in cells:
        out[cell.bins, _place(processes, cell)] = values[id(cell)]
    return out


def _rates(processes: Mapping[_Key, str], names: tuple[str, ...]) -> IntArray:
    rate = np.full((len(processes), max(1, *(len(rates) for _, rates in processes))), -1, dtype=np.int64)
    for p, (_, rates) in enumerate(processes):
        rate[p, : len(rates)] = [names.index(name) for name in rates]
    return rate


def _variances(found: Workspace, cells: list[_Cell], explicit: bool) -> dict[int, FloatArray]:
    """Squared uncertainties of the simulation, by the id of the cell."""
    variances = {}
    for cell in cells:
        value = np.zeros(cell.sample.nominal.size)
        for modifier in cell.sample.modifiers:
            if modifier.kind == "shapesys":
                value = modifier.data**2
            elif modifier.kind == "staterror" and not explicit:
                # a bin's factor multiplies all samples that list it, also those without an uncertainty of their own
                errors = relative_errors(found.channels[cell.channel], modifier.name)
                total = sum(
                    s.nominal for s in found.channels[cell.channel] if modifier.name in {m.name for m in s.modifiers}
                )
                value = errors**2 * total * cell.sample.nominal
        variances[id(cell)] = value[cell.local]
    return variances


def _effects(
    cells: list[_Cell],
    processes: Mapping[_Key, str],
    names: tuple[str, ...],
    codes: tuple[NormCode, HistoCode],
    largest: float,
) -> Iterator[Effect]:
    n_bins = 1 + max(int(cell.bins.max()) for cell in cells)
    found: dict[tuple[int, str, bool], tuple[FloatArray, FloatArray, FloatArray]] = {}
    for cell in cells:
        for modifier in cell.sample.modifiers:
            if modifier.kind in ("normsys", "histosys", "shapeN"):
                kappa, eta = _kappa_eta(modifier, cell.sample, codes, largest)
                key = (_place(processes, cell), modifier.name, modifier.kind == "histosys")
                zeros = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins, dtype=bool)
                for whole, part in zip(found.setdefault(key, zeros), (kappa, eta, np.ones(kappa.size)), strict=True):
                    whole[cell.bins] = part[cell.local]
    for (p, name, additive), (kappa, eta, there) in found.items():
        one = effect(p, names.index(name), kappa, eta, there.astype(bool), additive)
        if one is not None:
            yield one


def _kappa_eta(
    modifier: Modifier, sample: Sample, codes: tuple[NormCode, HistoCode], largest: float
) -> tuple[FloatArray, FloatArray]:
    """Half the difference and half the sum of the effects up and down (bins,)."""
    if modifier.kind == "shapeN":
        kappa, eta = 0.5 * (modifier.data[0] - modifier.data[1]), 0.5 * (modifier.data[0] + modifier.data[1])
        difference = float(np.expm1(histo_difference(eta, np.ones(eta.size), codes[1])))
    elif modifier.kind == "normsys":
        if not np.all((modifier.data > 1 / LARGEST_FACTOR) & (modifier.data < LARGEST_FACTOR)):
            raise InputError(
                f"'{modifier.name}' changes the normalisation by factors {modifier.data[0]:g} and {modifier.data[1]:g}",
                kind="likelihood.variation",
                where=sample.where,
            )
        high, low = np.log(modifier.data)
        difference = norm_difference(float(modifier.data[0]), float(modifier.data[1]), codes[0])
        each = np.ones(sample.nominal.size)
        kappa, eta = 0.5 * (high - low) * each, 0.5 * (high + low) * each
    else:
        kappa = 0.5 * (modifier.data[0] - modifier.data[1])
        eta = 0.5 * (modifier.data[0] + modifier.data[1]) - sample.nominal
        eta[np.abs(eta) < 1e-14 * np.abs(modifier.data).max()] = 0.0
        difference = histo_difference(eta, sample.nominal, codes[1])
    if difference > largest:
        raise InputError(
            f"{modifier.kind} '{modifier.name}' is asymmetric or large: between the templates ours differs "
            f"from {codes[modifier.kind == 'histosys']} by up to {difference:.2g} of the events, more than {largest:g}",
            kind="pyhf.not_exact",
            where=sample.where,
            do="allow that difference (mucal fit --inexact), or make the effect symmetric where the workspace is made",
        )
    return kappa, eta
