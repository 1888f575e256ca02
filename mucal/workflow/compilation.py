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
from typing import Any, Final

import numpy as np

from mucal.arrays import IntArray
from mucal.detector import Detector, barrel
from mucal.globalcor import Family, Refit, accumulate, build_registry, solve
from mucal.globalcor.workers import divide
from mucal.massfit import BatchConfig, MassHistograms, fit_bins
from mucal.refit import MassReference, fit_pairs, fit_tracks
from mucal.track import Hits
from mucal.units import CURVATURE
from mucal.workflow.bins import Bins

FIELD: Final = 3.8
"""T, of the built-in barrel."""


def compile_later_stages() -> None:
    """Fit made-up pairs, tracks and spectra, and sum and solve: the loops are compiled, or loaded if they have been.

    Hits and routes are put on parabolas instead of being simulated and searched for: the run itself compiles that in
    the meantime.
    """
    detector = barrel()
    family = Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1)
    registry = build_registry(detector, (family,))
    hits, routes = made_up_pairs(detector)
    refit = Refit(detector=detector, registry=registry, mass=MassReference.constant(3.09, 0.02))
    given: dict[str, Any] = {
        "config": replace(refit.config, n_threads=1), "parameters": registry.map, "surfaces": refit.surfaces,
    }  # fmt: skip
    fit_pairs(refit.model, refit.magnet, hits, routes, mass=refit.mass, **given)
    fits, blocks = fit_tracks(refit.model, refit.magnet, hits, routes, **given)
    refit.derivatives(fits)
    assert blocks is not None
    equations = accumulate(lambda chunk: blocks, divide(len(hits), len(hits)), registry)
    solve(equations, registry)
    fit_bins(_spectrum(), BatchConfig(resonance="jpsi", min_events=1), n_threads=1)


def made_up_pairs(detector: Detector) -> tuple[Hits, IntArray]:
    """Two pairs of muons of pT = 1 TeV from the origin, hits on their parabolas; and the modules that each crosses."""
    charge = np.array([1, -1, 1, -1])
    azimuth, lift = np.array([0.3, 0.5, 2.0, 2.2]), np.array([0.1, -0.1, 0.2, 0.0])
    n = azimuth.size
    forward = np.stack([np.cos(azimuth) * np.cos(lift), np.sin(azimuth) * np.cos(lift), np.sin(lift)], axis=1)
    modules = detector.modules
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.einsum("mi,mi->m", modules.centre, modules.rotation[:, 2]) / (forward @ modules.rotation[:, 2].T)
    turn = -0.5e-3 * CURVATURE * FIELD * charge[:, None] * (far * np.cos(lift)[:, None]) ** 2
    aside = np.stack([-np.sin(azimuth), np.cos(azimuth), np.zeros(n)], axis=1)
    at = far[..., None] * forward[:, None] + turn[..., None] * aside[:, None] - modules.centre
    place = np.einsum("mij,nmj->nmi", modules.rotation, at)
    inside = (far > 0) & (np.abs(place[..., 0]) < modules.half_u.min(axis=1)) & (np.abs(place[..., 1]) < modules.half_v)
    crossed = [np.flatnonzero(row)[np.argsort(far[i, row])] for i, row in enumerate(inside)]
    n_hits = np.array([row.size for row in crossed])
    routes = np.full((n, n_hits.max()), -1)
    for i, row in enumerate(crossed):
        routes[i, : row.size] = row
    module, track = np.concatenate(crossed), np.repeat(np.arange(n), n_hits)
    return Hits(
        run=np.ones(n, dtype=np.int64), lumi=np.ones(n, dtype=np.int64), event=np.arange(n) // 2,
        pair=np.arange(n) // 2, charge=charge, seed_ref=np.zeros((n, 3)),
        seed=np.stack([1e-3 * np.cos(lift) * charge, lift, azimuth, np.zeros(n), np.zeros(n)], axis=1),
        offsets=np.concatenate([[0], np.cumsum(n_hits)]), module_id=module, u=place[track, module, 0],
        v=np.where(modules.n_meas[module] == 2, place[track, module, 1], np.nan), sigma_u=modules.sigma_u[module],
        sigma_v=np.where(modules.n_meas[module] == 2, modules.sigma_v[module], np.nan),
    ), routes  # fmt: skip


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
