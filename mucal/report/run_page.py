"""What a run leaves behind, in the order in which a reader wants to see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.ledger import Ledger
from mucal.massfit import MassFits, SpectrumFit, Status
from mucal.plot.masses import MassShifts, quality_figure, residual_map, shift_figure
from mucal.plot.resolution import resolution_figure
from mucal.plot.scale import correlation_figure, pull_figure, scale_figure, standard_errors
from mucal.plot.spectrum import spectrum
from mucal.report.page import Facts, Item, Picture, Section, Table, Text, Tone, render
from mucal.scale import ResolutionTable, ScaleResiduals, ScaleTable, coherent_shift
from mucal.scale.recovery import Recovery
from mucal.store import Provenance
from mucal.theory import RESONANCES

WORST: Final = 12
THRESHOLD: Final = (
    " A threshold in reconstructed pT by itself moves a peak by a few 1e-4, through the resolution; only the "
    "comparison with simulation above is free of it."
)
VERDICTS: Final = {
    "ok": "Certified: the calibration was written.",
    "not_certified": "Not certified: no calibration was written.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """A finished run.

    title, status, reason : how it ended
    notes                 : what a reader should know
    fits, simulation      : mass fits of the last pass and of simulation
    table, residuals      : the scale table, and its linear system
    resolution, resolution_mc, recovery : where there are any
    shifts                : of events that did not derive the table
    spectra               : name -> fits before and after
    provenance            : configuration, seed, inputs, and the ledgers of all stages
    """

    title: str
    status: str
    reason: str
    notes: tuple[str, ...]
    fits: MassFits
    simulation: MassFits | None
    table: ScaleTable
    residuals: ScaleResiduals
    resolution: ResolutionTable | None
    resolution_mc: ResolutionTable | None
    shifts: MassShifts
    recovery: Recovery | None
    spectra: Mapping[str, tuple[SpectrumFit, SpectrumFit]]
    provenance: Provenance


def run_page(run: RunResults) -> str:
    """The page of a run as HTML."""
    recovery = [] if run.recovery is None else [recovery_section(run.recovery)]
    sections = [
        *recovery,
        shift_section(run),
        scale_section(run),
        spectra_section(run),
        resolution_section(run),
        fits_section(run),
        ledger_section(run.provenance.ledgers),
        provenance_section(run.provenance),
    ]
    tone: Tone = "good" if run.status == "ok" else "bad"
    verdict = VERDICTS.get(run.status, run.status)
    return render(run.title, verdict, tone, sections, headline=headline(run))


def headline(run: RunResults) -> list[str]:
    """What came out, in a few lines."""
    lines = [run.reason] if run.reason else []
    if run.recovery is not None:
        r = run.recovery
        lines.append(f"Recovered against injected: chi2 = {r.chi2:.1f} for {r.ndf} parameters, {p_text(r.p_value)}.")
    for points in run.shifts.series:
        against = points.name.replace("_", " ")
        lines.append(
            f"Mass shift against {against}, on {events_shown(run)}: zero everywhere with {p_text(points.p_before)} "
            f"before and {p_text(points.p_after)} after."
        )
    return [*lines, *(f"{note[:1].upper()}{note[1:]}." for note in run.notes)]


def events_shown(run: RunResults) -> str:
    """Which events the shifts are of."""
    general = run.provenance.configuration.get("analysis", {})
    everything = isinstance(general, Mapping) and general.get("derive_fraction") == 1.0
    return "the same events that derived the table" if everything else "events not used to derive"


def p_text(p: float) -> str:
    """A probability in a sentence."""
    return "p < 1e-20" if p < 1e-20 else f"p = {p:.2g}"


def probability(p: float) -> str:
    """A probability in two digits; what is not worth telling from zero is a bound."""
    return "< 1e-20" if p < 1e-20 else f"{p:.2g}"


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
                f"{factor * np.median(errors[name]):.3f}", f"{np.nanmean(pulls):+.2f}",
                f"{np.nanstd(pulls, ddof=1):.2f}", f"{np.nanmax(np.abs(pulls)):.2f}",
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
    pulls = {n: p[np.isfinite(p)] for n, p in zip("AeM", recovery.pulls, strict=True) if np.isfinite(p).any()}
    return Section(
        title="Injected against recovered",
        items=(
            Text(
                text=f"All parameters together: chi2 = {recovery.chi2:.1f} for {recovery.ndf}, "
                f"{p_text(recovery.p_value)}. A pull is (recovered − injected) / error; its mean should be 0, "
                "its width 1."
            ),
            Table(
                head=["", "injected, mean", "recovered, mean", "error, median", "mean pull", "pull width", "worst"],
                rows=rows,
            ),
            Picture(
                figure=scale_figure({"recovered": recovery.recovered}, recovery.injected, parameters=tuple(pulls)),
                caption="Scale parameters against eta: injected (line) and recovered (points, statistical errors).",
            ),
            Picture(figure=pull_figure(pulls), caption="Pulls of the parameters, with the unit Gaussian (dashed)."),
            Table(
                head=["at pT =", "A − e/pT, 1e-5", "pull", "M pT, 1e-5", "pull"],
                rows=averages,
                caption="Recovered minus injected relative curvature, averaged over eta: what shifts a mass.",
            ),
        ),
    )


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


def spectra_section(run: RunResults) -> Section:
    """Spectra for people, before and after."""
    items: list[Item] = []
    rows = []
    for name, pair in run.spectra.items():
        for when, fit in zip(("before", "after"), pair, strict=True):
            items.append(
                Picture(figure=spectrum(fit, label=f"{name}, {when}"), caption=f"{name}, {when} the correction.")
            )
            for i, state in enumerate(fit.states):
                rows.append(_mass_row(name, when, fit, i, state))
    if rows:
        items.append(
            Table(
                head=["spectrum", "", "state", "mass, MeV", "minus PDG, MeV", "relative, 1e-3", "p-value"],
                rows=rows,
                words=(0, 1, 2),
                caption="Fitted masses against the Review of Particle Physics; statistical errors only."
                + ("" if run.simulation is None else THRESHOLD),
            )
        )
    return Section(title="Spectra", items=tuple(items))


def _mass_row(name: str, when: str, fit: SpectrumFit, i: int, state: str) -> list[str]:
    if not fit.valid:
        return [name, when, state, "–", "–", "–", Status(fit.status).name.lower()]
    mass, error, reference = fit.masses[i], fit.mass_errors[i], fit.reference[i]
    return [
        name, when, state, f"{1e3 * mass:.2f} ± {1e3 * error:.2f}", f"{1e3 * (mass - reference):+.2f}",
        f"{1e3 * (mass / reference - 1):+.3f}", probability(fit.quality.p_value),
    ]  # fmt: skip


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


def fits_section(run: RunResults) -> Section:
    """How the mass fits ended, where the table does not describe them, and the worst bins."""
    pulls = run.residuals.pull
    histograms = run.fits.histograms
    worst = np.argsort(-np.abs(np.nan_to_num(pulls)))[:WORST]
    rows = [
        [
            *_edges_of(histograms.eta_edges, histograms.pt_edges, run.residuals.index[i]),
            f"{1e3 * 0.5 * run.residuals.y[i]:+.2f}", f"{1e3 * 0.5 * run.residuals.prediction[i]:+.2f}",
            f"{pulls[i]:+.2f}",
        ]
        for i in worst
    ]  # fmt: skip
    return Section(
        title="Mass fits",
        items=(
            Picture(
                figure=quality_figure(run.fits),
                caption="How the fits of the kinematic bins ended, and the goodness of fit of those that converged "
                "(dashed: uniform).",
            ),
            Picture(
                figure=residual_map(run.residuals.index, pulls, histograms.eta_edges, abs_eta=histograms.abs_eta),
                caption="Residuals of the mass shifts after the table, summed over pT; ±1 is expected.",
            ),
            Table(
                head=["eta of mu+", "pT of mu+", "eta of mu−", "pT of mu−", "shift, 1e-3", "table, 1e-3", "pull"],
                rows=rows,
                words=(0, 1, 2, 3),
                caption=f"The {len(rows)} bins furthest from the table, of {pulls.size}",
                fold=True,
            ),
        ),
    )


def _edges_of(eta: np.ndarray, pt: np.ndarray, index: np.ndarray) -> list[str]:
    edges = (eta, pt, eta, pt)
    return [f"{e[i]:g} to {e[i + 1]:g}" for e, i in zip(edges, index, strict=True)]


def ledger_section(ledgers: Mapping[str, Ledger]) -> Section:
    """What was read, used and rejected, stage by stage."""
    rows = [[stage, ledger.line()] for stage, ledger in ledgers.items()]
    return Section(
        title="Ledger", items=(Table(head=["stage", "pairs or bins"], rows=rows, words=(0, 1)),) if rows else ()
    )


def provenance_section(provenance: Provenance) -> Section:
    """With what it was made."""
    facts = {"mucal": provenance.mucal, "seed": str(provenance.seed)}
    facts |= {f"input {name}": f"sha256 {digest}" for name, digest in provenance.inputs.items()}
    for section, values in provenance.configuration.items():
        facts |= _flat(section, values)
    return Section(title="Provenance", items=(Facts(facts=facts, small=True),))


def _flat(name: str, value: object) -> dict[str, str]:
    """Dotted names and values of nested tables."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _flat(f"{name}.{key}", inner).items()}
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        return {k: v for i, inner in enumerate(value) for k, v in _flat(f"{name}.{i}", inner).items()}
    return {name: _short(value)}


def _short(value: object, most: int = 400) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]} …"
