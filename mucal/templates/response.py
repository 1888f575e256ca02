"""Calibration nuisances as weights of the muon's response: the same events, shifted without moving between bins.

With z = (k_reco - k_true)/(sigma k_true), sigma the relative resolution, a shift of the curvature by d (relative, at
k_true) changes the density of k_reco by 1 + z d/sigma, and a change of sigma^2 by v changes it by
1 + (z^2 - 1) v/(2 sigma^2), to first order.  Both are linear in the parameters,

    d = dA - de k + q dM / k,     v = da + db / (1 + d0/pT^2) + dc pT^2,

so that six sums a bin, of z/sigma and (z^2 - 1)/(2 sigma^2) times these factors, give every nuisance.
Derived in docs/physics/templates.md.
"""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.calibration.response import moments
from mucal.scale.pixels import TRIGGERED
from mucal.scale.resolution import curvature_variance
from mucal.scale.table import ResolutionTable
from mucal.templates.binning import Binning, containing_bins

MOMENTS: Final = ("response_A", "response_e", "response_M", "response_a", "response_b", "response_c")

WITHOUT_PIXELS: Final = 1.5
"""Resolution of muons without a pixel hit over that of the others: an ansatz."""


def default_resolution() -> ResolutionTable:
    """A tracker like that of CMS: 1 % at 40 GeV in the middle, 2 % at its ends, in 48 bins of eta."""
    edges = np.round(np.linspace(-2.4, 2.4, 49), 10)
    worse = 1.0 + 3.0 * (0.5 * (edges[1:] + edges[:-1]) / 2.4) ** 2
    return ResolutionTable(
        eta_edges=edges, a=6.0e-5 * worse, b=0.0 * worse, c=2.5e-8 * worse, d=np.full(48, 370.0),
        cov=np.zeros((144, 144)),
    )  # fmt: skip


def relative_resolution(table: ResolutionTable, pt: FloatArray, eta: FloatArray) -> FloatArray:
    """sigma_k/k of muons; beyond the table's last bins theirs.  pt GeV, eta (N,) -> (N,)."""
    i = np.clip(np.searchsorted(table.eta_edges, eta, side="right") - 1, 0, table.n_bins - 1)
    result: FloatArray = np.sqrt(curvature_variance(pt, table.a[i], table.b[i], table.c[i], table.d[i]))
    return result


def bin_shifts(calibration: Calibration, binning: Binning) -> FloatArray:
    """What +1 of each nuisance of a calibration adds to the six parameters in every flat bin, (S, 6, B).

    Raises ValueError if a bin of eta lies in two bins of the calibration.
    """
    eta = np.array(binning.edges[binning.axes.index("eta")])
    along = binning.along("eta")
    scale_bin = containing_bins(calibration.scale.eta_edges, eta)[along]
    table = calibration.resolution_data
    shifts = np.zeros((len(calibration.names), 6, binning.n_bins))
    n, m = calibration.scale_variations.shape[0], calibration.resolution_variations.shape[0]
    shifts[:n, :3] = calibration.scale_variations[:, :, scale_bin]
    if table is None:
        return shifts
    resolution_bin = containing_bins(table.eta_edges, eta)[along]
    shifts[n : n + m, 3:] = calibration.resolution_variations[:, :, resolution_bin]
    if calibration.pixels is not None:
        at = containing_bins(calibration.pixels.eta_edges, eta)[along]
        widened = pixel_widening(calibration)[:, (binning.centres("charge") > 0).astype(np.int64), at]
        nominal = np.stack([table.a, table.b, table.c])[:, resolution_bin]
        shifts[n + m :, 3:] = widened[:, None] * nominal
    return shifts


def muon_shifts(
    calibration: Calibration, pt: FloatArray, eta: FloatArray, charge: FloatArray, z: FloatArray, sigma: FloatArray,
    d: FloatArray,
) -> FloatArray:  # fmt: skip
    """Relative change of each muon's weight by +1 of every nuisance, (N, S); its eta decides the calibration's bin.

    Arguments as for `moments`.  For histograms whose bins do not fix the muon's eta.
    """
    basis = moments(pt, charge, z, sigma, d)
    table = calibration.resolution_data
    shift = [_gather(calibration.scale_variations, calibration.scale.eta_edges, eta, basis[:, :3])]
    if table is not None:
        shift.append(_gather(calibration.resolution_variations, table.eta_edges, eta, basis[:, 3:]))
    if calibration.pixels is not None:
        edges = calibration.pixels.eta_edges
        at = np.clip(np.searchsorted(edges, eta, side="right") - 1, 0, edges.size - 2)
        widened = pixel_widening(calibration)[:, (charge > 0).astype(np.int64), at] * float(table is not None)
        shift.append((0.5 * (z * z - 1.0) * widened).T)
    return np.concatenate(shift, axis=1)


def pixel_widening(calibration: Calibration) -> FloatArray:
    """(H, 2, B) relative change of sigma^2 by +1 of each nuisance of the weight by pixel hits; charges -, +.

    The generated muons have no hits: theirs is the resolution of the mixture.  The weight changes the share f of muons
    without a pixel hit, whose sigma is `WITHOUT_PIXELS` times that of the others, to f', and leaves the rate alone:
    sigma^2 grows by (f' - f) (r^2 - 1) / [1 + f (r^2 - 1)].

    Derived in docs/physics/templates.md.
    """
    assert calibration.pixels is not None
    table = calibration.pixels
    share = (table.mc_zero / table.mc)[TRIGGERED]
    zero, some = table.ln_weights[:, TRIGGERED]
    at = float(calibration.pixels_in_nominal)

    def weighted(exponent: FloatArray) -> FloatArray:
        without, with_hits = share * np.exp(exponent * zero), (1.0 - share) * np.exp(exponent * some)
        result: FloatArray = without / (without + with_hits)
        return result

    nominal = weighted(np.full(share.shape, at))
    more = WITHOUT_PIXELS**2 - 1.0
    changes = [weighted(at + one[None, :]) - nominal for one in calibration.pixel_variations]
    result: FloatArray = np.array(changes).reshape(-1, *share.shape) * more / (1.0 + nominal * more)
    return result


def _gather(variations: FloatArray, edges: FloatArray, eta: FloatArray, basis: FloatArray) -> FloatArray:
    at = np.clip(np.searchsorted(edges, eta, side="right") - 1, 0, edges.size - 2)
    result: FloatArray = np.einsum("spn,np->ns", variations[:, :, at], basis)
    return result
