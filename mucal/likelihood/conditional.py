"""Minima nearby: with some parameters held elsewhere or other data, from the covariance of a fit kept as it is.

A step is -C g, with C the covariance at the first minimum, reduced by the held parameters; it costs one pass over the
effects.  Where that does not converge, the full fit takes over.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import NotCertified
from mucal.likelihood.model import Model
from mucal.likelihood.newton import minimise
from mucal.likelihood.objective import Objective
from mucal.likelihood.observation import Observation
from mucal.likelihood.profile_fit import FitResult, function_of
from mucal.likelihood.status import Status

ENOUGH: Final = 1e-12
"""EDM at which a minimum nearby has been reached: 1.4e-6 standard errors."""
STEPS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearby:
    """A minimum near that of a fit: (S,) parameters, and -ln L there."""

    x: FloatArray
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiler:
    """The profile likelihood around a fit."""

    function: Objective
    result: FitResult

    def at(self, held: IntArray, values: FloatArray) -> Nearby:
        """The minimum with some free parameters held.

        held   : (F,)
        values : (F,)

        Raises NotCertified if there is none.
        """
        cov, x = self.result.cov, self.result.values
        response = _response(cov, held)
        start = x + response @ (values - x[held])
        start[held] = values
        return self._descend(self.function, start, held, response)

    def with_data(self, data: Observation, held: tuple[str, ...] = ()) -> Nearby:
        """The minimum for other data, some parameters held where the fit has them."""
        index = self.function.model.index(held)
        index = index[~self.result.frozen[index]]
        response = _response(self.result.cov, index)
        return self._descend(self.function.observe(data), self.result.values.copy(), index, response)

    def shifted(self, index: IntArray, values: FloatArray) -> Nearby:
        """The minimum with some frozen parameters put elsewhere."""
        x = self.result.values.copy()
        x[index] = values
        none = np.zeros(0, dtype=np.int64)
        return self._descend(self.function, x, none, np.zeros((x.size, 0)))

    def _descend(self, function: Objective, x: FloatArray, held: IntArray, response: FloatArray) -> Nearby:
        value, gradient = function.value_and_gradient(x)
        last = np.inf
        for _ in range(STEPS):
            step = -(self.result.cov @ gradient)
            step -= response @ step[held]
            step[held] = 0.0
            gain = -0.5 * float(gradient @ step)
            if not (np.isfinite(value) and gain < 0.5 * last):
                break
            if gain < ENOUGH:
                return Nearby(x=x + step, value=value - gain)
            last = gain
            x = x + step
            value, gradient = function.value_and_gradient(x)
        return self._fit_again(function, x, held)

    def _fit_again(self, function: Objective, x: FloatArray, held: IntArray) -> Nearby:
        free: BoolArray = ~self.result.frozen
        free[held] = False
        start = self.result.values.copy()
        start[~free] = x[~free]
        found = minimise(function, start, free, max_steps=100, tolerance=1e-8)
        if found.status != Status.OK:
            raise NotCertified(found.status.sentence, kind="likelihood.profile")
        return Nearby(x=found.x, value=found.value)


def _response(cov: FloatArray, held: IntArray) -> FloatArray:
    """(S, F) change of every parameter when a held one moves by 1"""
    solved = np.linalg.solve(cov[np.ix_(held, held)], cov[held])
    return np.asarray(solved.T, dtype=float)


def profiler(model: Model, data: Observation | FloatArray, result: FitResult, n_threads: int = 1) -> Profiler:
    """The profile likelihood around a fit of `model` to `data`.  Raises NotCertified for a fit that failed."""
    return Profiler(function=function_of(model, data, result, n_threads), result=result)
