"""Figures of the recoil's calibration: response and resolution against the boson's pT, and shifts of quantiles."""

from matplotlib.figure import Figure

from mucal.plot.style import AFTER, BACKGROUND, BEFORE, DATA, label, panels, style
from mucal.templates.recoil import RecoilCalibration


def recoil_figure(found: RecoilCalibration) -> Figure:
    """Response, resolutions along and across, of data and simulation; what the map adds at three quantiles."""
    pt = found.pt_mean
    k = found.probabilities.size
    with style():
        figure, axes = panels(2, 2, width=8.8, height=6.0, sharex=True)
        for s, (name, colour, mark) in enumerate((("data", DATA, "."), ("simulation", BEFORE, "x"))):
            axes[0, 0].errorbar(pt, found.response[s], found.response_error[s], fmt=mark, color=colour, label=name)
            for c, filled in enumerate(("full", "none")):
                axes[0, 1].errorbar(
                    pt, found.resolution[s, c], found.resolution_error[s, c], fmt="o", fillstyle=filled, color=colour,
                    label=f"{name}, {('along', 'across')[c]}",
                )  # fmt: skip
        axes[0, 0].set_ylabel(r"response  $\langle u_\parallel\rangle / \langle p_T\rangle$")
        axes[0, 1].set_ylabel("resolution  [GeV]")
        for axis, (c, name) in zip(axes[1], enumerate((r"u_\parallel", r"u_\perp")), strict=True):
            for fraction, colour in ((0.3, AFTER), (0.5, DATA), (0.7, BEFORE)):
                q = round(fraction * (k - 1))
                axis.errorbar(
                    pt, found.data[c, :, q] - found.mc[c, :, q], found.cov[c, :, q, q] ** 0.5, fmt="o-", color=colour,
                    label=f"{100 * found.probabilities[q]:.0f} %",
                )  # fmt: skip
            axis.axhline(0.0, color=BACKGROUND, linewidth=0.6)
            axis.set_ylabel(rf"data $-$ simulation, ${name}$  [GeV]")
            axis.set_xlabel(r"$p_T$ of the boson  [GeV]")
        axes[0, 0].legend(loc="lower right")
        axes[0, 1].legend(loc="best", fontsize=8.5)
        axes[1, 0].legend(loc="best", title="quantile", fontsize=8.5)
        label(axes[0, 0], r"$Z \to \mu\mu$")
    return figure
