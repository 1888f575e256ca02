"""Damped Gauss-Newton steps, solved in the space of bins where bins are fewer than parameters."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mucal.arrays import BoolArray, FloatArray
from mucal.likelihood.objective import Expansion, Objective
from mucal.likelihood.status import Status

NEAR: Final = 1e-10
"""EDM at which Gauss-Newton hands over to the exact Hessian: 1.4e-5 standard errors from the minimum."""
POLISHED: Final = 1e-15
POLISHES: Final = 4
FIRST_DAMPING: Final = 1e-2
LARGEST_DAMPING: Final = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """Where a search ended.

    x         : (S,)    parameters
    expansion :         at x
    value     :         -ln L
    hessian   : (F, F)  exact, of the F free parameters, or (0, 0) if it was not reached
    edm       :         g H^-1 g / 2 with the exact Hessian
    n_steps   :         Gauss-Newton steps tried
    """

    x: FloatArray
    expansion: Expansion
    value: float
    hessian: FloatArray
    edm: float
    n_steps: int
    status: Status


def minimise(function: Objective, start: FloatArray, free: BoolArray, max_steps: int, tolerance: float) -> Minimum:
    """The minimum over the free parameters (S,)."""
    x = start.copy()
    value, gradient = function.value_and_gradient(x)
    at = function.expand(x)
    if not np.isfinite(value):
        return Minimum(x=x, expansion=at, value=value, hessian=_NONE, edm=np.inf, n_steps=0, status=Status.OUTSIDE)
    damping, n_steps, edm = 0.0, 0, np.inf
    precision = function.model.precision[free]
    while n_steps < max_steps and damping < LARGEST_DAMPING:
        n_steps += 1
        try:
            step = gauss_newton_step(at.jacobian[:, free], at.expected, precision, damping, gradient[free])
        except LinAlgError:
            damping = max(FIRST_DAMPING, 10 * damping)
            continue
        gain = -0.5 * float(gradient[free] @ step)
        if damping == 0 and gain < NEAR:
            edm = gain
            break
        tried = x.copy()
        tried[free] += step
        new_value, new_gradient = function.value_and_gradient(tried)
        if not value - new_value > 1e-3 * gain:
            damping = max(FIRST_DAMPING, 10 * damping)
            continue
        quality = (value - new_value) / gain
        damping = 0.0 if damping <= FIRST_DAMPING else damping / (10 if quality > 0.5 else 1)
        x, value, gradient = tried, new_value, new_gradient
        at = function.expand(x)
    return _polish(function, x, free, n_steps, edm, tolerance)


def gauss_newton_step(
    jacobian: FloatArray, weight: FloatArray, precision: FloatArray, damping: float, gradient: FloatArray
) -> FloatArray:
    """-(J^T h J + c + damping D)^-1 g, D being c for constrained and the diagonal of J^T h J for other parameters.

    jacobian  : (B, F)
    weight    : (B,)   h, above 0
    precision : (F,)   c

    Raises LinAlgError if the matrix is not positive definite.
    """
    w = np.sqrt(weight)[:, None] * jacobian
    solve = _in_bins if w.shape[0] < w.shape[1] else _in_parameters
    return solve(w, precision, damping, gradient)


def _in_parameters(w: FloatArray, precision: FloatArray, damping: float, gradient: FloatArray) -> FloatArray:
    matrix = w.T @ w
    added = np.where(precision > 0, (1 + damping) * precision, damping * np.diag(matrix))
    matrix[np.diag_indices_from(matrix)] += added
    result: FloatArray = -cho_solve(cho_factor(matrix, lower=True, overwrite_a=True), gradient)
    return result


def _in_bins(w: FloatArray, precision: FloatArray, damping: float, gradient: FloatArray) -> FloatArray:
    """By Woodbury for the constrained parameters and a Schur complement for the others; docs/physics/likelihood.md."""
    held = precision > 0
    wc, wu, d = w[:, held], w[:, ~held], (1 + damping) * precision[held]
    m = (wc / d) @ wc.T
    m[np.diag_indices_from(m)] += 1.0
    factor = cho_factor(m, lower=True, overwrite_a=True)
    step = np.empty(gradient.size)
    right = gradient[held]
    if wu.shape[1]:
        schur = wu.T @ cho_solve(factor, wu)
        schur[np.diag_indices_from(schur)] += damping * np.einsum("bu,bu->u", wu, wu)
        reduced = gradient[~held] - wu.T @ cho_solve(factor, wc @ (right / d))
        step[~held] = -cho_solve(cho_factor(schur), reduced)
        right = right + wc.T @ (wu @ step[~held])
    step[held] = (wc.T @ cho_solve(factor, wc @ (right / d)) - right) / d
    return step


def _polish(function: Objective, x: FloatArray, free: BoolArray, n_steps: int, edm: float, tolerance: float) -> Minimum:
    """Newton steps with the exact Hessian of where Gauss-Newton ended; it is made again after every move."""
    at = function.expand(x)
    value, gradient = function.value_and_gradient(x)
    hessian = function.hessian(x, at)[np.ix_(free, free)]
    for _ in range(POLISHES):
        try:
            step = -cho_solve(cho_factor(hessian, lower=True), gradient[free])
        except (LinAlgError, ValueError):
            return Minimum(
                x=x, expansion=at, value=value, hessian=_NONE, edm=edm, n_steps=n_steps, status=Status.HESSIAN_NOT_PD
            )
        edm = -0.5 * float(gradient[free] @ step)
        tried = x.copy()
        tried[free] += step
        new_value, new_gradient = function.value_and_gradient(tried)
        if edm < POLISHED or not new_value <= value + 1e-12 * (1 + abs(value)):
            break
        x, value, gradient = tried, new_value, new_gradient
        at = function.expand(x)
        hessian = function.hessian(x, at)[np.ix_(free, free)]
    status = Status.OK if edm < tolerance else Status.NOT_CONVERGED
    return Minimum(x=x, expansion=at, value=value, hessian=hessian, edm=edm, n_steps=n_steps, status=status)


_NONE: Final = np.zeros((0, 0))
