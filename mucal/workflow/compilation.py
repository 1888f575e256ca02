"""Compilation of what a run from hits needs later, by a process of its own while the first stages run.

Compiled loops are kept on disk (numba's cache), so what one process has compiled the other one only loads.  Compiling
holds a lock of its process: threads cannot share it, two processes can.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from mucal.detector import barrel
from mucal.globalcor import Refit, build_registry
from mucal.massfit import BatchConfig, MassHistograms, fit_bins
from mucal.simulation import MuonGun, fire, simulate_hits
from mucal.workflow.bins import Bins


def compile_later_stages() -> None:
    """Fit a few made-up spectra and tracks: their loops are compiled, or loaded if they have been."""
    fit_bins(_spectrum(), BatchConfig(resonance="jpsi", min_events=1), n_threads=1)
    detector = barrel()
    refit = Refit(detector=detector, registry=build_registry(detector, ()))
    refit = replace(refit, config=replace(refit.config, n_threads=1))
    hits = simulate_hits(fire(MuonGun(pt=(10.0, 10.0), eta=(-0.5, 0.5)), 4), detector).hits
    fits, _ = refit.tracks(hits)
    refit.derivatives(fits)


def _spectrum() -> MassHistograms:
    """One kinematic bin with a peak."""
    binning = Bins(eta_edges=(-1.0, 1.0), pt_edges=(3.0, 25.0)).binning()
    middle = 0.5 * (binning.mass_edges[1:] + binning.mass_edges[:-1])
    return MassHistograms(
        eta_edges=binning.eta_edges, pt_edges=binning.pt_edges, mass_edges=binning.mass_edges, abs_eta=False,
        index=np.zeros((1, 4), dtype=np.int64), counts=100.0 * np.exp(-0.5 * ((middle[None, :] - 3.09) / 0.03) ** 2),
        sums=np.ones((1, 2, 5)),
    )  # fmt: skip


@contextmanager
def compiling_ahead(*, wanted: bool) -> Iterator[None]:
    """Inside, another process compiles; it is ended with the block, and its failure is nobody's: all is compiled here.

    wanted : whether there is anything to compile, and more than one thread to do it with
    """
    if not wanted or (os.cpu_count() or 1) < 2:
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "mucal.workflow.compilation"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    compile_later_stages()
