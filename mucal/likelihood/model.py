"""The model: bins, processes, and what parameters do to them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.errors import InputError, nearest
from mucal.likelihood.blocks import Effects
from mucal.likelihood.channel import Channel
from mucal.likelihood.external import Quadratic
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Result):
    """B bins of all channels, P processes and S parameters.

    channels   : in the order of the bins
    processes  : (P,) names
    parameters : (S,) names
    nominal    : (B, P)  expected events with every parameter at its centre; not negative, 0 where a process is absent
    sumw2      : (B, P)  variance of the nominal from the finite simulation; 0 for exactly known
    effects    :         log-ratios, or events added, in blocks; blocks that share a place add up
    rate       : (P,) or (P, R)  parameters that multiply the process; -1 for none
    centre     : (S,)    centre of the constraint, or where an unconstrained parameter starts
    precision  : (S,)    1 / variance of the constraint; 0 for an unconstrained parameter
    pois       :         names of the parameters of interest
    groups     :         group -> names of its parameters
    frozen     :         parameters held at their centre in every fit
    external   :         terms g x + x H x / 2 from elsewhere, as the outcome of another fit
    """

    channels: tuple[Channel, ...]
    processes: tuple[str, ...]
    parameters: tuple[str, ...]
    nominal: FloatArray
    sumw2: FloatArray
    effects: Effects
    rate: IntArray
    centre: FloatArray
    precision: FloatArray
    pois: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    external: tuple[Quadratic, ...] = ()

    SCHEMA: ClassVar[int] = 2

    def __post_init__(self) -> None:
        b, p, s = sum(channel.n_bins for channel in self.channels), len(self.processes), len(self.parameters)
        check_shapes(self, nominal=(b, p), sumw2=(b, p), rate=(p, *self.rate.shape[1:2]), centre=(s,), precision=(s,))
        _refuse_twice("channel", [channel.name for channel in self.channels])
        _refuse_twice("process", self.processes)
        _refuse_twice("parameter", self.parameters)
        _check_nominal(self)
        _check_sumw2(self)
        _check_parameters(self)
        _check_effects(self)

    @property
    def n_bins(self) -> int:
        """Bins of all channels."""
        return int(self.nominal.shape[0])

    @property
    def effective_events(self) -> FloatArray:
        """(B,) k = (sum of N)^2 / sum of sumw2 over the processes that have one; infinite where none has."""
        total = np.where(self.sumw2 > 0, self.nominal, 0.0).sum(axis=1)
        variance = self.sumw2.sum(axis=1)
        k = np.full(total.size, np.inf)
        np.divide(total**2, variance, out=k, where=variance > 0)
        return k

    @property
    def rates(self) -> IntArray:
        """(P, R) parameters that multiply each process; -1 for none"""
        return self.rate.reshape(len(self.processes), -1)

    @property
    def is_free(self) -> BoolArray:
        """(S,) not frozen"""
        free = np.ones(len(self.parameters), dtype=bool)
        free[self.index(self.frozen)] = False
        return free

    def index(self, names: Iterable[str]) -> IntArray:
        """Indices of parameters.  Raises InputError with the nearest names for an unknown one."""
        place = {name: i for i, name in enumerate(self.parameters)}
        return np.array([place[self._known(name)] for name in names], dtype=np.int64)

    def _known(self, name: str) -> str:
        if name not in self.parameters:
            close = ", ".join(f"'{n}'" for n in nearest(name, self.parameters))
            raise InputError(
                f"no parameter '{name}' in this model" + (f"; the nearest are {close}" if close else ""),
                kind="likelihood.unknown_parameter",
            )
        return name

    def place(self, b: int) -> dict[str, str]:
        """Channel and bin of a flat bin, as an error says them."""
        for channel in self.channels:
            if b < channel.n_bins:
                return {"channel": channel.name, "bin": channel.bin_text(b)}
            b -= channel.n_bins
        raise IndexError(b)


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{what} '{twice[0]}' is defined {Counter(names)[twice[0]]} times",
            kind="likelihood.duplicate_name",
            do="give each its own name, or join them into one",
        )


def _check_nominal(model: Model) -> None:
    bad = ~np.isfinite(model.nominal) | (model.nominal < 0)
    if bad.any():
        b, p = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{int(bad.sum())} template bins are negative or not finite, the first is {model.nominal[b, p]:g}",
            kind="likelihood.template",
            where={"process": model.processes[p], **model.place(b)},
            do='merge the bin with its neighbours, or build with negative="zero" if the process is absent there',
        )
    empty = np.flatnonzero(model.nominal.sum(axis=1) <= 0)
    if empty.size:
        raise InputError(
            f"{empty.size} bins are empty in all {len(model.processes)} processes, so that one event in them is "
            "impossible",
            kind="likelihood.empty_bin",
            where=model.place(int(empty[0])),
            do="merge the bin with its neighbours or leave it out",
        )


def _check_sumw2(model: Model) -> None:
    bad = ~np.isfinite(model.sumw2) | (model.sumw2 < 0)
    if bad.any():
        b, p = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{int(bad.sum())} variances of the simulation are negative or not finite, the first is "
            f"{model.sumw2[b, p]:g}",
            kind="likelihood.sumw2",
            where={"process": model.processes[p], **model.place(b)},
        )


def _check_parameters(model: Model) -> None:
    for j, name in enumerate(model.parameters):
        centre, precision = float(model.centre[j]), float(model.precision[j])
        if not (np.isfinite(centre) and np.isfinite(precision) and precision >= 0):
            raise InputError(
                f"parameter '{name}' has centre {centre!r} and precision {precision!r}, expected finite numbers and a "
                "precision of at least 0",
                kind="likelihood.constraint",
            )
    if np.any((model.rate < -1) | (model.rate >= len(model.parameters))):
        raise ValueError(f"Model.rate names parameters outside 0..{len(model.parameters) - 1}: {model.rate.tolist()}")
    model.index(model.pois)
    model.index(model.frozen)
    _refuse_twice("group or external term", [*model.groups, *(term.name for term in model.external)])
    for term in model.external:
        model.index(term.parameters)
    for members in model.groups.values():
        model.index(members)


def _check_effects(model: Model) -> None:
    for block in model.effects.blocks():
        inside = (0 <= block.process < len(model.processes), block.bins.min() >= 0, block.bins.max() < model.n_bins)
        if not all(inside) or block.columns.min() < 0 or block.columns.max() >= len(model.parameters):
            raise ValueError(f"Model.effects has a block outside the model: process {block.process}")
        for values in (block.kappa, block.eta):
            if not np.all(np.isfinite(values)):
                row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
                raise InputError(
                    f"a log-ratio of '{model.parameters[int(block.columns[column])]}' is {values[row, column]:g}",
                    kind="likelihood.variation",
                    where={"process": model.processes[block.process], **model.place(int(block.bins[row]))},
                )
