"""The formulas of the product, for arrays of muons; those of the tables are `scale`'s."""

import numpy as np

from mucal.arrays import FloatArray
from mucal.scale.momentum import curvature_factor


def momentum_factor(pt: FloatArray, charge: FloatArray, A: FloatArray, e: FloatArray, M: FloatArray) -> FloatArray:
    """Corrected over reconstructed transverse momentum, 1 / (1 + A - e/pT + q M pT); exactly 1 for zeros.

    pt      : (N,) GeV
    charge  : (N,)      +1 or -1
    A, e, M : (N,)      -, GeV, 1/GeV

    Raises ValueError where the correction would turn a momentum's sign.  Derived in docs/physics/calibration.md.
    """
    curvature = curvature_factor(pt, charge, A, e, M)
    if np.any(curvature <= 0):
        i = int(np.argmax(curvature <= 0))
        raise ValueError(
            f"the correction of muon {i} turns the sign of its curvature: 1 + A - e/pt + q M pt = {curvature[i]:.3g} "
            f"at pt = {pt[i]:.4g} GeV; the parameters are not those of a momentum scale"
        )
    result: FloatArray = 1.0 / curvature
    return result


def moments(pt: FloatArray, charge: FloatArray, z: FloatArray, sigma: FloatArray, d: FloatArray) -> FloatArray:
    """Moments of the response: the relative change of a muon's weight by a unit of A, e, M, a, b and c.

    z/sigma times 1, -1/pT, q pT; (z^2 - 1)/(2 sigma^2) times 1, 1/(1 + d/pT^2), pT^2 (docs/physics/templates.md).

    pt     : (N,) GeV    true
    charge : (N,)
    z      : (N,)        pull of the measured curvature
    sigma  : (N,)        relative resolution
    d      : (N,) GeV^2  parameter of the resolution

    Returns (N, 6).
    """
    return moments_of(pt, charge, z / sigma, (z * z - 1.0) / (2.0 * sigma**2), d)


def moments_of(pt: FloatArray, charge: FloatArray, first: FloatArray, second: FloatArray, d: FloatArray) -> FloatArray:
    """The moments of a response whose density p has -p'/p = `first` and p''/(2 p) = `second`; else as `moments`."""
    return np.stack(
        [first, -first / pt, first * charge * pt, second, second / (1.0 + d / pt**2), second * pt**2], axis=1
    )
