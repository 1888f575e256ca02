"""Figures of the momentum resolution: sigma_k / k against pT and against eta."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mucal.arrays import FloatArray
from mucal.plot.style import TRUTH, panels, style
from mucal.scale.table import ResolutionTable

_COLOURS: Final = ("#3f73e0", "#e42536", "#964a8b", "#717581")
_LINES: Final = ("-", "--")
Fill = Literal["full", "none"]
FILLS: Final[tuple[Fill, Fill]] = ("full", "none")


def relative_resolution(table: ResolutionTable, pt: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """sigma_k / k per eta bin at momenta pt (GeV), (B,) or (B, N), and its standard error.

    Where the fitted square is negative the values are NaN.
    """
    pt = np.atleast_1d(np.asarray(pt, dtype=float))
    n = table.n_bins
    shape = np.stack(
        [np.ones((n, pt.size)), 1.0 / (1.0 + table.d[:, None] / pt**2), np.broadcast_to(pt**2, (n, pt.size))], axis=1
    )
    square = np.einsum("ijk,ij->ik", shape, np.stack([table.a, table.b, table.c], axis=1))
    blocks = table.cov.reshape(3, n, 3, n)
    own = np.stack([blocks[:, i, :, i] for i in range(n)])
    variance = np.einsum("ijk,ijl,ilk->ik", shape, own, shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = np.sqrt(square)
        error = np.sqrt(np.clip(variance, 0.0, None)) / (2.0 * sigma)
    return sigma.squeeze(), error.squeeze()


def resolution_figure(
    tables: Mapping[str, ResolutionTable], momenta: Sequence[float], truth: ResolutionTable | None = None
) -> Figure:
    """sigma_k / k in per cent: on the left against eta at fixed momenta, on the right against pT in three eta bins.

    Colours tell momenta and eta bins; the first table has full points and lines, the second open and dashed ones.

    tables  : legend -> table, one or two
    momenta : GeV, of the left panel
    truth   : what was injected, if known
    """
    with style():
        figure, (left, right) = panels(1, 2, width=8.6, height=3.6, sharey=True)
        for (legend, table), line, fill in zip(tables.items(), _LINES, FILLS, strict=False):
            for pt, colour in zip(momenta, _COLOURS, strict=False):
                _against_eta(left, table, pt, colour, fill, f"$p_T$ = {pt:g} GeV" if fill == "full" else "")
            _against_pt(right, table, line, named=fill == "full")
            if len(tables) > 1:
                left.plot([], [], "o", color="black", fillstyle=fill, label=legend)
                right.plot([], [], line, color="black", label=legend)
        if truth is not None:
            for pt in momenta:
                true, _ = relative_resolution(truth, pt)
                left.stairs(100 * true, truth.eta_edges, baseline=None, color=TRUTH, linewidth=1.5)
        left.set_xlabel(r"$|\eta|$" if next(iter(tables.values())).eta_edges[0] >= 0 else r"$\eta$")
        left.set_ylabel(r"$\sigma_k / k$  [%]")
        right.set_xlabel(r"$p_T$  [GeV]")
        left.set_ylim(0, 1.5 * left.get_ylim()[1])
        for axis in (left, right):
            axis.legend(loc="upper center", ncols=2, columnspacing=1.2)
    return figure


def _against_eta(axis: Axes, table: ResolutionTable, pt: float, colour: str, fill: Fill, name: str) -> None:
    centres = 0.5 * (table.eta_edges[1:] + table.eta_edges[:-1])
    sigma, error = relative_resolution(table, pt)
    axis.errorbar(
        centres,
        100 * sigma,
        100 * error,
        fmt="o",
        color=colour,
        fillstyle=fill,
        label=name or "_none",
        linestyle="none",
        linewidth=1.0,
    )


def _against_pt(axis: Axes, table: ResolutionTable, line: str, *, named: bool) -> None:
    low, high = max(table.pt_range[0], 1.0), min(table.pt_range[1], 100.0)
    pt = np.linspace(low, high, 60)
    sigma, error = relative_resolution(table, pt)
    sigma, error = np.atleast_2d(sigma), np.atleast_2d(error)
    chosen = sorted({table.n_bins // 2, (3 * table.n_bins) // 4, table.n_bins - 1})
    for i, colour in zip(chosen, _COLOURS, strict=False):
        name = rf"$\eta$ {table.eta_edges[i]:.2g} to {table.eta_edges[i + 1]:.2g}" if named else "_none"
        axis.plot(pt, 100 * sigma[i], line, color=colour, label=name)
        axis.fill_between(pt, 100 * (sigma - error)[i], 100 * (sigma + error)[i], color=colour, alpha=0.2, linewidth=0)
