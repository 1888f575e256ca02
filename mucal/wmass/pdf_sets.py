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
from mucal.likelihood import FitConfig, Model, expected_events, fit, observe, rescale
from mucal.likelihood.conditional import profiler
from mucal.store import Result
from mucal.wmass.published import PDF_SETS
from mucal.wmass.tensor import UNIT


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
        raise ConfigError(
            f"parameter '{free[0]}' is free; only constrained ones have a central prediction to move",
            kind="config.measurement",
        )
    ratio = np.zeros_like(model.nominal)
    for block in model.effects.blocks():
        if block.additive and np.any(x[block.columns] != 0):
            raise ConfigError(
                f"a displaced parameter adds events to '{model.processes[block.process]}'", kind="config.measurement"
            )
        ratio[block.bins, block.process] += block.kappa @ x[block.columns]
    factor = np.exp(ratio)
    return replace(model, nominal=model.nominal * factor, sumw2=model.sumw2 * factor**2)


def alternative_sets(model: Model, rng: np.random.Generator, group: str = "pdf") -> dict[str, Model]:
    """A set for each published one, made of the model's own partons: what a table of sets looks like.

    The uncertainties of a set are those of the model times published error over that of the first set; its centre lies
    where one draw of the model's own uncertainties puts it, so that the model covers the others as its errors say.  The
    first set is the model itself.

    Raises ConfigError if the model has no nuisances in `group`.
    """
    members = model.groups.get(group, ())
    if not members:
        raise ConfigError(
            f"the model has no nuisances in the group '{group}'",
            kind="config.measurement",
            do="fill templates with theory = true",
        )
    first, *others = PDF_SETS
    sets = {f"like {first.name}": model}
    for one in others:
        away = displaced(model, dict(zip(members, rng.normal(size=len(members)).tolist(), strict=True)))
        sets[f"like {one.name}"] = rescale(away, dict.fromkeys(members, one.error / first.error))
    return sets


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

    models : set -> model of the same bins, with its central prediction and the nuisances of its partons in `group`; the
             mass is its first parameter of interest

    Raises NotCertified for a set that no factor up to 10 makes cover the others, or a fit that did not converge.
    """
    names, config = tuple(models), config or FitConfig()
    data = {name: expected_events(model) for name, model in models.items()}
    k = len(names)
    factors, before, after, shifts = np.ones(k), np.zeros(k), np.zeros(k), np.zeros((k, k))
    for i, name in enumerate(names):
        for factor in np.arange(1.0, LARGEST + STEP / 2, STEP):
            after[i], found = _fits(models[name], data, group, float(factor), config)
            before[i] = after[i] if factor == 1.0 else before[i]
            factors[i], shifts[i] = factor, [found[other] for other in names]
            if np.all(np.abs(shifts[i]) <= after[i]):
                break
        else:
            raise NotCertified(
                f"no factor up to {LARGEST:g} makes the partons of '{name}' cover the other sets: shifts "
                f"{dict(zip(names, np.round(1000 * shifts[i], 2).tolist(), strict=True))} MeV, "
                f"uncertainty {1000 * after[i]:.2f} MeV",
                kind="likelihood.pdf_factor",
            )
    return PdfScaling(names=names, factors=factors, before=before, after=after, shifts=shifts)


def _fits(
    model: Model, data: Mapping[str, FloatArray], group: str, factor: float, config: FitConfig
) -> tuple[float, dict[str, float]]:
    """Nominal impact of the partons (GeV) on Asimov data, and the mass found in the data of each set."""
    scaled = rescale(model, dict.fromkeys(model.groups[group], factor))
    mass = int(scaled.index(scaled.pois[:1])[0])
    asimov = expected_events(scaled)
    result = fit(scaled, asimov, config)
    result.require_converged()
    partons = scaled.index(scaled.groups[group])
    row = result.cov[mass, partons]
    impact = UNIT * float(np.sqrt(row @ np.linalg.solve(result.cov[np.ix_(partons, partons)], row)))
    nearby = profiler(scaled, asimov, result, config.n_threads)
    found = {name: UNIT * float(nearby.with_data(observe(scaled, counts)).x[mass]) for name, counts in data.items()}
    return impact, found
