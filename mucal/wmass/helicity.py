"""The fit with free cross sections of the W's helicities instead of its theory nuisances.

In each of 2 charges x 9 bins of pT x 8 bins of |y| the terms U+L and A_0 ... A_4 have one scale each, 864 in all, as
log-normal nuisances with loose priors: +1 adds `prior` times the term's events in the bin.  Only the kinematics of the
decay and A_5 ... A_7 are then taken from theory.  Source: arXiv:2412.13872.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import IntArray
from mucal.errors import ConfigError
from mucal.likelihood import Model
from mucal.likelihood.blocks import Effect, effect, gather, join
from mucal.templates.table import Templates
from mucal.theory.harmonics import TERMS
from mucal.theory.variation import log_ratio

FREE_TERMS: Final = 6
"""U+L, A_0 ... A_4."""
GROUP: Final = "helicity_cross_sections"
THEORY_GROUPS: Final = ("pdf", "alpha_s", "angular_coefficients", "pt_model")
"""Groups whose nuisances no longer act on the W."""


def helicity_model(model: Model, templates: Templates, *, process: str = "Wmunu", prior: float = 0.5) -> Model:
    """The model of a measurement with the theory of one process replaced by scales of its helicity terms.

    Nuisances of theory that act on no other process are gone.

    model     : of `mass_model`
    templates : from which it was made, with sums by helicity
    process   : the signal
    prior     : relative standard error of each scale

    Raises ConfigError for templates without sums by helicity, or a prior that is not above 0.
    """
    if not templates.helicity.shape[1] or not prior > 0:
        raise ConfigError(
            "the templates hold no sums by helicity, or the prior is not above 0",
            kind="config.mode",
            do="fill them with helicity = true",
        )
    p = model.processes.index(process)
    names = _names(templates)
    dropped = {name for group in THEORY_GROUPS for name in model.groups.get(group, ())}
    theory = np.isin(model.parameters, list(dropped))
    kept = []
    for block in model.effects.blocks():
        stays = np.ones(block.columns.size, dtype=bool) if block.process != p else ~theory[block.columns]
        eta = block.eta[:, stays] if block.eta.size else block.eta
        kept.append(replace(block, columns=block.columns[stays], kappa=block.kappa[:, stays], eta=eta))
    freed = replace(
        model,
        parameters=(*model.parameters, *names),
        effects=join([*kept, *gather(_effects(model, templates, p, prior)).blocks()]),
        centre=np.concatenate([model.centre, np.zeros(len(names))]),
        precision=np.concatenate([model.precision, np.ones(len(names))]),
        groups={**model.groups, GROUP: names},
    )
    acting = np.unique(np.concatenate([block.columns for block in kept]))
    return _without(freed, np.setdiff1d(np.flatnonzero(theory), acting))


def _without(model: Model, dropped: IntArray) -> Model:
    """The model without parameters that act on nothing, none of them a rate."""
    names = {model.parameters[j] for j in dropped}
    place = np.cumsum(~np.isin(np.arange(len(model.parameters)), dropped)) - 1
    groups = {g: tuple(n for n in members if n not in names) for g, members in model.groups.items()}
    return replace(
        model,
        parameters=tuple(n for n in model.parameters if n not in names),
        effects=replace(model.effects, columns=place[model.effects.columns]),
        rate=np.where(model.rate < 0, model.rate, place[model.rate]),
        centre=np.delete(model.centre, dropped),
        precision=np.delete(model.precision, dropped),
        groups={g: members for g, members in groups.items() if members},
        frozen=tuple(n for n in model.frozen if n not in names),
    )


def _names(templates: Templates) -> tuple[str, ...]:
    n_pt, n_y = templates.pt_y_shape
    return tuple(
        f"helicity_{charge}_pt{i}_y{j}_{TERMS[t]}"
        for charge in ("minus", "plus")
        for i in range(n_pt)
        for j in range(n_y)
        for t in range(FREE_TERMS)
    )


def _effects(model: Model, templates: Templates, p: int, prior: float) -> Iterator[Effect]:
    """One effect a scale; the charge of the muon is that of the W."""
    own = templates.processes.index(model.processes[p])
    nominal, filled = templates.nominal[own], model.nominal[:, p] > 0
    charge = templates.binning.along("charge")
    column = len(model.parameters)
    for sign in (0, 1):
        for cell in templates.helicity[own]:
            for term in cell[:FREE_TERMS]:
                up, down = (log_ratio(nominal + s * prior * term, nominal) for s in (1, -1))
                found = effect(p, column, np.where(charge == sign, 0.5 * (up - down), 0.0), None, filled)
                if found is not None:
                    yield found
                column += 1
