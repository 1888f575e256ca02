"""Several channels in one fit: models joined by the names of their parameters and processes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import ConfigError
from mucal.likelihood import Block, Model
from mucal.likelihood.blocks import join


def combine(models: Sequence[Model]) -> Model:
    """One model of all channels; a parameter of one name is one parameter, a process likewise.

    models : at least one; their channels have different names

    Raises ConfigError if a parameter has another constraint in one model than in the other, or is a rate in one only.
    """
    parameters = tuple(dict.fromkeys(name for m in models for name in m.parameters))
    processes = tuple(dict.fromkeys(name for m in models for name in m.processes))
    centre, precision = _constraints(models, parameters)
    starts = np.concatenate([[0], np.cumsum([m.n_bins for m in models])]).astype(np.int64)
    nominal, sumw2 = np.zeros((2, int(starts[-1]), len(processes)))
    blocks: list[Block] = []
    for m, start in zip(models, starts.tolist(), strict=False):
        rows = slice(start, start + m.n_bins)
        p = _places(m.processes, processes)
        nominal[rows, p], sumw2[rows, p] = m.nominal, m.sumw2
        blocks += [_moved(block, start, p, _places(m.parameters, parameters)) for block in m.effects.blocks()]
    groups = {g: () for m in models for g in m.groups}
    return Model(
        channels=tuple(channel for m in models for channel in m.channels),
        processes=processes,
        parameters=parameters,
        nominal=nominal,
        sumw2=sumw2,
        effects=join(blocks),
        rate=_rates(models, processes, parameters),
        centre=centre,
        precision=precision,
        pois=tuple(dict.fromkeys(name for m in models for name in m.pois)),
        groups={g: tuple(dict.fromkeys(name for m in models for name in m.groups.get(g, ()))) for g in groups},
        frozen=tuple(dict.fromkeys(name for m in models for name in m.frozen)),
        external=tuple(term for m in models for term in m.external),
    )


def _places(names: Sequence[str], among: Sequence[str]) -> IntArray:
    place = {name: i for i, name in enumerate(among)}
    return np.array([place[name] for name in names], dtype=np.int64)


def _constraints(models: Sequence[Model], parameters: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Centre and precision of every parameter, the same in all models that have it."""
    found: dict[str, tuple[float, float]] = {}
    for m in models:
        for name, centre, precision in zip(m.parameters, m.centre.tolist(), m.precision.tolist(), strict=True):
            if found.setdefault(name, (centre, precision)) != (centre, precision):
                raise ConfigError(
                    f"parameter '{name}' has centre and precision {found[name]} in one channel and "
                    f"{(centre, precision)} in another",
                    kind="config.combination",
                    do="give it two names, or the same constraint",
                )
    values = np.array([found[name] for name in parameters]).reshape(-1, 2)
    return values[:, 0].copy(), values[:, 1].copy()


def _moved(block: Block, start: int, processes: IntArray, parameters: IntArray) -> Block:
    """A block in the numbering of the joint model, its columns in order."""
    columns = parameters[block.columns]
    order = np.argsort(columns)
    return replace(
        block,
        process=int(processes[block.process]),
        bins=block.bins + start,
        columns=columns[order],
        kappa=block.kappa[:, order],
        eta=block.eta[:, order] if block.eta.size else block.eta,
    )


def _rates(models: Sequence[Model], processes: Sequence[str], parameters: Sequence[str]) -> IntArray:
    """(P, R) rates of every process, the same in all models that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for m in models:
        for name, row in zip(m.processes, m.rates.tolist(), strict=True):
            names = tuple(sorted(m.parameters[j] for j in row if j >= 0))
            if found.setdefault(name, names) != names:
                raise ConfigError(
                    f"process '{name}' is multiplied by {found[name]} in one channel, by {names} in another",
                    kind="config.combination",
                )
    width = max((len(names) for names in found.values()), default=0)
    rate = np.full((len(processes), max(width, 1)), -1, dtype=np.int64)
    for p, name in enumerate(processes):
        rate[p, : len(found[name])] = _places(found[name], parameters)
    return rate
