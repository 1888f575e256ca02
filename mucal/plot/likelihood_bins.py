"""Bins of a fit against data: stacked processes, the ratio, and bands before and after the fit."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from mucal.arrays import FloatArray
from mucal.likelihood import Prediction
from mucal.plot.style import AFTER, BACKGROUND, BAND, DATA, label, panels, style

COLOURS: Final = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that stay apart for readers who see fewer; Petroff, arXiv:2107.02270."""
MOST: Final = 9
"""Processes with a colour of their own; smaller ones are drawn together."""
MARKERS: Final = 120
"""Bins up to which data have marker and horizontal extent."""


def fitted_bins(shown: Prediction, counts: FloatArray, *, before: Prediction | None = None, note: str = "") -> Figure:
    """Data over stacked processes, and their ratio to the total with its band; that before the fit as a dashed line.

    shown  : usually after the fit
    counts : (R,)  data of its rows
    before : for comparison
    """
    edges, axis = _axis(shown)
    widths = np.diff(edges)
    uneven = len(shown.channel.axes) == 1 and not np.allclose(widths, widths[0])
    with style():
        figure, axes = panels(
            2, 1, width=9.0 if counts.size > 60 else 6.4, height=5.2, sharex=True, height_ratios=[2.6, 1]
        )  # fmt: skip
        _events(axes[0], shown, counts, edges, widths if uneven else np.ones(widths.size))
        axes[0].set_ylabel("events per unit" if uneven else "events")
        _ratio(axes[1], shown, counts, edges, before)
        axes[1].set_xlabel(axis)
        axes[1].set_xlim(edges[0], edges[-1])
        if np.array_equal(edges, np.arange(edges.size)):  # bins without a quantity: numbers
            axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[1].xaxis.set_minor_locator(NullLocator())
        label(axes[0], note)
    return figure


def _events(axes: Axes, shown: Prediction, counts: FloatArray, edges: FloatArray, per: FloatArray) -> None:
    total, errors = shown.total, shown.errors
    _stack(axes, shown, edges, per)
    _band(axes, edges, (total - errors) / per, (total + errors) / per, "uncertainty")
    _points(axes, edges, counts / per, np.sqrt(counts) / per)
    axes.set_ylim(0.0, 1.35 * float(np.max([(counts + np.sqrt(counts)) / per, (total + errors) / per])))
    handles, names = axes.get_legend_handles_labels()
    order = [names.index("data"), *(i for i in range(len(names)) if names[i] != "data")]
    axes.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="upper right", ncols=3, columnspacing=1.0
    )  # fmt: skip


def _ratio(axes: Axes, shown: Prediction, counts: FloatArray, edges: FloatArray, before: Prediction | None) -> None:
    total = np.where(shown.total > 0, shown.total, np.nan)
    errors = shown.errors / total
    _band(axes, edges, 1 - errors, 1 + errors, "")
    _points(axes, edges, counts / total, np.sqrt(counts) / total)
    axes.axhline(1.0, color=BACKGROUND, linewidth=0.6)
    spread = [np.abs(counts / total - 1) + np.sqrt(counts) / total, errors]
    if before is not None:
        ratio, text = before.total / total, f"{before.kind} / {shown.kind}"
        line = axes.stairs(ratio, edges, baseline=None, color=AFTER, linestyle="--", label=text)
        axes.legend(handles=[line], loc="upper right", fontsize=8.5, borderaxespad=0.2)
        spread.append(np.abs(ratio - 1))
    reach = float(np.clip(1.1 * np.nanmax(spread), 1e-4, 1.0))
    axes.set_ylim(1 - reach, 1 + (1.2 if before is None else 1.6) * reach)
    axes.set_ylabel(f"data / {shown.kind}")


def _axis(shown: Prediction) -> tuple[FloatArray, str]:
    """The edges of one axis, or the numbers of the bins of several."""
    if len(shown.channel.axes) == 1:
        name = shown.channel.axes[0]
        return np.array(shown.channel.edges[0]), name
    size = " x ".join(f"{name} ({n})" for name, n in zip(shown.channel.axes, shown.channel.shape, strict=True))
    return np.arange(shown.channel.n_bins + 1.0), f"bin of {size}"


def _stack(axes: Axes, shown: Prediction, edges: FloatArray, per: FloatArray) -> None:
    """Processes on top of each other, the smallest at the bottom."""
    order = np.argsort(-shown.by_process.sum(axis=0), kind="stable")
    parts = [(shown.processes[p], shown.by_process[:, p]) for p in order[:MOST] if shown.by_process[:, p].any()]
    if order.size > MOST:
        parts.append(("others", shown.by_process[:, order[MOST:]].sum(axis=1)))
    floor = np.zeros(edges.size - 1)
    for colour, (name, events) in reversed(list(zip(COLOURS, parts, strict=False))):
        top = floor + events / per
        axes.stairs(top, edges, baseline=floor, fill=True, color=colour, label=name, linewidth=0)
        floor = top


def _band(axes: Axes, edges: FloatArray, low: FloatArray, high: FloatArray, text: str) -> None:
    """Hatched with a name, over stacked processes; plain without, under points."""
    axes.stairs(
        high, edges, baseline=low, fill=True, linewidth=0, label=text or None, hatch="/////" if text else None,
        facecolor="none" if text else BAND, edgecolor=BACKGROUND if text else "none",
    )  # fmt: skip


def _points(axes: Axes, edges: FloatArray, values: FloatArray, errors: FloatArray) -> None:
    few = values.size <= MARKERS
    axes.errorbar(
        0.5 * (edges[1:] + edges[:-1]), values, yerr=errors, xerr=0.5 * np.diff(edges) if few else None, fmt="o",
        color=DATA, markersize=3.5 if few else 1.2, linewidth=1.0 if few else 0.5, label="data", zorder=5,
    )  # fmt: skip
