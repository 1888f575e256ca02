"""Figures of global corrections: soft modes, their likeness to templates, the bias they give to momenta."""

from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mucal.globalcor import EVEN, ODD, BiasMap, GlobalCorrections, ProbeBias, WeakModes
from mucal.globalcor.families import KINDS
from mucal.globalcor.weak_modes import PRIOR_ONLY
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, label, panels, style

COLOURS: Final = {-1: BEFORE, 1: AFTER}
SIGNS: Final = {-1: r"$\mu^-$", 1: r"$\mu^+$"}
PER_UNIT: Final = 1e5
"""Biases are shown in units of 1e-5."""


def spectrum_figure(modes: WeakModes, *, note: str = "") -> Figure:
    """Eigenvalues of the prior-whitened system; below, the share of priors in each mode."""
    with style():
        figure, axes = panels(2, 1, width=6.4, height=5.0, sharex=True, height_ratios=[2, 1])
        number = np.arange(1, modes.eigenvalues.size + 1)
        axes[0].semilogy(number, modes.eigenvalues, "o-", color=AFTER)
        axes[0].axhline(PRIOR_ONLY, color=BACKGROUND, linestyle="--", label="priors alone")
        axes[0].set_ylabel("eigenvalue (whitened)")
        axes[0].legend(loc="upper left")
        axes[1].plot(number, modes.prior_share, "o-", color=BEFORE)
        axes[1].set_ylim(0.0, 1.08)
        axes[1].set_ylabel("prior share")
        axes[1].set_xlabel("mode")
        label(axes[0], note or "softest modes")
    return figure


def overlap_figure(modes: WeakModes, *, note: str = "") -> Figure:
    """|cosine| of every mode with every template, and how much of each template the modes span."""
    t = len(modes.templates)
    with style():
        figure, axes = panels(
            1, 2, width=7.6, height=1.2 + 0.22 * max(t, 8), width_ratios=[5, 1], sharey=True
        )  # fmt: skip
        image = axes[0].imshow(
            np.abs(modes.overlaps.T), aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, origin="upper",
            extent=(0.5, modes.eigenvalues.size + 0.5, t - 0.5, -0.5),
        )  # fmt: skip
        axes[0].set_yticks(range(t), modes.templates)
        axes[0].minorticks_off()
        axes[0].set_xlabel("mode")
        axes[1].barh(range(t), modes.explained, color=AFTER)
        axes[1].set_xlim(0.0, 1.0)
        axes[1].set_xlabel("spanned")
        figure.colorbar(image, ax=axes[0], location="top", label="|cosine|", shrink=0.5)
        label(axes[1], note)
    return figure


def bias_figure(found: BiasMap, which: int = 0, *, note: str = "") -> Figure:
    """Mean bias of one pattern against eta and against phi, for each charge; one row a range of pt."""
    n_pt = found.pt_edges.size - 1
    bias, count = found.bias[which], found.count
    with style():
        figure, axes = panels(n_pt, 2, width=8.0, height=1.2 + 2.1 * n_pt, sharey="row", squeeze=False)
        for row in range(n_pt):
            for side, (edges, other) in enumerate(((found.eta_edges, 1), (found.phi_edges, 0))):
                for c, sign in enumerate((-1, 1)):
                    weights = count[:, :, c, row]
                    total = weights.sum(axis=other)
                    sums = np.nansum(bias[:, :, c, row] * weights, axis=other)
                    mean = np.where(total > 0, sums / np.maximum(total, 1), np.nan)
                    axes[row, side].stairs(
                        PER_UNIT * mean, edges, baseline=None, color=COLOURS[sign], label=SIGNS[sign]
                    )
                axes[row, side].axhline(0.0, color=BACKGROUND, linewidth=0.6)
            low, high = found.pt_edges[row], found.pt_edges[row + 1]
            axes[row, 0].set_ylabel(r"$\delta k/k$  [$10^{-5}$]")
            label(axes[row, 1], rf"$p_T$ {low:g} to {high:g} GeV")
        axes[-1, 0].set_xlabel(r"$\eta$")
        axes[-1, 1].set_xlabel(r"$\phi$  [rad]")
        axes[0, 0].legend(loc="best")
        label(axes[0, 0], note or found.names[which])
    return figure


def error_figure(corrections: GlobalCorrections, *, note: str = "") -> Figure:
    """Fitted over prior error of every parameter, by kind: 1 where the tracks add nothing."""
    with style():
        figure, axes = panels(width=6.4, height=3.6)
        ratio = corrections.error_over_prior
        shown = corrections.free & np.isfinite(ratio) & (ratio > 0)
        low = float(np.log10(ratio[shown].min())) - 0.1 if shown.any() else -1.0
        edges = np.logspace(low, 0.05, 50)
        for k, kind in enumerate(KINDS):
            here = shown & (corrections.registry.kind == k)
            if here.any():
                axes.stairs(np.histogram(ratio[here], edges)[0], edges, label=kind)
        axes.set_xscale("log")
        axes.set_xlabel("fitted error / prior width")
        axes.set_ylabel("parameters")
        axes.set_ylim(bottom=0.0)
        axes.legend(loc="upper left")
        label(axes, note)
    return figure


def probe_figure(found: ProbeBias, *, note: str = "") -> Figure:
    """Bias of both charges together and apart against eta, a row each, before and after corrections; a column a pT.

    Bars are the error that the covariance of the corrections gives: points of one panel move together.
    """
    t = found.momenta.size
    centre, half = (found.eta_edges[1:] + found.eta_edges[:-1]) / 2, np.diff(found.eta_edges) / 2
    with style():
        figure, axes = panels(2, t, width=4.0 * t, height=5.2, sharex=True, squeeze=False)
        for column, pt in enumerate(found.momenta):
            for row, parity in enumerate((EVEN, ODD)):
                here = axes[row, column]
                here.stairs(
                    PER_UNIT * found.mean_before[column, parity], found.eta_edges, baseline=None, color=BEFORE,
                    label="assumed detector",
                )  # fmt: skip
                error = np.sqrt(np.diag(found.mean_cov[column, parity]))
                here.errorbar(
                    centre, PER_UNIT * found.mean[column, parity], yerr=PER_UNIT * error, xerr=half, fmt="o",
                    color=AFTER, markersize=3, label="corrected",
                )  # fmt: skip
                here.axhline(0.0, color=BACKGROUND, linewidth=0.6)
            axes[1, column].set_xlabel(r"$\eta$")
            label(axes[0, column], rf"$p_T$ = {pt:g} GeV" + (f"   {note}" if note and column == 0 else ""))
        axes[0, 0].set_ylabel(r"charge-even $\delta k/k$  [$10^{-5}$]")
        axes[1, 0].set_ylabel(r"charge-odd $\delta k/k$  [$10^{-5}$]")
        axes[0, 0].legend(loc="best")
    return figure
