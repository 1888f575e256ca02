"""Figures of nonprompt muons: regions and their smooth spectra, and what is predicted for the signal region."""

import numpy as np
from matplotlib.figure import Figure

from mucal.plot.style import AFTER, BAND, BEFORE, DATA, label, panels, style
from mucal.templates.nonprompt import REGIONS, Nonprompt, RegionCounts
from mucal.templates.nonprompt_fits import basis


def nonprompt_figure(found: Nonprompt, regions: RegionCounts, charge: int = 1, eta: int | None = None) -> Figure:
    """Data less prompt events in the five regions with the fitted spectra, and the prediction for D, of one slice.

    charge, eta : indices of the slice; eta None: the middle
    """
    i = regions.eta_edges.size // 2 if eta is None else eta
    pt = 0.5 * (regions.pt_edges[1:] + regions.pt_edges[:-1])
    width = np.diff(regions.pt_edges)
    rows = basis(found.pt_edges, found.coefficients.shape[-1] - 1)
    with style():
        figure, axes = panels(2, 3, width=9.6, height=5.4, sharex=True)
        for r, axis in enumerate(axes.T.ravel()):
            if r < 5:
                value = np.exp(rows @ found.region_coefficients[r, charge, i]) * width
                error = value * np.sqrt(np.einsum("tk,kl,tl->t", rows, found.region_cov[r, charge, i], rows))
                data = regions.data[r, charge, i] - regions.prompt[r, charge, i]
                spread = np.sqrt(regions.data[r, charge, i] + regions.prompt_sumw2[r, charge, i])
                axis.errorbar(pt, data, spread, fmt=".", color=DATA, label="data $-$ prompt")
            else:
                value, error = found.nominal[charge, i], found.error[charge, i]
            axis.fill_between(pt, value - error, value + error, color=BAND, lw=0)
            axis.plot(pt, value, color=AFTER, label="smooth" if r < 5 else "prediction")
            axis.set_ylim(bottom=0.0)
            label(axis, f"region {REGIONS[r]}")
            if r in (0, 5):
                axis.legend(loc="upper right")
        for axis in axes[1]:
            axis.set_xlabel(r"$p_T$  [GeV]")
        for axis in axes[:, 0]:
            axis.set_ylabel("events")
        low, high = regions.eta_edges[i], regions.eta_edges[i + 1]
        axes[0, 2].set_title(rf"$\mu^{'-+'[charge]}$, ${low:g} < \eta < {high:g}$", loc="right", fontsize=10.5)
    return figure


def prediction_figure(found: Nonprompt) -> Figure:
    """Predicted events against pT, summed over eta, and against eta, summed over pT, for each charge."""
    pt, eta = (0.5 * (edges[1:] + edges[:-1]) for edges in (found.pt_edges, found.eta_edges))
    rows = basis(found.pt_edges, found.coefficients.shape[-1] - 1)
    # pT bins of a slice share its coefficients, slices of eta are independent
    slope = np.einsum("qet,tk->qek", found.nominal, rows)
    of_eta = np.sqrt(np.einsum("qek,qekl,qel->qe", slope, found.cov, slope))
    with style():
        figure, axes = panels(1, 2, width=8.8, height=3.6)
        for q, colour in enumerate((BEFORE, AFTER)):
            value, error = found.nominal[q].sum(axis=0), np.sqrt((found.error[q] ** 2).sum(axis=0))
            axes[0].fill_between(pt, value - error, value + error, color=colour, alpha=0.25, lw=0)
            axes[0].plot(pt, value, color=colour, label=rf"$\mu^{'-+'[q]}$")
            axes[1].errorbar(eta, found.nominal[q].sum(axis=1), of_eta[q], fmt=".", color=colour)
        for axis, name in zip(axes, (r"$p_T$  [GeV]", r"$\eta$"), strict=True):
            axis.set_xlabel(name)
            axis.set_ylabel("nonprompt muons / bin")
            axis.set_ylim(bottom=0.0)
        axes[0].legend(loc="upper right")
    return figure
