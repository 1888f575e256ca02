"""By how much the uncertainties of a set of partons must grow to cover the predictions of the others.

For a set X and every other set Y, pseudo-data with the central prediction of Y are fitted with the model of X: the mass
moves by D_XY.  The factor of X is the smallest on a grid for which |D_XY| is at most the uncertainty that its partons
leave, sigma_X(f), for all Y.  Source: arXiv:2412.13872.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import ConfigError, NotCertified
from mucal.likelihood import FitConfig, Model, expected_events, fit, nominal_impacts, rescale
from mucal.store import Result
from mucal.wmass.tensor import MASS, UNIT


def displaced(model: Model, values: Mapping[str, float]) -> Model:
    """The model whose central prediction is that of `model` with some nuisances moved; their constraints stay at 0.

    With parton nuisances this is another set whose central value lies elsewhere, its uncertainties being alike.

    values : constrained parameter -> where it is moved, in standard errors

    Raises InputError for an unknown parameter, ConfigError for a free one.
    """
    x = np.zeros(len(model.parameters))
    x[model.index(values)] = list(values.values())
    free = [name for name in values if model.precision[model.index([name])[0]] == 0]
    if free:
        raise ConfigError(f"parameter '{free[0]}' is free; only constrained ones have a central prediction to move")
    ratio = np.zeros_like(model.nominal)
    for block in model.effects.blocks():
        if block.additive and np.any(x[block.columns] != 0):
            raise ConfigError(f"a displaced parameter adds events to '{model.processes[block.process]}'")
        ratio[block.bins, block.process] += block.kappa @ x[block.columns]
    factor = np.exp(ratio)
    return replace(model, nominal=model.nominal * factor, sumw2=model.sumw2 * factor**2)


STEP: Final = 0.5
LARGEST: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfScaling(Result):
    """K sets.

    names   : (K,)
    factors : (K,)       on the prior standard errors
    before  : (K,) GeV   impact of the partons as published
    after   : (K,) GeV   with the factor
    shifts  : (K, K) GeV mass that the model of the row finds in pseudo-data of the column, with the factor
    """

    names: tuple[str, ...]
    factors: FloatArray
    before: FloatArray
    after: FloatArray
    shifts: FloatArray

    def __post_init__(self) -> None:
        k = len(self.names)
        check_shapes(self, factors=(k,), before=(k,), after=(k,), shifts=(k, k))


def scale_factors(models: Mapping[str, Model], *, group: str = "pdf", config: FitConfig | None = None) -> PdfScaling:
    """The factors of several sets.

    models : set -> model of the same bins, with its central prediction and the nuisances of its partons in `group`

    Raises NotCertified for a set that no factor up to 10 makes cover the others, or a fit that did not converge.
    """
    names = tuple(models)
    data = {name: expected_events(model) for name, model in models.items()}
    k = len(names)
    factors, before, after, shifts = np.ones(k), np.zeros(k), np.zeros(k), np.zeros((k, k))
    for i, name in enumerate(names):
        before[i], _ = _fits(models[name], data, group, 1.0, config)
        for factor in np.arange(1.0, LARGEST + STEP / 2, STEP):
            after[i], found = _fits(models[name], data, group, float(factor), config)
            factors[i], shifts[i] = factor, [found[other] for other in names]
            if np.all(np.abs(shifts[i]) <= after[i]):
                break
        else:
            raise NotCertified(
                f"no factor up to {LARGEST:g} makes the partons of '{name}' cover the other sets: shifts "
                f"{dict(zip(names, np.round(1000 * shifts[i], 2).tolist(), strict=True))} MeV, "
                f"uncertainty {1000 * after[i]:.2f} MeV"
            )
    return PdfScaling(names=names, factors=factors, before=before, after=after, shifts=shifts)


def _fits(
    model: Model, data: Mapping[str, FloatArray], group: str, factor: float, config: FitConfig | None
) -> tuple[float, dict[str, float]]:
    """Nominal impact of the partons (GeV) on Asimov data, and the mass found in the data of each set."""
    scaled = rescale(model, dict.fromkeys(model.groups[group], factor))
    asimov = expected_events(scaled)
    result = fit(scaled, asimov, config)
    impact = UNIT * nominal_impacts(scaled, asimov, result, MASS).groups[group]
    found = {}
    for name, counts in data.items():
        other = fit(scaled, counts, config)
        other.require_converged()
        found[name] = UNIT * other.value(MASS)
    return impact, found
