"""Models made from models: parameters frozen, rescaled, or decorrelated between bins and processes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import InputError
from mucal.likelihood.blocks import Block, join
from mucal.likelihood.model import Model

LARGEST_FACTOR: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where one of the parameters acts that a decorrelated one is split into.

    name      : of the new parameter
    channels  : channels in which it acts; None for all
    processes : processes on which it acts; None for all
    bins      : (B,) flat bins in which it acts; None for all
    """

    name: str
    channels: tuple[str, ...] | None = None
    processes: tuple[str, ...] | None = None
    bins: BoolArray | None = None


def freeze(model: Model, values: Mapping[str, float]) -> Model:
    """The model with parameters held at given values in every fit."""
    centre = model.centre.copy()
    centre[model.index(values)] = list(values.values())
    return replace(model, centre=centre, frozen=tuple(dict.fromkeys((*model.frozen, *values))))


def rescale(model: Model, factors: Mapping[str, float]) -> Model:
    """The model with prior standard errors of constrained parameters multiplied; their units stay.

    Raises InputError for a free parameter, which has no prior, or a factor that is not above 0.
    """
    precision = model.precision.copy()
    for name, factor in factors.items():
        j = int(model.index([name])[0])
        if precision[j] == 0 or not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
            raise InputError(
                f"the prior of '{name}' cannot be multiplied by {factor!r}"
                + (": it is free" if precision[j] == 0 else ""),
                kind="likelihood.rescale",
                do="give factors above 0 for constrained parameters, or freeze the parameter",
            )
        precision[j] /= factor**2
    return replace(model, precision=precision)


def decorrelate(model: Model, name: str, parts: Sequence[Part]) -> Model:
    """The model with one parameter replaced by several, each acting on its part, with the same constraint each.

    The parts take its place in groups and parameters of interest.

    Raises InputError unless every effect of the parameter belongs to exactly one part, for a rate, and for a parameter
    in an external term.
    """
    j = int(model.index([name])[0])
    _refuse_ties(model, name, j)
    masks = [_mask(model, part) for part in parts]
    others = [i for i in range(len(model.parameters)) if i != j]
    new_index = np.full(len(model.parameters), -1)
    new_index[others] = np.arange(len(others))
    first = len(others)
    blocks = [piece for block in model.effects.blocks() for piece in _split(model, block, j, masks, new_index, first)]
    names = tuple(part.name for part in parts)
    order = np.array([*others, *[j] * len(parts)])
    rate = np.where(model.rate >= 0, new_index[model.rate], -1)
    return replace(
        model,
        parameters=(*(model.parameters[i] for i in others), *names),
        effects=join(blocks),
        rate=rate,
        centre=model.centre[order],
        precision=model.precision[order],
        pois=_in_place(model.pois, name, names),
        groups={group: _in_place(members, name, names) for group, members in model.groups.items()},
        frozen=_in_place(model.frozen, name, names),
    )


def _refuse_ties(model: Model, name: str, j: int) -> None:
    tied = "a rate" if np.any(model.rates == j) else ""
    tied = tied or next((f"in external term '{t.name}'" for t in model.external if name in t.parameters), "")
    if tied:
        raise InputError(f"parameter '{name}' is {tied} and cannot be decorrelated", kind="likelihood.decorrelate")


def _mask(model: Model, part: Part) -> BoolArray:
    """(B, P) where a part acts"""
    channel_of = np.repeat([c.name for c in model.channels], [c.n_bins for c in model.channels])
    unknown = set(part.channels or ()) - {c.name for c in model.channels}
    unknown |= set(part.processes or ()) - set(model.processes)
    if unknown:
        raise InputError(f"part '{part.name}' names {sorted(unknown)}, not in the model", kind="likelihood.decorrelate")
    bins = np.ones(model.n_bins, dtype=bool) if part.bins is None else np.asarray(part.bins, dtype=bool)
    if bins.shape != (model.n_bins,):
        raise ValueError(f"bins of part '{part.name}' have shape {bins.shape}, expected ({model.n_bins},)")
    if part.channels is not None:
        bins = bins & np.isin(channel_of, part.channels)
    processes = np.isin(model.processes, part.processes if part.processes is not None else model.processes)
    mask: BoolArray = bins[:, None] & processes
    return mask


def _split(
    model: Model, block: Block, j: int, masks: Sequence[BoolArray], new_index: IntArray, first: int
) -> Iterator[Block]:
    """The block without column j, and what of that column falls on each part."""
    at = np.flatnonzero(block.columns == j)
    stay = block.columns != j
    if stay.any():
        kept = block.kappa[:, stay] if at.size else block.kappa
        eta = block.eta[:, stay] if at.size and block.eta.size else block.eta
        yield replace(block, columns=new_index[block.columns[stay]], kappa=kept, eta=eta)
    if not at.size:
        return
    taken = np.sum([mask[block.bins, block.process] for mask in masks], axis=0, dtype=int)
    acts = (block.kappa[:, at[0]] != 0) | ((block.eta[:, at[0]] != 0) if block.eta.size else False)
    if np.any(taken[acts] != 1):
        b = int(block.bins[np.flatnonzero(acts & (taken != 1))[0]])
        raise InputError(
            f"an effect of '{model.parameters[j]}' belongs to {int(taken[acts & (taken != 1)][0])} parts, expected one",
            kind="likelihood.decorrelate",
            where={"process": model.processes[block.process], **model.place(b)},
        )
    for i, mask in enumerate(masks):
        rows = mask[block.bins, block.process]
        if rows.any():
            yield Block(
                process=block.process,
                bins=block.bins[rows],
                columns=np.array([first + i]),
                kappa=_column(block.kappa, rows, at),
                eta=_column(block.eta, rows, at) if block.eta.size else block.eta,
                additive=block.additive,
            )


def _column(values: FloatArray, rows: BoolArray, at: IntArray) -> FloatArray:
    return np.ascontiguousarray(values[np.ix_(rows, at)])


def _in_place(members: tuple[str, ...], name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(new for old in members for new in (names if old == name else (old,)))
