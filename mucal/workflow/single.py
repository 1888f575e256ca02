"""Single stages, as the commands call them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mucal.arrays import same_edges
from mucal.errors import ConfigError, InputError, NotCertified
from mucal.io import check_dimuons, write_dimuons
from mucal.ledger import Ledger
from mucal.massfit import MassFits, MassHistograms, window_warnings
from mucal.scale import Closure, ScaleTable, close
from mucal.store import Provenance
from mucal.track import Dimuons
from mucal.workflow.chain import inputs_of, ledgers_of, solve, sources
from mucal.workflow.config import Analysis
from mucal.workflow.generated import GeneratedSource
from mucal.workflow.mass_fits import fit_histograms, fit_simulated_histograms, quality_line
from mucal.workflow.outcome import weighted_mean
from mucal.workflow.passes import Source, collect
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.simulated_spectra import fine_binning, fit_spectra, require_simulation


def fit_masses(analysis: Analysis, *, sample: str = "data", tell: Tell = silent) -> MassFits:
    """Mass fits of all events of the data or the simulation of an analysis, with their provenance.

    Raises ConfigError for simulation where the model is "morphing": it is the signal of the fits of data.
    """
    source = _source(analysis, sample)
    found = collect(source, analysis.bins.binning(), tell=tell, stage="massfit")
    fits = _fitted(analysis, sample, found.derive, tell)
    ledgers = {**ledgers_of(source), "bins": found.ledger}
    for name, ledger in ledgers.items():
        tell(Event(stage=name, text=ledger.line()))
    notes = getattr(source, "notes", ())
    for warning in (*notes, *window_warnings(found.derive, analysis.massfit.resonance)):
        tell(Event(stage="warning", text=warning))
    return fits.with_provenance(
        Provenance(
            configuration=dict(analysis.plain),
            seed=None if analysis.generate is None else analysis.generate.seed,
            inputs=inputs_of(source),
            ledgers=ledgers,
        )
    )


def _fitted(analysis: Analysis, sample: str, histograms: MassHistograms, tell: Tell) -> MassFits:
    if analysis.massfit.model != "morphing":
        fitted = fit_simulated_histograms if sample == "simulation" else fit_histograms
        return fitted(histograms, analysis)
    if sample == "simulation":
        raise ConfigError(
            "simulation has no fits of its own with massfit.model = 'morphing'",
            kind="config.massfit",
            do="fit the data: their scales are relative to simulation, and `mucal scale` needs nothing else",
        )
    simulation = require_simulation(analysis, sources(analysis)[1], "massfit.model = 'morphing'")
    spectra = collect(simulation, fine_binning(analysis.bins), tell=tell, stage="spectra").derive
    return fit_spectra(analysis, histograms, spectra, None, tell)[0]


def fit_summary(fits: MassFits) -> str:
    """How the fits ended, and the mean of their mass shifts ln(m / m_reference), weighted with 1 / error^2."""
    at = fits.parameters.index("ln_s")
    mean, error = weighted_mean(fits.values[fits.good, at], np.sqrt(fits.cov[fits.good, at, at]))
    return (
        f"{quality_line(fits)}; mean shift of the mass {1e3 * mean:+.3f} +- {1e3 * error:.3f} (1e-3), relative to "
        + ("simulation at " if fits.model == "morphing" else "")
        + f"{fits.reference_mass:.6g} GeV"
    )


def _source(analysis: Analysis, sample: str) -> Source:
    data, simulation = sources(analysis)
    if sample == "data":
        return data
    if simulation is None:
        raise ConfigError("the configuration names no simulation", kind="config.no_simulation")
    return simulation


def derive_scale(data: str | Path, simulation: str | Path | None, analysis: Analysis) -> ScaleTable:
    """The scale table from files of mass fits, with their provenance."""
    fits, reference = _fits(data, simulation)
    table = solve(fits, reference, analysis.scale)
    return table.with_provenance(_solved(table.provenance, fits, reference))


def derive_closure(data: str | Path, simulation: str | Path | None, analysis: Analysis) -> Closure:
    """The closure from files of mass fits of corrected pairs, with their provenance."""
    fits, reference = _fits(data, simulation)
    try:
        found = close(fits, reference, analysis.scale)
    except ValueError as error:
        raise NotCertified(f"no closure: {error}", kind="scale.not_solved") from error
    return found.with_provenance(_solved(found.provenance, fits, reference))


def _fits(data: str | Path, simulation: str | Path | None) -> tuple[MassFits, MassFits | None]:
    """Raises ConfigError for a simulation beside fits whose signal it was, InputError for one in other bins."""
    fits, reference = MassFits.load(data), None if simulation is None else MassFits.load(simulation)
    if reference is not None and "morphing" in (fits.model, reference.model):
        raise ConfigError(
            "fits of the model 'morphing' are relative to simulation already",
            kind="config.massfit",
            where={"data": f"{data}, {fits.model}", "simulation": f"{simulation}, {reference.model}"},
            do="leave --simulation out",
        )
    different = {} if reference is None else _different(fits, reference)
    if different:
        raise InputError(
            f"fits of data and of simulation differ in: {', '.join(different)}",
            kind="input.not_comparable",
            where={"data": data, "simulation": simulation, **different},
            do="fit both with the same resonance and the same [bins]",
        )
    return fits, reference


def _different(data: MassFits, simulation: MassFits) -> dict[str, str]:
    """What keeps the fits of two samples from being subtracted: its name, and both values."""
    found = {}
    if data.resonance != simulation.resonance:
        found["resonance"] = f"{data.resonance} and {simulation.resonance}"
    for name in ("eta_edges", "pt_edges", "abs_eta"):
        one, other = (np.asarray(getattr(fits.histograms, name)) for fits in (data, simulation))
        if not same_edges(one, other):
            found[name] = f"{one.tolist()} and {other.tolist()}"
    return found


def _solved(own: Provenance, fits: MassFits, reference: MassFits | None) -> Provenance:
    """That of a system of equations, and of the fits that it is made of."""
    return Provenance(
        configuration={**fits.provenance.configuration, "scale": dict(own.configuration)},
        seed=fits.provenance.seed,
        inputs={**fits.provenance.inputs, **({} if reference is None else reference.provenance.inputs)},
        ledgers={**fits.provenance.ledgers, **own.ledgers},
    )


def simulate(
    analysis: Analysis, out: str | Path, *, sample: str = "data", overwrite: bool = False, tell: Tell = silent
) -> Ledger:
    """Write the generated data or simulation of an analysis as pairs."""
    source = _source(analysis, sample)
    if not isinstance(source, GeneratedSource):
        raise ConfigError(
            "the configuration has no [generate]", kind="config.no_generate", do="add one, or leave --config out"
        )

    def chunks() -> Iterator[Dimuons]:
        for pairs in source:
            tell(Event(stage="simulate", done=source.ledger.read, total=source.n, unit="pairs"))
            yield pairs

    write_dimuons(out, chunks(), overwrite=overwrite)
    return source.ledger


def check(analysis: Analysis) -> tuple[dict[str, Any], list[str]]:
    """What would be read from the inputs of an analysis, as plain values and as lines.

    Raises the first problem as InputError, after having looked at all files (`where` names the others).
    """
    if analysis.generate is not None:
        lines = [f"generated: {analysis.generate.data} pairs of data, {analysis.generate.simulation} of simulation"]
        return {"status": "ok", "generated": True}, lines
    samples = {"input": analysis.data, "simulation": analysis.simulation}
    lines, plain = [], {}
    problems: list[InputError] = []
    for name, sample in samples.items():
        if sample is None or not sample.files:
            continue
        report = check_dimuons(sample.files, sample.input)
        lines += [f"[{name}]", *report.lines()]
        plain[name] = {"ok": report.ok, "lines": report.lines()}
        problems += [*report.problems, *(file.problem for file in report.files if file.problem is not None)]
        if not report.ok and not problems:
            problems.append(InputError("columns are missing", kind="input.missing_branch"))
    if not plain:
        raise ConfigError("no input files are named", kind="config.no_input", do="name them, or files in [input]")
    if "bins" in analysis.plain:
        edges = analysis.bins.pt_edges
        lines.append(f"bins: {len(analysis.bins.eta_edges) - 1} in eta, {len(edges) - 1} in pT from {edges[0]:g} GeV")
    if problems:
        raise InputError(
            f"{problems[0].what}",
            kind=problems[0].kind,
            where={**problems[0].where, "report": "\n         ".join(lines)},
            do=problems[0].do,
        )
    return {"status": "ok", **plain}, lines
