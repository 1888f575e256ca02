"""Templates become the model that is fitted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.likelihood import Channel, Model
from mucal.likelihood.blocks import Effect, effect, gather
from mucal.templates.event_weights import LUMINOSITY
from mucal.templates.table import Templates
from mucal.theory.variation import log_ratio

MASS: Final = "mass"
"""The parameter of interest."""
UNIT: Final = 0.1
"""GeV that one unit of it stands for."""

INFLATION: Final = 1.26
"""Factor on the errors of the simulation in the fit of m_W (arXiv:2412.13872), against under-coverage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """A process that is not simulated here.

    name       : of the process
    events     : (B,)  expected
    variance   : (B,)  of them; zeros if exactly known
    kappa      : nuisance -> (B,) ln(varied/nominal) at +1
    group      : of its nuisances
    luminosity : whether its rate follows the luminosity
    """

    name: str
    events: FloatArray
    variance: FloatArray
    kappa: Mapping[str, FloatArray] = field(default_factory=dict)
    group: str = "background"
    luminosity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """One column of the model: events, variances, and kappa by nuisance."""

    name: str
    events: FloatArray
    variance: FloatArray
    kappa: Mapping[str, FloatArray]


def mass_model(
    templates: Templates,
    backgrounds: Sequence[Background] = (),
    *,
    without: Sequence[str] = (),
    rates: Mapping[str, Sequence[str]] | None = None,
    inflation: float | None = None,
    luminosity_error: float = LUMINOSITY,
) -> Model:
    """The model of a measurement of the boson's mass.

    templates        : of one channel
    backgrounds      : further processes
    without          : nuisances or groups of them to leave out
    rates            : free factor -> processes that it multiplies
    inflation        : factor on the errors of the simulation; None: 1.26 in the channel "w", 1 otherwise
    luminosity_error : of all simulated processes together; 0 for none.  Templates that have a nuisance "luminosity"
                       already, from `templates.event_weights`, keep it: there is one, on the processes named there

    Raises ConfigError for a name in `without` that is neither a nuisance nor a group.
    """
    known = {*templates.nuisances, *templates.groups, *(n for b in backgrounds for n in (b.group, *b.kappa))}
    unknown = set(without) - known
    if unknown:
        raise ConfigError(
            f"{sorted(unknown)} are neither nuisances nor groups of these templates", kind="config.unknown_nuisance"
        )
    columns, groups = _columns(templates, backgrounds, set(without))
    if luminosity_error and "luminosity" not in known:
        groups["luminosity"] = ("luminosity",)
        columns.append("luminosity")
    free = tuple(rates or {})
    names = (*free, MASS, *columns)
    place = {name: i for i, name in enumerate(names)}
    processes = list(_processes(templates, backgrounds, luminosity_error))
    filled = np.array([p.events for p in processes]).T
    factor = inflation if inflation is not None else INFLATION if templates.channel == "w" else 1.0
    return Model(
        channels=(Channel(name=templates.channel, axes=tuple(templates.axes),
                          edges=tuple(tuple(e) for e in templates.edges)),),
        processes=tuple(p.name for p in processes),
        parameters=names,
        nominal=filled,
        sumw2=factor**2 * np.array([p.variance for p in processes]).T,
        effects=gather(_effects(templates, processes, place)),
        rate=np.array([_rate(p.name, rates or {}, free) for p in processes], dtype=np.int64),
        centre=np.array([1.0] * len(free) + [0.0] * (1 + len(columns))),
        precision=np.array([0.0] * (len(free) + 1) + [1.0] * len(columns)),
        pois=(MASS,),
        groups=groups,
    )  # fmt: skip


def events_at_mass(model: Model, templates: Templates, shift: float) -> FloatArray:
    """(B,) pseudo-data of a boson heavier by `shift` (GeV), exact: other processes as in the model."""
    moved = dict(zip(templates.processes, templates.at_mass(shift), strict=True))
    columns = [
        np.where(model.nominal[:, p] > 0, moved.get(name, model.nominal[:, p]), 0.0)
        for p, name in enumerate(model.processes)
    ]
    result: FloatArray = np.sum(columns, axis=0)
    return result


def _columns(
    templates: Templates, backgrounds: Sequence[Background], without: set[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Nuisances kept, and their groups."""
    pairs = list(zip(templates.nuisances, templates.groups, strict=True))
    pairs += [(name, b.group) for b in backgrounds for name in b.kappa]
    kept = [(name, group) for name, group in dict(pairs).items() if name not in without and group not in without]
    groups: dict[str, tuple[str, ...]] = {}
    for name, group in kept:
        groups[group] = (*groups.get(group, ()), name)
    return [name for name, _ in kept], groups


def _processes(templates: Templates, backgrounds: Sequence[Background], luminosity_error: float) -> Iterator[_Process]:
    n_bins = templates.binning.n_bins
    luminosity = {"luminosity": np.full(n_bins, np.log1p(luminosity_error))} if luminosity_error else {}
    own = "luminosity" in templates.nuisances
    for p, name in enumerate(templates.processes):
        kappa = ({} if own else luminosity) | dict(zip(templates.nuisances, templates.kappa[p], strict=True))
        # a bin that only negative weights or nothing reached is one where the process is absent
        filled = templates.nominal[p] > 0
        yield _Process(
            name=name, events=np.where(filled, templates.nominal[p], 0.0),
            variance=np.where(filled, templates.sumw2[p], 0.0), kappa=kappa,
        )  # fmt: skip
    for b in backgrounds:
        more = luminosity if b.luminosity else {}
        yield _Process(name=b.name, events=b.events, variance=b.variance, kappa=dict(b.kappa) | more)


def _effects(templates: Templates, processes: Sequence[_Process], place: Mapping[str, int]) -> Iterator[Effect]:
    """Mass and nuisances, process by process."""
    for p, process in enumerate(processes):
        filled = process.events > 0
        if process.name in templates.processes:
            own = templates.processes.index(process.name)
            up, down = (log_ratio(templates.at_mass(s)[own], templates.nominal[own]) for s in (UNIT, -UNIT))
            one = effect(p, place[MASS], 0.5 * (up - down), 0.5 * (up + down), filled)
            if one is not None:
                yield one
        for name, kappa in process.kappa.items():
            found = effect(p, place[name], kappa, None, filled) if name in place else None
            if found is not None:
                yield found


def _rate(process: str, rates: Mapping[str, Sequence[str]], free: Sequence[str]) -> int:
    found = [free.index(name) for name, members in rates.items() if process in members]
    if len(found) > 1:
        raise ConfigError(f"process '{process}' has {len(found)} rates, expected at most one", kind="config.templates")
    return found[0] if found else -1
