"""Figures of the mass fits: shifts before and after, quality of the fits, residuals over the two muons' eta."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status
from mucal.plot.style import AFTER, BAND, BEFORE, label, panels, style
from mucal.store import Result

BACK: Final = "#9c9ca1"
TRIED: Final = (Status.OK, Status.BAD_GOF)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftPoints(Result):
    """Relative mass shifts in B bins of one variable, before and after a correction.

    name, variable            : of the variable, plain and as an axis label
    edges                     : (B+1,)
    before, after             : (B,)  ln(m / m_ref), NaN where there is no fit
    before_error, after_error : (B,)  of the fits
    table_error               : (B,)  from the covariance of the table that corrected
    chi2_before, chi2_after   :       of "all shifts are zero"; after: with the table's covariance
    ndf, p_before, p_after    :
    """

    name: str
    variable: str
    edges: FloatArray
    before: FloatArray
    before_error: FloatArray
    after: FloatArray
    after_error: FloatArray
    table_error: FloatArray
    chi2_before: float
    chi2_after: float
    ndf: int
    p_before: float
    p_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MassShifts(Result):
    """Mass shifts against several variables."""

    series: tuple[ShiftPoints, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingShifts(MassShifts):
    """A resonance that derived nothing: its mass shifts, of all pairs together and against the muons' eta.

    Two numbers are those of momenta as they were read, and corrected with the table.

    resonance         :
    pairs             :      corrected, in the bins
    mass              : GeV  its reference
    beside_simulation :      whether shifts are relative to simulation, or to the line shape
    shift             : (2,) ln(m / m_ref) of all pairs
    error             : (2,) statistical
    table_error       : (2,) from the covariance of the table
    mass_error        :      of ln(m_ref), those of this resonance and of the calibrating one added in squares
    """

    resonance: str
    pairs: int
    mass: float
    beside_simulation: bool
    shift: FloatArray
    error: FloatArray
    table_error: FloatArray
    mass_error: float

    def __post_init__(self) -> None:
        check_shapes(self, shift=(2,), error=(2,), table_error=(2,))

    @property
    def total_error(self) -> FloatArray:
        """(2,) statistical, of the table and of the masses"""
        total: FloatArray = np.sqrt(self.error**2 + self.table_error**2 + self.mass_error**2)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedMasses(Result):
    """The closing resonances of a run over files."""

    shifts: tuple[ClosingShifts, ...]


def shift_figure(shifts: MassShifts, *, note: str = "") -> Figure:
    """Mass shifts before and after the correction, one panel a variable: the first figure of a report.

    The band is the spread that the table's own errors give to the points after.

    note : which events these are
    """
    with style():
        figure, axes = panels(
            len(shifts.series), width=6.4, height=0.9 + 2.4 * len(shifts.series), squeeze=False, sharey=True
        )
        for axis, points in zip(axes[:, 0], shifts.series, strict=True):
            centres, half = 0.5 * (points.edges[1:] + points.edges[:-1]), 0.5 * np.diff(points.edges)
            axis.axhline(0.0, color="#9c9ca1", linewidth=0.8, zorder=0)
            axis.stairs(
                1e3 * points.table_error, points.edges, baseline=-1e3 * points.table_error, fill=True, color=BAND,
                alpha=0.7, zorder=0, label="table",
            )  # fmt: skip
            for offset, colour, marker, legend, values, errors in (
                (-0.08, BEFORE, "s", "before", points.before, points.before_error),
                (+0.08, AFTER, "o", "after", points.after, points.after_error),
            ):
                axis.errorbar(
                    centres + offset * half, 1e3 * values, 1e3 * errors, fmt=marker, color=colour, label=legend,
                    linewidth=1.0,
                )  # fmt: skip
            axis.set_xlim(points.edges[0], points.edges[-1])
            axis.set_xlabel(points.variable)
            axis.set_ylabel(r"$m/m_{\mathrm{ref}} - 1$  [$10^{-3}$]")
            axis.margins(y=0.15)
        axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)
        if note:
            label(axes[0, 0], note)
    return figure


def quality_figure(fits: MassFits) -> Figure:
    """How the fits of a batch ended: their statuses, and the goodness-of-fit probabilities of those that converged."""
    statuses = [status for status in Status if np.any(fits.status == status)]
    counts = [int((fits.status == status).sum()) for status in statuses]
    p_values = fits.p_value[np.isin(fits.status, TRIED) & np.isfinite(fits.p_value)]
    with style():
        figure, (left, right) = panels(1, 2, width=7.4, height=2.8)
        colours = [AFTER if status == Status.OK else BACK for status in statuses]
        left.barh([s.name.lower().replace("_", " ") for s in statuses], counts, color=colours, height=0.6)
        for i, count in enumerate(counts):
            left.annotate(f" {count}", (count, i), va="center", fontsize=9.5)
        left.invert_yaxis()
        left.tick_params(axis="y", which="both", length=0)
        left.yaxis.minorticks_off()
        left.margins(x=0.2)
        left.set_xlabel("mass fits")
        left.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        n_bins = 20 if p_values.size >= 100 else 10 if p_values.size >= 40 else 5
        edges = np.linspace(0.0, 1.0, n_bins + 1)
        histogram, _ = np.histogram(p_values, edges)
        right.stairs(histogram, edges, fill=True, color=BAND, edgecolor=AFTER)
        right.axhline(p_values.size / n_bins, color="black", linestyle="--", linewidth=1.2)
        right.set_xlim(0, 1)
        right.set_ylim(0, 1.25 * max(1, histogram.max(initial=0)))
        right.set_xlabel("goodness-of-fit probability")
        right.set_ylabel(f"mass fits / {1 / n_bins:g}")
    return figure


def residual_map(
    index: IntArray, pulls: FloatArray, eta_edges: FloatArray, *, abs_eta: bool = False, title: str = ""
) -> Figure:
    """Mean pull of the mass fits against the scale table, over the eta of both muons, in units of its expected spread.

    index     : (B, 4)  kinematic bins, in the order eta+, pT+, eta-, pT-
    pulls     : (B,)    residual over error of each bin; NaN where there is none
    eta_edges : (E+1,)
    """
    n = eta_edges.size - 1
    use = np.isfinite(pulls)
    cell = index[use, 0] * n + index[use, 2]
    counts = np.bincount(cell, minlength=n * n).reshape(n, n)
    sums = np.bincount(cell, weights=pulls[use], minlength=n * n).reshape(n, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.ma.masked_invalid(sums / np.sqrt(counts))
    with style():
        figure, axis = panels(width=5.4, height=4.5)
        image = axis.pcolormesh(eta_edges, eta_edges, mean.T, cmap="RdBu_r", vmin=-4, vmax=4, rasterized=True)
        name = r"|\eta|" if abs_eta else r"\eta"
        axis.set_xlabel(f"${name}$ of $\\mu^+$")
        axis.set_ylabel(f"${name}$ of $\\mu^-$")
        axis.set_aspect("equal")
        if title:
            label(axis, title)
        figure.colorbar(image, ax=axis, pad=0.02).set_label("residual / expected spread")
    return figure
