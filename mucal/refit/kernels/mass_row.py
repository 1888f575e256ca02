"""The mass as a measurement: one row, added to the solution of a pair without it.

With C the covariance of that solution, a = dm/dx, H = d2m/dx2 and Gamma the spread of the true masses about their mean,

    s = a^T C a + Gamma^2,   t = a^T C a + (TIGHT Gamma)^2,   e = m_ref + b - m - a.dx,   dx <- dx + C a e / t,

so that the vertex fit and the constrained fit come of one decomposition.  The fit walks to the surface m = m_ref, as t
says, and e^2 / s is what the row counts for: about that surface the weights do not know of e.  The true masses spread
across it by Gamma, the measured ones by sqrt(s), and

    b = 1/2 (Tr(H C) - s/t^2 a^T C H C a)

is what makes the mean of e zero (docs/physics/pairs.md).
"""

from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import BoolArray, FloatArray
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.tie import GAMMA, M_REF, SIZE, move_pair, shortened

TIGHT: Final = 0.1
"""Of Gamma, the width of the surface on which pairs are linearised; what is left of their bias goes with its square."""

STEPS: Final = 3
"""Towards the surface, which bends."""


@borrowing
def constrain_mass(
    constraints: FloatArray, mass: float, slope: FloatArray, curvature: FloatArray, cov: FloatArray, dx: FloatArray,
    gain: FloatArray,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The mass row: dx (9,), the step to the solution without it, becomes that to the surface; gain (9,) is C a.

    Returns chi2 of the row on the way to the surface, its residual e, its variance s, and t.
    """
    predicted, variance = 0.0, 0.0
    for i in range(SIZE):
        gain[i] = 0.0
        for j in range(6):
            gain[i] += cov[i, j] * slope[j]
    for i in range(6):
        variance += slope[i] * gain[i]
        predicted += slope[i] * dx[i]
    width = constraints[GAMMA]
    s, t = variance + width * width, variance + TIGHT * TIGHT * width * width
    bias = 0.0
    for i in range(6):
        for j in range(6):
            bias += 0.5 * curvature[i, j] * (cov[i, j] - s / (t * t) * gain[i] * gain[j])
    here = constraints[M_REF] + bias - mass
    left = here - predicted
    for i in range(SIZE):
        dx[i] += gain[i] * left / t
    return (here / (TIGHT * width)) ** 2, left, s, t


@borrowing
def constrain_covariance(cov: FloatArray, gain: FloatArray, s: float) -> None:
    """cov (9, 9) becomes that of the constrained fit."""
    for i in range(SIZE):
        for j in range(SIZE):
            cov[i, j] -= gain[i] * gain[j] / s


@borrowing
def move_to_surface(ys: FloatArray, constraints: FloatArray, cov: FloatArray, room: tuple[FloatArray, ...]) -> None:
    """Both muons moved from the fit without the mass, of covariance cov, to where the mass puts them.

    room : moved (9,), dx (9,), gain (9,), slope (6,), curvature (6, 6), numbers (2, 24), step (5,)
    """
    moved, dx, gain, slope, curvature, numbers, step = room
    for i in range(SIZE):
        moved[i] = 0.0
    for _ in range(STEPS):
        for i in range(SIZE):
            dx[i] = -moved[i]
        mass = pair_mass(ys[0], ys[1], slope, curvature, numbers)
        constrain_mass(constraints, mass, slope, curvature, cov, dx, gain)
        scale = shortened(ys, dx)
        move_pair(ys, dx, scale, step)
        for i in range(SIZE):
            moved[i] += scale * dx[i]


@njit(cache=True, nogil=True)
def on_surface(free: FloatArray, covs: FloatArray, constraints: FloatArray, ok: BoolArray) -> FloatArray:
    """Both muons (C, 2, 7) of the pairs that are `ok` moved to the surface of their mass; others as they are.

    free, covs  : (C, 2, 7), (C, 9, 9)  of the fit without the mass
    constraints : (C, CONSTRAINTS)
    """
    found = free.copy()
    room = (
        np.empty(SIZE), np.empty(SIZE), np.empty(SIZE), np.empty(6), np.empty((6, 6)), np.empty((2, 24)), np.empty(5),
    )  # fmt: skip
    for i in range(free.shape[0]):
        if ok[i]:
            move_to_surface(found[i], constraints[i], covs[i], room)
    return found
