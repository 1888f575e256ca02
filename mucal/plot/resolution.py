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
SHARE: Final = 0.8
"""Of a bin's width, over which the points of several series are spread."""


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
    Points of one bin stand side by side.  With two tables of the same eta bins, panels below show the first over the
    second, with the errors of both.

    tables  : legend -> table, one or two
    momenta : GeV, of the left panel
    truth   : what was injected, if known
    """
    found = list(tables.values())[:2]
    compared = len(found) == 2 and np.array_equal(found[0].eta_edges, found[1].eta_edges)
    momenta = tuple(momenta)[: len(_COLOURS)]
    with style():
        ratios = (2.6, 1.0) if compared else (1.0,)
        figure, axes = panels(
            len(ratios), 2, width=8.6, height=4.8 if compared else 3.6, sharex="col", sharey="row", squeeze=False,
            gridspec_kw={"height_ratios": ratios},
        )  # fmt: skip
        left, right = axes[0]
        for i, (legend, table) in enumerate(zip(tables, found, strict=False)):
            _against_eta(left, table, momenta, table_number=i, n_tables=len(found))
            _against_pt(right, table, _LINES[i], named=i == 0)
            if len(found) > 1:
                left.plot([], [], "o", color="black", fillstyle=FILLS[i], label=legend)
                right.plot([], [], _LINES[i], color="black", label=legend)
        if truth is not None:
            for pt in momenta:
                true, _ = relative_resolution(truth, pt)
                left.stairs(100 * true, truth.eta_edges, baseline=None, color=TRUTH, linewidth=1.5)
        if compared:
            _ratio_panels(axes[1], found[0], found[1], momenta)
            axes[1, 0].set_ylabel(" / ".join(list(tables)[:2]), fontsize=10)
        axes[-1, 0].set_xlabel(r"$|\eta|$" if found[0].eta_edges[0] >= 0 else r"$\eta$")
        left.set_ylabel(r"$\sigma_k / k$  [%]")
        axes[-1, 1].set_xlabel(r"$p_T$  [GeV]")
        left.set_ylim(0, 1.5 * left.get_ylim()[1])
        for axis in (left, right):
            axis.legend(loc="upper center", ncols=2, columnspacing=1.2)
        figure.align_ylabels(axes[:, 0])
    return figure


def _places(table: ResolutionTable, number: int, of: int) -> FloatArray:
    """(B,) eta of the points of one of several series that share the bins, side by side in the middle of each bin."""
    centres = 0.5 * (table.eta_edges[1:] + table.eta_edges[:-1])
    places: FloatArray = centres + ((number + 0.5) / of - 0.5) * SHARE * np.diff(table.eta_edges)
    return places


def _against_eta(
    axis: Axes, table: ResolutionTable, momenta: Sequence[float], *, table_number: int, n_tables: int
) -> None:
    for i, (pt, colour) in enumerate(zip(momenta, _COLOURS, strict=False)):
        sigma, error = relative_resolution(table, pt)
        axis.errorbar(
            _places(table, i * n_tables + table_number, n_tables * len(momenta)), 100 * sigma, 100 * error, fmt="o",
            color=colour, fillstyle=FILLS[table_number], label="_none" if table_number else f"$p_T$ = {pt:g} GeV",
            linestyle="none", linewidth=1.0, markersize=3.5, markeredgewidth=0.9,
        )  # fmt: skip


def _chosen(table: ResolutionTable) -> list[int]:
    """Bins shown against pT: in the middle, half way out, at the end."""
    return sorted({table.n_bins // 2, (3 * table.n_bins) // 4, table.n_bins - 1})


def _momenta_shown(table: ResolutionTable) -> FloatArray:
    return np.linspace(max(table.pt_range[0], 1.0), min(table.pt_range[1], 100.0), 60)


def _against_pt(axis: Axes, table: ResolutionTable, line: str, *, named: bool) -> None:
    pt = _momenta_shown(table)
    sigma, error = (np.atleast_2d(values) for values in relative_resolution(table, pt))
    for i, colour in zip(_chosen(table), _COLOURS, strict=False):
        name = rf"$\eta$ {table.eta_edges[i]:.2g} to {table.eta_edges[i + 1]:.2g}" if named else "_none"
        axis.plot(pt, 100 * sigma[i], line, color=colour, label=name)
        axis.fill_between(pt, 100 * (sigma - error)[i], 100 * (sigma + error)[i], color=colour, alpha=0.2, linewidth=0)


def _ratio_panels(
    axes: Sequence[Axes], first: ResolutionTable, second: ResolutionTable, momenta: Sequence[float]
) -> None:
    """The first table over the second, against eta on the left and pT on the right."""
    left, right = axes
    for axis in axes:
        axis.axhline(1.0, color="#9c9ca1", linewidth=0.8, zorder=0)
    for i, (at, colour) in enumerate(zip(momenta, _COLOURS, strict=False)):
        ratio, error = _ratio(first, second, at)
        left.errorbar(
            _places(first, i, len(momenta)), ratio, error, fmt="o", color=colour, linestyle="none", linewidth=1.0,
            markersize=3.5,
        )  # fmt: skip
    pt = _momenta_shown(first)
    ratio, error = (np.atleast_2d(values) for values in _ratio(first, second, pt))
    for i, colour in zip(_chosen(first), _COLOURS, strict=False):
        right.plot(pt, ratio[i], color=colour)
        right.fill_between(pt, (ratio - error)[i], (ratio + error)[i], color=colour, alpha=0.2, linewidth=0)
    left.margins(y=0.15)


def _ratio(first: ResolutionTable, second: ResolutionTable, pt: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Ratio of two relative resolutions and its error, both samples independent."""
    (a, a_error), (b, b_error) = relative_resolution(first, pt), relative_resolution(second, pt)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = a / b
        return ratio, ratio * np.hypot(a_error / a, b_error / b)
