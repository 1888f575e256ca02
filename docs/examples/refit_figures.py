"""Figures of the refit: residuals by layer, chi2, bias of q/p, and one J/psi.

python docs/examples/refit_figures.py [FOLDER]
"""

import sys
from pathlib import Path

from mucal.detector import cms_like
from mucal.plot.refit import chi2_figure, momentum_bias_figure, residuals_figure
from mucal.plot.refit_event import event_figure
from mucal.plot.style import save
from mucal.refit import fit_tracks, hit_residuals
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/figures")
folder.mkdir(parents=True, exist_ok=True)
detector = cms_like()
assert detector.field is not None
muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 10_000)
hits = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits
assert hits.truth is not None
fits, _ = fit_tracks(detector, detector.field, hits)
residuals = hit_residuals(detector, detector.field, hits, fits)
save(
    residuals_figure(hits, residuals, detector, note=r"muons of J/$\psi$, CMS-like tracker"),
    folder / "refit_residuals.png",
)
save(chi2_figure(fits), folder / "refit_chi2.png")
save(momentum_bias_figure(fits, hits.truth.state), folder / "refit_bias.png")
pair = [int(i) for i in range(len(hits)) if hits.pair[i] == hits.pair[4]]
save(event_figure(detector, detector.field, hits, fits, residuals, pair), folder / "refit_event.png")
