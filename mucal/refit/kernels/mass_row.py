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

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.tie import GAMMA, M_REF, SIZE, move_pair, shortened

TIGHT: Final = 0.1
"""Of Gamma, the width of the surface on which pairs are linearised; what is left of their bias goes with its square."""


@borrowing
def constrain_mass(
    constraints: FloatArray, mass: float, slope: FloatArray, curvature: FloatArray, cov: FloatArray, dx: FloatArray,
    gain: FloatArray,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The mass row: cov (9, 9) becomes that of the constrained fit, dx (9,) the step to the surface, gain (9,) is C a.

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
        for j in range(SIZE):
            cov[i, j] -= gain[i] * gain[j] / s
        dx[i] += gain[i] * left / t
    return (here / (TIGHT * width)) ** 2, left, s, t


@borrowing
def start_at_mass(ys: FloatArray, constraints: FloatArray, room: tuple[FloatArray, ...], cov: FloatArray) -> None:
    """Both muons moved from the fit without the mass to where its covariance says that the mass puts them.

    To follow the mass as it bends on the way saves no iteration: what is left are the weights, which move too.
    """
    dx, gain, slope, curvature, numbers, step = room[5], room[6], room[7], room[8], room[9], room[14]
    for i in range(SIZE):
        dx[i] = 0.0
    mass = pair_mass(ys[0], ys[1], slope, curvature, numbers)
    constrain_mass(constraints, mass, slope, curvature, cov, dx, gain)
    move_pair(ys, dx, shortened(ys, dx), step)
