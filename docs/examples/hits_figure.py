"""Draws the figure of docs/physics/simulation.md: material and simulated hits beside published numbers.

python docs/examples/hits_figure.py docs/figures [cms_phase1_tracker_modules.h5]
"""

import sys
from pathlib import Path

import numpy as np

from mucal.detector import Detector, cms_like, survey
from mucal.io import DetectorInput, read_detector
from mucal.plot.detector import PublishedCurve, published_figure
from mucal.plot.style import save
from mucal.simulation import HitSimulation, MuonGun, fire, simulate_hits

N = 60_000
EDGES = np.linspace(0.0, 2.4, 25)
PHASE_1 = DetectorInput(
    name="real sensors, Phase-1 pixel",
    subdet_names=("", "PXB", "PXF", "TIB", "TID", "TOB", "TEC"),
    measures={
        "PXB": (0.0010, 0.0025), "PXF": (0.0010, 0.0025), "TIB": (0.0025,), "TID": (0.0030,), "TOB": (0.0040,),
        "TEC": (0.0035,),
    },
)  # fmt: skip

# Sums over the public fast-simulation tables of the CMS tracker of 2016, straight lines from the origin.
AT = np.array([0.0, 0.4, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4])
TABLES = np.array([0.42, 0.61, 0.82, 1.09, 1.51, 1.68, 1.86, 1.35, 1.38, 1.10, 0.91])
# What CMS says of its curves (arXiv:1405.6569): 0.4 X0 at 0, at most 1.8 to 1.9 near 1.5, about 1.1 at the end; 10 to
# 17 hits.
CURVE = (np.array([0.0, 1.5, 2.4]), np.array([0.39, 1.8, 1.05]), np.array([0.42, 1.9, 1.15]))


def layers_hit(detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Mean number of layers with a hit, and of all hits, of muons of 10 GeV in bins of |eta|: (B,) each."""
    hits = simulate_hits(fire(MuonGun(pt=(10.0, 10.0)), N), detector, HitSimulation()).hits
    state = hits.truth.state if hits.truth is not None else hits.seed
    cell = np.digitize(np.abs(np.arcsinh(np.tan(state[:, 1]))), EDGES) - 1
    layer = detector.layer_number()[hits.module_id]
    once = np.unique(np.stack([hits.track, layer]), axis=1)[0]
    per_track = np.bincount(once, minlength=len(hits))
    count = np.bincount(cell, minlength=EDGES.size - 1)
    return tuple(np.bincount(cell, x, minlength=EDGES.size - 1) / count for x in (per_track, hits.n_hits))


def main(directory: Path, table: Path | None) -> None:
    detector = cms_like()
    straight = survey(detector, EDGES, sigma_z=0.0, qop_transverse=0.0)
    others = [survey(detector, EDGES)]
    if table is not None:
        others.append(survey(read_detector(table, PHASE_1), EDGES))
    layers, every = layers_hit(detector)
    figure = published_figure(
        straight, (EDGES, layers), others=others[1:],
        material=[PublishedCurve(name="public tables", eta=AT, low=TABLES, high=TABLES),
                  PublishedCurve(name="as published", eta=CURVE[0], low=CURVE[1], high=CURVE[2])],
        hits_range=(10.0, 17.0),
        note="cms-like, 10 GeV",
    )  # fmt: skip
    save(figure, directory / "simulation_hits.png")
    print("|eta| up to    layers hit   crossed   all hits   X0")
    for i in range(EDGES.size - 1):
        print(f"{EDGES[i + 1]:11.1f} {layers[i]:13.2f} {others[0].layers[i].sum():9.2f} {every[i]:10.2f} "
              f"{straight.x_over_x0[i].sum():6.2f}")  # fmt: skip
    print(f"simulated layers less geometry: {np.abs(layers - others[0].layers.sum(axis=1)).max():.3f} at most")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
