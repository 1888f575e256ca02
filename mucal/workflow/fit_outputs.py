"""What a fit leaves behind: the result, figures, HEPData tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.io.hepdata import breakdown_table, matrix_parameters, matrix_table, nuisance_table, write_hepdata
from mucal.likelihood import Prediction, predict_postfit, predict_prefit, project
from mucal.plot.likelihood import correlations, most_correlated, pulls_and_impacts
from mucal.plot.likelihood_bins import fitted_bins
from mucal.plot.likelihood_scans import contour_figure, parts_figure, scan_figure, shares_figure
from mucal.plot.style import save
from mucal.report.fit_sections import provenance_section
from mucal.report.likelihood_sections import (
    bins_section,
    correlations_section,
    estimates_section,
    impacts_section,
    likelihood_section,
    measurement_section,
)
from mucal.report.page import Section, render
from mucal.store import replace_file, write_bytes
from mucal.units import MeV
from mucal.wmass.measurement import Measurement
from mucal.wmass.slices import DIFFERENCES
from mucal.workflow.fit import FitRun, Fitted
from mucal.workflow.fit_scans import Drawn
from mucal.workflow.fit_spectrum import BosonShares, shares_grid
from mucal.workflow.fit_table import headline, rounded, safe_name
from mucal.workflow.measurement_table import measurement_grids

ENDINGS: Final = (".pdf", ".png")
Predictions = tuple[Prediction, Prediction | None, FloatArray]
"""Before and after the fit (None if blinded), and counts."""


def write_outputs(
    run: FitRun,
    out: str | None = None,
    figures: str | None = None,
    hepdata: str | None = None,
    page: str | None = None,
    *,
    measurement: Measurement | None = None,
    drawn: Drawn | None = None,
    spectrum: BosonShares | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write what is asked for; the paths written.

    measurement, drawn, spectrum : what the page and the figures show beside the fit
    out     : result file
    figures : folder
    hepdata : folder
    page    : HTML file

    Raises FileExistsError unless `overwrite`.
    """
    written = []
    if out:
        written.append(run.fitted.save(out, overwrite=overwrite))
    if hepdata:
        written += write_tables(run.fitted, hepdata, overwrite=overwrite)
    if figures:
        for name, figure in (*fit_figures(run), *more_figures(run, measurement, drawn, spectrum)):
            for ending in ENDINGS:
                path = Path(figures) / f"{name}{ending}"
                written.append(replace_file(path, lambda p, f=figure: save(f, p), overwrite=overwrite))  # type: ignore[misc]
    if page:
        more = more_sections(run, measurement, drawn, spectrum)
        written.append(write_page(run, page, more, overwrite=overwrite))
    return written


def write_page(run: FitRun, path: str | Path, more: Sequence[Section] = (), *, overwrite: bool = False) -> Path:
    """The page of a fit: estimates, impacts, correlations, bins, provenance.

    more : sections after the estimates
    """
    fitted = run.fitted
    result = fitted.result
    values = [(name, *rounded(result.value(name), result.error(name))) for name in result.pois]
    channels = [
        (before, None, counts) if after is None else (after, before, counts)
        for _, _, (before, after, counts) in _all_predictions(run)
    ]
    sections = [
        estimates_section(result, values),
        *more,
        *(
            impacts_section(result, fitted.pulls, fitted.constraints, one, other)
            for one, other in zip(fitted.nominal, fitted.responses, strict=True)
        ),
        bins_section(channels),
        correlations_section(result),
        provenance_section(fitted.provenance),
    ]
    lines = list(headline(fitted))
    page = render(f"Template fit of {fitted.data}", "Certified: the fit converged.", "good", sections, headline=lines)
    return write_bytes(path, page.encode(), overwrite=overwrite)


def more_sections(
    run: FitRun, measurement: Measurement | None, drawn: Drawn | None, spectrum: BosonShares | None = None
) -> list[Section]:
    """What was measured beside the fit: tables, masses of parts, the boson's pT, the profile likelihood."""
    sections = []
    if measurement is not None:
        grids = measurement_grids(measurement, blinded=bool(run.fitted.result.blinded))
        pictures = [(figure, f"Masses by {name}, less their mean; the band is the error of the mean.")
                    for name, figure in _part_figures(measurement)]  # fmt: skip
        sections.append(measurement_section([(g.title, g.head, g.rows, g.caption) for g in grids], pictures))
    if spectrum is not None:
        grid = shares_grid(spectrum)
        figures = [(figure, grid.caption) for _, figure in _spectrum_figures(spectrum)]
        section = measurement_section([(grid.title, grid.head, grid.rows, grid.caption)], figures)
        sections.append(replace(section, title=grid.title))
    if drawn is not None:
        sections.append(likelihood_section([figure for _, figure in _drawn_figures(drawn)]))
    return sections


def more_figures(
    run: FitRun, measurement: Measurement | None, drawn: Drawn | None, spectrum: BosonShares | None = None
) -> Iterator[tuple[str, Figure]]:
    """Name -> figure of what was measured beside the fit."""
    if spectrum is not None:
        yield from _spectrum_figures(spectrum)
    if measurement is not None:
        yield from ((f"masses_{name}", figure) for name, figure in _part_figures(measurement))
    if drawn is not None:
        yield from _drawn_figures(drawn)


def _part_figures(found: Measurement) -> Iterator[tuple[str, Figure]]:
    for name, parts in zip(found.splits, found.parts, strict=True):
        if name not in DIFFERENCES:
            errors = np.sqrt(np.diag(parts.cov))
            note = f"{len(parts.names)} masses, p = {100 * parts.p_value:.3g} %"
            values = (parts.values - parts.mean) / MeV
            yield name, parts_figure(parts.names, values, errors / MeV, parts.error / MeV, note=note)


def _spectrum_figures(found: BosonShares) -> Iterator[tuple[str, Figure]]:
    """One for each charge, or for the one boson."""
    edges = np.array(found.channel.edges[-1])
    parts = found.channel.n_bins // (edges.size - 1)
    prior = np.sqrt(np.diag(found.muons.prior))
    both = {"muons": found.muons} | ({} if found.pairs is None else {"pairs": found.pairs})
    for i in range(parts):
        rows = slice(i * (edges.size - 1), (i + 1) * (edges.size - 1))
        shares = {name: (one.shares[rows], one.errors[rows]) for name, one in both.items()}
        name = "boson_pt" if parts == 1 else f"boson_pt_{('minus', 'plus')[i]}"
        yield name, shares_figure(edges, found.muons.before[rows], prior[rows], shares)


def _drawn_figures(drawn: Drawn) -> Iterator[tuple[str, Figure]]:
    for one, ends, error in drawn.scans:
        yield f"scan_{safe_name(one.parameter)}", scan_figure(one, ends, error)
    for both in drawn.contours:
        yield "_".join(("contour", *map(safe_name, both.parameters))), contour_figure(both)


def write_tables(fitted: Fitted, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """The HEPData tables of a fit: nuisances, breakdowns, covariance and correlation."""
    names = matrix_parameters(fitted.result, fitted.nominal)
    tables = [
        nuisance_table(fitted.result, fitted.pulls, fitted.constraints, fitted.nominal, fitted.responses),
        *(breakdown_table(one, other) for one, other in zip(fitted.nominal, fitted.responses, strict=True)),
        matrix_table(fitted.result, names, "covariance"),
        matrix_table(fitted.result, names, "correlation"),
    ]
    comment = f"A template fit of {fitted.data} by mucal {__version__}; {fitted.result.expected.size} bins."
    return write_hepdata(folder, tables, comment=comment, overwrite=overwrite)


def fit_figures(run: FitRun) -> Iterator[tuple[str, Figure]]:
    """Name -> figure: pulls and impacts of each parameter of interest, correlations, the bins of every channel.

    Bins after the fit would betray what is blinded: those before the fit are shown instead.
    """
    fitted = run.fitted
    for nominal, response in zip(fitted.nominal, fitted.responses, strict=True):
        figure = pulls_and_impacts(
            fitted.result, fitted.pulls, fitted.constraints, nominal, response, note=f"fit of {fitted.data}"
        )
        yield f"impacts_{safe_name(nominal.poi)}", figure
    yield "correlations", correlations(fitted.result, most_correlated(fitted.result))
    for channel, axes, (before, after, counts) in _all_predictions(run):
        note = channel + ("   before the fit: it is blinded" if after is None else "")
        shown, compared = (before, None) if after is None else (after, before)
        name = "_".join(safe_name(part) for part in ("bins", channel, *axes))
        yield name, fitted_bins(shown, counts, before=compared, note=note)


def _all_predictions(run: FitRun) -> Iterator[tuple[str, tuple[str, ...], Predictions]]:
    """Channel, axes and predictions: of all bins (no axes named), and of channels of several axes onto each."""
    for channel in run.found.model.channels:
        yield channel.name, (), predictions(run, channel.name)
        if len(channel.axes) > 1:
            for axis in channel.axes:
                yield channel.name, (axis,), predictions(run, channel.name, (axis,))


def predictions(run: FitRun, channel: str, axes: tuple[str, ...] | None = None) -> Predictions:
    """Expected events of a channel before and after the fit (None if blinded), and its counts (R,).

    axes : onto which it is projected; all by default
    """
    model, result = run.found.model, run.estimates
    projection = project(model, channel, axes)
    before = predict_prefit(model, projection, result.per)
    after = None
    if not run.fitted.result.blinded:
        after = predict_postfit(model, run.observation, result, projection)
    return before, after, projection.sum(run.observation.counts)
