"""Simulated mass spectra moved and widened by their own derivatives: the signal of the model "morphing".

C(x; d, v) is the part of the simulated spectrum below x after all masses were multiplied by exp(d) and smeared by a
relative variance v.  About a point, where F = C,

    C = F + d F_d + d^2/2 F_dd + v F_v + d v F_vd,                                                             (B2)

and the fit moves the point to its solution and repeats.  v may be negative: simulation too wide is made narrower.

F and its derivatives are not differences of counts (their noise would look like information) but sums of kernels over
the simulated events: z = (x/m_g - 1)/s, F = sum_g T_g [Phi(z) + r z phi(z)] with r = (s^2 - v0)/(2 s^2), whose second
moment is v0.  What is left is of fourth order in the bandwidth.  Derived in docs/physics/massfit.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from mucal.arrays import BoolArray, FloatArray
from mucal.massfit.background import background_derivative
from mucal.massfit.bins import MassHistograms, matching_rows
from mucal.massfit.template import Template

LN_N, LN_S, VARIANCE, LOGIT_F, SLOPE = range(5)
LEVEL: Final = 2.0**0.25
"""Bandwidths go by this factor, so that many bins share one table of kernels."""
BANDWIDTH: Final = 0.8
"""Times (width of the peak) n^(-1/9), the rule for kernels of this order: 0.33 widths for 3000 events."""
NARROWEST: Final = -0.3
"""Of the simulated squared width: beyond it the kernels' fourth moment is no longer small beside the peak's."""
FLOOR_EVENTS: Final = 0.05
"""Simulated events that a mass bin holds at least: the kernels' negative lobes must not make it negative."""
ROUGHNESS: Final = 27.0 / (32.0 * np.sqrt(np.pi))
"""Integral of K^2 for s = 1, v0 = 0: the noise of a smoothed spectrum against that of its counts."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """Simulated spectra of B kinematic bins about a point of each.

    edges      : (M+1,) GeV     of the fit
    sums       : (5, B, M+1)    F, F_d, F_dd, F_v, F_vd at the edges, per simulated event
    centre     : (B,)           ln s of the point
    variance   : (B,)           v of the point
    width      : (B,)           relative width of the simulated peak
    bandwidth  : (B,)           s, relative
    n_events   : (B,)           simulated events inside the window
    """

    edges: FloatArray
    sums: FloatArray
    centre: FloatArray
    variance: FloatArray
    width: FloatArray
    bandwidth: FloatArray
    n_events: FloatArray


def spectra_at(template: Template, edges: FloatArray, centre: FloatArray, variance: FloatArray) -> Spectra:
    """The simulated spectra and their derivatives about ln s = centre and v = variance.

    template : of measured simulated masses, contents counted in events, (B, G)
    edges    : (M+1,) GeV of the fit
    centre, variance : (B,)
    """
    weights = template.weights
    width = peak_width(template)
    inside = (template.edges[1:] > edges[0]) & (template.edges[:-1] < edges[-1])
    n_events = weights[:, inside].sum(axis=1)
    plain = BANDWIDTH * width * np.maximum(n_events, 1.0) ** (-1.0 / 9.0)
    wanted = np.sqrt(plain**2 + np.clip(variance, 0.0, None))
    level = np.round(np.log(wanted) / np.log(LEVEL)).astype(np.int64)
    bandwidth = LEVEL**level
    excess = 0.5 * (1.0 - variance / bandwidth**2)
    moved = _moved(template, centre)
    ratio = edges[:, None] / (0.5 * (template.edges[1:] + template.edges[:-1]))
    sums = np.empty((5, weights.shape[0], edges.size))
    for each in np.unique(level):
        rows, s = np.flatnonzero(level == each), LEVEL ** float(each)
        sums[:, rows] = _kernel_sums(moved[rows], ratio, s, excess[rows])
    return Spectra(edges, sums, centre, variance, width, bandwidth, n_events)


def simulated_template(simulation: MassHistograms, data: MassHistograms) -> Template:
    """The spectra of simulation as the template of the histograms of data, one row each.

    simulation : finer mass bins over a wider window than those of data, the same kinematic bins
    data       : a row whose bin simulation does not fill gets an empty spectrum (TEMPLATE_EMPTY)

    Raises ValueError for different kinematic bins, or a window that is not wider on both sides.
    """
    place = matching_rows(data, simulation)
    fine, edges = simulation.mass_edges, data.mass_edges
    if not (fine[0] < edges[0] and fine[-1] > edges[-1]):
        raise ValueError(
            f"the simulated spectra cover {fine[0]:g} to {fine[-1]:g} GeV, the window is {edges[0]:g} to "
            f"{edges[-1]:g} GeV; fill them over a wider window, or events could not move into it"
        )
    return Template(edges=fine, weights=np.where(place[:, None] >= 0, simulation.counts[place], 0.0))


def peak_width(template: Template) -> FloatArray:
    """(B,) relative width of each spectrum's peak: from its median to the quantile of one standard deviation above.

    The lower side has the tail of radiation in it.
    """
    total = np.cumsum(template.weights, axis=1)
    ends = template.edges[1:]
    result = np.empty(total.shape[0])
    for b, row in enumerate(total):
        middle, above = np.interp([0.5 * row[-1], float(ndtr(1.0)) * row[-1]], row, ends)
        result[b] = (above - middle) / middle
    return result


def expectation(theta: FloatArray, spectra: Spectra) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Expected events (B, M), their derivatives (B, 5, M), and where they are positive (B,).

    theta : (B, 5)  LN_N, LN_S, VARIANCE, LOGIT_F, SLOPE
    """
    n, f = np.exp(theta[:, LN_N])[:, None], (1.0 / (1.0 + np.exp(-theta[:, LOGIT_F])))[:, None]
    signal, by_shift, by_variance = _signal(theta[:, LN_S], theta[:, VARIANCE], spectra)
    background, by_slope = background_derivative(theta[:, SLOPE], spectra.edges)
    mu = n * ((1.0 - f) * signal + f * background)
    slopes = np.stack(
        [
            mu,
            n * (1.0 - f) * by_shift,
            n * (1.0 - f) * by_variance,
            n * f * (1.0 - f) * (background - signal),
            n * f * by_slope,
        ],
        axis=1,
    )
    return mu, slopes, np.all(mu > 0, axis=1) & np.all(np.isfinite(mu), axis=1)


def template_information(theta: FloatArray, spectra: Spectra, mu: FloatArray, slopes: FloatArray) -> FloatArray:
    """(B, 5, 5) covariance of the gradient of -ln L from the fluctuations of the simulated spectra.

    A simulated bin content n S_j varies by its root; scaled to the N_s signal events of the data that is a variance
    N_s^2 S_j / n of mu_j, which the gradient sum_j dmu_j (1 - n_j / mu_j) carries on.
    """
    signal = _signal(theta[:, LN_S], theta[:, VARIANCE], spectra)[0]
    events = np.exp(theta[:, LN_N]) / (1.0 + np.exp(theta[:, LOGIT_F]))
    noise = (events**2 / np.maximum(spectra.n_events, 1.0))[:, None] * np.clip(signal, 0.0, None) / mu**2
    weighted = slopes * np.sqrt(noise)[:, None, :]
    result: FloatArray = weighted @ weighted.transpose(0, 2, 1)
    return result


def _signal(ln_s: FloatArray, variance: FloatArray, spectra: Spectra) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Normalised signal (B, M) and its derivatives by ln s and by the variance: (B2)."""
    below, by_d, by_dd, by_v, by_vd = spectra.sums
    d, v = (ln_s - spectra.centre)[:, None], (variance - spectra.variance)[:, None]
    contents = [
        np.diff(total, axis=1)
        for total in (
            below + d * by_d + 0.5 * d * d * by_dd + v * by_v + d * v * by_vd,
            by_d + d * by_dd + v * by_vd,
            by_v + d * by_vd,
        )
    ]
    # sqrt instead of max: a kink would stop the fit
    floor = (FLOOR_EVENTS / np.maximum(spectra.n_events, 1.0))[:, None]
    root = np.sqrt(contents[0] ** 2 + 4.0 * floor**2)
    slope = 0.5 * (1.0 + contents[0] / root)
    contents = [0.5 * (contents[0] + root), slope * contents[1], slope * contents[2]]
    whole = [content.sum(axis=1, keepdims=True) for content in contents]
    signal = contents[0] / whole[0]
    by_shift, by_variance = ((contents[i] - signal * whole[i]) / whole[0] for i in (1, 2))
    return signal, by_shift, by_variance


def _moved(template: Template, centre: FloatArray) -> FloatArray:
    """(B, G) the contents after all masses were multiplied by exp(centre), per event; even inside each fine bin."""
    total = np.cumsum(template.weights, axis=1)
    below = np.concatenate([np.zeros((total.shape[0], 1)), total], axis=1) / total[:, -1:]
    for b, shift in enumerate(centre):
        if shift != 0.0:
            below[b] = np.interp(template.edges * np.exp(-shift), template.edges, below[b])
    result: FloatArray = np.diff(below, axis=1)
    return result


def _kernel_sums(weights: FloatArray, ratio: FloatArray, s: float, excess: FloatArray) -> FloatArray:
    """(5, R, M+1) F, F_d, F_dd, F_v, F_vd of rows (R, G) for edges over masses (M+1, G), r = `excess` (R,).

    dz/dd = -(z + 1/s) and dr/dv = -1/(2 s^2); the kernel is K(z) = (1 + r - r z^2) phi(z).
    """
    z = (ratio - 1.0) / s
    phi = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    squared, lever = z * z, ratio / s
    by_r = (1.0 - squared) * phi
    plain = (ndtr(z), -lever * phi, lever * (1.0 - lever * z) * phi)
    extra = (z * phi, -lever * by_r, lever * (by_r + lever * z * (squared - 3.0) * phi))
    found = [weights @ a.T + excess[:, None] * (weights @ b.T) for a, b in zip(plain, extra, strict=True)]
    of_variance = [-0.5 / s**2 * (weights @ b.T) for b in extra[:2]]
    return np.stack([*found, *of_variance])
