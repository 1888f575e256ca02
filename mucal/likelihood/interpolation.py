"""x alpha(x), by which the two sides of an effect are joined, and its derivatives."""

import numpy as np

from mucal.arrays import BoolArray, FloatArray


def bent(x: FloatArray) -> FloatArray:
    """x alpha(x): |x| outside (-1/2, 1/2) and a polynomial inside, with two continuous derivatives."""
    u = 2.0 * x
    result: FloatArray = np.where(_inside(x), 0.125 * x * u * (3 * u**4 - 10 * u**2 + 15), np.abs(x))
    return result


def bent_slope(x: FloatArray) -> FloatArray:
    """The derivative of x alpha(x)."""
    u = 2.0 * x
    alpha = 0.125 * u * (3 * u**4 - 10 * u**2 + 15)
    result: FloatArray = np.where(_inside(x), alpha + 3.75 * x * (u**2 - 1) ** 2, np.sign(x))
    return result


def bent_curvature(x: FloatArray) -> FloatArray:
    """The second derivative of x alpha(x)."""
    u = 2.0 * x
    result: FloatArray = np.where(_inside(x), 7.5 * (u**2 - 1) ** 2 + 30 * x * u * (u**2 - 1), 0.0)
    return result


def _inside(x: FloatArray) -> BoolArray:
    result: BoolArray = np.abs(x) < 0.5
    return result
