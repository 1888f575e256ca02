"""The uncertainty of global corrections as nuisances of the scale, beside the statistics of its table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration, covariance
from mucal.detector import Detector
from mucal.errors import InputError
from mucal.globalcor import GlobalCorrections, Refit
from mucal.report.scale_models import DETECTOR, ScaleModels
from mucal.scale import ScaleTable
from mucal.scale.detector_modes import DetectorModes, curvature_errors, propagate
from mucal.theory import resonance
from mucal.units import MeV
from mucal.workflow.closing_pairs import ClosingPairs
from mucal.workflow.mode_maps import probe_tracks
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.threads import current
from mucal.workflow.tracks_config import Tracked
from mucal.workflow.w_muons import WSample, scale_slope

MOMENTA: Final = (5.0, 10.0, 20.0, 40.0)
"""GeV, of the muons that say what A, e and M a mode is: from those of J/psi to those of W and Z."""
PER_BIN: Final = 400
"""Muons at each momentum for every bin of eta: the errors of A and M come out to 2 %, those of e to 15 %."""
SHOWN: Final = (8.0, 40.0)
"""GeV, where models are compared."""


def modes_of(corrections: GlobalCorrections, refit: Refit, eta_edges: FloatArray) -> DetectorModes:
    """The covariance of corrections as modes of A, e and M, seen with muons without noise.

    refit     : of single tracks, with the corrections
    eta_edges : (B+1,) of the scale table

    Raises what `scale.detector_modes.propagate` raises.
    """
    probes = probe_tracks(refit, MOMENTA, PER_BIN * (eta_edges.size - 1))
    lam = np.arctan(np.sinh(probes.eta))
    state = np.stack([probes.charge * np.cos(lam) / probes.pt, lam, probes.phi], axis=1)
    return propagate(corrections, probes.derivatives, state, eta_edges)


def run_modes(
    config: Tracked, detector: Detector, corrections: GlobalCorrections, eta_edges: FloatArray, notes: list[str]
) -> DetectorModes | None:
    """The modes of a run's corrections; None, with a note, where they cannot be had.

    detector : as it is assumed to be
    """
    refit = Refit(
        detector=detector, registry=corrections.registry, theta=corrections.theta,
        config=replace(config.refit, n_threads=current()),
    )  # fmt: skip
    try:
        return modes_of(corrections, refit, eta_edges)
    except (InputError, ValueError) as error:
        notes.append(f"no modes of the detector: {error.args[0]}")
        return None


def without_correction(table: ScaleTable, modes: DetectorModes) -> ScaleTable:
    """The table that goes with the modes: no correction beyond the global ones, uncertain as these leave it.

    A table of masses has the statistics of these, which no mode holds: it cannot be applied and leave them out.
    """
    zero = np.zeros(table.n_bins)
    return replace(table, A=zero, e=zero, M=zero, cov=modes.cov)


def compare(calibration: Calibration, table: ScaleTable, modes: DetectorModes, slopes: FloatArray) -> ScaleModels:
    """The statistics of the scale as they are, with the factor of the release if it has another than 1, and the modes.

    table  : of the masses
    slopes : (5, 3B) MeV  of `mass_slopes`
    """
    plain = f"{calibration.resonance}_stat"
    factor = calibration.factors.get(plain, 1.0)
    n_statistics = len(covariance.modes(table.cov, dataset="ScaleTable.cov", scaled=True))
    covs = {plain: table.cov, f"{plain} x {factor:.3g}": factor**2 * table.cov, DETECTOR: modes.cov}
    if factor == 1.0:
        del covs[f"{plain} x 1"]
    errors = np.array([[curvature_errors(cov, pt) for pt in SHOWN] for cov in covs.values()])
    return ScaleModels(
        models=tuple(covs), released=DETECTOR if DETECTOR in calibration.groups else tuple(covs)[-2],
        counts=np.array([len(modes.leading) if name == DETECTOR else n_statistics for name in covs]),
        eta_edges=table.eta_edges, momenta=np.array(SHOWN), even=errors[:, :, 0], odd=errors[:, :, 1],
        masses=np.array([np.sqrt(np.einsum("mi,ij,mj->m", slopes, cov, slopes)) for cov in covs.values()]),
    )  # fmt: skip


def mass_slopes(w: WSample | None, closing: Sequence[ClosingPairs], table: ScaleTable) -> FloatArray:
    """(5, 3B) MeV: d of `MASSES` by A, e, M; NaN where there are no muons of W, or no Z."""
    unknown = np.full(3 * table.n_bins, np.nan)
    # `scale_slope` is the mean of two charges: that of a charge with itself is its own
    plus, minus = (unknown,) * 2 if w is None else (scale_slope(WSample(muons=(m, m)), table) for m in w.muons)
    of_z = next((_z_slope(pairs.simulation, table) for pairs in closing if pairs.resonance == "z"), unknown)
    return np.array([0.5 * (plus + minus), plus, minus, plus - minus, of_z])


def _z_slope(pairs: RefittedPairs, table: ScaleTable) -> FloatArray:
    """(3B,) MeV: d <m> / d (A, e, M), -m/2 (delta k/k) of each muon of a pair; pairs outside the table do not count."""
    inside = np.all((pairs.eta >= table.eta_edges[0]) & (pairs.eta < table.eta_edges[-1]), axis=1)
    pt, bins, charge = (
        pairs.pt[inside].ravel(),
        table.bin_index(pairs.eta[inside].ravel()),
        pairs.charge[inside].ravel(),
    )
    weight = -0.5 * resonance("z").mass / MeV / inside.sum()
    columns = (np.ones(pt.size), -1.0 / pt, charge * pt)
    slope = np.concatenate([np.bincount(bins, weight * column, minlength=table.n_bins) for column in columns])
    return slope.astype(np.float64)
