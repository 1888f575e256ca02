"""`mucal run`: from dimuons to a calibration, its figures and its page."""

from dataclasses import replace
from pathlib import Path

from mucal.calibration import Calibration, assemble, certify
from mucal.detector import BUILT_IN
from mucal.errors import ConfigError, NotCertified
from mucal.io import write_bundle
from mucal.report import TrackResults
from mucal.report.closing_files_section import closing_files_lines, closing_files_numbers
from mucal.report.cross_check_section import cross_check_lines
from mucal.report.detector_section import model_lines, model_numbers
from mucal.scale import ScaleTable
from mucal.scale.recovery import compare
from mucal.store import Provenance, sha256
from mucal.workflow.alternatives import Alternatives, read_alternatives
from mucal.workflow.chain import Chain, inputs_of, join, reading_of, sources
from mucal.workflow.closing_files import open_closing
from mucal.workflow.config import Analysis
from mucal.workflow.cross_checks import cross_check
from mucal.workflow.detector_model import compare as compare_models
from mucal.workflow.detector_model import mass_slopes
from mucal.workflow.findings import Findings, closed_files, findings_of
from mucal.workflow.finished_run import write_page
from mucal.workflow.globalcor import detector_of
from mucal.workflow.outcome import Outcome, failed, headline, objections, summary
from mucal.workflow.probes import left_over
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.refitted_pairs import RefittedSource
from mucal.workflow.release import evidence_for, files_beside
from mucal.workflow.run_files import save, save_tracks
from mucal.workflow.stages import (
    BUNDLE,
    DIGESTS,
    REPORT,
    RESULT,
    Folder,
    close_folder,
    holds_lock,
    open_folder,
)
from mucal.workflow.tracked import TrackedChain, track
from mucal.workflow.uncertainties import model_of
from mucal.workflow.verification import write_digests
from mucal.workflow.w_muons import scale_slope
from mucal.workflow.z_pairs import with_z_mass


def run(
    analysis: Analysis, out: str | Path, *, resume: bool = False, overwrite: bool = False,
    cache: str | Path | None = None, tell: Tell = silent,
) -> Outcome:  # fmt: skip
    """Run an analysis and leave everything in the folder `out`.

    out       : folder; has to be empty or new
    resume    : go on in a folder where a run was interrupted; finished stages made from the same inputs and
                configuration are taken up
    overwrite : start anew in a folder that holds something
    cache     : folder that keeps the stages of all runs by what they were made from: a stage that any of them made
                is taken up from there; it only grows

    Returns how it ended.  Raises NotCertified, after writing results and page but no calibration, if the result is
    not fit to be exported; ConfigError, InputError and so on as the stages do.  `result.json` says so, unless the
    folder could not be used at all.
    """
    out = Path(out)
    folder = Folder(out, resume=resume, base=Provenance(), tell=tell, cache=None if cache is None else Path(cache))
    try:
        alternatives = read_alternatives(analysis, out)
        open_folder(out, resume=resume, overwrite=overwrite)
        outcome = _run(analysis, alternatives, out, folder, tell)
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


def _run(analysis: Analysis, alternatives: Alternatives, out: Path, folder: Folder, tell: Tell) -> Outcome:
    folder.base = Provenance(configuration=dict(analysis.plain), seed=analysis.general.seed)
    tracked = tracks_of(analysis, folder, tell)
    if tracked is None:
        data, simulation = sources(analysis)
    else:
        alternatives.require_same_corrections(tracked.corrections)
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
    found = findings_of(analysis, tracked, shown, chain, tell)
    if tracked is not None:
        chain = replace(chain, recovery=compare(chain.table, left_over(tracked.probes, chain.table)))
    chain = replace(chain, notes=(*chain.notes, *checked.notes, *found.notes))
    for note in chain.notes:
        tell(Event(stage="warning", text=note))
    calibration, reasons = certified(analysis, chain, found, alternatives, folder.base, tell)
    model = None
    if calibration is not None:
        if tracked is not None and analysis.tracks is not None:
            tracks = with_z_mass(found.tracks, analysis.tracks, tracked.closing, calibration, tell)
            found = replace(found, tracks=with_models(tracks, tracked, calibration, chain.table))
        slope = None if tracked is None or tracked.w is None else scale_slope(tracked.w, chain.table)
        model = model_of(calibration, found.closures, slope)
        tell(Event(stage="calibration", text=model.line))
        if model.uncovered:
            chain = replace(chain, notes=(*chain.notes, model.uncovered))
            tell(Event(stage="warning", text=model.uncovered))
    files = [*save(chain, checked, found, model, folder), *save_tracks(found.tracks, folder)]
    models = None if found.tracks is None else found.tracks.models
    outcome = Outcome(
        status="not_certified" if reasons else "ok",
        reason="; ".join(reasons),
        headline={
            **headline(chain, found.tracks, model),
            **closing_files_numbers(found.closing),
            **model_numbers(models),
        },
        lines=(
            *summary(chain, found.tracks, model),
            *closing_files_lines(found.closing),
            *cross_check_lines(chain.table, checked.one_step, checked.angles, checked.unheld),
            *model_lines(models),
        ),
        notes=chain.notes,
        files=(*files, *([] if reasons else [BUNDLE]), REPORT, RESULT, DIGESTS),
    )
    tell(Event(stage="report", done=0, total=1, unit="page"))
    report = write_page(out, outcome.to_dict())
    if calibration is not None:
        attached = files_beside(chain, found.response, report)
        evidence = evidence_for(calibration, chain, found.closures)
        write_bundle(calibration, out / BUNDLE, attachments=attached, evidence=evidence, overwrite=True)
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


def with_models(
    tracks: TrackResults | None, tracked: TrackedChain, calibration: Calibration, table: ScaleTable
) -> TrackResults | None:
    """With the models of the scale's uncertainty side by side, if there are modes of the detector.

    table : of the masses, whose errors are its statistics
    """
    if tracks is None or tracks.detector is None:
        return tracks
    slopes = mass_slopes(tracked.w, tracked.closing, calibration.scale)
    return replace(tracks, models=compare_models(calibration, table, tracks.detector, slopes))


def certified(
    analysis: Analysis, chain: Chain, found: Findings, alternatives: Alternatives, base: Provenance, tell: Tell
) -> tuple[Calibration | None, list[str]]:
    """The calibration of a finished chain if it is fit to be released; else None, and why not."""
    reasons = objections(chain, analysis.general)
    if reasons:
        return None, reasons
    tell(Event(stage="calibration", done=0, total=1, unit="bundle"))
    try:
        calibration = assembled(analysis, chain, found, alternatives, base)
        certify(calibration)
    except NotCertified as error:
        return None, [error.what]
    except ConfigError as error:
        if error.kind not in ("config.factor", "config.adhoc"):  # what no closure gives is found out after all results
            raise
        return None, [error.what]
    return calibration, []


def assembled(
    analysis: Analysis, chain: Chain, found: Findings, alternatives: Alternatives, base: Provenance
) -> Calibration:
    """The calibration of a finished chain, with the whole uncertainty model that its results allow.

    Raises ConfigError if the configuration asks for what they do not give, NotCertified if it asks for modes of the
    detector that could not be had.
    """
    config = analysis.calibration
    detector = None
    if config.scale_nuisances == "detector":
        detector = None if found.tracks is None else found.tracks.detector
        if detector is None:
            raise NotCertified(
                "scale_nuisances = 'detector', but there are no modes of the detector: the notes say why",
                kind="run.not_certified",
            )
    reference = analysis.references.get(chain.table.resonance)
    if reference is not None and config.reference_mass is None:
        mass, error = reference.in_gev
        config = replace(config, reference_mass=mass, reference_mass_error=error, pdg_edition=reference.edition)
    resolution_mc = None if found.resolution is None else found.resolution_mc
    calibration = assemble(
        found.table, found.resolution, resolution_mc, config, closures=found.closures, pixels=found.pixels,
        detector=detector, alternatives=alternatives.tables,
    )  # fmt: skip
    own = calibration.provenance
    return calibration.with_provenance(
        replace(
            own, inputs={**base.inputs, **alternatives.inputs}, seed=base.seed, configuration=dict(base.configuration),
            ledgers={**chain.before.provenance.ledgers, **chain.simulation_ledgers, **own.ledgers},
        )
    )  # fmt: skip
