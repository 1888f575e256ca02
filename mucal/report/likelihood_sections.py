"""Sections about a template fit: what came out, what it is uncertain by, and whether the bins agree."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mucal.arrays import FloatArray
from mucal.likelihood import FitResult, Impacts, Prediction
from mucal.plot.likelihood import correlations, most_correlated, pulls_and_impacts
from mucal.plot.likelihood_bins import fitted_bins
from mucal.report.page import Item, Picture, Section, Table

SHOWN: Final = 30
"""Parameters in the figure of pulls and impacts; the table has all that vary, up to `LISTED`."""
LISTED: Final = 500
LONG: Final = 20
"""Rows above which a table of a measurement is closed until asked for."""


def impacts_section(
    result: FitResult, pulls: FloatArray, constraints: FloatArray, nominal: Impacts, response: Impacts
) -> Section:
    """Breakdown, figure and table of the impacts on one parameter of interest.

    pulls, constraints : (S,)  in prior standard errors; NaN for a parameter without a constraint
    """
    rows = [[name, f"{nominal.groups[name]:.4g}", f"{response.groups[name]:.4g}"] for name in nominal.groups]
    rows.append(["data size", f"{nominal.data_stat:.4g}", f"{response.data_stat:.4g}"])
    rows.append(["simulation size", f"{nominal.mc_stat:.4g}", f"{response.mc_stat:.4g}"])
    rows.append(["total", f"{nominal.total:.4g}", f"{response.total:.4g}"])
    return Section(
        title=f"Impacts on {nominal.poi}",
        items=(
            Table(
                head=["Source", "Nominal", "Global"],
                rows=rows,
                caption="Global impacts add in quadrature to the total; nominal ones count what is correlated twice.",
            ),
            Picture(
                figure=pulls_and_impacts(result, pulls, constraints, nominal, response, top=SHOWN),
                caption="Pulls (points) with the error after over before the fit (bars), and the impacts when the "
                "parameter (nominal) or the centre of its constraint (global) goes up (filled) or down (open).",
            ),
            _parameter_table(result, pulls, constraints, nominal, response),
        ),
    )


def _parameter_table(
    result: FitResult, pulls: FloatArray, constraints: FloatArray, nominal: Impacts, response: Impacts
) -> Table:
    order = np.argsort(-np.abs(nominal.single), kind="stable")
    rows = [
        [
            result.parameters[j], _or_dash(pulls[j], "+.2f"), _or_dash(constraints[j], ".3f"),
            f"{nominal.single[j]:+.4g}", f"{response.single[j]:+.4g}" if np.isfinite(pulls[j]) else "–",
        ]
        for j in order
        if not result.frozen[j] and result.parameters[j] != nominal.poi
    ]  # fmt: skip
    return Table(
        head=["Parameter", "Pull", "Constraint", "Nominal", "Global"],
        rows=rows[:LISTED],
        caption=f"{min(len(rows), LISTED)} of {len(rows)} parameters that vary, the largest nominal impact first",
        fold=True,
    )


def _or_dash(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "–"


def correlations_section(result: FitResult) -> Section:
    """Correlation matrix of the parameters most correlated with those of interest."""
    names = most_correlated(result)
    caption = f"Correlations of {len(names)} of {len(result.parameters)} parameters: those of interest, then the most "
    return Section(
        title="Correlations",
        items=(Picture(figure=correlations(result, names), caption=caption + "correlated with them."),),
    )


def bins_section(channels: Iterable[tuple[Prediction, Prediction | None, FloatArray]]) -> Section:
    """Bins of every channel: what is shown, what it is compared with (or None), and the data (R,)."""
    items: list[Item] = []
    for shown, before, counts in channels:
        pull = (counts - shown.total) / np.sqrt(np.maximum(shown.total, 1.0))
        worst = float(pull[np.argmax(np.abs(pull))])
        what = f"Channel {shown.channel.name} in {' and '.join(shown.channel.axes)}, {shown.kind}"
        items.append(
            Picture(
                figure=fitted_bins(shown, counts, before=before, note=shown.channel.name),
                caption=f"{what}: {counts.sum():.0f} events, {shown.total.sum():.1f} ± {_error_of_sum(shown):.1f} "
                f"expected; the largest deviation of a bin is {worst:+.1f} Poisson standard deviations.",
            )
        )
    return Section(title="Bins", items=tuple(items))


def _error_of_sum(shown: Prediction) -> float:
    return float(np.sqrt(max(0.0, shown.cov.sum())))


def estimates_section(result: FitResult, values: Sequence[tuple[str, str, str]]) -> Section:
    """Parameters of interest; `values` are (name, value, error) as they may be shown."""
    rows = [[*value, "blinded" if value[0] in result.blinded else ""] for value in values]
    table = Table(head=["Parameter of interest", "Estimate", "Error", ""], rows=rows, words=(0, 3))
    return Section(title="Estimates", items=(table,) if rows else ())


def measurement_section(
    tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence[str]], str]], pictures: Iterable[tuple[Figure, str]]
) -> Section:
    """A measurement: tables (title, head, rows, caption) and figures (figure, caption)."""
    items: list[Item] = []
    for title, head, rows, caption in tables:
        items.append(Table(head=head, rows=rows, caption=f"{title}. {caption}", fold=len(rows) > LONG))
    items += [Picture(figure=figure, caption=caption) for figure, caption in pictures]
    return Section(title="Measurement", items=tuple(items))


def likelihood_section(pictures: Iterable[Figure]) -> Section:
    """Scans and contours."""
    caption = "The profile likelihood around the estimate."
    return Section(title="Profile likelihood", items=tuple(Picture(figure=f, caption=caption) for f in pictures))
