"""Figures of refitted tracks: residuals and pulls by layer, chi2 probability, bias of the momentum."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import chi2 as chi2_law

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Detector
from mucal.plot.style import AFTER, BACKGROUND, BAND, BEFORE, DATA, label, panels, style
from mucal.refit import HitResiduals, TrackFits
from mucal.track import LAM, PHI, QOP, Hits

PER_UNIT: Final = 1e4
"""Biases of q/p are shown in units of 1e-4."""

MICRONS: Final = 1e4
FEWEST: Final = 20
"""Hits or tracks below which a bin has no width or mean worth drawing."""

ROUND: Final = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200)
"""GeV, where an axis of pT is marked."""

SIGNS: Final = {-1: (r"$\mu^-$", BEFORE), 1: (r"$\mu^+$", AFTER)}


def by_layer(
    values: FloatArray, hits: Hits, detector: Detector
) -> tuple[list[str], IntArray, FloatArray, FloatArray]:  # fmt: skip
    """Names of the L layers that were hit, and number, mean and standard deviation of values (K,) on each.

    The two sides of a disc count as one layer; what is not finite is left out.
    """
    m = detector.modules
    known = np.isfinite(values)
    module = hits.module_id[known]
    keys, place = np.unique(
        np.column_stack([m.subdet[module], m.layer[module]]), axis=0, return_inverse=True
    )  # fmt: skip
    count = np.bincount(place, minlength=len(keys))
    mean = np.bincount(place, values[known], minlength=len(keys)) / count
    square = np.bincount(place, (values[known] - mean[place]) ** 2, minlength=len(keys)) / count
    names = [f"{detector.subdet_names[s]} {n}" for s, n in keys]
    return names, count, mean, np.sqrt(square)


def residuals_figure(
    hits: Hits, residuals: HitResiduals, detector: Detector, *, coordinate: int = 0, note: str = ""
) -> Figure:
    """Unbiased residuals of every layer: their width beside the expected one; mean and width of the pulls.

    coordinate : 0 for u, the precise one; 1 for v, of pixels
    """
    names, count, mean, width = by_layer(residuals.unbiased[:, coordinate], hits, detector)
    _, _, square, _ = by_layer(residuals.unbiased_error[:, coordinate] ** 2, hits, detector)
    _, _, pull_mean, pull_width = by_layer(residuals.pull[:, coordinate], hits, detector)
    at = np.arange(len(names))
    drawn = count >= FEWEST
    error = 1.0 / np.sqrt(np.maximum(count, 1))
    with style():
        figure, axes = panels(3, 1, width=8.0, height=7.2, sharex=True, height_ratios=[3, 2, 2])
        axes[0].plot(
            at, MICRONS * np.sqrt(square), "_", color=AFTER, markersize=11, markeredgewidth=2, label="expected"
        )
        axes[0].errorbar(
            at[drawn], MICRONS * width[drawn], MICRONS * (width * error / np.sqrt(2))[drawn], fmt="o", color=DATA,
            label="standard deviation",
        )  # fmt: skip
        axes[0].errorbar(
            at[drawn], MICRONS * mean[drawn], MICRONS * (width * error)[drawn], fmt="s", color=BEFORE, mfc="none",
            label="mean",
        )  # fmt: skip
        axes[0].set_ylabel(f"residual in {'uv'[coordinate]}  " + r"[$\mu$m]")
        axes[0].legend(loc="upper left", ncols=3, columnspacing=1.2)
        axes[0].margins(y=0.18)
        _points(axes[1], at[drawn], pull_width[drawn], error[drawn] / np.sqrt(2), 1.0, "width of pulls")
        _points(axes[2], at[drawn], pull_mean[drawn], error[drawn], 0.0, "mean of pulls")
        axes[2].set_xticks(at, names, rotation=90, fontsize=8.5)
        for axis in axes:
            axis.tick_params(axis="x", which="minor", bottom=False, top=False)
            axis.tick_params(axis="x", which="major", top=False)
        label(axes[0], note or detector.name)
    return figure


def _points(axes: Axes, x: FloatArray | IntArray, y: FloatArray, error: FloatArray, line: float, name: str) -> None:
    axes.axhline(line, color=BACKGROUND, linewidth=0.8)
    axes.errorbar(x, y, error, fmt="o", color=DATA)
    axes.set_ylabel(name)
    axes.margins(y=0.2)


def chi2_figure(fits: TrackFits, *, bins: int = 50, note: str = "") -> Figure:
    """Probability of chi2 of the fits that are OK, with the band of a flat one; beside it chi2/ndof."""
    ok = fits.ok & (fits.ndof > 0)
    chi2, ndof = fits.chi2[ok], fits.ndof[ok]
    probability = np.asarray(chi2_law.sf(chi2, ndof))
    counts, edges = np.histogram(probability, bins, (0.0, 1.0))
    flat = probability.size / bins
    with style():
        figure, axes = panels(1, 2, width=8.6, height=3.6)
        axes[0].fill_between([0, 1], flat - np.sqrt(flat), flat + np.sqrt(flat), color=BAND, linewidth=0, label="flat")
        axes[0].errorbar(
            0.5 * (edges[1:] + edges[:-1]), counts, np.sqrt(counts), fmt="o", color=DATA, markersize=3, label="fits"
        )
        axes[0].set_xlim(0.0, 1.0)
        axes[0].set_ylim(0.0, 1.35 * max(float(counts.max(initial=1)), flat))
        axes[0].set_xlabel(r"probability of $\chi^2$")
        axes[0].set_ylabel("tracks")
        axes[0].legend(loc="upper right", ncols=2)
        _chi2_per_ndof(axes[1], chi2, ndof)
        label(axes[0], note or f"{probability.size:,} tracks".replace(",", " "))
        label(axes[1], rf"$\Sigma\chi^2/\Sigma$ndof = {chi2.sum() / max(ndof.sum(), 1):.4f}")
    return figure


def _chi2_per_ndof(axes: Axes, chi2: FloatArray, ndof: IntArray) -> None:
    """chi2/ndof, and what is expected of tracks with these degrees of freedom."""
    edges = np.linspace(0.0, 3.0, 61)
    counts, _ = np.histogram(np.minimum(chi2 / ndof, 2.999), edges)
    number, times = np.unique(ndof, return_counts=True)
    expected = times @ np.diff(chi2_law.cdf(edges[None, :] * number[:, None], number[:, None]), axis=1)
    axes.stairs(expected, edges, color=AFTER, label="expected", linewidth=1.5)
    axes.errorbar(
        0.5 * (edges[1:] + edges[:-1]), counts, np.sqrt(counts), fmt="o", color=DATA, markersize=3, label="fits"
    )
    axes.set_xlim(0.0, 3.0)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(r"$\chi^2$/ndof (last bin: all above)")
    axes.set_ylabel("tracks")
    axes.legend(loc="upper right")


def momentum_bias(
    fits: TrackFits, truth: FloatArray, of: FloatArray, edges: FloatArray, charge: int
) -> tuple[FloatArray, FloatArray]:
    """Mean of (q/p) / (q/p)_gen - 1 in bins of `of` for one charge, and its error; NaN for bins with few tracks.

    truth : (N, 5)  generated states;  of : (N,)
    """
    chosen: BoolArray = fits.ok & (np.sign(truth[:, QOP]) == charge)
    relative = fits.state[chosen, QOP] / truth[chosen, QOP] - 1.0
    place = np.digitize(of[chosen], edges) - 1
    inside = (place >= 0) & (place < edges.size - 1)
    count = np.bincount(place[inside], minlength=edges.size - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(place[inside], relative[inside], minlength=count.size) / count
        square = np.bincount(place[inside], relative[inside] ** 2, minlength=count.size) / count
        error = np.sqrt((square - mean**2) / count)
    few = count < FEWEST
    return np.where(few, np.nan, mean), np.where(few, np.nan, error)


def momentum_bias_figure(fits: TrackFits, truth: FloatArray, *, bins: int = 24, note: str = "") -> Figure:
    """Bias of q/p against eta, phi and pT of the truth (N, 5), for each charge.

    Means without weights: the fitted error grows with the fitted q/p, and would pull them.
    """
    eta, phi = np.arcsinh(np.tan(truth[:, LAM])), truth[:, PHI]
    pt = np.cos(truth[:, LAM]) / np.abs(truth[:, QOP])
    across = (
        (eta, np.linspace(eta.min(), eta.max(), bins + 1), r"$\eta$"),
        (phi, np.linspace(-np.pi, np.pi, bins + 1), r"$\phi$  [rad]"),
        (pt, np.geomspace(pt.min(), pt.max() * (1 + 1e-9), bins // 2 + 1), r"$p_T$  [GeV]"),
    )
    with style():
        figure, axes = panels(1, 3, width=10.4, height=3.5, sharey=True)
        for axis, (of, edges, name) in zip(axes, across, strict=True):
            axis.axhline(0.0, color=BACKGROUND, linewidth=0.8)
            for charge, (sign, colour) in SIGNS.items():
                mean, error = momentum_bias(fits, truth, of, edges, charge)
                middle = np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else 0.5 * (edges[1:] + edges[:-1])
                axis.errorbar(
                    middle, PER_UNIT * mean, PER_UNIT * error, fmt="o", markersize=3, color=colour, label=sign
                )
            axis.set_xlabel(name)
        axes[2].set_xscale("log")
        ticks = [value for value in ROUND if pt.min() <= value <= pt.max()]
        axes[2].set_xticks(ticks, [f"{value:g}" for value in ticks])
        axes[2].set_xticks([], minor=True)
        axes[0].set_ylabel(r"$\langle (q/p)/(q/p)_{gen} - 1\rangle$  [$10^{-4}$]")
        axes[0].margins(y=0.15)
        axes[0].legend(loc="upper right", ncols=2)
        label(axes[0], note or f"{int(fits.ok.sum()):,} tracks".replace(",", " "))
    return figure
