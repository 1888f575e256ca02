"""Small multiples: the mass spectra of single kinematic bins, their fits and pulls."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mucal.arrays import FloatArray, IntArray
from mucal.massfit.background import background_shape
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, MassHistograms
from mucal.massfit.fits import MassFits
from mucal.massfit.goodness import merged_starts
from mucal.plot.style import BACKGROUND, DATA, MODEL, panels, style

COLUMNS: Final = 3
WIDTH: Final = 9.0
"""Inches, of the page."""
HEIGHT: Final = 2.35
"""Inches, of one bin."""
PULL_LIMIT: Final = 3.9


def bins_figure(fits: MassFits, rows: IntArray, texts: Sequence[str]) -> Figure:
    """The spectra of some bins with the fitted model and its background; below each the pulls (n - mu) / sqrt(mu).

    Pulls are of neighbouring mass bins merged to five expected events, as the goodness of fit is.

    fits  : with their expected events
    rows  : which of the fits, in the order in which they are drawn
    texts : one for each, in its corner
    """
    if fits.expected is None:
        raise ValueError("these fits hold no expected events; make them again with this version")
    n_columns = min(COLUMNS, len(rows))
    n_lines = -(-len(rows) // n_columns)
    with style():
        figure, axes = panels(
            2 * n_lines, n_columns, width=WIDTH * n_columns / COLUMNS, height=0.3 + HEIGHT * n_lines, squeeze=False,
            sharex=True, gridspec_kw={"height_ratios": (3.0, 1.0) * n_lines},
        )  # fmt: skip
        figure.set_layout_engine("constrained", hspace=0.03, h_pad=0.02, w_pad=0.02)
        for place in range(n_lines * n_columns):
            line, column = divmod(place, n_columns)
            main, below = axes[2 * line, column], axes[2 * line + 1, column]
            if place >= len(rows):
                main.set_axis_off()
                below.set_axis_off()
                continue
            row = int(rows[place])
            _draw(main, below, fits.histograms.mass_edges, fits.histograms.counts[row], fits.expected[row],
                  _background(fits, row))  # fmt: skip
            main.set_title(_place(fits.histograms, row), loc="left", fontsize=8.0, linespacing=1.25)
            main.annotate(texts[place], (0.03, 0.95), xycoords="axes fraction", va="top", fontsize=8.0)
            below.tick_params(labelbottom=place + n_columns >= len(rows))
            if place + n_columns >= len(rows):
                below.set_xlabel(r"$m_{\mu\mu}$ [GeV]", fontsize=9.0)
            if column == 0:
                main.set_ylabel("Events", fontsize=9.0)
                below.set_ylabel("Pull", fontsize=9.0, loc="center")
    return figure


def _draw(
    main: Axes, below: Axes, edges: FloatArray, counts: FloatArray, expected: FloatArray, background: FloatArray
) -> None:
    centre = 0.5 * (edges[1:] + edges[:-1])
    main.plot(centre, counts, color=DATA, linewidth=0.8, drawstyle="steps-mid", zorder=2)
    main.plot(centre, expected, color=MODEL, linewidth=1.6, zorder=3)
    main.plot(centre, background, color=BACKGROUND, linewidth=1.2, linestyle="--", zorder=1)
    main.set_xlim(edges[0], edges[-1])
    main.set_ylim(0.0, 1.45 * max(float(counts.max()), 1.0))
    first = merged_starts(expected)
    mu = np.add.reduceat(expected, first)
    pulls = (np.add.reduceat(counts, first) - mu) / np.sqrt(mu)
    below.stairs(pulls, np.append(edges[first], edges[-1]), fill=True, color=MODEL, alpha=0.5)
    below.axhline(0.0, color=DATA, linewidth=0.6)
    limit = max(PULL_LIMIT, 1.1 * float(np.abs(pulls).max()))
    below.set_ylim(-limit, limit)
    below.yaxis.set_major_locator(MultipleLocator(2.0 if limit < 6.0 else 5.0))
    main.xaxis.set_major_locator(MaxNLocator(4))
    main.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axis in (main, below):
        axis.tick_params(which="both", labelsize=7.5, length=3.0, top=False, right=False)  # their bytes count, times 20


def _background(fits: MassFits, row: int) -> FloatArray:
    """(M,) events of the background."""
    at = slice(row, row + 1)
    fraction = 1.0 / (1.0 + np.exp(-fits.value("logit_f")[row]))
    shape = background_shape(fits.value("slope")[at], fits.histograms.mass_edges)[0]
    result: FloatArray = fraction * np.exp(fits.value("ln_n")[row]) * shape
    return result


def _place(histograms: MassHistograms, row: int) -> str:
    """The bin of both muons, a line each; of merged cells the one whose index the histograms have, the fullest."""
    index, name = histograms.index[row], r"|\eta|" if histograms.abs_eta else r"\eta"
    lines = []
    for charge, eta, pt in (("+", ETA_PLUS, PT_PLUS), ("-", ETA_MINUS, PT_MINUS)):
        low, high = histograms.eta_edges[index[eta] : index[eta] + 2]
        soft, hard = histograms.pt_edges[index[pt] : index[pt] + 2]
        lines.append(f"$\\mu^{charge}$: ${low:g} < {name} < {high:g}$, {soft:g}\u2013{hard:g} GeV")
    return "\n".join(lines)
