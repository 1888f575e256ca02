"""The mass spectrum before resolution, and the few quadrature nodes that stand for it in the fit."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges
from mucal.massfit.kernels import models
from mucal.massfit.kernels.rows import NARROWEST, Levels
from mucal.theory import resonance
from mucal.theory.fsr import line

CELL: Final = 2.5
"""Width of a quadrature cell in units of the smallest Gaussian width it must serve; three nodes stand in each cell.

The sixth derivative of a normal integral is at most 10 / sigma^6, and three Gauss nodes on a cell of width h leave
h^6 / 2e6 of it: 6e-5 of the cell's content for one even density, and the content of a cell off the peak is of order
1 %.  What is left in ln s is tested to be below 1e-7.
"""

REACH: Final = 26.0
"""Nodes further below the window than this many widths of their level are left out: 6.5 of a width four times it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Signal spectrum before resolution, common to all kinematic bins or one for each.

    edges   : (G+1,) GeV         fine bins of true mass; wide enough that what lies outside cannot reach the window
    weights : (G,) or (B, G)     content of each, of any normalisation, not negative; rows as in the histograms
    """

    edges: FloatArray
    weights: FloatArray

    def __post_init__(self) -> None:
        check_edges("Template.edges", self.edges)
        g = self.edges.size - 1
        if self.weights.ndim not in (1, 2) or self.weights.shape[-1] != g:
            raise ValueError(f"Template.weights has shape {self.weights.shape}, expected ({g},) or (B, {g})")
        if self.edges[0] <= 0:
            raise ValueError(f"Template.edges start at {self.edges[0]} GeV; expected positive masses")
        if np.any(self.weights < 0):
            first = np.argwhere(self.weights < 0)[0].tolist()
            raise ValueError(f"Template.weights{first} = {self.weights[tuple(first)]}; expected no negative content")

    def rows(self, which: IntArray | slice) -> "Template":
        """The template of some of the histograms; for a template of one row each."""
        return Template(edges=self.edges, weights=self.weights[which])

    @property
    def points(self) -> tuple[FloatArray, FloatArray]:
        """Masses (2G,) in GeV and weights (2G,) or (B, 2G): two Gauss points a bin, even density inside each."""
        middle, half = 0.5 * (self.edges[1:] + self.edges[:-1]), 0.5 * np.diff(self.edges)
        mass = np.stack([middle - half / np.sqrt(3.0), middle + half / np.sqrt(3.0)], axis=1).reshape(-1)
        return mass, 0.5 * np.repeat(self.weights, 2, axis=-1)


def resonance_points(name: str, mass_edges: FloatArray, finest: float) -> tuple[FloatArray, FloatArray]:
    """Masses (K,) GeV and weights (K,) of the post-radiation spectrum of a resonance, from `theory.fsr.line`.

    finest : smallest relative width that they must serve
    """
    mass = resonance(name).mass
    low = mass_edges[0] * (1.0 - 0.25)
    nodes = _line(name, float(low), float(mass_edges[-1] * 1.25), float(0.5 * finest * mass))
    order = np.argsort(nodes.mass)
    return nodes.mass[order], nodes.weight[order]


_line: Final = lru_cache(maxsize=16)(line)
"""That of the Z, every mass of which radiates, takes a second: fits in one window share it."""


def levels(mass_edges: FloatArray) -> FloatArray:
    """(L,) relative widths by factors of two, from an eighth of the window to a quarter of the narrowest mass bin."""
    coarsest = (mass_edges[-1] - mass_edges[0]) / mass_edges[0] / 8.0
    finest = NARROWEST * np.min(np.diff(mass_edges)) / mass_edges[-1]
    n_levels = max(int(np.ceil(np.log2(coarsest / finest))), 0) + 1
    result: FloatArray = finest * 2.0 ** np.arange(n_levels - 1, -1, -1)
    return result


def compress(mass: FloatArray, weights: FloatArray, mass_edges: FloatArray, level_sigma: FloatArray) -> Levels:
    """Three Gauss nodes in every cell of CELL widths, for each level.

    mass        : (K,) GeV, increasing
    weights     : (R, K)
    mass_edges  : (M+1,) GeV of the fit
    level_sigma : (L,) relative widths, falling
    """
    cells: list[IntArray] = []
    for sigma in level_sigma:
        inside = np.log(mass / mass_edges[0]) > -REACH * sigma
        number = np.floor(np.log(mass[-1] / mass) / (CELL * sigma)).astype(np.int64)
        bounds = np.flatnonzero(np.diff(number, prepend=number[0] + 1)).astype(np.int64)
        bounds = bounds[inside[bounds]]
        cells.append(np.append(bounds, mass.size))
    starts = np.concatenate([c[:-1] for c in cells])
    stops = np.concatenate([c[1:] for c in cells])
    n_cells = np.array([c.size - 1 for c in cells], dtype=np.int64)
    nodes, node_weights, n_nodes = models.compress(mass, weights, starts, stops, n_cells)
    return Levels(
        level_sigma=level_sigma,
        offsets=3 * (np.cumsum(n_cells) - n_cells),
        nodes=nodes,
        weights=node_weights,
        n_nodes=n_nodes,
    )
