"""Smoothed scale factors by themselves: against pT in slices of eta, with their band and alternatives."""

import numpy as np
from matplotlib.figure import Figure

from mucal.efficiency import ScaleFactors
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, label, panels, style

SIGNS = {-1: r"$\mu^-$", 1: r"$\mu^+$"}


def surface_figure(factors: ScaleFactors, *, n_slices: int = 4) -> Figure:
    """The scale factor of both charges in evenly chosen bins of eta; at the middle of u_T where it depends on that."""
    surface = factors.nominal
    edges = surface.eta_edges
    chosen = np.unique(np.linspace(0, edges.size - 2, min(n_slices, edges.size - 1)).round().astype(int))
    pt = np.linspace(*surface.pt_range, 150)
    with style():
        figure, axes = panels(chosen.size, 1, width=6.6, height=1.2 + 1.6 * chosen.size, sharex=True, squeeze=False)
        for axis, i in zip(axes[:, 0], chosen, strict=True):
            eta = np.full(pt.size, 0.5 * (edges[i] + edges[i + 1]))
            ut = np.zeros(pt.size) if np.isfinite(surface.ut_range[0]) else None
            for charge, colour in ((-1, BEFORE), (1, AFTER)):
                q = np.full(pt.size, charge)
                value, band = surface(eta, pt, q, ut), surface.error(eta, pt, q, ut)
                axis.fill_between(pt, value - band, value + band, color=colour, alpha=0.25, linewidth=0)
                axis.plot(pt, value, color=colour, label=SIGNS[charge])
                for other in factors.alternative:
                    axis.plot(pt, other(eta, pt, q, ut), color=colour, linestyle="--", linewidth=0.9)
            axis.axhline(1.0, color=BACKGROUND, linewidth=0.6)
            axis.set_ylabel("data / simulation")
            label(axis, rf"${edges[i]:g} < \eta < {edges[i + 1]:g}$")
        axes[-1, 0].set_xlabel(r"$p_T$  [GeV]")
        axes[0, 0].legend(loc="best", ncols=2)
        axes[0, 0].set_title(factors.step, loc="right", fontsize=10.5)
    return figure
