"""Sections about what stands behind the scale: spectra, mass fits, ledger, provenance."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.ledger import Ledger
from mucal.massfit import MassFits, SpectrumFit, Status
from mucal.massfit.goodness import uniformity
from mucal.plot.mass_bins import bins_figure
from mucal.plot.masses import TRIED, quality_figure, residual_map
from mucal.plot.spectrum import spectrum
from mucal.report.page import Facts, Item, Picture, Section, Table, Text
from mucal.report.run_results import RunResults, p_text, probability, resonance_name
from mucal.store import Provenance

WORST: Final = 20
DRAWN: Final = 6
"""Of these, drawn at once; the others unfold."""
THRESHOLD: Final = (
    " A threshold in reconstructed pT by itself moves a peak by a few 10⁻⁴, through the resolution, in data and "
    "simulation alike: what should vanish is data minus simulation."
)
MERGED: Final = "a bin that was merged with neighbours in pT stands with the edges of its fullest cell"
SIMULATED: Final = (
    " Only data: under the peaks of simulation stands the background expected from data, which does not fluctuate, so "
    "that the probabilities of its fits are not uniform."
)


def spectra_section(run: RunResults) -> Section:
    """Spectra for people, before and after."""
    items: list[Item] = []
    rows = []
    simulated = any(fits.simulation is not None for fits in run.spectra.values())
    for name, fits in run.spectra.items():
        for when, fit in (("before", fits.before), ("after", fits.after)):
            items.append(
                Picture(figure=spectrum(fit, label=f"{name}, {when}"), caption=f"{name}, {when} the correction.")
            )
            rows += [_mass_row(name, when, fit, i, fits.simulation) for i in range(len(fit.states))]
        if fits.simulation is not None:
            rows += [
                _mass_row(name, "simulation", fits.simulation, i, None) for i in range(len(fits.simulation.states))
            ]
    if rows:
        head = ["Spectrum", "State", "Mass [MeV]", "− PDG [MeV]", "− PDG [10⁻³]", "p-value"]
        items.append(
            Table(
                head=[*head, "− simulation [10⁻³]"] if simulated else head,
                rows=rows if simulated else [row[: len(head)] for row in rows],
                words=(0, 1),
                caption="Fitted masses against the Review of Particle Physics; statistical errors only."
                + (THRESHOLD if simulated else ""),
            )
        )
    return Section(title="Spectra", items=tuple(items))


def _mass_row(name: str, when: str, fit: SpectrumFit, i: int, simulation: SpectrumFit | None) -> list[str]:
    state = resonance_name(fit.states[i])
    if not fit.valid:
        return [f"{name}, {when}", state, "–", "–", "–", Status(fit.status).name.lower(), ""]
    mass, error, reference = fit.masses[i], fit.mass_errors[i], fit.reference[i]
    beside = ""
    if simulation is not None and simulation.valid:
        difference, spread = mass - simulation.masses[i], np.hypot(error, simulation.mass_errors[i])
        beside = f"{1e3 * difference / reference:+.3f} ± {1e3 * spread / reference:.3f}"
    return [
        f"{name}, {when}", state, f"{1e3 * mass:.2f} ± {1e3 * error:.2f}", f"{1e3 * (mass - reference):+.2f}",
        f"{1e3 * (mass / reference - 1):+.3f}", probability(fit.quality.p_value), beside,
    ]  # fmt: skip


def fits_section(run: RunResults) -> Section:
    """How the mass fits ended, where the table does not describe them, and the worst bins."""
    histograms = run.fits.histograms
    worst = np.argsort(-np.abs(np.nan_to_num(run.residuals.pull)))[:WORST]
    return Section(
        title="Mass fits",
        items=(
            Picture(
                figure=quality_figure(run.fits),
                caption="How the fits of the kinematic bins ended, and the goodness of fit of those that converged "
                f"(dashed: uniform; {_uniform(run.fits)})." + (SIMULATED if run.simulation is not None else ""),
            ),
            *(Text(text=text) for text in fit_lines(run)),
            Picture(
                figure=residual_map(
                    run.residuals.index, run.residuals.pull, histograms.eta_edges, abs_eta=histograms.abs_eta
                ),
                caption="Residuals of the mass shifts after the table, summed over pT; ±1 is expected.",
            ),
            *_pictures(run, worst),
            _table(run, worst),
        ),
    )


def _uniform(fits: MassFits) -> str:
    """How well the probabilities agree with a uniform distribution."""
    known = fits.p_value[np.isin(fits.status, TRIED) & np.isfinite(fits.p_value)]
    if known.size == 0:
        return "none is known"
    return f"Kolmogorov-Smirnov test of {known.size}: {p_text(uniformity(known))}, where above 0.01 is expected"


def fit_lines(run: RunResults) -> list[str]:
    """What was done for fits that failed, and what simulation makes of the errors."""
    found = []
    for sample, fits in (("data", run.fits), ("simulation", run.simulation)):
        lines = [] if fits is None else fits.remedy_lines()
        found += [f"Tried again in {sample}: {'; '.join(lines)}."] if lines else []
    if run.residuals.simulated_share > 0:
        found.append(
            f"Simulation makes {run.residuals.simulated_share:.0%} of the variance of a mass shift (median of the "
            f"{run.residuals.y.size} bins), the data the rest."
        )
    return found


def _pictures(run: RunResults, worst: IntArray) -> list[Picture]:
    """The spectra of the worst bins; none of a run by a version that did not keep what the fits expect."""
    if run.fits.expected is None or worst.size == 0:
        return []
    row_of = {tuple(index): row for row, index in enumerate(run.fits.histograms.index.tolist())}
    rows = np.array([row_of[tuple(index)] for index in run.residuals.index[worst].tolist()])
    texts = [
        f"pull {run.residuals.pull[i]:+.1f}\n{p_text(run.fits.p_value[row])}".replace("-", "−")
        for i, row in zip(worst, rows, strict=True)
    ]
    drawn = Picture(
        figure=bins_figure(run.fits, rows[:DRAWN], texts[:DRAWN]),
        caption=f"The {min(DRAWN, rows.size)} bins furthest from the table: data, fit and background (dashed), below "
        "(data − fit)/√fit of mass bins merged to 5 expected events. In the corner: the pull of the mass shift against "
        f"the table, and the goodness of fit. Above it the bin; {MERGED}.",
    )
    if rows.size <= DRAWN:
        return [drawn]
    rest = Picture(
        figure=bins_figure(run.fits, rows[DRAWN:], texts[DRAWN:]), fold=True,
        caption=f"The spectra of the next {rows.size - DRAWN}",
    )  # fmt: skip
    return [drawn, rest]


def _table(run: RunResults, worst: IntArray) -> Table:
    """Where the worst bins are, and what they found."""
    histograms, left = run.fits.histograms, run.residuals
    rows = [
        [
            *_edges_of(histograms.eta_edges, histograms.pt_edges, left.index[i]), f"{1e3 * 0.5 * left.y[i]:+.2f}",
            f"{1e3 * 0.5 * left.prediction[i]:+.2f}", f"{left.pull[i]:+.2f}",
        ]
        for i in worst
    ]  # fmt: skip
    return Table(
        head=["η of μ⁺", "pT of μ⁺ [GeV]", "η of μ⁻", "pT of μ⁻ [GeV]", "Shift [10⁻³]", "Table [10⁻³]", "Pull"],
        rows=rows,
        words=(0, 1, 2, 3),
        caption=f"The {len(rows)} bins furthest from the table, of {left.y.size}; {MERGED}",
        fold=True,
    )


def _edges_of(eta: FloatArray, pt: FloatArray, index: IntArray) -> list[str]:
    edges = (eta, pt, eta, pt)
    return [f"{e[i]:g} to {e[i + 1]:g}" for e, i in zip(edges, index, strict=True)]


def ledger_section(ledgers: Mapping[str, Ledger]) -> Section:
    """What was read, used and rejected, stage by stage."""
    rows = [[stage, ledger.line()] for stage, ledger in ledgers.items()]
    return Section(
        title="Ledger", items=(Table(head=["Stage", "Pairs or bins"], rows=rows, words=(0, 1)),) if rows else ()
    )


def provenance_section(provenance: Provenance) -> Section:
    """With what it was made."""
    facts = {"mucal": provenance.mucal, "seed": str(provenance.seed)}
    facts |= {f"input {name}": f"sha256 {digest}" for name, digest in provenance.inputs.items()}
    for section, values in provenance.configuration.items():
        facts |= flattened(section, values)
    return Section(title="Provenance", items=(Facts(facts=facts, small=True),))


def flattened(name: str, value: object) -> dict[str, str]:
    """Dotted names and values of nested tables."""
    start = f"{name}." if name else ""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in flattened(f"{start}{key}", inner).items()}
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        return {k: v for i, inner in enumerate(value) for k, v in flattened(f"{start}{i}", inner).items()}
    return {name: _short(value)}


def _short(value: object, most: int = 400) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]} …"
