"""Toy spectra of known efficiency, made without the package's kernels."""

import numpy as np
from scipy.special import erfc, ndtr

from mucal.arrays import FloatArray
from mucal.efficiency import ProbeHistograms
from mucal.efficiency.templates import MassTemplates, line_templates

EDGES = np.linspace(60.0, 120.0, 61)
LINE: MassTemplates = line_templates(EDGES)


def smeared(shift: float, width: float, content: FloatArray | None = None, edges: FloatArray = EDGES) -> FloatArray:
    """Every grid bin of the line cut into 20 points, each smeared: shares of the mass bins, adding to 1."""
    content = LINE.content[0, 0] if content is None else content
    points = (LINE.edges[:-1, None] + np.diff(LINE.edges)[:, None] * (np.arange(20) + 0.5) / 20).ravel()
    weights = np.repeat(content, 20) / 20
    share = np.diff(ndtr((edges[:, None] - points - shift) / width) @ weights)
    return share / share.sum()


def background(gamma: float, alpha: float | None = None, beta: float = 0.07, edges: FloatArray = EDGES) -> FloatArray:
    """Exponential, with a turn-on if alpha is given, by 50 points a bin."""
    m = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(200) + 0.5) / 200
    density = np.exp(-gamma * (m - 90)) * (1.0 if alpha is None else erfc((alpha - m) * beta))
    share = density.mean(axis=1)
    return share / share.sum()


def expected(
    eff: float, n: float, n_b: tuple[float, float] = (0.0, 0.0), shift: tuple[float, float] = (0.2, -0.3),
    width: tuple[float, float] = (0.8, 1.0), gamma: tuple[float, float] = (0.03, 0.05), alpha: float = 66.0,
) -> FloatArray:  # fmt: skip
    """(2, M) expected events, passing and failing."""
    return np.stack([
        eff * n * smeared(shift[0], width[0]) + n_b[0] * background(gamma[0]),
        (1 - eff) * n * smeared(shift[1], width[1]) + n_b[1] * background(gamma[1], alpha),
    ])  # fmt: skip


def histograms(counts: FloatArray, step: str = "idip") -> ProbeHistograms:
    """(B, 2, M) counts as B bins of pT."""
    b = counts.shape[0]
    pt = np.linspace(25.0, 65.0, b + 1)
    return ProbeHistograms(
        step=step, eta_edges=np.array([-2.4, 2.4]), pt_edges=pt, ut_edges=np.array([-np.inf, np.inf]),
        mass_edges=EDGES, by_charge=False, counts=counts.astype(float), sumw2=counts.astype(float),
        pt_sum=counts.sum(axis=(1, 2)) * 0.5 * (pt[1:] + pt[:-1]),
    )  # fmt: skip
