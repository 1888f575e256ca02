"""Two legs tied to one vertex: rows of a pair from the triangles of its tracks, and its steps.

Nine unknowns: q/p, lambda and phi of both muons at the vertex, then the vertex.  Each leg gives five rows, a beam line
three; reflected, nine of them fix the unknowns and the rest (one, or four) says how well the legs meet.
"""

from math import sqrt

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import evaluate
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.fit import move_start
from mucal.units import CURVATURE

SIZE = 9
"""Unknowns of a pair: (q/p, lambda, phi) twice, vertex."""

# what is read of the pair itself: m_ref, Gamma, whether there is a beam line; its centre; its whitening matrix
M_REF, GAMMA, HAS_BEAM, BEAM, WHITEN, CONSTRAINTS = 0, 1, 2, 3, 6, 15


@borrowing
def leg_rows(y: FloatArray, bfield: FloatArray, triangle: FloatArray, k: int, a: FloatArray) -> None:
    """Rows 5k .. 5k+4 of a (., 9): the triangle (5, 5) of leg k times d start / d (unknowns of the pair).

    The start lies in the plane through the vertex, normal to the track: of dv it takes U.dv and V.dv, and what the
    track turns along T.dv comes off its direction.
    """
    tx, ty, tz, q = y[3], y[4], y[5], y[6]
    across = sqrt(tx * tx + ty * ty)
    ux, uy = -ty / across, tx / across
    vx, vy, vz = -tz * uy, tz * ux, across
    turn = CURVATURE * q
    bend_x = turn * (ty * bfield[2] - tz * bfield[1])
    bend_y = turn * (tz * bfield[0] - tx * bfield[2])
    bend_z = turn * (tx * bfield[1] - ty * bfield[0])
    by_lam = -(vx * bend_x + vy * bend_y + vz * bend_z)
    by_phi = -(ux * bend_x + uy * bend_y) / across
    for i in range(5):
        row = 5 * k + i
        r0, r1, r2, r3, r4 = triangle[i, 0], triangle[i, 1], triangle[i, 2], triangle[i, 3], triangle[i, 4]
        if i > 0:
            r0 = 0.0
        if i > 1:
            r1 = 0.0
        if i > 2:
            r2 = 0.0
        if i > 3:
            r3 = 0.0
        for j in range(6):
            a[row, j] = 0.0
        a[row, 3 * k], a[row, 3 * k + 1], a[row, 3 * k + 2] = r0, r1, r2
        along = r1 * by_lam + r2 * by_phi
        a[row, 6] = along * tx + r3 * ux + r4 * vx
        a[row, 7] = along * ty + r3 * uy + r4 * vy
        a[row, 8] = along * tz + r4 * vz


@borrowing
def beam_rows(y: FloatArray, constraints: FloatArray, a: FloatArray, r: FloatArray) -> float:
    """Rows 10 .. 12: the vertex against the luminous region, whitened.  Returns their share of chi2."""
    total = 0.0
    for i in range(3):
        residual = 0.0
        for j in range(6):
            a[10 + i, j] = 0.0
        for j in range(3):
            w = constraints[WHITEN + 3 * i + j]
            a[10 + i, 6 + j] = w
            residual += w * (constraints[BEAM + j] - y[j])
        r[10 + i] = residual
        total += residual * residual
    return total


@borrowing
def tie(
    field: FloatArray, ys: FloatArray, rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]],
    offsets: tuple[FloatArray, FloatArray], constraints: FloatArray, room: tuple[FloatArray, ...], table: FloatArray,
) -> tuple[int, float]:  # fmt: skip
    """Rows of the pair in its room, from the triangles of its legs; returns their number and the beam line's chi2."""
    a, r, bfield = room[0], room[1], room[11]
    for k in range(2):
        y = ys[k]
        evaluate(field, y[0], y[1], y[2], bfield, table)
        if offsets[k].shape[0] > 0:
            for j in range(3):
                bfield[j] += offsets[k][0, j]
        leg = rooms[k]
        leg_rows(y, bfield, leg[13], k, a)
        for i in range(5):
            r[5 * k + i] = leg[9][i]
    if constraints[HAS_BEAM] == 0.0:
        return 10, 0.0
    return 13, beam_rows(ys[0], constraints, a, r)


@borrowing
def move_pair(ys: FloatArray, dx: FloatArray, scale: float, step: FloatArray) -> None:
    """Both muons ys (2, 7) moved by scale times dx (9,)."""
    for k in range(2):
        for j in range(3):
            step[j] = dx[3 * k + j]
        step[3], step[4] = 0.0, 0.0
        move_start(ys[k], step, scale)
        for j in range(3):
            ys[k, j] += scale * dx[6 + j]


@borrowing
def shortened(ys: FloatArray, dx: FloatArray) -> float:
    """The fraction of a step that changes neither q/p by more than half of it."""
    scale = 1.0
    for k in range(2):
        largest = 0.5 * abs(ys[k, 6])
        if abs(dx[3 * k]) > largest:
            scale = min(scale, largest / abs(dx[3 * k]))
    return scale


@borrowing
def keep(ys: FloatArray, copy: FloatArray) -> None:
    """copy (2, 7) <- ys."""
    for k in range(2):
        for j in range(7):
            copy[k, j] = ys[k, j]
