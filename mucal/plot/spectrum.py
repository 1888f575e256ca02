"""A fitted mass spectrum: data, model and components above, pulls below, the result in a box."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from scipy.special import gammaincinv

from mucal.arrays import FloatArray
from mucal.massfit.spectrum import SpectrumFit
from mucal.massfit.status import Status
from mucal.plot import style
from mucal.theory.pdg import resonance
from mucal.units import MeV

STATE_COLOURS: Final = (style.SIGNAL, style.TRUTH, "#964a8b")
"""First, second and third state of a window; with black, blue and grey they stay apart for colour-blind readers."""

ONE_SIGMA: Final = 0.158655254
"""Probability beyond one standard deviation on one side."""

LINE_HEIGHT: Final = 0.053
"""Of one line of the result box, as a fraction of the panel: the highest point stays below the box."""

PULL_LIMIT: Final = 3.9

SMALL: Final = 0.1
"""Of the peak; a background below it is shown on a logarithmic axis too."""

INSET: Final = (0.69, 0.21, 0.29, 0.42)
"""Left, bottom, width and height of the logarithmic inset, as fractions of the panel: below the legend."""


def spectrum(fit: SpectrumFit, *, label: str = "") -> Figure:
    """The figure of one spectrum fit.

    Points carry Garwood intervals of their counts; pulls are (n - mu) / sqrt(mu).  A fit without numbers shows the
    data and the reason.

    fit   : of `massfit.fit_spectrum`
    label : what stands above the left corner, as an experiment's name; nothing by default
    """
    with style.style():
        figure: Figure
        figure, (main, below) = style.panels(
            2, width=6.4, height=5.2, sharex=True, gridspec_kw={"height_ratios": (3.2, 1.0), "hspace": 0.0}
        )
        figure.set_layout_engine("constrained", hspace=0.0, h_pad=0.0)
        lines = _result_lines(fit) if fit.valid else ["no fit:", *Status(fit.status).sentence.split("; ")]
        _draw_data(main, fit, room=LINE_HEIGHT * max(len(lines), 5) + 0.06)
        if fit.valid:
            _draw_model(main, fit)
            _draw_pulls(below, fit)
        else:
            below.set_yticks([])
        main.annotate(
            "\n".join(lines), (0.025, 0.965), xycoords="axes fraction", va="top", ha="left", fontsize=8.5,
            linespacing=1.35,
        )  # fmt: skip
        _name_axes(main, below, fit)
        if label:
            style.label(main, label)
    return figure


def poisson_interval(counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Central 68.3 % interval of a Poisson mean given each count, lower and upper ends.

    Source: F. Garwood, Biometrika 28 (1936) 437.
    """
    lower: FloatArray = np.where(counts > 0, gammaincinv(np.maximum(counts, 1.0), ONE_SIGMA), 0.0).astype(np.float64)
    upper: FloatArray = gammaincinv(counts + 1.0, 1.0 - ONE_SIGMA).astype(np.float64)
    return lower, upper


def _draw_data(axes: Axes, fit: SpectrumFit, room: float) -> None:
    centre = 0.5 * (fit.edges[1:] + fit.edges[:-1])
    lower, upper = poisson_interval(fit.counts)
    axes.errorbar(
        centre, fit.counts, [fit.counts - lower, upper - fit.counts], fmt="o", color=style.DATA, markersize=3.2,
        linewidth=0.9, label="data", zorder=5,
    )  # fmt: skip
    axes.set_xlim(fit.edges[0], fit.edges[-1])
    axes.set_ylim(0.0, max(float(upper.max()), 1.0) / (1.0 - room))


def _draw_model(axes: Axes, fit: SpectrumFit) -> None:
    """Each state as a surface on top of the background, which is a surface of its own; the sum as a line."""
    centre = 0.5 * (fit.curve_edges[1:] + fit.curve_edges[:-1])
    curves = fit.curves * _curve_bins(fit)
    floor = _background(fit)
    axes.plot(centre, curves.sum(axis=0), color=style.MODEL, linewidth=1.8, label="fit", zorder=4)
    _fill_components(axes, fit, named=True)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: names[i] != "data")
    axes.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="upper right", borderaxespad=0.6, labelspacing=0.3
    )
    if len(fit.states) < 3 and 0.0 < floor.max() < SMALL * curves.sum(axis=0).max():
        _draw_inset(axes, fit)


def _curve_bins(fit: SpectrumFit) -> float:
    """Bins of the curves in a bin of the data."""
    return (fit.curve_edges.size - 1) / fit.counts.size


def _background(fit: SpectrumFit) -> FloatArray:
    """(N,) the background curve, zero where the fit has none."""
    present = fit.components[-1] == "background"
    background: FloatArray = fit.curves[-1] * _curve_bins(fit) if present else np.zeros(fit.curve_edges.size - 1)
    return background


def _fill_components(axes: Axes, fit: SpectrumFit, *, named: bool) -> None:
    centre = 0.5 * (fit.curve_edges[1:] + fit.curve_edges[:-1])
    floor, per_bin = _background(fit), _curve_bins(fit)
    for state, curve, colour in zip(fit.states, fit.curves, STATE_COLOURS, strict=False):
        axes.fill_between(
            centre, floor, floor + curve * per_bin, facecolor=(colour, 0.22), edgecolor=colour, linewidth=0.8,
            label=resonance(state).label if named else "_none", zorder=2,
        )  # fmt: skip
    if fit.components[-1] == "background":
        axes.fill_between(
            centre, floor, facecolor=(style.BACKGROUND, 0.75), edgecolor=style.BACKGROUND, linewidth=0.8,
            label="background" if named else "_none", zorder=3,
        )  # fmt: skip


def _draw_inset(axes: Axes, fit: SpectrumFit) -> None:
    """The same on a logarithmic axis, where a small background can be seen; left out where points would be hidden."""
    x, y, width, _ = INSET
    low, high = fit.edges[0], fit.edges[-1]
    hidden = (fit.edges[1:] > low + (x - 0.09) * (high - low)) & (fit.edges[:-1] < low + (x + width) * (high - low))
    if fit.counts[hidden].max() > (y - 0.08) * axes.get_ylim()[1]:
        return
    inset = axes.inset_axes(INSET)
    centre = 0.5 * (fit.curve_edges[1:] + fit.curve_edges[:-1])
    total = fit.curves.sum(axis=0) * _curve_bins(fit)
    inset.set_yscale("log")
    _fill_components(inset, fit, named=False)
    inset.plot(centre, total, color=style.MODEL, linewidth=1.2, zorder=4)
    inset.plot(
        0.5 * (fit.edges[1:] + fit.edges[:-1]), np.where(fit.counts > 0, fit.counts, np.nan), "o", color=style.DATA,
        markersize=1.3, zorder=5,
    )  # fmt: skip
    inset.set_xlim(low, high)
    inset.set_ylim(max(0.5, 0.3 * float(np.median(_background(fit)))), 3.0 * float(fit.counts.max()))
    inset.tick_params(which="both", labelsize=7.5, labelbottom=False, length=2.5)
    inset.patch.set_alpha(0.0)


def _draw_pulls(axes: Axes, fit: SpectrumFit) -> None:
    expected = fit.expected.sum(axis=0)
    pulls = (fit.counts - expected) / np.sqrt(expected)
    for level in (-2.0, 2.0):
        axes.axhline(level, color=style.BACKGROUND, linewidth=0.7, linestyle=":")
    axes.stairs(pulls, fit.edges, fill=True, color=style.MODEL, alpha=0.35)
    axes.stairs(pulls, fit.edges, baseline=None, color=style.MODEL, linewidth=0.9)
    axes.axhline(0.0, color=style.DATA, linewidth=0.7)
    limit = max(PULL_LIMIT, 1.1 * float(np.abs(pulls).max()))
    axes.set_ylim(-limit, limit)
    axes.yaxis.set_major_locator(MultipleLocator(2.0 if limit < 6 else 5.0))


def _result_lines(fit: SpectrumFit) -> list[str]:
    lines = []
    for i, state in enumerate(fit.states):
        mass, error, reference = fit.masses[i] / MeV, fit.mass_errors[i] / MeV, fit.reference[i] / MeV
        digits = 1 if error < 10 else 0
        name = resonance(state).label
        if i == 0:
            lines.append(f"$m$({name}) = {mass:.{digits}f} $\\pm$ {error:.{digits}f} MeV")
            lines.append(
                f"minus PDG: {mass - reference:+.{digits}f} MeV = ({1e3 * (mass / reference - 1):+.2f} $\\pm$ "
                f"{1e3 * error / reference:.2f}) $\\times 10^{{-3}}$"
            )
            lines.append(
                f"$\\sigma$ = {fit.value('sigma') * mass:.{digits}f} $\\pm$ {fit.error('sigma') * mass:.{digits}f} MeV"
                + (" (core)" if fit.signal != "gaussian" else "")
            )
        lines.append(f"$N$({name}) = {fit.value('n_' + state):.0f} $\\pm$ {fit.error('n_' + state):.0f}")
    q = fit.quality
    lines.append(f"deviance {q.deviance:.1f} / {q.ndf},  $p$ = {q.p_value:.2g}")
    return [line.replace("-", "\u2212") for line in lines]  # a minus, not a hyphen


def _name_axes(main: Axes, below: Axes, fit: SpectrumFit) -> None:
    main.set_ylabel(f"Events / {_width(fit)}")
    below.set_xlabel(r"$m_{\mu\mu}$ [GeV]")
    below.set_ylabel("Pull", loc="center")
    main.tick_params(labelbottom=False)


def _width(fit: SpectrumFit) -> str:
    width = float(fit.edges[1] - fit.edges[0])
    return f"{width:.3g} GeV" if width >= 0.999 else f"{width / MeV:.3g} MeV"
