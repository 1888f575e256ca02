"""The mass as a measurement: one row, added to the solution of a pair without it.

With C the covariance and a = dm/dx,

    s = a^T C a + Gamma^2,   dx <- dx + C a (m_ref + b - m - a.dx) / s,   C <- C - C a a^T C / s

so that the vertex fit and the constrained fit come of one decomposition.  b = 1/2 Tr(d2m C) with the constrained C.
"""

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.tie import GAMMA, M_REF, SIZE, move_pair, shortened


@borrowing
def constrain_mass(
    constraints: FloatArray, mass: float, slope: FloatArray, curvature: FloatArray, cov: FloatArray, dx: FloatArray,
    gain: FloatArray,
) -> tuple[float, float, float]:  # fmt: skip
    """The mass row: cov (9, 9) and dx (9,) become the constrained ones.  Returns chi2 of the row here, left, and s."""
    s = constraints[GAMMA] * constraints[GAMMA]
    predicted = 0.0
    for i in range(SIZE):
        gain[i] = 0.0
        for j in range(6):
            gain[i] += cov[i, j] * slope[j]
    for i in range(6):
        s += slope[i] * gain[i]
        predicted += slope[i] * dx[i]
    for i in range(SIZE):
        for j in range(SIZE):
            cov[i, j] -= gain[i] * gain[j] / s
    bias = 0.0
    for i in range(6):
        for j in range(6):
            bias += 0.5 * curvature[i, j] * cov[i, j]
    here = constraints[M_REF] + bias - mass
    left = here - predicted
    for i in range(SIZE):
        dx[i] += gain[i] * left / s
    return (here / constraints[GAMMA]) ** 2, left, s


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
