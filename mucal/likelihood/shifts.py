"""Impacts by refits: what a parameter does when it is really moved, up and down."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import InputError
from mucal.likelihood.conditional import profiler
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation, observe
from mucal.likelihood.profile_fit import FitConfig, FitResult, fit
from mucal.likelihood.profile_scan import interval
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts(Result):
    """Changes of one parameter of interest, in its own unit.

    poi        :       its name
    parameters : (N,)  names
    up, down   : (N,)  its change when the parameter, or the centre of its constraint, goes up or down
    kind       :       "global", "nominal" or "not profiled"
    """

    poi: str
    parameters: tuple[str, ...]
    up: FloatArray
    down: FloatArray
    kind: str

    def __post_init__(self) -> None:
        check_shapes(self, up=(len(self.parameters),), down=(len(self.parameters),))

    @property
    def envelope(self) -> tuple[float, float]:
        """The largest change down, at most 0, and up, at least 0."""
        both = np.concatenate([self.up, self.down, [0.0]])
        return float(both.min()), float(both.max())

    @property
    def quadrature(self) -> tuple[float, float]:
        """Roots of the sums of squares of the changes down, as a negative number, and up."""
        low = np.minimum(np.minimum(self.up, self.down), 0.0)
        high = np.maximum(np.maximum(self.up, self.down), 0.0)
        return -float(np.linalg.norm(low)), float(np.linalg.norm(high))


def global_shifts(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    poi: str,
    parameters: Sequence[str] | None = None,
    n_threads: int = 1,
) -> Shifts:
    """Refits with the centre of a constraint moved by one prior standard error: exact global impacts.

    parameters : all constrained ones by default

    Raises InputError for a free parameter; NotCertified where a refit fails.
    """
    data = data if isinstance(data, Observation) else observe(model, data)
    profile, j = profiler(model, data, result, n_threads), result.place(poi)
    names = _constrained(model, result) if parameters is None else tuple(parameters)
    changes = np.empty((2, len(names)))
    for i, name in enumerate(names):
        step = _prior_error(model, name)
        for row, sign in enumerate((1.0, -1.0)):
            centre = data.centre.copy()
            centre[model.index([name])] += sign * step
            changes[row, i] = profile.with_data(replace(data, centre=centre)).x[j] - result.values[j]
    return Shifts(poi=poi, parameters=names, up=changes[0], down=changes[1], kind="global")


def nominal_shifts(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    poi: str,
    parameters: Sequence[str] | None = None,
    n_threads: int = 1,
) -> Shifts:
    """Refits with a parameter held at the ends of its likelihood interval: nominal impacts with their asymmetry.

    parameters : all that are not frozen, but the parameter of interest, by default

    Raises NotCertified where an end cannot be reached.
    """
    profile, j = profiler(model, data, result, n_threads), result.place(poi)
    free = [n for n, frozen in zip(result.parameters, result.frozen, strict=True) if not frozen and n != poi]
    names = tuple(free) if parameters is None else tuple(parameters)
    changes = np.empty((2, len(names)))
    for i, name in enumerate(names):
        ends = interval(model, data, result, name, n_threads=n_threads)
        for row, value in enumerate((ends.best + ends.up, ends.best - ends.down)):
            changes[row, i] = profile.at(model.index([name]), np.array([value])).x[j] - result.values[j]
    return Shifts(poi=poi, parameters=names, up=changes[0], down=changes[1], kind="nominal")


def unprofiled_shifts(
    model: Model,
    data: Observation | FloatArray,
    poi: str,
    parameters: Sequence[str],
    config: FitConfig | None = None,
) -> Shifts:
    """Refits with some parameters never profiled: all held at their centres, and one at a time a prior error away.

    Raises InputError for a free parameter; NotCertified where a fit fails.
    """
    config, names = config or FitConfig(), tuple(parameters)
    steps = [_prior_error(model, name) for name in names]
    held = replace(config, frozen=tuple(dict.fromkeys((*config.frozen, *names))))
    result = fit(model, data, held)
    profile, j = profiler(model, data, result, config.n_threads), result.place(poi)
    changes = np.empty((2, len(names)))
    for i, (name, step) in enumerate(zip(names, steps, strict=True)):
        index = model.index([name])
        for row, sign in enumerate((1.0, -1.0)):
            nearby = profile.shifted(index, result.values[index] + sign * step)
            changes[row, i] = nearby.x[j] - result.values[j]
    return Shifts(poi=poi, parameters=names, up=changes[0], down=changes[1], kind="not profiled")


def _constrained(model: Model, result: FitResult) -> tuple[str, ...]:
    return tuple(n for n, c, f in zip(model.parameters, model.precision, result.frozen, strict=True) if c > 0 and not f)


def _prior_error(model: Model, name: str) -> float:
    precision = float(model.precision[model.index([name])[0]])
    if precision == 0:
        raise InputError(f"parameter '{name}' is free: it has no prior to move in", kind="likelihood.shift")
    return float(1 / np.sqrt(precision))
