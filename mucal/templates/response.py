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

from mucal.arrays import FloatArray, IntArray
from mucal.calibration import Calibration
from mucal.scale.table import ResolutionTable
from mucal.templates.binning import Binning

MOMENTS: Final = ("response_A", "response_e", "response_M", "response_a", "response_b", "response_c")


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
    variance = table.a[i] + table.c[i] * pt**2 + table.b[i] / (1.0 + table.d[i] / pt**2)
    result: FloatArray = np.sqrt(variance)
    return result


def moments(pt: FloatArray, charge: FloatArray, z: FloatArray, sigma: FloatArray, d: FloatArray) -> FloatArray:
    """What each muon adds to the six sums `MOMENTS` of its bin.

    pt     : (N,) GeV    true
    charge : (N,)
    z      : (N,)        pull of the measured curvature
    sigma  : (N,)        relative resolution
    d      : (N,) GeV^2  parameter of the resolution

    Returns (N, 6).
    """
    first, second = z / sigma, (z * z - 1.0) / (2.0 * sigma**2)
    return np.stack(
        [first, -first / pt, first * charge * pt, second, second / (1.0 + d / pt**2), second * pt**2], axis=1
    )


def acting(calibration: Calibration) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and groups of the nuisances that act on a muon's momentum.

    Those of the weight by pixel hits do not: averaged over the hits, which the generated muons do not have, it is 1.
    """
    kept = [i for i, kind in enumerate(calibration.kinds) if kind != "pixel"]
    return tuple(calibration.names[i] for i in kept), tuple(calibration.groups[i] for i in kept)


def bin_shifts(calibration: Calibration, binning: Binning) -> tuple[tuple[str, ...], tuple[str, ...], FloatArray]:
    """Names and groups of the nuisances, and what +1 of each adds to the six parameters in every flat bin.

    Returns names (S,), groups (S,), shifts (S, 6, B).
    Raises ValueError if a bin of eta lies in two bins of the calibration.
    """
    eta = np.array(binning.edges[binning.axes.index("eta")])
    along = binning.along("eta")
    scale_bin = _containing(calibration.scale.eta_edges, eta)[along]
    table = calibration.resolution_data
    resolution_bin = scale_bin if table is None else _containing(table.eta_edges, eta)[along]
    names, groups = acting(calibration)
    shifts = np.zeros((len(names), 6, binning.n_bins))
    n = calibration.scale_variations.shape[0]
    shifts[:n, :3] = calibration.scale_variations[:, :, scale_bin]
    if table is not None:
        shifts[n:, 3:] = calibration.resolution_variations[:, :, resolution_bin]
    return names, groups, shifts


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
    return np.concatenate(shift, axis=1)


def _gather(variations: FloatArray, edges: FloatArray, eta: FloatArray, basis: FloatArray) -> FloatArray:
    at = np.clip(np.searchsorted(edges, eta, side="right") - 1, 0, edges.size - 2)
    result: FloatArray = np.einsum("spn,np->ns", variations[:, :, at], basis)
    return result


def _containing(outer: FloatArray, inner: FloatArray) -> IntArray:
    """The bin of `outer` that each bin of `inner` lies in."""
    index = np.searchsorted(outer, inner[:-1] + 1e-9, side="right") - 1
    inside = (index >= 0) & (index < outer.size - 1)
    if not np.all(inside) or np.any(inner[1:] > outer[np.minimum(index + 1, outer.size - 1)] + 1e-9):
        raise ValueError(
            f"the histogram's bins of eta do not lie within those of the calibration ({outer.size - 1} from "
            f"{outer[0]:g} to {outer[-1]:g}); choose edges that include the calibration's"
        )
    return index.astype(np.int64)
