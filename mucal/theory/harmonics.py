"""The angles of a lepton pair from a vector boson: eight harmonics, their coefficients, and their shares of an event.

    dN/dcos(theta) dphi = 3/(16 pi) S,     S = 1 + c^2 + sum_i A_i P_i(theta, phi),     i = 0 ... 7,

in the Collins-Soper frame: z bisects one beam and minus the other, on the side of the boson; x is along its pT; the
angles are those of the particle (mu- of a Z or W-, neutrino of a W+).  An event's shares h are the terms of S over S,
in the order of `TERMS`: unpolarised, A_0 ... A_7.  They add to 1, and a change of A_i by a factor 1 + d is a weight
1 + d h_i.  Source: E. Mirkes, Nucl. Phys. B 387 (1992) 3; arXiv:1606.00689, eqs. 2.1-2.3; docs/physics/theory.md.
"""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray

TERMS: Final = ("UL", "A0", "A1", "A2", "A3", "A4", "A5", "A6", "A7")
"""The unpolarised term and the eight coefficients: the order of every axis of helicities."""

# A_i = factor <P_i> + offset
_FACTOR: Final = np.array([20 / 3, 5.0, 20.0, 4.0, 4.0, 5.0, 5.0, 4.0])
_OFFSET: Final = np.array([2 / 3, 0, 0, 0, 0, 0, 0, 0])


def harmonics(cosine: FloatArray, angle: FloatArray) -> FloatArray:
    """P_0 ... P_7.

    cosine, angle : (N,), rad  polar and azimuthal angle

    Returns (N, 8).
    """
    c, phi = np.asarray(cosine, dtype=float), np.asarray(angle, dtype=float)
    s2 = 1.0 - c * c
    s = np.sqrt(np.maximum(s2, 0.0))
    twice = 2.0 * s * c
    return np.stack(
        [
            0.5 * (1.0 - 3.0 * c * c), twice * np.cos(phi), 0.5 * s2 * np.cos(2.0 * phi), s * np.cos(phi),
            c + 0.0 * phi, s2 * np.sin(2.0 * phi), twice * np.sin(phi), s * np.sin(phi),
        ],
        axis=-1,
    )  # fmt: skip


def density(coefficients: FloatArray, cosine: FloatArray, angle: FloatArray) -> FloatArray:
    """S of the module's docstring; 3/(16 pi) of it is the normalised density in cos(theta) and phi.

    coefficients  : (N, 8)  A_0 ... A_7
    cosine, angle : (N,), rad

    Returns (N,).
    """
    result: FloatArray = 1.0 + np.square(cosine) + (coefficients * harmonics(cosine, angle)).sum(axis=-1)
    return result


def shares(coefficients: FloatArray, cosine: FloatArray, angle: FloatArray) -> FloatArray:
    """What each of `TERMS` contributes to the density of an event; they add to 1.

    Arguments as for `density`.  Returns (N, 9).
    """
    terms = np.concatenate(
        [1.0 + np.square(cosine)[:, None], coefficients * harmonics(cosine, angle)], axis=-1
    )  # fmt: skip
    result: FloatArray = terms / terms.sum(axis=-1, keepdims=True)
    return result


def project(cosine: FloatArray, angle: FloatArray, weight: FloatArray | None = None) -> FloatArray:
    """The coefficients of a sample, from the means of the harmonics: A_i = f_i <P_i> + o_i.

    cosine, angle : (N,), rad
    weight        : (N,)       None: all equal

    Returns (8,).
    """
    result: FloatArray = _FACTOR * np.average(harmonics(cosine, angle), axis=0, weights=weight) + _OFFSET
    return result
