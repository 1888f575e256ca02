"""What weak modes do to momenta: their bias, seen with muons without noise through the assumed detector."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.globalcor import BiasMap, ProbeTracks, ReferenceDerivatives, Refit, Templates, WeakModes, bias_map
from mucal.plot.globalcor import bias_figure
from mucal.plot.style import save
from mucal.simulation import MuonGun, fire, simulate_hits
from mucal.track import LAM, PHI, QOP
from mucal.workflow.probes import QUIET

N_ETA: Final = 12
N_PHI: Final = 8
ETA_MAX: Final = 2.4
DRAWN: Final = 6
"""Modes that get a figure."""


def probe_tracks(refit: Refit, momenta: tuple[float, ...], n: int, *, seed: int = 77) -> ProbeTracks:
    """n muons of each transverse momentum (GeV), of both charges, and how they follow the global parameters."""
    parts: list[tuple[np.ndarray, ...]] = []
    offsets: list[np.ndarray] = [np.zeros(1, dtype=np.int64)]
    for pt in momenta:
        muons = fire(MuonGun(seed=seed, pt=(pt, pt), eta=(-ETA_MAX, ETA_MAX)), n)
        hits = simulate_hits(muons, refit.model, QUIET, n_threads=refit.config.n_threads).hits
        fits, _ = refit.tracks(hits)
        own = _chosen(refit.derivatives(fits), fits.ok)
        state = fits.state[fits.ok]
        pt_fit = np.cos(state[:, LAM]) / np.abs(state[:, QOP])
        parts.append((pt_fit, np.arcsinh(np.tan(state[:, LAM])), state[:, PHI], np.sign(state[:, QOP]), own.label,
                      own.values))  # fmt: skip
        offsets.append(own.offsets[1:] + offsets[-1][-1])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    derivatives = ReferenceDerivatives(
        digest=refit.registry.map.digest, offsets=np.concatenate(offsets), label=columns[4], values=columns[5]
    )
    return ProbeTracks(pt=columns[0], eta=columns[1], phi=columns[2], charge=columns[3], derivatives=derivatives)


def _chosen(derivatives: ReferenceDerivatives, keep: BoolArray) -> ReferenceDerivatives:
    """The derivatives of some tracks."""
    counts = np.diff(derivatives.offsets)
    rows = np.repeat(keep, counts)
    return replace(
        derivatives, offsets=np.concatenate([[0], np.cumsum(counts[keep])]).astype(np.int64),
        label=derivatives.label[rows], values=derivatives.values[rows],
    )  # fmt: skip


def mode_bias(
    modes: WeakModes, patterns: Templates, refit: Refit, momenta: tuple[float, ...], *, n: int = 4000
) -> BiasMap:
    """delta k / k of one standard deviation of every soft mode and of every template, everything else floating.

    patterns : those that the modes were compared with
    momenta  : GeV, transverse, rising; each is a bin
    """
    used = [patterns.names.index(name) for name in modes.templates]
    vectors = np.concatenate([modes.modes, patterns.vectors[:, used] * modes.error], axis=1)
    likeness = (name.partition(",")[0] for name in modes.names())  # the template, or the leading parameter
    names = (*(f"mode {i}: {name}" for i, name in enumerate(likeness)), *modes.templates)
    return bias_map(
        names, vectors, probe_tracks(refit, momenta, n), eta_edges=np.linspace(-ETA_MAX, ETA_MAX, N_ETA + 1),
        phi_edges=np.linspace(-np.pi, np.pi, N_PHI + 1), pt_edges=_between(momenta),
    )  # fmt: skip


def _between(momenta: tuple[float, ...]) -> FloatArray:
    """Edges of bins that hold one momentum each."""
    pt = np.array(momenta)
    edges: FloatArray = np.concatenate([[0.5 * pt[0]], np.sqrt(pt[1:] * pt[:-1]), [2.0 * pt[-1]]])
    return edges


def bias_lines(found: BiasMap, momenta: tuple[float, ...]) -> list[str]:
    """The largest bias of each pattern at each momentum, for people."""
    lines = ["largest bias of momenta, 1e-5 for one standard deviation, at pT of", " " * 48 + "".join(
        f"{pt:>8g}" for pt in momenta) + " GeV"]  # fmt: skip
    worst = np.nanmax(np.abs(found.bias), axis=(1, 2, 3))
    return lines + [
        f"{name[:48]:<48}" + "".join(f"{1e5 * x:>8.2g}" for x in row)
        for name, row in zip(found.names, worst, strict=True)
    ]


def save_bias_figures(found: BiasMap, folder: str | Path) -> None:
    """Figures of the softest modes and of all templates."""
    for i, name in enumerate(found.names):
        soft = name.startswith("mode ")
        if not soft or i < DRAWN:
            stem = f"mode_{i}" if soft else "_".join(re.findall(r"\w+", name))
            save(bias_figure(found, i), Path(folder) / f"bias_{stem}.svg")
