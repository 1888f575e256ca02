"""The stages joined: masses of simulation and data, the scale table in passes, its validation, the resolution."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mucal.errors import ConfigError, NotCertified
from mucal.io import open_dimuons
from mucal.ledger import Ledger
from mucal.massfit import MassFits, Merging, fit_spectrum, window_warnings
from mucal.plot.masses import MassShifts
from mucal.report import SpectrumFits
from mucal.scale import ResolutionTable, ScaleConfig, ScaleResiduals, ScaleTable, derive, residuals
from mucal.scale.recovery import Recovery, compare
from mucal.store import Provenance
from mucal.workflow.config import Analysis
from mucal.workflow.generated import GeneratedSource
from mucal.workflow.mass_fits import fit_histograms, merging_of, quality_line
from mucal.workflow.passes import Pass, Source, collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.shifts import mass_shifts
from mucal.workflow.simulated_fits import SimulatedFits, fit_simulation, refilled
from mucal.workflow.simulated_spectra import fit_spectra, require_simulation, simulated_spectra, with_formula
from mucal.workflow.stages import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What the stages found.

    before, after    : first and last pass over the data
    fits, simulation : mass fits of the last deriving pass, and of simulation, as wide as data, whose scales are
                       subtracted; None without simulation, or where its spectra are the signal of the fits of data
    widths, unsmeared: fits of data that know its widths (`fits`, unless their model is "morphing"), and of simulation
                       as it is
    smearing         : what makes simulation as wide as data, if it was smeared
    merging          : of thin bins, in all passes
    table            : the scale table, all passes together
    start            : the table with which the momenta of the last deriving pass were corrected; None: not at all
    residuals        : of its linear system, last pass
    shifts           : of events that did not derive the table
    recovery         : against the truth, where it is known
    spectra          : name -> its fits
    simulation_ledgers : of the reading of simulation
    notes            : what a reader should know
    """

    before: Pass
    after: Pass
    fits: MassFits
    simulation: MassFits | None
    widths: MassFits
    unsmeared: MassFits | None
    smearing: ResolutionTable | None
    merging: Merging
    table: ScaleTable
    start: ScaleTable | None
    residuals: ScaleResiduals
    shifts: MassShifts
    recovery: Recovery | None
    spectra: Mapping[str, SpectrumFits]
    simulation_ledgers: Mapping[str, Ledger]
    notes: tuple[str, ...]


def sources(analysis: Analysis) -> tuple[Source, Source | None]:
    """The data and, if there is one, the simulation of an analysis, opened and checked.

    Raises ConfigError if it names no data.
    """
    if analysis.generate is not None:
        made = analysis.generate
        simulation = GeneratedSource(made.nominal_simulation(), made.simulation) if made.simulation else None
        return GeneratedSource(made.data_simulation(), made.data), simulation
    if analysis.data is None or not analysis.data.files:
        raise ConfigError(
            "no input files are named",
            kind="config.no_input",
            do="name them on the command line or as files in [input]; without --config, mucal run makes its own sample",
        )
    data = open_dimuons(analysis.data.files, analysis.data.input)
    if analysis.simulation is None:
        return data, None
    return data, open_dimuons(analysis.simulation.files, analysis.simulation.input)


def inputs_of(source: Source | None) -> dict[str, str]:
    """File -> SHA-256 of a source; nothing for a generated one."""
    return dict(getattr(source, "digests", {}))


def ledgers_of(source: Source) -> dict[str, Ledger]:
    """What a source counted: its files, if it reads any, the events or pairs in them, and those of each named era."""
    files = getattr(source, "file_ledger", None)
    eras = {f"era {name}": ledger for name, ledger in getattr(source, "era_ledgers", {}).items()}
    return ({"files": files} if isinstance(files, Ledger) else {}) | {"read": source.ledger} | eras


def reading_of(analysis: Analysis, folder: Folder) -> dict[str, Any]:
    """What the filling of histograms depends on, as plain values."""
    keys = ("analysis", "input", "simulation", "generate", "bins", "spectra")
    return {**{key: analysis.plain.get(key) for key in keys}, "inputs": dict(folder.base.inputs)}


def join(analysis: Analysis, folder: Folder, data: Source, simulation: Source | None, tell: Tell) -> Chain:
    """Run all stages of an analysis; each is saved in the folder, and taken up from it where that is allowed.

    Raises ConfigError where the mass fits need a simulation that the configuration does not name.
    """
    plain = analysis.plain
    by_spectra = analysis.massfit.model == "morphing"
    if by_spectra:
        require_simulation(analysis, simulation, "massfit.model = 'morphing'")
    formula = with_formula(analysis)
    reading = reading_of(analysis, folder)
    fitting = {key: plain.get(key) for key in ("massfit", "reference", "scale", "resolution")}
    notes: list[str] = [note for source in (data, simulation) for note in getattr(source, "notes", ())]

    simulation_pass, simulation_key = _simulation(analysis, folder, simulation, reading, tell)
    simulated = None if simulation_pass is None else simulation_pass.derive
    table: ScaleTable | None = None
    table_key = ""
    passes: list[Pass] = []
    of_simulation: SimulatedFits | None = None
    merging: Merging | None = None
    later: list[str] = []
    for number in range(analysis.general.passes + 1):
        made_from = {**reading, "table": table_key}
        found, key = folder.once(
            f"stages/pass_{number}.h5", Pass, made_from, partial(_collect, analysis, data, table, number, tell)
        )
        passes.append(found)
        for name, ledger in found.provenance.ledgers.items() if number == 0 else ():
            tell(Event(stage=name, text=ledger.line()))
        if number == analysis.general.passes:
            break
        merging = merging or merging_of(found.derive, simulated, analysis, tell)
        merged = merging.apply(found.derive)
        widths = fit_histograms(merged, formula, tell)
        tell(Event(stage="massfit", text=quality_line(widths)))
        if simulation is not None and simulated is not None:
            later.clear()  # what the last pass has to say counts
            smeared_from = {**reading, "pass": key, "fitting": fitting}
            refill = partial(refilled, analysis, folder, simulation, simulated, number, smeared_from, tell)
            of_simulation = fit_simulation(formula, widths, refill, merging, later, tell)
        fits, fits_mc = widths, None if of_simulation is None else of_simulation.matched
        if by_spectra and simulation is not None and of_simulation is not None:
            spectra = simulated_spectra(analysis, folder, simulation, of_simulation.smearing, reading, tell)
            fits, fits_mc = fit_spectra(analysis, merged, spectra, merging, tell)[0], None
            tell(Event(stage="massfit", text=quality_line(fits)))
        start = table
        table, table_key = folder.once(
            f"stages/scale_{number}.h5",
            ScaleTable,
            {**fitting, "pass": key, "simulation": simulation_key},
            partial(_step, table, fits, fits_mc, analysis),
        )
        tell(Event(stage="scale", text=f"chi2 = {table.chi2:.1f} for {table.ndf} degrees of freedom"))
    if table is None or merging is None:
        raise AssertionError("at least one pass derives a table")
    before, after = passes[0], passes[-1]
    notes += [*later, *window_warnings(before.derive, analysis.massfit.resonance)]
    shifts = mass_shifts(
        before.validate,
        after.validate,
        table,
        formula.massfit,
        simulated,
        add_background=analysis.general.add_background,
    )
    injected = None if analysis.generate is None or analysis.generate.inject is None else analysis.generate.inject
    # the residuals belong to the last step: what is left after the table so far
    last = table if start is None else difference(table, start)
    return Chain(
        before=before,
        after=after,
        fits=fits,
        simulation=fits_mc,
        widths=widths,
        unsmeared=None if of_simulation is None else of_simulation.plain,
        smearing=None if of_simulation is None else of_simulation.smearing,
        merging=merging,
        table=table,
        start=start,
        residuals=residuals(last, fits, fits_mc, analysis.scale),
        shifts=shifts,
        recovery=None if injected is None else compare(table, injected.table()),
        spectra=_spectra(analysis, before, after, simulation_pass, tell),
        simulation_ledgers={} if simulation_pass is None else simulation_pass.provenance.ledgers,
        notes=tuple(notes),
    )


def _simulation(
    analysis: Analysis, folder: Folder, source: Source | None, made_from: Mapping[str, Any], tell: Tell
) -> tuple[Pass | None, str]:
    """Mass histograms of the simulation, if there is one."""
    if source is None:
        return None, ""

    def make() -> Pass:
        """Histograms of all simulated pairs."""
        found = collect(
            source,
            analysis.bins.binning(),
            windows=[spectrum.config.range for spectrum in analysis.spectra],
            keep=[spectrum.events for spectrum in analysis.spectra],
            tell=tell,
            stage="simulation",
        )
        return found.with_provenance(
            Provenance(ledgers={f"simulation {k}": v for k, v in (ledgers_of(source) | {"bins": found.ledger}).items()})
        )

    found, key = folder.once("stages/simulation.h5", Pass, made_from, make)
    for name, ledger in found.provenance.ledgers.items():
        tell(Event(stage=name, text=ledger.line()))
    return found, key


def _collect(analysis: Analysis, data: Source, table: ScaleTable | None, number: int, tell: Tell) -> Pass:
    found = collect(
        data,
        analysis.bins.binning(),
        table=table,
        windows=[spectrum.config.range for spectrum in analysis.spectra],
        keep=[spectrum.events for spectrum in analysis.spectra],
        seed=analysis.general.seed,
        fraction=analysis.general.derive_fraction,
        tell=tell,
        stage=f"pass {number}",
    )
    return found.with_provenance(Provenance(ledgers={**ledgers_of(data), "bins": found.ledger}))


def solve(data: MassFits, simulation: MassFits | None, config: ScaleConfig) -> ScaleTable:
    """`scale.derive`, with what it cannot solve as an error for users."""
    try:
        return derive(data, simulation, config)
    except ValueError as error:
        raise NotCertified(f"no scale table: {error}", kind="scale.not_solved") from error


def _step(before: ScaleTable | None, data: MassFits, simulation: MassFits | None, analysis: Analysis) -> ScaleTable:
    return added(before, solve(data, simulation, analysis.scale))


def added(table: ScaleTable | None, step: ScaleTable) -> ScaleTable:
    """A table and the step that was found on top of it.

    Corrections compose to first order, k (1 + A1 - e1 k) (1 + A2 - e2 k): what is left out is the product of a
    correction and a step, 1e-3 times 1e-5.
    """
    if table is None:
        return step
    return replace(step, A=table.A + step.A, e=table.e + step.e, M=table.M + step.M)


def difference(table: ScaleTable, start: ScaleTable) -> ScaleTable:
    """The last step alone: a table less the one that it was found on top of."""
    return replace(table, A=table.A - start.A, e=table.e - start.e, M=table.M - start.M)


def _spectra(
    analysis: Analysis, before: Pass, after: Pass, simulation: Pass | None, tell: Tell
) -> dict[str, SpectrumFits]:
    found = {}
    for i, spectrum in enumerate(analysis.spectra):
        tell(Event(stage="spectra", done=i, total=len(analysis.spectra), unit="spectra"))
        found[spectrum.name] = SpectrumFits(
            before=fit_spectrum(before.spectra[i].mass, spectrum.config),
            after=fit_spectrum(after.spectra[i].mass, spectrum.config),
            simulation=None if simulation is None else fit_spectrum(simulation.spectra[i].mass, spectrum.config),
        )
    return found
