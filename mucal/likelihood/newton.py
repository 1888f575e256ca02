"""Damped Gauss-Newton steps with a kept factor, then the exact Hessian once at the end."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mucal.arrays import BoolArray, FloatArray
from mucal.likelihood.curvature import hessian
from mucal.likelihood.normal_matrix import InParameters, NormalMatrix, Prior, factorise
from mucal.likelihood.objective import Expansion, Objective
from mucal.likelihood.status import Status

NEAR: Final = 1e-6
SURE: Final = 1.03
"""A factor is kept below an EDM of NEAR, and wherever a step kept its promise within SURE: the EDM falls by orders."""
SETTLED: Final = 1e-18
POLISHED: Final = 1e-15
"""EDM at which the exact Hessian is that of the minimum: from 1e-13 away it gave errors 1.3e-6 off."""
FAR: Final = 10.0
TRUSTED: Final = 1.3
"""Gauss-Newton is doubted where a step that promised less than FAR gained over this factor more or less than that."""
KEPT_STEPS: Final = 12
POLISHES: Final = 4
FIRST_DAMPING: Final = 1e-2
LARGEST_DAMPING: Final = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """Where a search ended.

    x         : (S,)    parameters
    expansion :         at x
    value     :         -ln L
    factor    : (F, F)  lower Cholesky factor of the exact Hessian of the free parameters; (0, 0) if not reached
    edm       :         g H^-1 g / 2 with the exact Hessian
    n_steps   :         Gauss-Newton steps tried
    """

    x: FloatArray
    expansion: Expansion
    value: float
    factor: FloatArray
    edm: float
    n_steps: int
    status: Status


@dataclass(frozen=True, slots=True)
class _Point:
    x: FloatArray
    value: float
    gradient: FloatArray


def minimise(function: Objective, start: FloatArray, free: BoolArray, max_steps: int, tolerance: float) -> Minimum:
    """The minimum over the free parameters (S,)."""
    here = _Point(start.copy(), *function.value_and_gradient(start))
    if not np.isfinite(here.value):
        return _ended(function, here, np.inf, 0, Status.OUTSIDE)
    prior = prior_of(function, free)
    damping, n_steps, edm, doubtful = 0.0, 0, np.inf, False
    at = function.expand(here.x)
    while n_steps < max_steps and damping < LARGEST_DAMPING:
        n_steps += 1
        try:
            matrix = _matrix(function, here.x, at, free, prior, damping, doubtful)
            gain, new = _step(function, here, matrix, free)
        except LinAlgError:
            gain, new = np.inf, here
        fell = here.value - new.value
        if not fell > 1e-3 * gain - _rounding(here.value):
            damping, doubtful = max(FIRST_DAMPING, 10 * damping), gain < FAR
            continue
        quality = fell / gain if gain > NEAR else 1.0
        doubtful = doubtful or (gain < FAR and not 1 / TRUSTED < quality < TRUSTED)
        here = new
        if damping == 0 and 1 / SURE < quality < SURE:
            here, edm = _settle(function, here, matrix, free, gain)
            if edm < POLISHED or gain < NEAR:
                break
        damping = 0.0 if damping <= FIRST_DAMPING else damping / (10 if quality > 0.5 else 1)
        at = function.expand(here.x)
    return _polish(function, here, free, n_steps, edm, tolerance)


def prior_of(function: Objective, free: BoolArray) -> Prior:
    """What is known of the free parameters before the data: constraints and external terms."""
    model = function.model
    full = np.zeros(free.size, dtype=bool)
    for term in model.external:
        full[model.index(term.parameters)] = True
    index = np.flatnonzero(full & free)
    matrix = np.zeros((free.size, free.size) if index.size else (0, 0))
    for term in model.external:
        place = model.index(term.parameters)
        matrix[np.ix_(place, place)] += term.hessian
    block = matrix[np.ix_(index, index)] + np.diag(model.precision[index])
    return Prior(precision=model.precision[free], linked=np.searchsorted(np.flatnonzero(free), index), block=block)


def _matrix(
    function: Objective, x: FloatArray, at: Expansion, free: BoolArray, prior: Prior, damping: float, doubtful: bool
) -> NormalMatrix:
    """The Gauss-Newton matrix; where its promises were not kept, the exact one if that is positive definite."""
    if doubtful:
        exact = hessian(function, x, at, free)
        exact[np.diag_indices_from(exact)] *= 1 + damping
        try:
            return InParameters(cho_factor(exact, lower=True))
        except (LinAlgError, ValueError):
            pass
    jacobian = at.jacobian if free.all() else at.jacobian[:, free]
    return factorise(jacobian, at.expected, prior, damping)


def _step(function: Objective, here: _Point, matrix: NormalMatrix, free: BoolArray) -> tuple[float, _Point]:
    """What a step promises to gain, and where it leads."""
    step = -matrix.solve(here.gradient[free])
    tried = here.x.copy()
    tried[free] += step
    return -0.5 * float(here.gradient[free] @ step), _Point(tried, *function.value_and_gradient(tried))


def _settle(
    function: Objective, here: _Point, matrix: NormalMatrix, free: BoolArray, gain: float
) -> tuple[_Point, float]:
    """Steps with a factor kept from nearby, as long as each promises much less than the one before."""
    for _ in range(KEPT_STEPS):
        if gain < SETTLED:
            break
        new_gain, new = _step(function, here, matrix, free)
        if not (new_gain < 0.25 * gain and new.value <= here.value + _rounding(here.value)):
            return here, new_gain
        here, gain = new, new_gain
    return here, gain


def _polish(function: Objective, here: _Point, free: BoolArray, n_steps: int, edm: float, tolerance: float) -> Minimum:
    """Newton steps with the exact Hessian of where Gauss-Newton ended; it is made again after every move."""
    at = function.expand(here.x)
    for _ in range(POLISHES):
        try:
            factor = cho_factor(hessian(function, here.x, at, free), lower=True, overwrite_a=True)
            step = -cho_solve(factor, here.gradient[free])
        except (LinAlgError, ValueError):
            return _ended(function, here, edm, n_steps, Status.HESSIAN_NOT_PD)
        edm = -0.5 * float(here.gradient[free] @ step)
        tried = here.x.copy()
        tried[free] += step
        if edm < POLISHED:
            break
        new = _Point(tried, *function.value_and_gradient(tried))
        if not new.value <= here.value + _rounding(here.value):
            break
        here = new
        at = function.expand(here.x)
    status = Status.OK if edm < tolerance else Status.NOT_CONVERGED
    return Minimum(x=here.x, expansion=at, value=here.value, factor=factor[0], edm=edm, n_steps=n_steps, status=status)


def _ended(function: Objective, here: _Point, edm: float, n_steps: int, status: Status) -> Minimum:
    return Minimum(
        x=here.x,
        expansion=function.expand(here.x),
        value=here.value,
        factor=np.zeros((0, 0)),
        edm=edm,
        n_steps=n_steps,
        status=status,
    )


def _rounding(value: float) -> float:
    """By how much two equal values may differ."""
    return 1e-12 * (1 + abs(value))
