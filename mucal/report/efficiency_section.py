"""Efficiencies and scale factors that lie in the folder of a run."""

from collections.abc import Mapping

import numpy as np

from mucal.efficiency import Efficiencies, ScaleFactors, Status
from mucal.plot.efficiency import efficiency_map_figure
from mucal.plot.efficiency_surface import surface_figure
from mucal.report.page import Item, Picture, Section, Table


def efficiency_section(factors: Mapping[str, ScaleFactors], measured: Mapping[str, Efficiencies]) -> Section:
    """Smoothed scale factors, measured efficiencies, and the bins that failed.

    factors, measured : file -> result
    """
    items: list[Item] = []
    for name, one in factors.items():
        text = "; ".join(one.summary())
        items.append(Picture(figure=surface_figure(one), caption=f"{name}: {text}. Dashed: alternatives."))
    rows = []
    for name, found in measured.items():
        tried = found.histograms.counts.sum(axis=(1, 2)) > 0
        items.append(Picture(figure=efficiency_map_figure(found, note=f"{found.histograms.step}, {name}"),
                             caption=f"{name}: efficiencies; crosses are bins without one."))  # fmt: skip
        usable = found.usable
        mean = f"{float(np.mean(found.eff[usable])):.4f}" if usable.any() else "–"
        rows.append(
            [name, found.histograms.step, str(int(tried.sum())), str(int(usable.sum())), mean, _failed(found, tried)]
        )
    if rows:
        head = ["File", "Step", "Bins", "Usable", "Mean efficiency", "Failed"]
        items.append(Table(head=head, rows=rows, words=(0, 1, 5), caption="Measured efficiencies"))
    return Section(title="Efficiencies", items=tuple(items))


def _failed(found: Efficiencies, tried: np.ndarray) -> str:
    rows = np.flatnonzero(tried & ~found.usable)
    if not rows.size:
        return "none"
    named = [f"{found.histograms.place(int(i))} ({Status(int(found.status[i])).name.lower()})" for i in rows[:3]]
    return "; ".join(named) + (f"; and {rows.size - 3} more" if rows.size > 3 else "")
