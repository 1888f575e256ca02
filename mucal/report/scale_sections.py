"""Sections about the scale: injected against recovered, mass shifts, the table."""

from itertools import pairwise
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.globalcor.corrections import PRIOR_DRIVEN
from mucal.plot.masses import shift_figure
from mucal.plot.scale import correlation_figure, scale_figure, standard_errors, whitened_figure
from mucal.report.page import Item, Picture, Section, Table, Text
from mucal.report.run_results import (
    RunResults,
    events_shown,
    p_text,
    probability,
    resonance_name,
    variable_name,
)
from mucal.scale import ScaleTable, WeakModes, coherent_shift, weak_modes
from mucal.scale.recovery import Recovery
from mucal.theory import RESONANCES

LEFT: Final = "Injected is here what muons without noise still ask for after the global corrections. "


def recovery_section(recovery: Recovery, *, after_corrections: bool = False) -> Section:
    """Injected against recovered, with pulls: the front of a closure test of dimuons.

    after_corrections : what was injected is what global corrections left
    """
    errors = standard_errors(recovery.recovered)
    rows = []
    for name, unit, factor, pulls in zip(
        ("A", "e", "M"), ("10⁻³", "MeV", "10⁻⁵/GeV"), (1e3, 1e3, 1e5), recovery.pulls, strict=True
    ):
        if not np.isfinite(pulls).any():
            continue
        injected, found = getattr(recovery.injected, name), getattr(recovery.recovered, name)
        rows.append(
            [
                f"{name} [{unit}]", f"{factor * injected.mean():+.3f}", f"{factor * found.mean():+.3f}",
                f"{factor * np.median(errors[name]):.3f}", f"{np.nanmax(np.abs(pulls)):.2f}",
            ]
        )  # fmt: skip
    averages = [
        [
            _momentum(pt, recovery.recovered),
            f"{1e5 * even:+.2f} ± {1e5 * even_error:.2f}", f"{even / even_error:+.2f}",
            *([f"{1e5 * best:+.2f} ± {1e5 * best_error:.2f}", f"{chi2:.1f} ({p_text(p_value)})"]
              if recovery.bins_ndf else ["–", "–"]),
            f"{1e5 * odd:+.2f} ± {1e5 * odd_error:.2f}" if odd_error > 0 else "–",
            f"{odd / odd_error:+.2f}" if odd_error > 0 else "–",
        ]
        for pt, even, even_error, best, best_error, chi2, p_value, odd, odd_error in zip(
            recovery.momenta, recovery.even, recovery.even_error, recovery.best, recovery.best_error,
            recovery.bins_chi2, recovery.bins_p_value, recovery.odd, recovery.odd_error, strict=True,
        )
    ]  # fmt: skip
    free = [name for name, pulls in zip("AeM", recovery.pulls, strict=True) if np.isfinite(pulls).any()]
    return Section(
        title="Scale after the global corrections" if after_corrections else "Injected against recovered",
        items=(
            Text(
                text=(LEFT if after_corrections else "")
                + f"All parameters together: χ² = {recovery.chi2:.1f} for {recovery.ndf} parameters, "
                f"{p_text(recovery.p_value)}. A pull is (recovered − injected) / error. The parameters are correlated "
                "between bins and with each other, so the pulls of one parameter scatter together and their mean and "
                "width mean little; the whitened pulls, of independent combinations, should have mean 0 and width 1."
            ),
            Table(
                head=["Parameter", "Mean injected", "Mean recovered", "Median error", "Largest |pull|"],
                rows=rows,
            ),
            Picture(
                figure=scale_figure({"recovered": recovery.recovered}, recovery.injected, parameters=free),
                caption="Scale parameters against η: injected (line) and recovered (points, statistical errors).",
            ),
            Picture(
                figure=whitened_figure(recovery.whitened),
                caption=f"Whitened pulls: {recovery.ndf} independent combinations of the parameters, with the unit "
                "Gaussian (dashed).",
            ),
            _pull_table(recovery),
            Table(
                head=[
                    "At pT",
                    "A − e/pT [10⁻⁵]",
                    "Pull",
                    "Its best-known mean",
                    f"χ² of {recovery.bins_ndf} bins",
                    "M pT [10⁻⁵]",
                    "Pull",
                ],
                rows=averages,
                caption="Recovered minus injected relative curvature, averaged over η: what shifts a mass. The "
                "best-known mean weighs the bins of A − e/pT by their covariance, and χ² is theirs against zero."
                + _beyond(recovery.momenta, recovery.recovered),
            ),
        ),
    )


def _momentum(pt: float, table: ScaleTable) -> str:
    low, high = table.pt_range
    return f"{pt:g} GeV" if low <= pt < high else f"{pt:g} GeV, extrapolated"


def _beyond(momenta: FloatArray, table: ScaleTable) -> str:
    """What to say of rows beyond the momenta of the table."""
    low, high = table.pt_range
    if np.all((momenta >= low) & (momenta < high)):
        return ""
    return (
        f" The table was derived from muons of {low:g} to {high:g} GeV; rows marked extrapolated show "
        "what its parameters would say there."
    )


def _pull_table(recovery: Recovery) -> Table:
    """Each parameter's own pull, for who looks for one bad bin."""
    edges = recovery.recovered.eta_edges
    pulls = {n: p for n, p in zip("AeM", recovery.pulls, strict=True) if np.isfinite(p).any()}
    rows = [
        [f"{low:.2g} to {high:.2g}", *(f"{p[i]:+.2f}" if np.isfinite(p[i]) else "fixed" for p in pulls.values())]
        for i, (low, high) in enumerate(pairwise(edges))
    ]
    return Table(head=["η", *pulls], rows=rows, caption="Pulls of single parameters (correlated)", fold=True)


def shift_section(run: RunResults) -> Section:
    """Mass shift before and after, on events that did not derive the table."""
    rows = [
        [
            variable_name(points.name), f"{points.chi2_before:.1f}", probability(points.p_before),
            f"{points.chi2_after:.1f}", probability(points.p_after), str(points.ndf),
        ]
        for points in run.shifts.series
    ]  # fmt: skip
    label = RESONANCES[run.fits.resonance].label
    return Section(
        title="Mass shift before and after correction",
        items=(
            Picture(
                figure=shift_figure(run.shifts, note=f"{label}, {events_shown(run)}"),
                caption="Relative shift of the fitted mass"
                + (", less that of simulation" if run.beside_simulation else " from its reference")
                + f", in {events_shown(run)}. Bars: errors of these fits; band: errors of the table.",
            ),
            Table(
                head=["Against", "χ² before", "p", "χ² after", "p", "Bins"],
                rows=rows,
                caption="Test of no shift anywhere; after the correction with the covariance of the table.",
            ),
        ),
    )


def prior_driven(table: ScaleTable) -> dict[str, int]:
    """Parameter -> number of eta bins in which its error is nearly that of its prior; those with one or more."""
    configuration = table.provenance.configuration
    priors = configuration.get("scale", configuration).get("prior", {})
    errors = standard_errors(table)
    counts = {name: int(np.sum(errors[name] > PRIOR_DRIVEN * width)) for name, width in priors.items()}
    return {name: count for name, count in counts.items() if count}


def prior_line(table: ScaleTable) -> list[str]:
    """Which parameters say more of their prior than of the masses, in a sentence; empty where none does."""
    found = [f"{name} ({count} of {table.n_bins} bins)" for name, count in prior_driven(table).items()]
    if not found:
        return []
    verb, whose = ("says", "its") if len(found) == 1 else ("say", "their")
    return [
        f"{' and '.join(found)} {verb} more of {whose} prior than of the masses (error above {PRIOR_DRIVEN:g} of it)"
    ]


LEADING: Final = 4
ENOUGH: Final = 90.0
"""Parameters of a weak combination are named until they hold this share, percent, and no more than `LEADING`."""


def weak_rows(modes: WeakModes) -> list[list[str]]:
    """One row a weak combination: eigenvalue, shares of A, e and M, and its leading parameters with their shares."""
    family = np.array([name[0] for name in modes.names])
    rows = []
    for value, vector in zip(modes.eigenvalues, modes.eigenvectors.T, strict=True):
        percent = 100.0 * vector**2
        order = np.argsort(-percent, kind="stable")
        named = min(LEADING, 1 + int(np.searchsorted(np.cumsum(percent[order]), ENOUGH)))
        leading = [f"{modes.names[j]} {percent[j]:.0f} %" for j in order[:named]]
        rows.append([f"{value:.2f}", *(f"{percent[family == n].sum():.0f} %" for n in "AeM"), ", ".join(leading)])
    return rows


def _weak_table(table: ScaleTable) -> Table:
    modes = weak_modes(table)
    return Table(
        head=["", "Eigenvalue", "A", "e", "M", "Mostly"],
        rows=[[str(i + 1), *cells] for i, cells in enumerate(weak_rows(modes))],
        caption=f"The {modes.eigenvalues.size} weakest combinations: eigenvectors of the correlation matrix, of "
        f"condition number {modes.condition_number:.3g}; eigenvalue 1 where uncorrelated; shares in squares",
        words=(5,),
        fold=True,
    )


def scale_section(run: RunResults) -> Section:
    """The table: figure, numbers, correlations, what it means at a few momenta."""
    table = run.table
    errors = standard_errors(table)
    free = [name for name in ("A", "e", "M") if np.any(errors[name] > 0)]
    units = {"A": ("A [10⁻³]", 1e3), "e": ("e [MeV]", 1e3), "M": ("M [10⁻⁵/GeV]", 1e5)}
    rows = [
        [f"{low:.2g} to {high:.2g}"]
        + [f"{units[n][1] * getattr(table, n)[i]:+.3f} ± {units[n][1] * errors[n][i]:.3f}" for n in free]
        for i, (low, high) in enumerate(zip(table.eta_edges[:-1], table.eta_edges[1:], strict=True))
    ]
    shift = coherent_shift(table)
    coherent = [
        [
            _momentum(pt, table),
            f"{1e5 * even:+.1f} ± {1e5 * ee:.1f}",
            f"{1e5 * odd:+.1f} ± {1e5 * oe:.1f}" if oe > 0 else "–",
        ]
        for pt, even, ee, odd, oe in zip(
            shift.pt, shift.even, shift.even_error, shift.odd, shift.odd_error, strict=True
        )
    ]
    pictures: list[Item] = []
    if run.recovery is None:
        pictures.append(
            Picture(
                figure=scale_figure({"": table}, parameters=free),
                caption="Scale parameters against η with statistical errors.",
            )
        )
    return Section(
        title="Scale table",
        items=(
            Text(
                text=f"From {resonance_name(table.resonance)} with muons of {table.pt_range[0]:g} to "
                f"{table.pt_range[1]:g} GeV: χ² = {table.chi2:.1f} for {table.ndf} degrees of freedom. "
                "A corrected curvature is k (1 + A − e k) + q M, k = 1/pT."
                + "".join(f" {line}." for line in prior_line(table))
            ),
            *pictures,
            Table(head=["η", *(units[n][0] for n in free)], rows=rows, caption="Values in all bins", fold=True),
            Table(
                head=["At pT", "A − e/pT [10⁻⁵]", "M pT [10⁻⁵]"],
                rows=coherent,
                caption="Relative curvature correction averaged over η, with its statistical error."
                + _beyond(shift.pt, table),
            ),
            Picture(
                figure=correlation_figure(table),
                caption="Correlations of the parameters, a block each, with the bins of η along both axes.",
            ),
            _weak_table(table),
        ),
    )
