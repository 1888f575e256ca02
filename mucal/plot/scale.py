"""Figures of the momentum scale: A, e and M against eta, their correlations, whitened pulls."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import ndtr

from mucal.arrays import FloatArray
from mucal.plot.style import AFTER, BAND, BEFORE, TRUTH, label, panels, style
from mucal.scale.table import ScaleTable

SCALES: Final = {"A": (1e3, r"$A$  [$10^{-3}$]"), "e": (1e3, r"$e$  [MeV]"), "M": (1e5, r"$M$  [$10^{-5}$ / GeV]")}
"""Parameter -> factor and axis label of its panel."""

_COLOURS: Final = (AFTER, BEFORE, "#964a8b", "#717581")


def scale_figure(
    tables: Mapping[str, ScaleTable], truth: ScaleTable | None = None, *, parameters: Sequence[str] = ("A", "e", "M")
) -> Figure:
    """The parameters against eta, one panel each: points with statistical errors, the injected truth as a line.

    tables     : legend -> table; all on the same parameters, their eta bins may differ
    truth      : what was injected, if known; it may stand alone
    parameters : panels to show

    Raises ValueError if there is neither a table nor a truth.
    """
    shown = next(iter(tables.values()), truth)
    if shown is None:
        raise ValueError("no table to draw: give one, or what was injected")
    with style():
        figure, axes = panels(
            len(parameters), width=6.4, height=1.1 + 1.95 * len(parameters), sharex=True, squeeze=False
        )
        for axis, name in zip(axes[:, 0], parameters, strict=True):
            factor, text = SCALES[name]
            axis.axhline(0.0, color="#9c9ca1", linewidth=0.8, zorder=0)
            if truth is not None:
                axis.stairs(
                    getattr(truth, name) * factor, truth.eta_edges, baseline=None, color=TRUTH, linewidth=2.0,
                    label="injected",
                )  # fmt: skip
            for i, ((legend, table), colour) in enumerate(zip(tables.items(), _COLOURS, strict=False)):
                _points(axis, table, name, factor, colour, legend, APART * (i - 0.5 * (len(tables) - 1)))
            axis.set_ylabel(text)
            axis.margins(y=0.18)
            axis.set_xlim(shown.eta_edges[0], shown.eta_edges[-1])
        if truth is not None or len(tables) > 1:
            _legend_above(axes[0, 0])
        axes[-1, 0].set_xlabel(_eta_label(shown.eta_edges))
        figure.align_ylabels(axes[:, 0])
    return figure


APART: Final = 0.12
"""Of a bin's width: between the points of two tables."""


def _points(axis: Axes, table: ScaleTable, name: str, factor: float, colour: str, legend: str, shift: float) -> None:
    """Points of one table, moved by a share of their bins; the bars still span these."""
    errors = standard_errors(table)[name]
    fitted = errors > 0
    low, high = table.eta_edges[:-1][fitted], table.eta_edges[1:][fitted]
    at = 0.5 * (low + high) + shift * (high - low)
    axis.errorbar(
        at, getattr(table, name)[fitted] * factor, errors[fitted] * factor, np.stack([at - low, high - at]), fmt="o",
        color=colour, label=legend, linewidth=1.0,
    )  # fmt: skip


def standard_errors(table: ScaleTable) -> dict[str, FloatArray]:
    """(B,) standard errors of A, e and M."""
    errors = np.sqrt(np.clip(np.diag(table.cov), 0.0, None)).reshape(3, table.n_bins)
    return dict(zip(("A", "e", "M"), errors, strict=True))


def _eta_label(edges: FloatArray) -> str:
    return r"$|\eta|$" if edges[0] >= 0 else r"$\eta$"


def _legend_above(axis: Axes) -> None:
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2, columnspacing=1.2)


def correlation_figure(table: ScaleTable) -> Figure:
    """The correlation matrix of the parameters that were solved for, a block each over eta."""
    names = [name for name, error in standard_errors(table).items() if np.any(error > 0)]
    b = table.n_bins
    rows = np.concatenate([b * "AeM".index(name) + np.arange(b) for name in names])
    cov = table.cov[np.ix_(rows, rows)]
    sigma = np.sqrt(np.clip(np.diag(cov), 0.0, None))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = cov / np.outer(sigma, sigma)
    size = 2.6 + 1.0 * len(names)
    with style():
        figure, axis = panels(width=size + 0.9, height=size)
        image = axis.pcolormesh(np.ma.masked_invalid(correlation), cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
        for edge in b * np.arange(1, len(names)):
            axis.axhline(edge, color="black", linewidth=0.8)
            axis.axvline(edge, color="black", linewidth=0.8)
        _name_blocks(axis, names, table.eta_edges)
        axis.invert_yaxis()
        axis.set_aspect("equal")
        bar = figure.colorbar(image, ax=axis, pad=0.02)
        bar.set_label("correlation")
        bar.ax.minorticks_off()
    return figure


def _name_blocks(axis: Axes, names: Sequence[str], edges: FloatArray) -> None:
    """Numbers of eta along the lower and left axes, each block anew, and the parameter of each block beside them."""
    b = edges.size - 1
    values = [
        v for v in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(edges[0], edges[-1]) if edges[0] <= v < edges[-1]
    ]
    places = np.concatenate([i * b + np.interp(values, edges, np.arange(b + 1.0)) for i in range(len(names))])
    texts = [f"{value:g}".replace("-", "\u2212") for value in values] * len(names)
    axis.set_xticks(places, texts, fontsize=8.5)
    axis.set_yticks(places, texts, fontsize=8.5)
    axis.minorticks_off()
    axis.tick_params(which="both", length=3, direction="out", top=False, right=False)
    blocks = b * (np.arange(len(names)) + 0.5)
    below, beside = axis.secondary_xaxis("bottom"), axis.secondary_yaxis("left")
    for second in (below, beside):
        second.set_ticks(blocks, [f"${name}$ in bins of {_eta_label(edges)}" for name in names])
        second.tick_params(which="both", length=0, pad=20)
        second.minorticks_off()
    for text in beside.get_yticklabels():
        text.set(rotation=90, va="center")


def whitened_figure(whitened: FloatArray) -> Figure:
    """Histogram of pulls of independent combinations of the parameters (`scale.recovery.whiten`), the unit Gaussian.

    whitened : (R,)
    """
    with style():
        figure, axis = panels(width=4.6, height=3.0)
        _pull_panel(axis, whitened, np.linspace(-4.0, 4.0, 17))
        mean, n = whitened.mean(), whitened.size
        minus = f"{mean:+.2f}".replace("-", "\u2212")
        width = f",  width {whitened.std(ddof=1):.2f} ± {(2 * (n - 1)) ** -0.5:.2f}" if n > 1 else ""
        label(axis, f"mean {minus} ± {n**-0.5:.2f}{width}")
        axis.set_xlabel(r"whitened pull  $L^{-1}(p - p_{\mathrm{injected}})$")
        axis.set_ylabel("combinations / 0.5")
    return figure


def _pull_panel(axis: Axes, values: FloatArray, edges: FloatArray) -> None:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1] - 1e-9), edges)
    axis.stairs(counts, edges, fill=True, color=BAND, edgecolor=AFTER)
    axis.stairs(values.size * np.diff(ndtr(edges)), edges, baseline=None, color="black", linewidth=1.2, linestyle="--")
    axis.set_xlim(edges[0], edges[-1])
    axis.margins(y=0.15)
