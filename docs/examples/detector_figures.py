"""Draws the figures of docs/physics/detector.md and prints its table.

    python docs/examples/detector_figures.py docs/figures [cms_phase1_tracker_modules.h5]

The second argument is the table of the real sensors; without it the comparison is left out.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from mucal.detector import Survey, cms_like, survey
from mucal.io import DetectorInput, read_detector
from mucal.plot.detector import hits_figure, layout_figure, material_figure
from mucal.plot.style import save

PHASE_1 = DetectorInput(
    name="CMS Phase-1 sensors",
    subdet_names=("", "PXB", "PXF", "TIB", "TID", "TOB", "TEC"),
    measures={
        "PXB": (0.0010, 0.0025), "PXF": (0.0010, 0.0025), "TIB": (0.0025,), "TID": (0.0030,), "TOB": (0.0040,),
        "TEC": (0.0035,),
    },
)  # fmt: skip
ETA = np.linspace(-2.5, 2.5, 101)
BINS = np.linspace(0.0, 2.4, 9)


def profile(survey_: Survey, values: np.ndarray) -> str:
    centre = np.abs(0.5 * (ETA[1:] + ETA[:-1]))
    means = [values[(centre >= low) & (centre < high)].mean() for low, high in pairwise(BINS)]
    return f"{survey_.detector:20}" + " ".join(f"{mean:7.2f}" for mean in means)


def main(directory: Path, table: Path | None) -> None:
    detector = cms_like()
    straight = survey(detector, ETA, sigma_z=0.0, qop_transverse=0.0)
    surveys = [survey(detector, ETA)]
    if table is not None:
        surveys.append(survey(read_detector(table, PHASE_1), ETA))
    directory.mkdir(parents=True, exist_ok=True)
    save(layout_figure(detector), directory / "detector_layout.png")
    save(
        material_figure(straight, note="cms-like, straight tracks from the origin"), directory / "detector_material.png"
    )
    save(hits_figure(surveys, note="cms-like, 10 GeV"), directory / "detector_hits.png")
    print("|eta| up to         " + " ".join(f"{high:7.1f}" for high in BINS[1:]))
    print("X0\n" + profile(straight, straight.x_over_x0.sum(axis=1)))
    print("mean loss of 3 GeV, MeV\n" + profile(straight, 25.8 * straight.xi_mev.sum(axis=1)))
    strips = np.isin(detector.subdet_names, ["TIB", "TID", "TOB", "TEC"])
    for quantity in ("modules", "layers"):
        for words, columns in ((f"all {quantity}", slice(None)), (f"strip {quantity}", strips)):
            print(words)
            for one in surveys:
                print(profile(one, getattr(one, quantity)[:, columns].sum(axis=1)))
    print("lever arm, cm")
    for one in surveys:
        print(profile(one, one.lever_arm))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
