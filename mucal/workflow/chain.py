"""The stages joined: masses of simulation and data, the scale table in passes, its validation, the resolution."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mucal.errors import ConfigError, NotCertified
from mucal.io import open_dimuons
from mucal.ledger import Ledger
from mucal.massfit import MassFits, MassHistograms, Merging, fit_spectrum, window_warnings
from mucal.plot.masses import MassShifts
from mucal.report import SpectrumFits
from mucal.scale import ResolutionTable, ScaleConfig, ScaleResiduals, ScaleTable, derive, residuals
from mucal.scale.recovery import Recovery, compare
from mucal.store import Provenance
from mucal.workflow.config import Analysis
from mucal.workflow.generated import GeneratedSource
from mucal.workflow.mass_fits import fit_histograms, generated_mass, merging_of, quality_line, reference_mass
from mucal.workflow.passes import Pass, Source, collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.shared_fits import SharedFits, fit_shared
from mucal.workflow.shifts import mass_shifts
from mucal.workflow.simulated_fits import fit_simulation, refilled
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
    merging          : of thin bins in all passes, and of those that failed in the last one or before
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


def reading_of(analysis: Analysis, folder: Folder, data: Source, simulation: Source | None) -> dict[str, Any]:
    """What the filling of histograms depends on, as plain values."""
    keys = ("analysis", "input", "simulation", "generate", "bins", "spectra")
    refits = [getattr(source, "key", None) for source in (data, simulation)]
    return {**{key: analysis.plain.get(key) for key in keys}, "inputs": dict(folder.base.inputs), "refits": refits}


def join(analysis: Analysis, folder: Folder, data: Source, simulation: Source | None, tell: Tell) -> Chain:
    """Run all stages of an analysis; each is saved in the folder, and taken up from it where that is allowed.

    Raises ConfigError where the mass fits need a simulation that the configuration does not name.
    """
    if analysis.massfit.model == "morphing":
        require_simulation(analysis, simulation, "massfit.model = 'morphing'")
    reading = reading_of(analysis, folder, data, simulation)
    simulated, key = _simulation(analysis, folder, simulation, reading, tell)
    stages = _Stages(
        analysis=analysis, folder=folder, reading=reading, simulation=simulation, simulated=simulated,
        simulation_key=key, tell=tell,
    )  # fmt: skip
    passes: list[Pass] = []
    step: _Step | None = None
    for number in range(analysis.general.passes + 1):
        found, key = stages.histograms(data, number, step)
        passes.append(found)
        for name, ledger in found.provenance.ledgers.items() if number == 0 else ():
            tell(Event(stage=name, text=ledger.line()))
        if number < analysis.general.passes:
            step = stages.step(found.derive, key, number, step)
    if step is None:
        raise AssertionError("at least one pass derives a table")
    before, after, shared = passes[0], passes[-1], step.shared
    told = (note for source in (data, simulation) for note in getattr(source, "notes", ()))
    injected = None if analysis.generate is None else analysis.generate.inject
    # the residuals belong to the last step: what is left after the table so far
    last = step.table if step.start is None else difference(step.table, step.start)
    left = residuals(last, shared.fits, shared.simulation, analysis.scale)
    if left.simulated_share > 0:
        text = f"simulation makes {left.simulated_share:.0%} of the variance of a mass shift, median of the bins"
        tell(Event(stage="scale", text=text))
    return Chain(
        before=before,
        after=after,
        fits=shared.fits,
        simulation=shared.simulation,
        widths=shared.widths,
        unsmeared=None if shared.simulated is None else shared.simulated.plain,
        smearing=None if shared.simulated is None else shared.simulated.smearing,
        merging=shared.merging,
        table=step.table,
        start=step.start,
        residuals=left,
        shifts=mass_shifts(
            before.validate,
            after.validate,
            step.table,
            with_formula(analysis).massfit,
            stages.simulated_histograms,
            add_background=analysis.general.add_background,
            offset=float(np.log(generated_mass(analysis) / reference_mass(analysis)[0])),
        ),
        recovery=None if injected is None else compare(step.table, injected.table()),
        spectra=_spectra(analysis, before, after, simulated, tell),
        simulation_ledgers={} if simulated is None else simulated.provenance.ledgers,
        notes=(*told, *shared.notes, *window_warnings(before.derive, analysis.massfit.resonance)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one deriving pass found.

    start : the table with which its momenta were corrected; None: not at all
    table : all passes together
    key   : of the saved table
    """

    shared: SharedFits
    start: ScaleTable | None
    table: ScaleTable
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stages:
    """The stages of a pass, each saved in the folder.

    reading                   : what the filling of histograms depends on
    simulated, simulation_key : the mass histograms of simulation, None without it, and their key
    """

    analysis: Analysis
    folder: Folder
    reading: Mapping[str, Any]
    simulation: Source | None
    simulated: Pass | None
    simulation_key: str
    tell: Tell

    @property
    def simulated_histograms(self) -> MassHistograms | None:
        return None if self.simulated is None else self.simulated.derive

    @property
    def fitting(self) -> dict[str, Any]:
        """What the fits and the solve depend on, as plain values."""
        return {key: self.analysis.plain.get(key) for key in ("massfit", "reference", "scale", "resolution")}

    def histograms(self, data: Source, number: int, step: _Step | None) -> tuple[Pass, str]:
        """Those of data, on momenta corrected by what the step before found, and their key."""
        table, key = (None, "") if step is None else (step.table, step.key)
        return self.folder.once(
            f"stages/pass_{number}.h5",
            Pass,
            {**self.reading, "table": key},
            partial(_collect, self.analysis, data, table, number, self.tell),
        )

    def step(self, data: MassHistograms, key: str, number: int, before: _Step | None) -> _Step:
        """Fit the histograms of a pass, those of simulation beside them, and add what they ask for to the table."""
        analysis = self.analysis
        if before is None:
            merging = merging_of(data, self.simulated_histograms, analysis, self.tell)
        else:
            merging = before.shared.merging
        shared = fit_shared(partial(self._fits, data, key, number), merging, data, self.tell)
        start = None if before is None else before.table
        table, table_key = self.folder.once(
            f"stages/scale_{number}.h5",
            ScaleTable,
            {**self.fitting, "pass": key, "simulation": self.simulation_key},
            partial(_with_step, start, shared.fits, shared.simulation, analysis),
        )
        self.tell(Event(stage="scale", text=f"chi2 = {table.chi2:.1f} for {table.ndf} degrees of freedom"))
        return _Step(shared=shared, start=start, table=table, key=table_key)

    def _fits(
        self, data: MassHistograms, key: str, number: int, merging: Merging, before: SharedFits | None
    ) -> SharedFits:
        """The fits of data and of simulation, merged; `before`: with fewer bins merged."""
        analysis, folder, reading, tell = self.analysis, self.folder, self.reading, self.tell
        formula, merged = with_formula(analysis), merging.apply(data)
        widths = fit_histograms(merged, formula)
        tell(Event(stage="massfit", text=quality_line(widths)))
        fits, simulation, simulated = widths, None, None
        notes = [] if before is None else list(before.notes)
        if self.simulation is not None and self.simulated is not None:
            made_from = {**reading, "pass": key, "fitting": self.fitting}
            refill = partial(
                refilled, analysis, folder, self.simulation, self.simulated.derive, number, made_from, tell
            )
            earlier = None if before is None else before.simulated
            simulated = fit_simulation(formula, widths, refill, merging, earlier, notes, tell)
            simulation = simulated.matched
            if analysis.massfit.model == "morphing":
                spectra = simulated_spectra(analysis, folder, self.simulation, simulated.smearing, reading, tell)
                fits, simulation = fit_spectra(analysis, merged, spectra, merging, tell)[0], None
                tell(Event(stage="massfit", text=quality_line(fits)))
        return SharedFits(
            merging=merging, widths=widths, simulated=simulated, fits=fits, simulation=simulation, notes=tuple(notes)
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


def _with_step(
    before: ScaleTable | None, data: MassFits, simulation: MassFits | None, analysis: Analysis
) -> ScaleTable:
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
