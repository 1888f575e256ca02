"""Muons without noise through a true detector: what corrections leave of the bias of momenta."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Detector
from mucal.errors import InputError
from mucal.globalcor import GlobalCorrections, ProbeBias, Refit
from mucal.globalcor.derivatives import ReferenceDerivatives
from mucal.refit import TrackFits
from mucal.scale import ScaleTable
from mucal.simulation import HitSimulation, MuonGun, fire, simulate_hits
from mucal.track import LAM, PHI, QOP

QUIET: Final = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))
"""Muons that follow the mean trajectory, recorded where they cross."""


def probe_bias(
    true: Detector, refit: Refit, corrections: GlobalCorrections, *, momenta: tuple[float, ...] = (10.0, 40.0),
    n: int = 3000, eta_max: float = 2.3, n_bins: int = 12, seed: int = 77,
) -> ProbeBias:  # fmt: skip
    """What muons through the true detector show of a refit's momenta before and after its corrections.

    refit       : on the assumed detector, without corrections
    corrections : with the whole covariance
    momenta     : GeV, transverse
    n           : muons at each, half of each charge

    Raises InputError for corrections without a covariance.
    """
    if not corrections.covariance.size:
        raise InputError("these corrections hold no covariance", kind="input.no_covariance", do="solve with covariance")
    edges = np.linspace(-eta_max, eta_max, n_bins + 1)
    columns: list[tuple[np.ndarray, ...]] = []
    means, means_before, covs = [], [], []
    for pt in momenta:
        muons = fire(MuonGun(seed=seed, pt=(pt, pt), eta=(-eta_max, eta_max)), n)
        hits = simulate_hits(muons, true, QUIET, n_threads=refit.config.n_threads).hits
        old, _ = refit.tracks(hits, profile=False)
        new, _ = replace(refit, theta=corrections.theta).tracks(hits)
        ok = old.ok & new.ok
        assert hits.truth is not None
        state = hits.truth.state
        k = np.abs(state[:, QOP]) / np.cos(state[:, LAM])
        before, after = (np.abs(f.state[:, QOP]) / np.cos(f.state[:, LAM]) / k - 1.0 for f in (old, new))
        slopes = curvature_slopes(refit.derivatives(new), new, corrections)
        eta, charge = np.arcsinh(np.tan(state[:, LAM])), np.sign(state[:, QOP]).astype(np.int64)
        covariance = corrections.covariance
        errors = np.sqrt(np.asarray(slopes.multiply(slopes @ covariance).sum(axis=1)).ravel())
        columns.append(tuple(x[ok] for x in (np.full(ok.size, pt), eta, state[:, PHI], charge, before, after, errors)))
        rows = _means(eta, charge, ok, edges)
        means.append(rows @ np.where(ok, after, 0.0))
        means_before.append(rows @ np.where(ok, before, 0.0))
        averaged = np.stack([np.asarray((slopes.T @ part.T).T) for part in rows])
        covs.append(averaged @ covariance @ np.swapaxes(averaged, 1, 2))
    pt_all, eta_all, phi_all, charge_all, before_all, after_all, error_all = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    return ProbeBias(
        pt=pt_all, eta=eta_all, phi=phi_all, charge=charge_all, before=before_all, after=after_all, error=error_all,
        eta_edges=edges, momenta=np.array(momenta), mean=np.array(means), mean_before=np.array(means_before),
        mean_cov=np.array(covs),
    )  # fmt: skip


def curvature_slopes(derivatives: ReferenceDerivatives, fits: TrackFits, corrections: GlobalCorrections) -> Any:
    """(N, F) sparse: d (delta k / k) / d theta of the free parameters; empty rows where a fit failed."""
    p = len(corrections.registry)
    qop = np.where(fits.ok, fits.state[:, QOP], 1.0)
    tangent = np.where(fits.ok, np.tan(fits.state[:, LAM]), 0.0)
    both = sp.diags_array(1.0 / qop) @ derivatives.matrix(QOP, p) + sp.diags_array(tangent) @ derivatives.matrix(LAM, p)
    return both.tocsc()[:, np.flatnonzero(corrections.free)].tocsr()


def left_over(probes: ProbeBias, table: ScaleTable) -> ScaleTable:
    """The scale table that would mend what the corrections left, in the eta bins and at the momenta of another.

    Least squares of A - e/pT + q M pT = -(delta k / k) over the muons without noise; e and M need two momenta inside
    the table's, one momentum gives A and M.

    Raises InputError where a bin holds no muon of both charges.
    """
    low, high = table.pt_range
    inside = (probes.pt >= low) & (probes.pt <= high)
    momenta = np.unique(probes.pt[inside]).size
    found = np.zeros((3, table.n_bins))
    for i, (start, stop) in enumerate(pairwise(table.eta_edges)):
        use = inside & (probes.eta >= start) & (probes.eta < stop)
        columns = np.stack([np.ones(probes.pt.size), -1.0 / probes.pt, probes.charge * probes.pt])[:, use]
        free = [0, 1, 2] if momenta > 1 else [0, 2]
        if np.unique(probes.charge[use]).size < 2:
            raise InputError(
                f"no muons of both charges without noise at eta {start:.2f} to {stop:.2f}, {low:g} to {high:g} GeV",
                kind="input.few_probes", do="set tracks.momenta and tracks.eta_max to what the bins hold",
            )  # fmt: skip
        found[free, i] = np.linalg.lstsq(columns[free].T, -probes.after[use], rcond=None)[0]
    n = 3 * table.n_bins
    return ScaleTable(
        eta_edges=table.eta_edges, A=found[0], e=found[1], M=found[2], cov=np.zeros((n, n)), pt_range=table.pt_range,
        resonance=table.resonance,
    )  # fmt: skip


def _means(eta: FloatArray, charge: IntArray, ok: BoolArray, edges: FloatArray) -> FloatArray:
    """(2, E, N) weights that give half the sum, and half the difference, of the charges' means in each bin."""
    weights = np.zeros((2, edges.size - 1, eta.size))
    for i, (low, high) in enumerate(pairwise(edges)):
        for q in (1, -1):
            here = ok & (eta >= low) & (eta < high) & (charge == q)
            if not here.any():
                raise InputError(
                    f"no muon of charge {q:+d} between eta {low:.2f} and {high:.2f} was fitted", kind="input.few_probes"
                )
            weights[0, i, here] = 0.5 / here.sum()
            weights[1, i, here] = 0.5 * q / here.sum()
    return weights
