"""``[[closing]]``: resonances in files that derive nothing, and their masses with momenta another one calibrated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mucal.errors import ConfigError
from mucal.io import open_dimuons
from mucal.massfit import BatchConfig, MassFits, MassHistograms, fit_bins
from mucal.plot.masses import ClosingShifts
from mucal.scale import ScaleConfig, ScaleTable
from mucal.theory import resonance
from mucal.workflow.bins import Bins
from mucal.workflow.passes import Pass, Source, collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.samples import Sample, sample_of_values, simulation_of_values, table_of
from mucal.workflow.shifts import mass_shifts, relative_shift, table_response, whole
from mucal.workflow.stages import Folder
from mucal.workflow.toml_text import TomlText
from mucal.workflow.validate import build


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingResonance:
    """One ``[[closing]]``: a resonance that takes no part in the table and shows what it is worth.

    resonance : "upsilon1s", "z", …
    bins      : ``[closing.bins]``
    massfit   : ``[closing.massfit]``; the resonance is that of the sample
    scale     : ``[closing.scale]``: what is looked for in bins of eta
    """

    resonance: str
    bins: Bins = field(default_factory=Bins)
    massfit: BatchConfig = field(default_factory=BatchConfig)
    scale: ScaleConfig = field(default_factory=lambda: ScaleConfig(free=("A",)))

    def __post_init__(self) -> None:
        resonance(self.resonance)
        if self.massfit.model == "morphing":
            raise ValueError("massfit.model = 'morphing'; a closing resonance is fitted with 'template' or 'dscb'")

    @property
    def fits(self) -> BatchConfig:
        """How its masses are fitted."""
        return replace(self.massfit, resonance=self.resonance)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingFiles:
    """A closing resonance and its files.

    asked      : what its section says besides
    data       : ``[closing.input]``, laid over ``[input]``
    simulation : ``[closing.simulation]``; None: masses are compared with the line shape
    simulated_mass : GeV  of the resonance in the generator of `simulation`; None: the table's
    """

    asked: ClosingResonance
    data: Sample
    simulation: Sample | None
    simulated_mass: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClosing:
    """A closing resonance whose files are open and checked; names as in `ClosingFiles`."""

    asked: ClosingResonance
    data: Source
    simulation: Source | None
    simulated_mass: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFiles:
    """A closing resonance with the calibration.

    sample           : what was asked
    shifts           : of its mass, before and after
    data, simulation : mass fits in bins, of calibrated momenta against the reference mass and of simulation against the
                       generated one; None without one
    """

    sample: ClosingResonance
    shifts: ClosingShifts
    data: MassFits
    simulation: MassFits | None


def closings_of(document: TomlText, data: Sample | None) -> tuple[ClosingFiles, ...]:
    """The ``[[closing]]`` of a configuration.

    data : of ``[input]``: the files of a closing resonance whose section names none

    Raises ConfigError for a malformed section, one in a run that makes its events, and a resonance that comes twice.
    """
    entries = document.values.get("closing", [])
    if not isinstance(entries, list):
        raise ConfigError(
            f"{document.place('closing')} closing is {type(entries).__name__}, expected a list of [[closing]]",
            kind="config.wrong_type",
        )
    makers = [name for name in ("generate", "tracks") if name in document.values]
    if entries and (data is None or makers):
        why = f"[{makers[0]}] makes the events" if makers else "there is no [input]"
        raise ConfigError(
            f"{document.place('closing')} [[closing]] reads files, and {why}",
            kind="config.closing",
            do="of a run from hits, ask for [[tracks.closing]]; of generated pairs there is none",
        )
    found = [_closing_of(document, data, i, entry) for i, entry in enumerate(entries) if data is not None]
    names = [one.asked.resonance for one in found]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"{document.place('closing')} [[closing]] names {', '.join(names)}, expected each resonance once",
            kind="config.closing",
        )
    return tuple(found)


def _closing_of(document: TomlText, data: Sample, i: int, entry: Mapping[str, Any]) -> ClosingFiles:
    name = f"closing.{i}"
    values = dict(entry)
    for key in ("input", "simulation"):
        if key in values and not isinstance(values[key], Mapping):
            raise ConfigError(
                f"{document.place(f'{name}.{key}')} {key} = {values[key]!r}, expected a table",
                kind="config.wrong_type",
                where={"key": f"{name}.{key}"},
            )
    own, simulation = values.pop("input", {}), values.pop("simulation", None)
    read = {**table_of(document, "input"), **own}
    files = () if "files" in own else data.files
    asked = build(ClosingResonance, values, document, name)
    sample, mass = None, None
    if simulation is not None:
        sample, mass = simulation_of_values(simulation, document, f"{name}.simulation", asked.resonance)
    data = sample_of_values(read, document, f"{name}.input", files)
    return ClosingFiles(asked=asked, data=data, simulation=sample, simulated_mass=mass)


def open_closing(closing: Sequence[ClosingFiles]) -> tuple[OpenClosing, ...]:
    """The files of all closing resonances, opened and checked."""
    return tuple(
        OpenClosing(
            asked=one.asked,
            data=open_dimuons(one.data.files, one.data.input),
            simulation=None if one.simulation is None else open_dimuons(one.simulation.files, one.simulation.input),
            simulated_mass=one.simulated_mass,
        )
        for one in closing
    )


def close_files(
    closing: OpenClosing, table: ScaleTable, mass: tuple[float, float], calibrating: tuple[float, float],
    folder: Folder, made_from: Mapping[str, Any], tell: Tell,
) -> ClosedFiles:  # fmt: skip
    """One resonance as it was read and with the calibration.

    table       : of the calibrating resonance
    mass        : GeV  reference of the closing resonance, and its error
    calibrating : GeV  that of the resonance that gave the table
    made_from   : what the reading of all files depends on, as plain values
    """
    asked = closing.asked
    name, binning = asked.resonance, asked.bins.binning()
    applied = {"A": table.A.tolist(), "e": table.e.tolist(), "M": table.M.tolist(), "eta": table.eta_edges.tolist()}

    def histograms(when: str, source: Source, correction: ScaleTable | None) -> MassHistograms:
        """Of one sample, taken up from the folder where they stand there."""
        found, _ = folder.once(
            f"stages/closing_{name}_{when}.h5",
            Pass,
            {**made_from, "table": None if correction is None else applied},
            lambda: collect(source, binning, table=correction, tell=tell, stage=f"{name} {when}"),
        )
        tell(Event(stage=f"{name} {when}", text=found.ledger.line()))
        return found.derive

    simulated = None if closing.simulation is None else histograms("simulation", closing.simulation, None)
    before, after = histograms("before", closing.data, None), histograms("after", closing.data, table)
    loose = replace(asked.fits, min_events=1)
    of_all = [relative_shift(part, whole, loose, simulated) for part in (before, after)]
    generated = closing.simulated_mass or resonance(name).mass
    moved = np.log(generated / mass[0])
    response = table_response(after, whole, table)[0]
    shifts = ClosingShifts(
        resonance=name, pairs=int(after.counts.sum()), mass=mass[0], beside_simulation=simulated is not None,
        shift=np.array([float(shift[0]) + moved for shift, _ in of_all]),
        error=np.array([float(error[0]) for _, error in of_all]),
        table_error=np.array([0.0, float(np.sqrt(response @ table.cov @ response))]),
        mass_error=float(np.hypot(mass[1] / mass[0], calibrating[1] / calibrating[0])),
        series=mass_shifts(
            before, after, table, asked.fits, simulated, add_background=False, offset=float(moved)
        ).series,
    )  # fmt: skip
    return ClosedFiles(
        sample=asked, shifts=shifts, data=fit_bins(after, asked.fits).relative_to(*mass),
        simulation=None if simulated is None else fit_bins(simulated, asked.fits).relative_to(generated),
    )  # fmt: skip
