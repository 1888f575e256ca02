"""The mass of a muon pair with its first and second derivatives by (q/p, lambda, phi) of both muons.

m^2 = 2 m_mu^2 + 2 (E1 E2 - P1 P2 T1.T2).  With P = +-1 / (q/p): P' = -P / (q/p), P'' = 2 P / (q/p)^2.  The direction
T = (cos lambda cos phi, cos lambda sin phi, sin lambda) has T_lambda = V, T_phi = cos(lambda) U, T_lambda,lambda = -T,
T_lambda,phi = -sin(lambda) U, T_phi,phi = -cos(lambda) (cos phi, sin phi, 0).
"""

from math import sqrt

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing
from mucal.units import MUON_MASS


@borrowing
def _momentum(q: float, out: FloatArray, k: int) -> None:
    """out[k, :6] = P, P', P'', E, E', E'' by q/p."""
    p = 1.0 / abs(q)
    slope, curvature = -p / q, 2.0 * p / (q * q)
    energy = sqrt(p * p + MUON_MASS * MUON_MASS)
    out[k, 0], out[k, 1], out[k, 2], out[k, 3] = p, slope, curvature, energy
    out[k, 4] = p * slope / energy
    out[k, 5] = (slope * slope + p * curvature) / energy - (p * slope) ** 2 / energy**3


@borrowing
def _direction(y: FloatArray, out: FloatArray, k: int) -> None:
    """out[k, 6:24] = T, T_lambda, T_phi, T_lambda,lambda, T_lambda,phi, T_phi,phi, three numbers each."""
    tx, ty, tz = y[3], y[4], y[5]
    across = sqrt(tx * tx + ty * ty)
    c, s = tx / across, ty / across
    out[k, 6], out[k, 7], out[k, 8] = tx, ty, tz
    out[k, 9], out[k, 10], out[k, 11] = -tz * c, -tz * s, across
    out[k, 12], out[k, 13], out[k, 14] = -ty, tx, 0.0
    out[k, 15], out[k, 16], out[k, 17] = -tx, -ty, -tz
    out[k, 18], out[k, 19], out[k, 20] = tz * s, -tz * c, 0.0
    out[k, 21], out[k, 22], out[k, 23] = -tx, -ty, 0.0


@borrowing
def _dot(out: FloatArray, i: int, j: int) -> float:
    """Vector i of the first muon times vector j of the second, numbered as `_direction` writes them."""
    a, b = 6 + 3 * i, 6 + 3 * j
    dot: float = out[0, a] * out[1, b] + out[0, a + 1] * out[1, b + 1] + out[0, a + 2] * out[1, b + 2]
    return dot


@borrowing
def pair_mass(y1: FloatArray, y2: FloatArray, slope: FloatArray, curvature: FloatArray, out: FloatArray) -> float:
    """Mass of two muons of free states y (7,), in GeV.

    slope     : (6,)    dm/d(q/p, lambda, phi, q/p, lambda, phi), filled
    curvature : (6, 6)  second derivatives, filled
    out       : (2, 24) scratch
    """
    _momentum(y1[6], out, 0)
    _momentum(y2[6], out, 1)
    _direction(y1, out, 0)
    _direction(y2, out, 1)
    p1, p2, e1, e2 = out[0, 0], out[1, 0], out[0, 3], out[1, 3]
    cosine = _dot(out, 0, 0)
    mass = sqrt(2.0 * MUON_MASS**2 + 2.0 * (e1 * e2 - p1 * p2 * cosine))
    # half the derivatives of m^2
    slope[0] = out[0, 4] * e2 - out[0, 1] * p2 * cosine
    slope[3] = e1 * out[1, 4] - p1 * out[1, 1] * cosine
    curvature[0, 0] = out[0, 5] * e2 - out[0, 2] * p2 * cosine
    curvature[3, 3] = e1 * out[1, 5] - p1 * out[1, 2] * cosine
    curvature[0, 3] = out[0, 4] * out[1, 4] - out[0, 1] * out[1, 1] * cosine
    for a in range(1, 3):
        slope[a] = -p1 * p2 * _dot(out, a, 0)
        slope[3 + a] = -p1 * p2 * _dot(out, 0, a)
        curvature[0, a] = -out[0, 1] * p2 * _dot(out, a, 0)
        curvature[3, 3 + a] = -p1 * out[1, 1] * _dot(out, 0, a)
        curvature[0, 3 + a] = -out[0, 1] * p2 * _dot(out, 0, a)
        curvature[a, 3] = -p1 * out[1, 1] * _dot(out, a, 0)
        for b in range(1, 3):
            curvature[a, 3 + b] = -p1 * p2 * _dot(out, a, b)
        for b in range(a, 3):
            curvature[a, b] = -p1 * p2 * _dot(out, 1 + a + b, 0)
            curvature[3 + a, 3 + b] = -p1 * p2 * _dot(out, 0, 1 + a + b)
    for i in range(6):
        slope[i] /= mass
    for i in range(6):
        for j in range(i, 6):
            curvature[i, j] = (curvature[i, j] - slope[i] * slope[j]) / mass
            curvature[j, i] = curvature[i, j]
    return mass
