"""Draws the refit beside ACTS' Kalman filter and global chi2 fit, on hits of Fatras.

    python docs/examples/refit_acts_figure.py docs/figures

Needs pyacts.  The muons are those of `tests/oracles/test_refit_acts.py`, whose functions it takes.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from oracle import oracle

from mucal.plot.style import label, panels, save, style

NAMES = ("q/p", r"$\lambda$", r"$\varphi$")
EDGES = np.linspace(-0.1, 0.1, 81)


def main(directory: Path) -> None:
    """The figure into a folder."""
    found = oracle("test_refit_acts")
    with tempfile.TemporaryDirectory() as folder:
        fits, kalman, global_chi2 = found.fits_of(Path(folder))
    with style():
        figure, axes = panels(1, 3, width=9.6, height=3.2)
        for i, (axis, name) in enumerate(zip(axes, NAMES, strict=True)):
            for theirs, whose in ((kalman, "Kalman filter"), (global_chi2, r"global $\chi^2$")):
                away = found.difference(fits, theirs)[0][:, i]
                axis.hist(np.clip(away, EDGES[0], EDGES[-1]), EDGES, histtype="step", label=f"ACTS, {whose}")
            axis.axvline(0.0, color="black", lw=0.6)
            axis.set(xlabel=f"{name}: here less ACTS  [errors]", yscale="log", ylim=(0.7, 5e3))
            label(axis, f"{len(fits)} muons of 10 GeV" if i == 0 else "")
        axes[0].set_ylabel("tracks")
        axes[2].legend(loc="upper right")
    directory.mkdir(parents=True, exist_ok=True)
    save(figure, directory / "refit_acts.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
