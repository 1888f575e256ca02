"""Two runs beside each other, as a page and as lines for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.plot.scale import scale_figure
from mucal.report.closure_section import plain_table
from mucal.report.page import Item, Picture, Section, Table, render
from mucal.report.run_results import p_text
from mucal.scale import ScaleTable

HEAD: Final = ("", "first", "second", "difference", "/ error")
LONG: Final = 20
SHOWN: Final = 8
"""Rows of a group on a terminal: those furthest apart."""
SHARED: Final = (
    "Both runs used the same events: their differences are smaller than the errors, which are added as if they had not."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPair:
    """One number of two runs; errors are NaN where none is stated."""

    name: str
    unit: str
    first: float
    second: float
    errors: tuple[float, float]

    @property
    def pull(self) -> float:
        """Second less first over both errors added in squares; NaN without an error."""
        error = float(np.hypot(*self.errors))
        return (self.second - self.first) / error if error > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs.

    names         : folders
    groups        : title -> numbers
    chi2, ndf, p_value : of the difference of the scale tables, with both covariances
    shared        : whether they used the same events
    configuration : key, first, second, where they differ
    tables        : both scale tables
    """

    names: tuple[str, str]
    groups: Mapping[str, Sequence[NumberPair]]
    chi2: float
    ndf: int
    p_value: float
    shared: bool
    configuration: tuple[tuple[str, str, str], ...]
    tables: tuple[ScaleTable, ScaleTable]

    @property
    def verdict(self) -> str:
        """In one sentence."""
        return f"Scale tables: χ² = {self.chi2:.1f} for {self.ndf} parameters, {p_text(self.p_value)}."

    def summary_rows(self) -> list[list[str]]:
        """One row a group: numbers, r.m.s. and largest difference in units of the error, and of which."""
        rows = []
        for title, pairs in self.groups.items():
            known = [pair for pair in pairs if np.isfinite(pair.pull)]
            if known:
                pulls = np.array([pair.pull for pair in known])
                worst = known[int(np.argmax(np.abs(pulls)))]
                rms = f"{float(np.sqrt(np.mean(pulls**2))):.2f}"
                rows.append([title, str(len(pairs)), rms, f"{worst.pull:+.1f}", worst.name])
            else:
                rows.append([title, str(len(pairs)), "–", "–", ""])
        return rows


SUMMARY_HEAD: Final = ("", "numbers", "r.m.s. / error", "largest", "of")


def number_rows(pairs: Sequence[NumberPair]) -> list[list[str]]:
    """Cells of `HEAD`."""
    rows = []
    for pair in pairs:
        first, second = (
            _with_error(value, error) for value, error in zip((pair.first, pair.second), pair.errors, strict=True)
        )
        name = f"{pair.name} [{pair.unit}]" if pair.unit else pair.name
        pull = f"{pair.pull:+.2f}" if np.isfinite(pair.pull) else "–"
        rows.append([name, first, second, f"{pair.second - pair.first:+.3g}", pull])
    return rows


def _with_error(value: float, error: float) -> str:
    """A number to two digits of its error."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.6g}"
    decimals = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def comparison_page(found: Comparison) -> str:
    """The comparison as HTML."""
    legend = ("first", "second") if found.names[0] == found.names[1] else found.names
    items: list[Item] = [
        Table(head=SUMMARY_HEAD, rows=found.summary_rows(), words=(0, 4),
              caption=f"First: {found.names[0]}; second: {found.names[1]}. Errors of both are added in squares."),
        Picture(figure=scale_figure(dict(zip(legend, found.tables, strict=True))), caption="Both scale tables."),
    ]  # fmt: skip
    sections = [Section(title="In units of the errors", items=tuple(items))]
    for title, pairs in found.groups.items():
        table = Table(head=HEAD, rows=number_rows(pairs), fold=len(pairs) > LONG, caption=f"{len(pairs)} numbers")
        sections.append(Section(title=title.capitalize(), items=(table,)))
    changed = Table(head=("Key", "First", "Second"), rows=found.configuration, words=(0, 1, 2))
    sections.append(Section(title="Configured differently", items=(changed,) if found.configuration else ()))
    lines = [SHARED] if found.shared else []
    return render("Two runs compared", found.verdict, "plain", sections, headline=lines)


def comparison_lines(found: Comparison, *, everything: bool = False) -> list[str]:
    """The comparison for a terminal.

    everything : all numbers, not only those of each group that are furthest apart
    """
    lines = [f"first: {found.names[0]}", f"second: {found.names[1]}", ""]
    lines += plain_table(SUMMARY_HEAD, found.summary_rows())
    for title, pairs in found.groups.items():
        order = sorted(pairs, key=lambda pair: -abs(np.nan_to_num(pair.pull)))
        shown = list(pairs) if everything else order[:SHOWN]
        of = "" if len(shown) == len(pairs) else f", the {len(shown)} of {len(pairs)} furthest apart"
        lines += ["", f"{title}{of}", *plain_table(HEAD, number_rows(shown))]
    lines += ["", "configured differently:" if found.configuration else "configured alike"]
    lines += [f"  {key}: {a} -> {b}" for key, a, b in found.configuration]
    return [*lines, "", found.verdict.replace("χ²", "chi2"), *([SHARED] if found.shared else [])]
