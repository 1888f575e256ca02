"""Figures beside a fit: the profile likelihood along one or two parameters, masses of parts, the boson's pT."""

import numpy as np
from matplotlib.figure import Figure

from mucal.arrays import FloatArray
from mucal.likelihood import Contour, Interval, Scan
from mucal.plot.style import AFTER, BACKGROUND, BAND, BEFORE, DATA, label, panels, style

COLOURS = (AFTER, BEFORE, BACKGROUND)


def scan_figure(scan: Scan, interval: Interval, error: float, *, note: str = "") -> Figure:
    """2 Delta NLL along a parameter, counted from its estimate, with the parabola of its error and the interval."""
    x = scan.points - scan.best
    fine = np.linspace(x.min(), x.max(), 200)
    with style():
        figure, axes = panels(width=5.6, height=3.8)
        axes.fill_between([-interval.down, interval.up], 1.0, color=BAND, linewidth=0, label="likelihood interval")
        axes.plot(fine, (fine / error) ** 2, color=BEFORE, linestyle="--", label="parabola of the error")
        axes.plot(x, scan.q, "o", color=DATA, label="profile likelihood")
        for height in (1.0, 4.0):
            axes.axhline(height, color=BACKGROUND, linewidth=0.6)
        axes.set_xlabel(f"{scan.parameter} $-$ estimate")
        axes.set_ylabel(r"$2\,\Delta\,{\rm NLL}$")
        axes.set_ylim(0.0, 1.25 * float(scan.q.max()))
        axes.legend(loc="upper center")
        label(axes, note)
    return figure


def contour_figure(found: Contour, *, note: str = "") -> Figure:
    """Contours of two parameters, counted from their estimates."""
    with style():
        figure, axes = panels(width=4.8, height=4.4)
        for level, points, colour in zip(found.levels, found.points, COLOURS, strict=False):
            closed = np.concatenate([points, points[:1]]) - found.best
            axes.plot(closed[:, 0], closed[:, 1], color=colour, label=f"{100 * level:.4g} %")
        axes.plot(0.0, 0.0, "+", color=DATA, markersize=9)
        axes.set_xlabel(f"{found.parameters[0]} $-$ estimate")
        axes.set_ylabel(f"{found.parameters[1]} $-$ estimate")
        axes.legend(loc="upper right")
        label(axes, note)
    return figure


def parts_figure(
    names: tuple[str, ...], values: FloatArray, errors: FloatArray, error: float, *, note: str = ""
) -> Figure:
    """Masses of the parts of a sample less their weighted mean, MeV; the band is the error of the mean."""
    rows = np.arange(len(names))
    colours = [BEFORE if name.startswith("minus") else AFTER for name in names]
    with style():
        figure, axes = panels(width=max(5.2, 1.6 + 0.17 * len(names)), height=3.9)
        axes.axhspan(-error, error, color=BAND, linewidth=0)
        axes.axhline(0.0, color=BACKGROUND, linewidth=0.6)
        for row, value, spread, colour in zip(rows, values, errors, colours, strict=True):
            axes.errorbar(row, value, spread, fmt="o", color=colour, markersize=3.5, linewidth=1.0)
        axes.set_xticks(rows, [name.replace("_", " ") for name in names], rotation=90, fontsize=7.5)
        axes.tick_params(axis="x", which="both", length=0)
        axes.minorticks_off()
        axes.set_xlim(-0.8, len(names) - 0.2)
        axes.set_ylabel("mass $-$ mean [MeV]")
        label(axes, note)
    return figure


def shares_figure(
    edges: FloatArray, before: FloatArray, prior: FloatArray, found: dict[str, tuple[FloatArray, FloatArray]]
) -> Figure:
    """Shares of the boson's pT over those before the fit.

    edges         : (R+1,) GeV
    before, prior : (R,)    shares before the fit and their errors
    found         : name -> (R,) shares and errors, one or two
    """
    middle = 0.5 * (edges[1:] + edges[:-1])
    with style():
        figure, axes = panels(width=6.4, height=4.0)
        axes.stairs(
            1 + prior / before, edges, baseline=1 - prior / before, fill=True, color=BAND, label="before the fit"
        )
        for (name, (shares, errors)), colour, side in zip(found.items(), (AFTER, BEFORE), (-1, 1), strict=False):
            at = middle + 0.12 * side * np.diff(edges) * (len(found) > 1)
            axes.errorbar(at, shares / before, errors / before, fmt="o", color=colour, markersize=4, label=name)
        axes.axhline(1.0, color=BACKGROUND, linewidth=0.6)
        axes.set_xlim(edges[0], edges[-1])
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.1 * (high - low), high + 0.35 * (high - low))
        axes.set_xlabel(r"$p_T$ of the boson [GeV]")
        axes.set_ylabel("share of the bin / before the fit")
        axes.legend(loc="upper center", ncols=3)
    return figure
