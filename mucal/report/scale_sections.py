"""Sections about the scale: injected against recovered, mass shifts, the table, the resolution."""

from itertools import pairwise

import numpy as np

from mucal.plot.masses import shift_figure
from mucal.plot.resolution import resolution_figure
from mucal.plot.scale import correlation_figure, scale_figure, standard_errors, whitened_figure
from mucal.report.page import Item, Picture, Section, Table, Text
from mucal.report.run_results import RunResults, events_shown, p_text, probability
from mucal.scale import coherent_shift
from mucal.scale.recovery import Recovery
from mucal.theory import RESONANCES


def recovery_section(recovery: Recovery) -> Section:
    """Injected against recovered, with pulls: the front of a closure test."""
    errors = standard_errors(recovery.recovered)
    rows = []
    for name, unit, factor, pulls in zip(
        ("A", "e", "M"), ("1e-3", "MeV", "1e-5 / GeV"), (1e3, 1e3, 1e5), recovery.pulls, strict=True
    ):
        if not np.isfinite(pulls).any():
            continue
        injected, found = getattr(recovery.injected, name), getattr(recovery.recovered, name)
        rows.append(
            [
                f"{name}  [{unit}]", f"{factor * injected.mean():+.3f}", f"{factor * found.mean():+.3f}",
                f"{factor * np.median(errors[name]):.3f}", f"{np.nanmax(np.abs(pulls)):.2f}",
            ]
        )  # fmt: skip
    averages = [
        [
            f"{pt:g} GeV", f"{1e5 * even:+.2f} ± {1e5 * even_error:.2f}", f"{even / even_error:+.2f}",
            f"{1e5 * odd:+.2f} ± {1e5 * odd_error:.2f}" if odd_error > 0 else "–",
            f"{odd / odd_error:+.2f}" if odd_error > 0 else "–",
        ]
        for pt, even, even_error, odd, odd_error in zip(
            recovery.momenta, recovery.even, recovery.even_error, recovery.odd, recovery.odd_error, strict=True
        )
    ]  # fmt: skip
    free = [name for name, pulls in zip("AeM", recovery.pulls, strict=True) if np.isfinite(pulls).any()]
    return Section(
        title="Injected against recovered",
        items=(
            Text(
                text=f"All parameters together: χ² = {recovery.chi2:.1f} for {recovery.ndf} parameters, "
                f"{p_text(recovery.p_value)}. A pull is (recovered − injected) / error. The parameters are correlated "
                "between bins and with each other, so the pulls of one parameter scatter together and their mean and "
                "width mean little; the whitened pulls, of independent combinations, should have mean 0 and width 1."
            ),
            Table(
                head=["", "injected, mean", "recovered, mean", "error, median", "largest |pull|"],
                rows=rows,
            ),
            Picture(
                figure=scale_figure({"recovered": recovery.recovered}, recovery.injected, parameters=free),
                caption="Scale parameters against eta: injected (line) and recovered (points, statistical errors).",
            ),
            Picture(
                figure=whitened_figure(recovery.whitened),
                caption=f"Whitened pulls: {recovery.ndf} independent combinations of the parameters, with the unit "
                "Gaussian (dashed).",
            ),
            _pull_table(recovery),
            Table(
                head=["at pT =", "A − e/pT, 1e-5", "pull", "M pT, 1e-5", "pull"],
                rows=averages,
                caption="Recovered minus injected relative curvature, averaged over eta: what shifts a mass.",
            ),
        ),
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
            points.name.replace("_", " "), f"{points.chi2_before:.1f}", probability(points.p_before),
            f"{points.chi2_after:.1f}", probability(points.p_after), str(points.ndf),
        ]
        for points in run.shifts.series
    ]  # fmt: skip
    label = RESONANCES[run.fits.resonance].label
    return Section(
        title="Mass shift before and after",
        items=(
            Picture(
                figure=shift_figure(run.shifts, note=f"{label}, {events_shown(run)}"),
                caption="Relative shift of the fitted mass"
                + (", less that of simulation" if run.simulation is not None else " from its reference")
                + f", in {events_shown(run)}. Bars: errors of these fits; band: errors of the table.",
            ),
            Table(
                head=["against", "chi2 before", "p", "chi2 after", "p", "bins"],
                rows=rows,
                caption="The hypothesis that all shifts are zero; after the correction with the table's covariance.",
            ),
        ),
    )


def scale_section(run: RunResults) -> Section:
    """The table: figure, numbers, correlations, what it means at a few momenta."""
    table = run.table
    errors = standard_errors(table)
    free = [name for name in ("A", "e", "M") if np.any(errors[name] > 0)]
    units = {"A": ("A [1e-3]", 1e3), "e": ("e [MeV]", 1e3), "M": ("M [1e-5/GeV]", 1e5)}
    rows = [
        [f"{low:.2g} to {high:.2g}"]
        + [f"{units[n][1] * getattr(table, n)[i]:+.3f} ± {units[n][1] * errors[n][i]:.3f}" for n in free]
        for i, (low, high) in enumerate(zip(table.eta_edges[:-1], table.eta_edges[1:], strict=True))
    ]
    shift = coherent_shift(table)
    coherent = [
        [f"{pt:g} GeV", f"{1e5 * even:+.1f} ± {1e5 * ee:.1f}", f"{1e5 * odd:+.1f} ± {1e5 * oe:.1f}" if oe > 0 else "–"]
        for pt, even, ee, odd, oe in zip(
            shift.pt, shift.even, shift.even_error, shift.odd, shift.odd_error, strict=True
        )
    ]
    pictures: list[Item] = []
    if run.recovery is None:
        pictures.append(
            Picture(
                figure=scale_figure({"": table}, parameters=free),
                caption="Scale parameters against eta with statistical errors.",
            )
        )
    return Section(
        title="Scale table",
        items=(
            Text(
                text=f"From {RESONANCES[table.resonance].name if table.resonance in RESONANCES else table.resonance} "
                f"with muons of {table.pt_range[0]:g} to {table.pt_range[1]:g} GeV: chi2 = {table.chi2:.1f} for "
                f"{table.ndf} degrees of freedom. A corrected curvature is k (1 + A − e k) + q M, k = 1/pT."
            ),
            *pictures,
            Table(head=["eta", *(units[n][0] for n in free)], rows=rows, caption="Values in all bins", fold=True),
            Table(
                head=["at pT =", "A − e/pT, 1e-5", "M pT, 1e-5"],
                rows=coherent,
                caption="Relative curvature correction averaged over eta, with its statistical error.",
            ),
            Picture(figure=correlation_figure(table), caption="Correlations of the parameters."),
        ),
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
                caption="Relative resolution of the curvature, from the widths of the mass peaks.",
            ),
            Text(
                text="; ".join(
                    f"{name}: chi2 = {t.chi2:.1f} for {t.ndf} degrees of freedom" for name, t in tables.items()
                )
            ),
        ),
    )
