"""Draws the pulls of muons that Geant4 takes through a telescope, refitted.

    python docs/examples/refit_geant4_figure.py docs/figures

Needs geant4-pybind.  The muons are those of `tests/oracles/test_refit_geant4.py`, whose functions it takes.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from oracle import oracle

from mucal.plot.style import label, panels, save, style

NAMES = ("q/p", r"$\lambda$", r"$\varphi$")
EDGES = np.linspace(-8.0, 8.0, 81)
MOMENTA = (3.0, 10.0)


def main(directory: Path) -> None:
    """The figure into a folder."""
    found = oracle("test_refit_geant4")
    with tempfile.TemporaryDirectory() as folder:
        pulls = {p: found.pulls_of(*found.fits_of(p, Path(folder))) for p in MOMENTA}
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    normal = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * np.diff(EDGES)
    with style():
        figure, axes = panels(1, 3, width=9.6, height=3.2)
        for i, (axis, name) in enumerate(zip(axes, NAMES, strict=True)):
            for p, values in pulls.items():
                counts = np.histogram(np.clip(values[:, i], EDGES[0], EDGES[-1]), EDGES)[0]
                axis.stairs(counts, EDGES, label=f"{p:g} GeV")
            axis.plot(middle, normal * len(values), color="black", lw=0.8, label="normal")
            axis.set(xlabel=f"pull of {name}", yscale="log", ylim=(0.7, 5e3))
            label(axis, f"{len(values)} muons of Geant4" if i == 0 else "")
        axes[0].set_ylabel("tracks")
        axes[2].legend(loc="upper right")
    directory.mkdir(parents=True, exist_ok=True)
    save(figure, directory / "refit_geant4.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
