"""`mucal run`: from dimuons to a calibration, its figures and its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mucal.calibration import Calibration, CalibrationConfig, assemble, certify
from mucal.calibration.response_map import ResponseMap
from mucal.detector import BUILT_IN
from mucal.errors import ConfigError, NotCertified
from mucal.io import write_bundle
from mucal.io.response_npz import RESPONSE, response_bytes
from mucal.ledger import Ledger
from mucal.plot.closing import ClosingMasses
from mucal.plot.masses import ClosedMasses, ClosingShifts
from mucal.report import TrackResults, UncertaintyModel
from mucal.report.closing_files_section import closing_files_lines, closing_files_numbers
from mucal.report.cross_check_section import cross_check_lines
from mucal.scale import Closure, PixelMultiplicity, ResolutionTable
from mucal.scale.recovery import compare
from mucal.store import Provenance, Result, sha256
from mucal.workflow.chain import Chain, inputs_of, join, reading_of, sources
from mucal.workflow.closing import ClosedResonance, close_masses
from mucal.workflow.closing_files import ClosedFiles, OpenClosing, close_files, open_closing
from mucal.workflow.config import Analysis
from mucal.workflow.cross_checks import CrossChecked, cross_check
from mucal.workflow.finished_run import write_page
from mucal.workflow.globalcor import detector_of
from mucal.workflow.mass_fits import rebased, reference_mass
from mucal.workflow.outcome import Outcome, failed, headline, objections, summary
from mucal.workflow.probes import left_over
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.refitted_pairs import RefittedSource
from mucal.workflow.response import response_of
from mucal.workflow.stages import (
    BUNDLE,
    DIGESTS,
    REPORT,
    RESULT,
    TRACK_TABLES,
    UNCERTAINTIES,
    Folder,
    close_folder,
    holds_lock,
    open_folder,
)
from mucal.workflow.tracked import TrackedChain, track
from mucal.workflow.uncertainties import closures_of, model_of, pixels_of, resolutions_of
from mucal.workflow.verification import write_digests
from mucal.workflow.w_muons import scale_slope, w_shift
from mucal.workflow.z_pairs import with_z_mass


def run(
    analysis: Analysis, out: str | Path, *, resume: bool = False, overwrite: bool = False, tell: Tell = silent
) -> Outcome:
    """Run an analysis and leave everything in the folder `out`.

    out       : folder; has to be empty or new
    resume    : go on in a folder where a run was interrupted; finished stages made from the same inputs and
                configuration are taken up
    overwrite : start anew in a folder that holds something

    Returns how it ended.  Raises NotCertified, after writing results and page but no calibration, if the result is
    not fit to be exported; ConfigError, InputError and so on as the stages do.  In every case `result.json` says so.
    """
    out = Path(out)
    folder = Folder(out, resume=resume, base=Provenance(), tell=tell)
    try:
        open_folder(out, resume=resume, overwrite=overwrite)
        outcome = _run(analysis, out, folder, tell)
    except BaseException as error:
        if holds_lock(out):
            folder.write_text(RESULT, failed(error).json())
        raise
    finally:
        close_folder(out)
    if outcome.status == "not_certified":
        raise NotCertified(
            outcome.reason,
            kind="run.not_certified",
            where={"output": out},
            do="look at the page; no calibration was written",
        )
    return outcome


def _run(analysis: Analysis, out: Path, folder: Folder, tell: Tell) -> Outcome:
    folder.base = Provenance(configuration=dict(analysis.plain), seed=analysis.general.seed)
    tracked = tracks_of(analysis, folder, tell)
    if tracked is None:
        data, simulation = sources(analysis)
    else:
        pairs = (tracked.after, tracked.simulation)
        data, simulation = (RefittedSource(refits, key) for refits, key in zip(pairs, tracked.keys, strict=True))
    closing = open_closing(analysis.closing)
    read = (data, simulation, *(source for one in closing for source in (one.data, one.simulation)))
    inputs = {path: digest for source in read for path, digest in inputs_of(source).items()}
    folder.base = replace(folder.base, inputs={**folder.base.inputs, **inputs})
    chain = join(analysis, folder, data, simulation, tell)
    checked = cross_check(analysis, folder, chain, data, simulation, tell)
    made_from = {**reading_of(analysis, folder, data, simulation), "closing": analysis.plain.get("closing")}
    shown = tuple(closed_files(analysis, one, chain, folder, made_from, tell) for one in closing)
    found = evidence_of(analysis, tracked, shown, chain, tell)
    if tracked is not None:
        chain = replace(chain, recovery=compare(chain.table, left_over(tracked.probes, chain.table)))
    chain = replace(chain, notes=(*chain.notes, *checked.notes, *found.notes))
    for note in chain.notes:
        tell(Event(stage="warning", text=note))
    calibration, reasons = certified(analysis, chain, found, folder.base, tell)
    model = None
    if calibration is not None:
        if tracked is not None and analysis.tracks is not None:
            found = replace(
                found, tracks=with_z_mass(found.tracks, analysis.tracks, tracked.closing, calibration, tell)
            )
        slope = None if tracked is None or tracked.w is None else scale_slope(tracked.w, chain.table)
        model = model_of(calibration, slope)
        tell(Event(stage="calibration", text=model.line))
    files = [*save(chain, checked, found, model, folder), *save_tracks(found.tracks, folder)]
    outcome = Outcome(
        status="not_certified" if reasons else "ok",
        reason="; ".join(reasons),
        headline={**headline(chain, found.tracks, model), **closing_files_numbers(found.closing)},
        lines=(
            *summary(chain, found.tracks, model),
            *closing_files_lines(found.closing),
            *cross_check_lines(chain.table, checked.one_step, checked.angles),
        ),
        notes=chain.notes,
        files=(*files, *([] if reasons else [BUNDLE]), REPORT, RESULT, DIGESTS),
    )
    tell(Event(stage="report", done=0, total=1, unit="page"))
    report = write_page(out, outcome.to_dict())
    if calibration is not None:
        attached = {REPORT: report.read_bytes()}
        if found.response is not None:
            attached[RESPONSE] = response_bytes(found.response)
        write_bundle(calibration, out / BUNDLE, attachments=attached, overwrite=True)
    folder.write_text(RESULT, outcome.json())  # last: what it lists is there
    write_digests(out, (*files, REPORT, RESULT))
    return outcome


def files_of(path: Path) -> list[Path]:
    """A file itself, or all files of a folder, sorted; none if there is nothing."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def tracks_of(analysis: Analysis, folder: Folder, tell: Tell) -> TrackedChain | None:
    """The stages from hits to refitted pairs, if the analysis begins with hits."""
    if analysis.tracks is None:
        return None
    name = analysis.tracks.detector
    if name not in BUILT_IN:
        folder.base = replace(folder.base, inputs={str(file): sha256(file) for file in files_of(Path(name))})
    return track(analysis.tracks, folder, detector_of(name), analysis.plain["tracks"], tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run found beside its scale table.

    tracks     : of a run from hits
    closing    : of resonances in files
    closures   : of other resonances, for the uncertainty model
    pixels     : muons with and without pixel hits; None where they were not counted
    resolution, resolution_mc : None where none could be derived
    response   : of simulated muons whose truth is known, if they are enough
    notes      : what a reader should know
    """

    tracks: TrackResults | None
    closing: tuple[ClosingShifts, ...]
    closures: tuple[Closure, ...]
    pixels: PixelMultiplicity | None
    resolution: ResolutionTable | None
    resolution_mc: ResolutionTable | None
    response: ResponseMap | None
    notes: tuple[str, ...]


def closed_files(
    analysis: Analysis, closing: OpenClosing, chain: Chain, folder: Folder, made_from: Mapping[str, Any], tell: Tell
) -> ClosedFiles:
    """A resonance in files with the calibration, relative to the reference masses of the analysis."""
    reference = analysis.references.get(closing.asked.resonance)
    closed = close_files(
        closing, chain.table, reference_mass(analysis, closing.asked.resonance), reference_mass(analysis), folder,
        made_from, tell,
    )  # fmt: skip
    return closed if reference is None else replace(closed, data=rebased(closed.data, reference))


def evidence_of(
    analysis: Analysis, tracked: TrackedChain | None, shown: Sequence[ClosedFiles], chain: Chain, tell: Tell
) -> Evidence:
    """Masses of other resonances and of W with the calibration, and what they give the uncertainty model.

    shown : resonances in files
    """
    notes: list[str] = []
    closed: tuple[ClosedResonance | ClosedFiles, ...] = tuple(shown)
    tracks, pixels, response = None, None, None
    if tracked is not None and analysis.tracks is not None:
        config = analysis.tracks
        of_hits = tuple(
            close_masses(sample, pairs, chain.table, tell)
            for sample, pairs in zip(config.closing, tracked.closing, strict=True)
        )
        closed = of_hits
        pixels = pixels_of(config, tracked.closing, analysis.bins, notes)
        response = response_of(
            [tracked.simulation, *(pairs.simulation for pairs in tracked.closing)],
            [analysis.bins, *(sample.bins for sample in config.closing)], notes,
        )  # fmt: skip
        modes, bias = tracked.modes or (None, None)
        tracks = TrackResults(
            corrections=tracked.corrections, probes=tracked.probes, reference=tracked.reference,
            injected=tracked.injected, closing=tuple(one.mass for one in of_hits),
            w=None if tracked.w is None else w_shift(config, tracked.w, tracked.corrections, chain.table),
            modes=modes, mode_bias=bias,
        )  # fmt: skip
    closures = closures_of(closed, analysis.bins, notes)
    resolution, resolution_mc = resolutions_of(analysis, chain, closed, notes)
    return Evidence(
        tracks=tracks, closing=tuple(one.shifts for one in shown), closures=closures, pixels=pixels,
        resolution=resolution, resolution_mc=resolution_mc,
        response=response, notes=tuple(notes),
    )  # fmt: skip


def save_tracks(found: TrackResults | None, folder: Folder) -> list[str]:
    """What the stages from hits found, as files people look for; returns names."""
    if found is None:
        return []
    made = (
        found.corrections, found.probes, found.reference, found.injected, ClosingMasses(masses=found.closing),
        found.w, found.z, found.modes, found.mode_bias,
    )  # fmt: skip
    return _write(dict(zip(TRACK_TABLES, made, strict=True)), {}, folder)


def save(
    chain: Chain, checked: CrossChecked, found: Evidence, model: UncertaintyModel | None, folder: Folder
) -> list[str]:
    """Write the results of the chain as files people look for; returns names."""
    results: dict[str, Result | None] = {
        "massfit.h5": chain.fits,
        "massfit_simulation.h5": chain.simulation,
        "scale.h5": chain.table,
        "scale_residuals.h5": chain.residuals,
        "shifts.h5": chain.shifts,
        "resolution.h5": found.resolution,
        "resolution_simulation.h5": found.resolution_mc,
        "recovery.h5": chain.recovery,
        "one_step.h5": checked.one_step,
        "angles.h5": checked.angles,
        "closing_files.h5": ClosedMasses(shifts=found.closing) if found.closing else None,
        UNCERTAINTIES: model,
    }
    for i, spectrum in enumerate(chain.spectra.values()):
        results |= {f"spectra/{i}_{when}.h5": getattr(spectrum, when) for when in ("before", "after", "simulation")}
    return _write(results, {**chain.before.provenance.ledgers, **chain.simulation_ledgers}, folder)


def _write(results: Mapping[str, Result | None], read: Mapping[str, Ledger], folder: Folder) -> list[str]:
    """Write those results that there are, with the ledgers of what was read before their own; returns names."""
    there = {name: result for name, result in results.items() if result is not None}
    for name, result in there.items():
        own = replace(folder.base, ledgers={**read, **result.provenance.ledgers})
        result.with_provenance(own).save(folder.path / name, overwrite=True)
    return list(there)


def certified(
    analysis: Analysis, chain: Chain, found: Evidence, base: Provenance, tell: Tell
) -> tuple[Calibration | None, list[str]]:
    """The calibration of a finished chain if it is fit to be released; else None, and why not."""
    reasons = objections(chain, analysis.general)
    if reasons:
        return None, reasons
    tell(Event(stage="calibration", done=0, total=1, unit="bundle"))
    try:
        calibration = assembled(analysis, chain, found, base)
        certify(calibration)
    except NotCertified as error:
        return None, [error.what]
    except ConfigError as error:
        if error.kind != "config.factor":  # a factor that no closure gives is found out here, after all results
            raise
        return None, [error.what]
    return calibration, []


def assembled(analysis: Analysis, chain: Chain, found: Evidence, base: Provenance) -> Calibration:
    """The calibration of a finished chain, with the whole uncertainty model that its results allow.

    Raises ConfigError if the configuration asks for what they do not give.
    """
    config: CalibrationConfig = analysis.calibration
    reference = analysis.references.get(chain.table.resonance)
    if reference is not None and config.reference_mass is None:
        mass, error = reference.in_gev
        config = replace(config, reference_mass=mass, reference_mass_error=error, pdg_edition=reference.edition)
    resolution_mc = None if found.resolution is None else found.resolution_mc
    calibration = assemble(
        chain.table, found.resolution, resolution_mc, config, closures=found.closures, pixels=found.pixels
    )
    own = calibration.provenance
    return calibration.with_provenance(
        replace(own, inputs=base.inputs, seed=base.seed, configuration=dict(base.configuration))
    )
