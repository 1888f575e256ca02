"""Signal and background shapes of a mass window: probabilities of bins, each shape normalised over the window.

Every function takes bin edges, (J+1,) in GeV, and returns (J,) integrals over the bins that add to 1.  None overflows
for any finite parameters inside the stated domains.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.polynomial import chebyshev as polynomial
from scipy.special import comb, exprel, log_ndtr

from mucal.arrays import FloatArray
from mucal.theory.lineshape import (
    Kernel,
    Line,
    crystal_ball_kernel,
    double_gaussian_kernel,
    gaussian_kernel,
    smear,
)


def gaussian(edges: FloatArray, mean: float, sigma: float) -> FloatArray:
    """Normal density; mean and sigma > 0 in GeV."""
    return _kernel_shape(edges, mean, sigma, gaussian_kernel)


def double_gaussian(edges: FloatArray, mean: float, sigma: float, ratio: float, fraction: float) -> FloatArray:
    """Two normals of one mean: a core of width sigma (GeV) and a `fraction` of width ratio * sigma."""
    return _kernel_shape(edges, mean, sigma, partial(double_gaussian_kernel, ratio=ratio, fraction=fraction))


def crystal_ball(
    edges: FloatArray, mean: float, sigma: float, alpha_l: float, n_l: float, alpha_r: float, n_r: float
) -> FloatArray:
    """Double-sided Crystal Ball (DSCB); mean and sigma in GeV, alpha > 0 in units of sigma, n > 1."""
    return _kernel_shape(
        edges, mean, sigma, partial(crystal_ball_kernel, alpha_l=alpha_l, n_l=n_l, alpha_r=alpha_r, n_r=n_r)
    )


def smeared_line(edges: FloatArray, line: Line, scale: float, sigma: float, kernel: Kernel) -> FloatArray:
    """A theoretical line (radiation, Breit-Wigner, gamma*/Z) smeared by a resolution; see `theory.lineshape.smear`.

    edges  : (J+1,) GeV
    line   : spectrum before smearing
    scale  : measured over true mass
    sigma  : relative width of the kernel
    kernel : distribution function of the resolution
    """
    return _normalised(smear(line, edges, scale, sigma, kernel))


def exponential(edges: FloatArray, slope: float) -> FloatArray:
    """Density exp(-slope m); slope in 1/GeV, of either sign, zero is flat."""
    width = np.diff(edges)
    # measured from the edge where the density is largest, so that no exponent is positive
    start = edges[0] if slope >= 0 else edges[-1]
    with np.errstate(under="ignore"):
        if slope >= 0:
            return _normalised(width * np.exp(-slope * (edges[:-1] - start)) * exprel(-slope * width))
        return _normalised(width * np.exp(-slope * (edges[1:] - start)) * exprel(slope * width))


def chebyshev(edges: FloatArray, coefficients: Sequence[float]) -> FloatArray:
    """Density 1 + sum_k c_k T_k(u), u in [-1, 1] over the window.

    edges        : (J+1,) GeV
    coefficients : c_1 ... c_K; bins may turn out negative, which a fit must refuse
    """
    antiderivative = polynomial.chebint([1.0, *coefficients])
    return _normalised(np.diff(polynomial.chebval(_unit(edges, -1.0), antiderivative)))


def bernstein(edges: FloatArray, coefficients: Sequence[float]) -> FloatArray:
    """Density sum_k b_k B_{k,K}(u) with b_0 = 1, u in [0, 1] over the window.

    edges        : (J+1,) GeV
    coefficients : b_1 ... b_K, not negative: the density then is not either
    """
    values = np.asarray([1.0, *coefficients])
    degree = values.size - 1
    # the integral of a Bernstein polynomial is one of a degree more, its coefficients the running sums
    running = np.concatenate([[0.0], np.cumsum(values)]) / (degree + 1)
    u = _unit(edges, 0.0)[:, None]
    k = np.arange(degree + 2)
    basis = comb(degree + 1, k) * u**k * (1.0 - u) ** (degree + 1 - k)
    return _normalised(np.diff(basis @ running))


def cms_shape(edges: FloatArray, alpha: float, beta: float, gamma: float) -> FloatArray:
    """RooCMSShape: an exponential behind a rising threshold, erfc((alpha - m) beta) exp(-gamma m).

    The product is formed in logarithms (erfc underflows beyond 26, the exponential overflows before that) and
    integrated by an eight-point Gauss rule in every bin.  The shape's customary fourth parameter, the peak from which
    the exponential is counted, cancels in the normalisation.

    edges : (J+1,) GeV
    alpha : GeV, position of the threshold
    beta  : 1/GeV, its steepness
    gamma : 1/GeV, slope of the exponential
    """
    half = 0.5 * np.diff(edges)[:, None]
    mass = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * _POINTS
    log_density = log_ndtr(-np.sqrt(2.0) * (alpha - mass) * beta) - gamma * (mass - edges[0])
    density = np.exp(log_density - log_density.max())
    return _normalised((half * _WEIGHTS * density).sum(axis=1))


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)

TINY: Final = 1e-300
"""A window that holds less of a shape than this cannot normalise it; the shape is then NaN."""


def _kernel_shape(edges: FloatArray, mean: float, sigma: float, kernel: Kernel) -> FloatArray:
    return _normalised(np.diff(kernel((edges - mean) / sigma)))


def _unit(edges: FloatArray, low: float) -> FloatArray:
    """Edges mapped to [low, 1] over the window."""
    result: FloatArray = low + (1.0 - low) * (edges - edges[0]) / (edges[-1] - edges[0])
    return result


def _normalised(integrals: FloatArray) -> FloatArray:
    total = float(integrals.sum())
    return integrals / total if abs(total) > TINY else np.full_like(integrals, np.nan)
