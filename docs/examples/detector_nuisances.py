"""The uncertainty of a calibration in two models, set against each other on one solve of the built-in tracker.

    mucal run -o RUN
    python docs/examples/detector_nuisances.py RUN

The statistics of A, e and M (as the CMS model has them), or the modes of field, material and alignment that the global
corrections left uncertain: errors of the curvature by eta, and of the masses of the W and the Z before any profiling.
"""

import sys
from pathlib import Path

import numpy as np

import mucal
from mucal.calibration import CalibrationConfig, assemble
from mucal.detector import cms_like
from mucal.globalcor import GlobalCorrections, Refit
from mucal.scale import ScaleTable
from mucal.scale.detector_modes import DetectorModes, compare_models, propagate
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.theory import resonance
from mucal.wmass.momentum_shift import curvature_weights
from mucal.workflow.mode_maps import probe_tracks
from mucal.workflow.w_muons import WSample

MOMENTA = (5.0, 10.0, 20.0, 40.0)
"""GeV, of the tracks on which the modes are looked at."""
TRACKS = 1500
MEV = 1e3


def main(run: Path) -> None:
    """Print both models side by side."""
    corrections = GlobalCorrections.load(run / "corrections.h5")
    table = ScaleTable.load(run / "scale.h5")
    refit = Refit(detector=cms_like(), registry=corrections.registry, theta=corrections.theta)
    modes = propagated(corrections, refit, table)
    print(f"{len(modes.variations)} modes; A, e, M leave of delta k/k, by momenta, 1e-5 rms: {numbers(modes.residual)}")
    for name in modes.leading[:5]:
        print(f"  {name}")
    for pt in (8.0, 40.0):
        of_modes, of_table, _ = compare_models(modes, table, pt)
        print(f"delta k/k at {pt:g} GeV, 1e-5, by eta: modes {numbers(of_modes)}, statistics {numbers(of_table)}")
    config = CalibrationConfig(pt_definition="refit", pt_range=(3.5, 100.0))
    for name, detector in (("statistics of A, e, M", None), ("modes of the detector", modes)):
        made = assemble(table, None, None, config, detector=detector)
        shifts = made.scale_variations[: made.groups.count(made.groups[0])]
        print(f"{name}: {len(shifts)} nuisances; {masses(run, shifts, table)}")


def numbers(parts: np.ndarray) -> str:
    """In units of 1e-5."""
    return " ".join(f"{1e5 * part:.1f}" for part in parts)


def propagated(corrections: GlobalCorrections, refit: Refit, table: ScaleTable) -> DetectorModes:
    """The covariance of the corrections as variations of A, e and M in the bins of the table."""
    probes = probe_tracks(refit, MOMENTA, TRACKS)
    lam = np.arctan(np.sinh(probes.eta))
    state = np.stack([probes.charge * np.cos(lam) / probes.pt, lam, probes.phi], axis=1)
    return propagate(corrections, probes.derivatives, state, table.eta_edges)


def masses(run: Path, shifts: np.ndarray, table: ScaleTable) -> str:
    """Errors of m_W (each charge, both) and of m_Z, MeV: all nuisances in quadrature, none of them profiled."""
    of_charge = []
    for muons in WSample.load(run / "stages" / "w_muons.h5").muons:
        moved = curvature(shifts, muons.nominal, muons.eta, np.full(muons.eta.size, float(muons.charge)), table)
        of_charge.append(moved @ curvature_weights(muons.score, muons.nominal))
    z = generate_dimuons(DimuonSimulation(seed=5, resonance="z", pt_min=20.0), 50_000).dimuons
    inside = np.all((np.abs(z.eta) < 2.4) & (z.pt < 100.0), axis=1)
    z = z.select(inside)
    per_muon = [curvature(shifts, z.pt[:, i], z.eta[:, i], z.charge[:, i].astype(float), table) for i in (0, 1)]
    of_z = -0.5 * resonance("z").mass * np.mean(per_muon[0] + per_muon[1], axis=1)
    plus, minus = of_charge
    found = {"m_W+": plus, "m_W-": minus, "m_W": 0.5 * (plus + minus), "m_W+ - m_W-": plus - minus, "m_Z": of_z}
    return ", ".join(f"{name} {MEV * np.sqrt(np.sum(shift**2)):.1f} MeV" for name, shift in found.items())


def curvature(shifts: np.ndarray, pt: np.ndarray, eta: np.ndarray, charge: np.ndarray, table: ScaleTable) -> np.ndarray:
    """(S, N) delta k/k of muons by every nuisance."""
    at = table.bin_index(np.clip(eta, table.eta_edges[0], table.eta_edges[-1] - 1e-9))
    A, e, M = (shifts[:, i, at] for i in range(3))
    moved: np.ndarray = A - e / pt + charge * M * pt
    return moved


if __name__ == "__main__":
    print(f"mucal {mucal.__version__}")
    main(Path(sys.argv[1]))
