"""The resolution of the curvature: its figure, how well it describes the widths, and what it owes to the fixed d."""

from typing import Final

import numpy as np
from scipy.special import chdtrc

from mucal.plot.resolution import resolution_figure
from mucal.report.page import Picture, Section, Table, Text
from mucal.report.run_results import RunResults, p_text
from mucal.scale import DScan, ResolutionTable

POOR: Final = 1e-3
"""Probability below which the form of the resolution is said not to describe the widths."""


def _width_line(name: str, table: ResolutionTable) -> str:
    """How well the form describes the mass widths, and what is missing where it does not."""
    p_value = float(chdtrc(max(table.ndf, 1), table.chi2))
    line = f"{name[:1].upper()}{name[1:]}: χ² = {table.chi2:.1f} for {table.ndf} degrees of freedom, {p_text(p_value)}."
    if p_value >= POOR or table.ndf < 1:
        return line
    return (
        f"{line} The widths scatter more than their errors, as they do where the resolution varies within a bin of η "
        "(narrower bins, bins.resolution_eta_edges, tell) or a term that is not free is missing. Errors larger by a "
        f"factor of {np.sqrt(table.chi2 / table.ndf):.1f} would cover it; nuisances of the release have the errors "
        "times the factor of resolution_stat."
    )


def _d_table(name: str, scan: DScan) -> Table:
    """What other d would have given."""
    percent = np.column_stack([scan.sigma.T, scan.spread, scan.relative_error]) * 100
    cells = [[f"{one:.3g} %" if np.isfinite(one) else "–" for one in row] for row in percent]
    rows = [[f"{pt:g} GeV", *row] for pt, row in zip(scan.pt, cells, strict=True)]
    return Table(
        head=["At pT", *(f"d = {d:g} GeV²" for d in scan.d), "Spread", "Statistical error"],
        rows=[*rows, ["χ²", *(f"{chi2:.1f}" if np.isfinite(chi2) else "–" for chi2 in scan.chi2), "", ""]],
        caption=f"σ_k/k of {name}, its square averaged over η, with the fixed d at other values; spread and error "
        "relative to it.",
    )


def resolution_section(run: RunResults) -> Section:
    """The resolution of data and of simulation."""
    if run.resolution is None:
        return Section(title="Resolution")
    tables = {"data": run.resolution}
    if run.resolution_mc is not None:
        tables["simulation"] = run.resolution_mc
    low, high = run.resolution.pt_range
    momenta = [float(f"{pt:.1g}") for pt in (low * 1.25, high * 0.8)]
    return Section(
        title="Resolution",
        items=(
            Picture(
                figure=resolution_figure(tables, sorted(set(momenta))),
                caption="Relative resolution of the curvature, from the widths of the mass peaks"
                + ("; below, data over simulation." if len(tables) > 1 else "."),
            ),
            Text(text=" ".join(_width_line(name, table) for name, table in tables.items())),
            *(_d_table(name, table.by_d) for name, table in tables.items() if table.by_d is not None),
        ),
    )
