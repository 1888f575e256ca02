"""Figures of efficiencies: passing and failing spectra, scale factors against pT, maps over eta and pT."""

import numpy as np
from matplotlib.figure import Figure

from mucal.efficiency import Efficiencies, ScaleFactors, Status
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, DATA, label, panels, style

CHARGES = ("$\\mu^-$", "$\\mu^+$")


def pass_fail_figure(found: Efficiencies, row: int) -> Figure:
    """The two spectra of one bin, and what the fit says about them."""
    h = found.histograms
    middle = 0.5 * (h.mass_edges[1:] + h.mass_edges[:-1])
    status = Status(int(found.status[row]))
    with style():
        figure, axes = panels(1, 2, width=8.4, height=3.8)
        for c, (name, colour) in enumerate((("passing", AFTER), ("failing", BEFORE))):
            counts = h.counts[row, c]
            axes[c].errorbar(middle, counts, np.sqrt(h.sumw2[row, c]), fmt=".", color=DATA)
            if np.isfinite(found.fitted[row, c]).all():
                axes[c].stairs(found.fitted[row, c], h.mass_edges, color=colour, label="fit", baseline=None)
                axes[c].legend(loc="upper right")
            axes[c].set_xlabel(r"$m_{\mu\mu}$  [GeV]")
            axes[c].set_ylabel(f"{name} probes")
            axes[c].set_ylim(bottom=0.0)
        label(axes[0], h.place(row))
        if found.usable[row]:
            error = f" $\\pm$ {found.error[row]:.4f}" if np.isfinite(found.error[row]) else ""
            label(axes[1], f"eff = {found.eff[row]:.4f}{error}, p = {found.p_value[row]:.2g}")
        else:
            label(axes[1], f"not usable: {status.name}")
    return figure


def scale_factor_figure(
    factors: ScaleFactors, data: Efficiencies, mc: Efficiencies, *, n_slices: int = 4, note: str = ""
) -> Figure:
    """Measured and smoothed scale factors against pT, with their band, in evenly chosen slices of eta."""
    h, surface = data.histograms, factors.nominal
    e, _, n_charge, n_ut = h.shape
    chosen = np.unique(np.linspace(0, e - 1, min(n_slices, e)).round().astype(int))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (data.eff / mc.eff).reshape(h.shape)
        error = (np.hypot(data.error, data.eff / mc.eff * mc.error) / mc.eff).reshape(h.shape)
    pt_mean, fine = h.pt_mean.reshape(h.shape), np.linspace(*surface.pt_range, 200)
    u = n_ut // 2
    with style():
        figure, axes = panels(chosen.size, 1, width=6.6, height=1.2 + 1.7 * chosen.size, sharex=True, squeeze=False)
        for axis, i in zip(axes[:, 0], chosen, strict=True):
            eta = np.full(200, 0.5 * (h.eta_edges[i] + h.eta_edges[i + 1]))
            ut = np.full(200, 0.5 * (h.ut_edges[u] + h.ut_edges[u + 1])) if n_ut > 1 else None
            for q in range(n_charge):
                charge = np.full(200, 2 * q - 1 if n_charge == 2 else 1)
                value, band = surface(eta, fine, charge, ut), surface.error(eta, fine, charge, ut)
                colour = (BEFORE, AFTER)[q] if n_charge == 2 else AFTER
                axis.fill_between(fine, value - band, value + band, color=colour, alpha=0.25, lw=0)
                axis.plot(fine, value, color=colour)
                axis.errorbar(
                    pt_mean[i, :, q, u], ratio[i, :, q, u], error[i, :, q, u], fmt=".", color=colour,
                    label=CHARGES[q] if n_charge == 2 else r"$\mu^\pm$",
                )  # fmt: skip
            axis.axhline(1.0, color=BACKGROUND, linewidth=0.6)
            axis.set_ylabel("data / simulation")
            where = rf"${h.eta_edges[i]:g} < \eta < {h.eta_edges[i + 1]:g}$"
            label(axis, where + (rf", ${h.ut_edges[u]:g} < u_T < {h.ut_edges[u + 1]:g}$ GeV" if n_ut > 1 else ""))
        axes[-1, 0].set_xlabel(r"$p_T$  [GeV]")
        axes[0, 0].legend(loc="best", ncols=2)
        axes[0, 0].set_title(note or factors.step, loc="right", fontsize=10.5)
    return figure


def efficiency_map_figure(found: Efficiencies, charge: int = 0, *, note: str = "") -> Figure:
    """Efficiencies over (eta, pT) for one charge bin; bins that failed are left white and crossed."""
    h = found.histograms
    u = h.shape[3] // 2
    values = found.eff.reshape(h.shape)[:, :, charge, u]
    with style():
        figure, axis = panels(width=6.8, height=4.0)
        mesh = axis.pcolormesh(h.eta_edges, h.pt_edges, values.T, cmap="viridis")
        eta, pt = (0.5 * (edges[1:] + edges[:-1]) for edges in (h.eta_edges, h.pt_edges))
        missing = np.argwhere(~np.isfinite(values))
        axis.plot(eta[missing[:, 0]], pt[missing[:, 1]], "x", color=BEFORE, markersize=5)
        figure.colorbar(mesh, ax=axis, label="efficiency")
        axis.set_xlabel(r"$\eta$")
        axis.set_ylabel(r"$p_T$  [GeV]")
        label(axis, note or h.step)
    return figure
