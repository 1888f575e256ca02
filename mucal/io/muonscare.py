"""A calibration in the shape that CMS's Run-3 tools read (MuonScaRe), for general use; not for precision fits.

pT' = 1 / (m/pT + q a) with a = M and m = 1 + A - e/pT at one reference pT: that shape has no energy-loss term.
Smearing: pT (1 + sqrt(max(0, k_data^2 - k_mc^2)) sigma(pT) x), x from a Crystal Ball whose tails lie ten widths out,
so a Gaussian; sigma(pT) is a parabola through our resolution of simulation, one bin in the number of tracker layers.

| name                       | inputs                                        | output                                  |
|----------------------------|-----------------------------------------------|-----------------------------------------|
| a_data, a_mc (0)           | eta, phi, variation (nom, stat)               | 1/GeV                                   |
| m_data, m_mc (1)           | eta, phi, variation (nom, stat, rho_stat)     | relative; rho: correlation of a and m   |
| cb_params                  | abseta, nL, index (mean, sigma, n, alpha)     |                                         |
| poly_params                | abseta, nL, index (1, pT, pT^2)               | sigma of simulation, 1, 1/GeV, 1/GeV^2  |
| k_data, k_mc (1)           | abseta, variation (nom, stat)                 | resolution relative to simulation       |
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.io.correction_nodes import Node, binning, category, correction, eta_bins
from mucal.io.correctionlib import describe
from mucal.scale import ResolutionTable
from mucal.scale.resolution import curvature_variance

REFERENCE_PT: Final = 40.0
"""GeV, where e/pT is frozen if the calibration holds there; else the geometric mean of its range."""
CRYSTAL_BALL: Final = (0.0, 1.0, 10.0, 10.0)
"""mean, sigma, n, alpha: a Gaussian."""
FIT_POINTS: Final = 40


def muonscare_document(calibration: Calibration) -> Node:
    """The MuonScaRe-shaped correctionlib document of a calibration, as plain values."""
    pt = reference_pt(calibration)
    corrections = [*_scale(calibration, pt)]
    if calibration.resolution_data is not None and calibration.resolution_mc is not None:
        corrections += _smearing(calibration, calibration.resolution_data, calibration.resolution_mc, pt)
    description = (
        f"MuonScaRe-shaped view of a mucal calibration: pt' = 1/(m/pt + q a). This shape has no energy-loss term "
        f"(e); it is frozen at pt = {pt:.4g} GeV, which makes this file unfit for precision fits: use "
        "corrections.json.gz there. "
        "The smearing is Gaussian and does not depend on nL. No lower pt cut is implied by this file. "
        + describe(calibration)
    )
    return {"schema_version": 2, "description": description, "corrections": corrections}


def reference_pt(calibration: Calibration) -> float:
    """The pT in GeV at which the energy-loss term is frozen."""
    low, high = calibration.pt_range
    return REFERENCE_PT if low <= REFERENCE_PT < high else float(np.sqrt(low * high))


def _scale(calibration: Calibration, pt: float) -> list[Node]:
    scale, b = calibration.scale, calibration.scale.n_bins
    m = 1.0 + scale.A - scale.e / pt
    # all scale nuisances, so that configured factors and the reference mass are in
    shifts = calibration.scale_variations
    m_shift, a_shift = shifts[:, 0] - shifts[:, 1] / pt, shifts[:, 2]
    m_error, a_error = (np.sqrt(np.sum(shift**2, axis=0)) for shift in (m_shift, a_shift))
    product = m_error * a_error
    rho = np.sum(m_shift * a_shift, axis=0) / np.where(product > 0, product, 1.0)
    zero, one = np.zeros(b), np.ones(b)
    return [
        _eta_phi(calibration, "a_data", "sagitta term, 1/GeV", {"nom": scale.M, "stat": a_error}),
        _eta_phi(calibration, "m_data", "relative term", {"nom": m, "stat": m_error, "rho_stat": rho}),
        _eta_phi(calibration, "a_mc", "sagitta term of simulation, 1/GeV: none", {"nom": zero, "stat": zero}),
        _eta_phi(calibration, "m_mc", "relative term of simulation: one", {"nom": one, "stat": zero, "rho_stat": zero}),
    ]


def _smearing(calibration: Calibration, data: ResolutionTable, mc: ResolutionTable, pt: float) -> list[Node]:
    edges, columns = _abs_eta(calibration, data.eta_edges)
    low, high = calibration.pt_range
    grid = np.geomspace(low, high, FIT_POINTS)
    widths = [np.sqrt(np.mean([_variance(mc, j, grid) for j in js], axis=0)) for js in columns]
    parabolas = np.array([np.polynomial.polynomial.polyfit(grid, width, 2) for width in widths])
    at = np.array([pt])
    in_data, in_mc = (
        np.array([float(np.mean([_variance(table, j, at)[0] for j in js])) for js in columns]) for table in (data, mc)
    )
    k, k_error = np.sqrt(in_data / in_mc), _k_errors(calibration, data, columns, pt, in_data, in_mc)
    one, zero = np.ones(k.size), np.zeros(k.size)
    return [
        _indexed("cb_params", "mean, sigma, n, alpha of the Crystal Ball", edges, np.tile(CRYSTAL_BALL, (k.size, 1))),
        _indexed("poly_params", "sigma(pt) of simulation, coefficients of 1, pt, pt^2", edges, parabolas),
        _abseta("k_data", "resolution of data relative to simulation", edges, {"nom": k, "stat": k_error}),
        _abseta("k_mc", "one", edges, {"nom": one, "stat": zero}),
    ]


def _k_errors(
    calibration: Calibration,
    data: ResolutionTable,
    columns: Sequence[Sequence[int]],
    pt: float,
    in_data: FloatArray,
    in_mc: FloatArray,
) -> FloatArray:
    """Standard errors of k_data: sigma(k) = sigma(variance of data) / (2 sqrt(variance of data, of simulation))."""
    gradient = np.stack([np.ones(data.n_bins), 1.0 / (1.0 + data.d / pt**2), np.full(data.n_bins, pt**2)])
    shifts = np.einsum("npb,pb->nb", calibration.resolution_variations, gradient)
    errors = [np.sqrt(np.sum(np.mean(shifts[:, list(js)], axis=1) ** 2)) for js in columns]
    result: FloatArray = np.array(errors) / (2.0 * np.sqrt(in_data * in_mc))
    return result


def _variance(table: ResolutionTable, j: int, pt: FloatArray) -> FloatArray:
    return curvature_variance(pt, table.a[j], table.b[j], table.c[j], table.d[j])


def _abs_eta(calibration: Calibration, edges: FloatArray) -> tuple[list[float], list[list[int]]]:
    """Edges in |eta|, and for each bin the bins of the table, on either side, that it lies in."""
    low, high = calibration.eta_range
    inner = [low, high, *(float(edge) for edge in edges if low < edge < high)]
    cuts = sorted({abs(edge) for edge in inner} | ({0.0} if low < 0 < high else set()))
    columns = []
    for left, right in pairwise(cuts):
        centre = 0.5 * (left + right)
        sides = [eta for eta in (-centre, centre) if low <= eta < high]
        columns.append([int(np.searchsorted(edges, eta, side="right")) - 1 for eta in sides])
    return cuts, columns


# ------------------------------------------------------------------------------------------------ nodes


def _eta_phi(calibration: Calibration, name: str, what: str, values: dict[str, FloatArray]) -> Node:
    """Numbers by variation and eta; one bin of azimuth."""

    def node(column: FloatArray) -> Node:
        bins = [binning("phi", [-np.pi, np.pi], [value], flow="clamp") for value in column.tolist()]
        return eta_bins(calibration.eta_range, calibration.scale.eta_edges, bins)

    inputs = {"eta": "real", "phi": "real", "variation": "string"}
    return correction(name, what, inputs, category("variation", ((key, node(v)) for key, v in values.items())))


def _abseta(name: str, what: str, edges: list[float], values: dict[str, FloatArray]) -> Node:
    bins = ((key, binning("abseta", edges, column.tolist())) for key, column in values.items())
    return correction(name, what, {"abseta": "real", "variation": "string"}, category("variation", bins))


def _indexed(name: str, what: str, edges: list[float], rows: FloatArray) -> Node:
    """Parameters by |eta|, number of layers (one bin) and index."""
    content = [binning("nL", [0.0, 100.0], [category("index", enumerate(row))], flow="clamp") for row in rows.tolist()]
    return correction(name, what, {"abseta": "real", "nL": "real", "index": "int"}, binning("abseta", edges, content))
