"""Transverse momenta of W and Z: published binnings of near-equal population read as quantiles.

Between the published points the distribution function is monotone and smooth (PCHIP); above the last one it falls like
a power, dN/dpT ~ pT^-3.  Sources: binnings of the public code of arXiv:2412.13872 (W in steps of 5 %, Z of 2.5 %).
"""

from typing import Final

import numpy as np
from scipy.interpolate import PchipInterpolator

from mucal.arrays import FloatArray

W_STEPS: Final = (
    0.0, 1.971, 2.949, 3.838, 4.733, 5.674, 6.684, 7.781, 8.979, 10.303, 11.777, 13.435, 15.332, 17.525, 20.115,
    23.245, 27.173, 32.414, 40.151, 53.858,
)  # fmt: skip
"""GeV, edges of bins that hold 5 % of the W each; the last one is open."""

Z_STEPS: Final = (
    0.0, *np.arange(1.0, 12.25, 0.5).tolist(), *np.arange(13.0, 21.0).tolist(), *np.arange(22.0, 31.0, 2.0).tolist(),
    33.0, 37.0, 44.0,
)  # fmt: skip
"""GeV, edges of bins that hold 2.5 % of the Z each; the last one is open."""

TAIL_POWER: Final = 2.0
"""The probability above pT falls like pT^-2 beyond the last edge."""

PT_MAX: Final = 300.0
"""GeV; bosons beyond it are left out."""


def quantiles(steps: tuple[float, ...], count: int) -> FloatArray:
    """Transverse momenta in equal steps of probability, from 0 to `PT_MAX`.

    steps : GeV, edges of bins of equal population, the last one open
    count : of quantiles

    Returns (count,) GeV, increasing.
    """
    grid = np.unique(np.concatenate([np.linspace(0.0, 2.0, 400), np.geomspace(2.0, PT_MAX, 4000)]))
    below = cumulative(steps, grid)
    result: FloatArray = np.interp(np.linspace(0.0, 1.0, count), below / below[-1], grid)
    return result


def cumulative(steps: tuple[float, ...], pt: FloatArray) -> FloatArray:
    """Probability of a transverse momentum below `pt`.

    steps : GeV, edges of bins of equal population, the last one open
    pt    : (N,) GeV
    """
    edges = np.array(steps)
    inner = PchipInterpolator(edges, np.arange(edges.size) / edges.size, extrapolate=False)
    above = (1.0 / edges.size) * (np.maximum(pt, edges[-1]) / edges[-1]) ** -TAIL_POWER
    result: FloatArray = np.where(pt < edges[-1], inner(np.clip(pt, 0.0, edges[-1])), 1.0 - above)
    return result
