"""Draws the figure of docs/physics/simulation.md: material and simulated hits beside published numbers.

python docs/examples/hits_figure.py docs/figures [cms_phase1_tracker_modules.h5]
"""

import sys
from pathlib import Path

import numpy as np

from mucal.detector import Detector, Survey, cms_like, survey
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
# Read off the figure of arXiv:1405.6569: 0.4 X0 at 0, at most 1.8 to 1.9 near 1.5, about 1.1 at the end.
CURVE = (np.array([0.0, 1.5, 2.4]), np.array([0.39, 1.8, 1.05]), np.array([0.42, 1.9, 1.15]))


def layers_hit(detector: Detector) -> dict[str, np.ndarray]:
    """Means over muons of 10 GeV in bins of |eta|, (B,) each: hits, layers hit, those of strips, those with both.

    A pair of sisters is one layer; "both" are layers with a hit on a sensor of either kind.
    """
    hits = simulate_hits(fire(MuonGun(pt=(10.0, 10.0)), N), detector, HitSimulation()).hits
    state = hits.truth.state if hits.truth is not None else hits.seed
    cell = np.digitize(np.abs(np.arcsinh(np.tan(state[:, 1]))), EDGES) - 1
    place = hits.track * (1 + detector.layer_number().max()) + detector.layer_number()[hits.module_id]
    strip, stereo = (detector.modules.n_meas == 1)[hits.module_id], detector.modules.stereo[hits.module_id]
    _, first = np.unique(place, return_index=True)
    of_strips = first[strip[first]]
    _, both, _ = np.intersect1d(place[strip & ~stereo], place[strip & stereo], return_indices=True)
    both = np.flatnonzero(strip & ~stereo)[both]
    chosen = {"hits": np.arange(place.size), "layers": first, "strips": of_strips, "both": both}
    count = np.bincount(cell, minlength=EDGES.size - 1)
    return {name: np.bincount(cell[hits.track[k]], minlength=EDGES.size - 1) / count for name, k in chosen.items()}


def strips_crossed(found: Survey) -> np.ndarray:
    """(B,) layers of strips"""
    return found.layers[:, np.isin(found.subdet_names, ("TIB", "TID", "TOB", "TEC"))].sum(axis=1)


def main(directory: Path, table: Path | None) -> None:
    """The figure into a folder, its numbers as a table."""
    detector = cms_like()
    straight = survey(detector, EDGES, sigma_z=0.0, qop_transverse=0.0)
    crossed = [survey(detector, EDGES)]
    if table is not None:
        crossed.append(survey(read_detector(table, PHASE_1), EDGES))
    simulated = layers_hit(detector)
    figure = published_figure(
        straight, (EDGES, simulated["layers"]), others=crossed[1:],
        material=[PublishedCurve(name="public tables", eta=AT, low=TABLES, high=TABLES),
                  PublishedCurve(name="as published", eta=CURVE[0], low=CURVE[1], high=CURVE[2])],
        note="cms-like, 10 GeV",
    )  # fmt: skip
    save(figure, directory / "simulation_hits.png")
    print("|eta| up to   X0   hits  layers  crossed  strips  both  strips crossed" + ", real" * (table is not None))
    for i in range(EDGES.size - 1):
        strips = ", ".join(f"{strips_crossed(found)[i]:.2f}" for found in crossed)
        print(f"{EDGES[i + 1]:8.1f} {straight.x_over_x0[i].sum():8.2f} {simulated['hits'][i]:6.2f} "
              f"{simulated['layers'][i]:6.2f} {crossed[0].layers[i].sum():7.2f} {simulated['strips'][i]:8.2f} "
              f"{simulated['both'][i]:5.2f}  {strips}")  # fmt: skip
    away = simulated["layers"] - crossed[0].layers.sum(axis=1)
    print(f"simulated layers less geometry: {np.abs(away).max():.3f} at most")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
