"""Log-ratios made smooth in eta and pT, so that the noise of few events does not look like information.

A fit with many nuisances takes every accident of a template's variation for a feature that the data can tell: errors
come out too small (arXiv:2401.10542).  Each log-ratio of a charge is replaced by its weighted least-squares polynomial,
Chebyshev in eta and pT, the weights being the expected events.  Only for variations that are smooth by nature: a
calibration's steps from bin to bin of eta are not, but the moments of the response that they multiply are, and are
smoothed by themselves (`variations.response_effects`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.polynomial import chebyshev

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.templates.table import Templates
from mucal.theory.nuisances import COUNTS
from mucal.theory.variation import log_ratio

PT_DEGREE, ETA_DEGREE = 14, 6
"""Enough for the edge at half the boson's mass to be followed within a bin of 1 GeV (docs/physics/templates.md)."""

THEORY: Final = tuple(COUNTS)


def smoothed(
    templates: Templates, groups: Sequence[str] = THEORY, *, pt_degree: int = PT_DEGREE, eta_degree: int = ETA_DEGREE
) -> Templates:
    """Templates in (charge, eta, pt) whose variations of some groups, and of the mass, are smooth.

    groups                : of nuisances; those that the templates do not have are left out
    pt_degree, eta_degree : of the polynomials

    Raises ConfigError for other axes, or degrees that the bins do not carry.
    """
    if tuple(templates.axes) != ("charge", "eta", "pt"):
        raise ConfigError(
            f"smoothing needs the axes charge, eta, pt, not {', '.join(templates.axes)}", kind="config.smoothing"
        )
    _, n_eta, n_pt = templates.binning.shape
    if not (0 <= pt_degree < n_pt and 0 <= eta_degree < n_eta):
        raise ConfigError(
            f"degrees {eta_degree} in eta and {pt_degree} in pT, for {n_eta} and {n_pt} bins", kind="config.smoothing"
        )
    chosen = np.flatnonzero(np.isin(templates.groups, groups))
    basis = polynomials(n_eta, n_pt, eta_degree, pt_degree)
    kappa, shifted = templates.kappa.copy(), templates.shifted.copy()
    for p, nominal in enumerate(templates.nominal):
        kappa[p, chosen] = smooth_rows(kappa[p, chosen], nominal, basis)
        ratio = log_ratio(shifted[:, p], np.broadcast_to(nominal, shifted[:, p].shape))
        shifted[:, p] = nominal * np.exp(smooth_rows(ratio, nominal, basis))
    return replace(templates, kappa=kappa, shifted=shifted)


def polynomials(n_eta: int, n_pt: int, eta_degree: int, pt_degree: int) -> FloatArray:
    """(E T, C) products of Chebyshev polynomials at the bins' centres, for one charge."""
    eta = chebyshev.chebvander((np.arange(n_eta) + 0.5) / n_eta * 2 - 1, eta_degree)
    pt = chebyshev.chebvander((np.arange(n_pt) + 0.5) / n_pt * 2 - 1, pt_degree)
    result: FloatArray = np.einsum("ei,tj->etij", eta, pt).reshape(n_eta * n_pt, -1)
    return result


def smooth_rows(rows: FloatArray, nominal: FloatArray, basis: FloatArray) -> FloatArray:
    """The projection of each row (S, B) on the basis, charge by charge; 0 in bins without events.

    There a polynomial through few events may be anything, and nothing is to be varied.
    """
    result = np.empty_like(rows)
    for bins in np.split(np.arange(nominal.size), nominal.size // basis.shape[0]):
        root = np.sqrt(np.maximum(nominal[bins], 0.0))
        coefficients = np.linalg.lstsq(root[:, None] * basis, root[:, None] * rows[:, bins].T, rcond=None)[0]
        result[:, bins] = np.where(root > 0, (basis @ coefficients).T, 0.0)
    return result


def smooth_in_mass(rows: FloatArray, nominal: FloatArray, slope: FloatArray, mass_edges: FloatArray) -> FloatArray:
    """Calibration's log-ratios (S, B) of pairs in (mass, ...), each column of the mass made of six smooth functions.

    nominal    : (B,)    expected events
    slope      : (B,)    derivative of ln N by the boson's mass, in any unit: few events know it well
    mass_edges : (M+1,)

    A shift of momenta moves the mass by its mean over the muons of the bin, a slow function of the mass, times the
    slope g; a wider resolution adds the curvature, g^2 + g'.  So 1, g and g^2, each times 1 and m, follow every
    nuisance of a calibration, and M bins' noise falls to that of 6 (docs/physics/templates.md).
    """
    m = 0.5 * (mass_edges[1:] + mass_edges[:-1])
    x = 2.0 * (m - m[0]) / (m[-1] - m[0]) - 1.0
    shape = (rows.shape[0], m.size, nominal.size // m.size)
    result = np.empty(shape)
    for f in range(shape[2]):
        root = np.sqrt(np.maximum(nominal.reshape(shape[1:])[:, f], 0.0))
        g = slope.reshape(shape[1:])[:, f]
        g = g / max(float(np.abs(g).max()), np.finfo(float).tiny)
        basis = np.stack([g**i * x**j for i in range(3) for j in range(2)], axis=1)
        coefficients = np.linalg.lstsq(
            root[:, None] * basis, root[:, None] * rows.reshape(shape)[:, :, f].T, rcond=None
        )[0]
        result[:, :, f] = (basis @ coefficients).T
    return result.reshape(rows.shape)
