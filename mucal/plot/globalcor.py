"""Figures of global corrections: soft modes, their likeness to templates, the bias they give to momenta."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.globalcor import EVEN, ODD, BiasMap, GlobalCorrections, ProbeBias, WeakModes
from mucal.globalcor.families import KINDS
from mucal.globalcor.weak_modes import PRIOR_ONLY
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, TRUTH, label, panels, style
from mucal.scale import ScaleTable, correct_pt

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


STAGE_COLOURS: Final = {"assumed detector": BEFORE, "global corrections": AFTER, "and scale table": TRUTH}


def bias_profiles(found: ProbeBias, table: ScaleTable, *, momenta: tuple[float, float] = (10.0, 40.0)) -> Figure:
    """Bias of the curvature before, with the global corrections, and with the scale table, as `curvature_curves`."""
    inside = (found.eta >= table.eta_edges[0]) & (found.eta < table.eta_edges[-1])
    biases = dict(zip(STAGE_COLOURS, (found.before, found.after, _with_table(found, table, inside)), strict=True))
    return curvature_curves(
        found.pt[inside], found.eta[inside], found.phi[inside], found.charge[inside],
        {name: bias[inside] for name, bias in biases.items()}, eta_edges=found.eta_edges, momenta=momenta,
    )  # fmt: skip


def curvature_curves(
    pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, biases: Mapping[str, FloatArray],
    *, eta_edges: FloatArray, momenta: tuple[float, float] = (10.0, 40.0),
) -> Figure:  # fmt: skip
    """Mean delta k / k of muons of a few momenta, for each of up to three stages and each charge.

    pt, eta, phi, charge : (N,)
    biases               : stage -> (N,)

    Panels are eta and phi at two momenta (the nearest there are), and all momenta.
    """
    known = np.unique(pt)
    low, high = (float(known[np.argmin(np.abs(known - p))]) for p in momenta)
    everything = np.ones(pt.size, dtype=bool)
    panels_of = [
        (r"$\eta$", eta, eta_edges, pt == low, rf"$p_T$ = {low:g} GeV"),
        (r"$\eta$", eta, eta_edges, pt == high, rf"$p_T$ = {high:g} GeV"),
        (r"$\phi$  [rad]", phi, np.linspace(-np.pi, np.pi, 13), pt == high, rf"$p_T$ = {high:g} GeV"),
        (r"$p_T$  [GeV]", pt, _around(known), everything, r"all $\eta$"),
    ]
    with style():
        figure, axes = panels(2, 2, width=8.0, height=6.0, squeeze=False)
        for here, (text, x, edges, chosen, note) in zip(axes.ravel(), panels_of, strict=True):
            for (name, bias), colour in zip(biases.items(), STAGE_COLOURS.values(), strict=False):
                for sign, line in ((1, "-"), (-1, "--")):
                    use = chosen & (charge == sign)
                    here.stairs(
                        1e3 * _profile(x[use], bias[use], edges), edges, baseline=None, color=colour, linestyle=line,
                        linewidth=1.3, label=f"{name}, {SIGNS[sign]}",
                    )  # fmt: skip
            here.axhline(0.0, color=BACKGROUND, linewidth=0.6)
            here.set_xlim(edges[0], edges[-1])
            here.set_xlabel(text)
            label(here, note)
        axes[1, 1].set_xscale("log")
        axes[1, 1].minorticks_off()
        axes[1, 1].set_xticks(known, [f"{value:g}" for value in known])
        for here in axes[:, 0]:
            here.set_ylabel(r"$\delta k/k$  [$10^{-3}$]")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3, fontsize=8.5)
    return figure


def _with_table(found: ProbeBias, table: ScaleTable, inside: BoolArray) -> FloatArray:
    """(N,) the bias that is left with the scale table on top of the corrections; NaN outside the table's eta."""
    bias = np.full(found.pt.size, np.nan)
    pt = found.pt / (1.0 + found.after)
    corrected = correct_pt(table, pt[inside], found.eta[inside], found.charge[inside].astype(np.float64))
    bias[inside] = found.pt[inside] / corrected - 1.0
    return bias


def _around(momenta: FloatArray) -> FloatArray:
    """Edges between momenta, at equal ratios outside."""
    if momenta.size < 2:
        return np.array([momenta[0] / 1.2, momenta[0] * 1.2])
    between = np.sqrt(momenta[1:] * momenta[:-1])
    edges: FloatArray = np.concatenate([[momenta[0] ** 2 / between[0]], between, [momenta[-1] ** 2 / between[-1]]])
    return edges


def _profile(x: FloatArray, values: FloatArray, edges: FloatArray) -> FloatArray:
    """Means in bins, NaN in an empty one."""
    place = np.digitize(x, edges) - 1
    inside = (place >= 0) & (place < edges.size - 1)
    count = np.bincount(place[inside], minlength=edges.size - 1)
    total = np.bincount(place[inside], values[inside], minlength=edges.size - 1)
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
