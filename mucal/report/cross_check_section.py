"""Cross-checks of the scale table: one likelihood of all masses, and biases of the measured directions."""

from itertools import pairwise
from typing import Final

import numpy as np

from mucal.plot.scale import scale_figure, standard_errors
from mucal.report.closure_section import plain_text
from mucal.report.page import Item, Picture, Section, Table, Text
from mucal.report.run_results import p_text
from mucal.scale import AngularBiases, ScaleTable

DIRECTIONS: Final = (
    ("M_λ [10⁻³]", 1e3), ("A_φ [10⁻³ GeV]", 1e3), ("e_φ [10⁻³ GeV²]", 1e3), ("M_φ [10⁻³]", 1e3)
)  # fmt: skip
"""Heads and factors of the last four of `scale.angles.PARAMETERS`."""
UNITS: Final = (("A", "·10⁻⁵", 1e5), ("e", " MeV", 1e3), ("M", "·10⁻⁵/GeV", 1e5))


def cross_check_lines(
    table: ScaleTable, one_step: ScaleTable | None, angles: AngularBiases | None, unheld: ScaleTable | None = None
) -> list[str]:
    """What was found, for people at a terminal; nothing where nothing was asked for."""
    lines = []
    if unheld is not None:
        lines.append(plain_text(f"without priors: {', '.join(_typical(unheld))} (median errors of a bin)"))
    if one_step is not None:
        apart = ", ".join(f"{name} by {value:.2f}" for name, value in apart_of(table, one_step).items())
        lines.append(f"one likelihood of all masses moves {apart} errors (rms)")
    return [*lines, *([] if angles is None else angles.summary())]


def apart_of(table: ScaleTable, other: ScaleTable) -> dict[str, float]:
    """Parameter that is free -> difference of two tables, rms over the bins, in units of the errors of the first."""
    found = {}
    for name, error in standard_errors(table).items():
        free = error > 0
        if np.any(free):
            pulls = (getattr(other, name) - getattr(table, name))[free] / error[free]
            found[name] = float(np.sqrt(np.mean(pulls**2)))
    return found


def cross_check_section(
    table: ScaleTable, one_step: ScaleTable | None, angles: AngularBiases | None, unheld: ScaleTable | None = None
) -> Section:
    """What was checked; empty where nothing was."""
    items = [
        *([] if unheld is None else _unheld_items(unheld)),
        *([] if one_step is None else _one_step_items(table, one_step)),
        *([] if angles is None else _angle_items(angles)),
    ]
    return Section(title="Cross-checks", items=tuple(items))


def _one_step_items(table: ScaleTable, one_step: ScaleTable) -> list[Item]:
    apart = apart_of(table, one_step)
    return [
        Text(
            text="One likelihood of all mass histograms, with the simulated spectra as signal and no scale of a bin in "
            f"between: χ² = {one_step.chi2:.1f} for {one_step.ndf} degrees of freedom. Both use the same events, so "
            "they should agree to a fraction of an error: "
            + ", ".join(f"{name} by {value:.2f}" for name, value in apart.items())
            + " (rms over η)."
        ),
        Picture(
            figure=scale_figure({"fits of bins": table, "one likelihood": one_step}, parameters=list(apart)),
            caption="Scale parameters from fits of bins and from one likelihood.",
        ),
    ]


def _unheld_items(unheld: ScaleTable) -> list[Item]:
    errors = standard_errors(unheld)
    shown = [(name, unit, factor) for name, unit, factor in UNITS if np.any(errors[name] > 0)]
    rows = [
        [f"{low:.2g} to {high:.2g}"]
        + [f"{factor * getattr(unheld, name)[i]:+.1f} ± {factor * errors[name][i]:.1f}" for name, _, factor in shown]
        for i, (low, high) in enumerate(pairwise(unheld.eta_edges))
    ]
    return [
        Text(
            text=f"The same masses without the priors of the table know {', '.join(_typical(unheld))} (median errors "
            f"of a bin; χ² = {unheld.chi2:.1f} for {unheld.ndf} degrees of freedom). Where these are much larger "
            "than the errors of the table, it holds what the priors say."
        ),
        Table(
            head=["η", *(f"{name} [{unit.strip(' ·')}]" for name, unit, _ in shown)], rows=rows, fold=True,
            caption="The scale table without its priors",
        ),
    ]  # fmt: skip


def _typical(table: ScaleTable) -> list[str]:
    """ "A to 20·10⁻⁵" and so on: median errors of what is free."""
    errors = standard_errors(table)
    return [
        f"{name} to {factor * float(np.median(errors[name])):.3g}{unit}"
        for name, unit, factor in UNITS
        if np.any(errors[name] > 0)
    ]


def _angle_items(angles: AngularBiases) -> list[Item]:
    moved = np.max(np.abs(angles.values[:3] - angles.plain) / angles.error[:3])
    rows = [
        [f"{low:.2g} to {high:.2g}"]
        + [
            f"{factor * angles.values[3 + j, i]:+.2f} ± {factor * angles.error[3 + j, i]:.2f}"
            for j, (_, factor) in enumerate(DIRECTIONS)
        ]
        for i, (low, high) in enumerate(pairwise(angles.eta_edges))
    ]
    return [
        Text(
            text="Biases of the measured directions, from corrected pairs split by the sign of φ⁺ − φ⁻: χ² falls by "
            f"{angles.drop:.1f} for {angles.n_angular} combinations that the masses know, {p_text(angles.p_value)}. "
            f"With them A, e and M move by up to {moved:.2f} of their errors. They are not applied."
        ),
        Table(
            head=["η", *(head for head, _ in DIRECTIONS)],
            rows=rows,
            fold=True,
            caption="Biases of λ and φ in all bins; where the error is that of the prior the masses know nothing",
        ),
    ]
