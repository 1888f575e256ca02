"""The W mass of a run beside those of the experiments."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mucal.plot.style import AFTER, BACKGROUND, BAND, BEFORE, DATA, label, panels, style
from mucal.wmass.world import EXPECTED, MEASURED, WorldMass


def world_figure(own: Sequence[WorldMass], *, note: str = "") -> Figure:
    """Published masses from top to bottom, those of a run below them; the band is the expectation.

    own  : of this run
    note : above the figure
    """
    rows = (EXPECTED, *MEASURED, *own)
    n = len(rows)
    with style():
        figure, axis = panels(width=7.2, height=1.1 + 0.42 * n)
        axis.axvspan(EXPECTED.mass - EXPECTED.error, EXPECTED.mass + EXPECTED.error, color=BAND, alpha=0.7, linewidth=0)
        for i, row in enumerate(rows):
            colour = BACKGROUND if row is EXPECTED else BEFORE if row in own else AFTER if row.name == "CMS" else DATA
            axis.errorbar(row.mass, n - i, xerr=row.error, fmt="o", color=colour, capsize=2.5, markersize=5)
            text = f"{row.mass:.1f} ± {row.error:.1f}"
            axis.text(1.02, n - i, text, transform=axis.get_yaxis_transform(), va="center", fontsize=9.5)
        axis.axhline(len(own) + 0.5, color=BACKGROUND, linewidth=0.6)
        axis.set_yticks([n - i for i in range(n)], [row.name for row in rows])
        axis.tick_params(axis="y", which="both", length=0)
        axis.minorticks_off()
        axis.set_ylim(0.4, n + 0.6)
        low = min(row.mass - row.error for row in rows)
        high = max(row.mass + row.error for row in rows)
        axis.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        axis.set_xlabel(r"$m_W$  [MeV]")
        label(axis, note)
    return figure
