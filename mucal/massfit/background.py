"""The exponential background of many mass histograms at once."""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray

SMALL: Final = 1e-2
"""Of slope times half a mass bin: below it the derivative's difference of two large terms is taken from its series."""


def background_shape(slope: FloatArray, mass_edges: FloatArray) -> FloatArray:
    """(B, M) exp(-slope x) integrated over mass bins and normalised over the window, x from -1/2 to 1/2 across it.

    slope      : (B,)
    mass_edges : (M+1,) GeV
    """
    return background_derivative(slope, mass_edges)[0]


def background_derivative(slope: FloatArray, mass_edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The shape of `background_shape` and its derivative by the slope, (B, M) each; docs/physics/massfit.md."""
    x = (mass_edges - mass_edges[0]) / (mass_edges[-1] - mass_edges[0]) - 0.5
    middle, half = 0.5 * (x[1:] + x[:-1]), 0.5 * np.diff(x)
    h = slope[:, None] * half
    small = np.abs(h) < SMALL
    safe = np.where(small, 1.0, h)
    ratio = np.where(small, 1.0 + h * h / 6.0 + h**4 / 120.0, np.sinh(safe) / safe)
    relative = np.where(small, h / 3.0 - h**3 / 45.0, 1.0 / np.tanh(safe) - 1.0 / safe)
    content = 2.0 * half * np.exp(-slope[:, None] * middle) * ratio
    shape: FloatArray = content / content.sum(axis=1, keepdims=True)
    change = half * relative - middle
    derivative: FloatArray = shape * (change - np.sum(shape * change, axis=1, keepdims=True))
    return shape, derivative
