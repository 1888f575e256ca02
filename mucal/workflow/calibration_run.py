"""`mucal run`: from dimuons to a calibration, its figures and its page."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mucal.calibration import Calibration, CalibrationConfig, assemble, certify
from mucal.detector import BUILT_IN
from mucal.errors import InputError, NotCertified
from mucal.globalcor import GlobalCorrections, InjectedParameters, ProbeBias
from mucal.io import write_bundle
from mucal.massfit import MassFits, SpectrumFit
from mucal.plot.closing import ClosingMasses, WShift
from mucal.plot.masses import MassShifts
from mucal.refit import MassReference
from mucal.report import RunResults, SpectrumFits, TrackResults, run_page
from mucal.scale import ResolutionTable, ScaleResiduals, ScaleTable
from mucal.scale.recovery import Recovery, compare
from mucal.store import Provenance, Result, replace_file, sha256
from mucal.workflow.chain import Chain, inputs_of, join, sources
from mucal.workflow.closing import close_masses
from mucal.workflow.config import Analysis
from mucal.workflow.globalcor import detector_of
from mucal.workflow.outcome import Outcome, failed, headline, objections, summary
from mucal.workflow.probes import left_over
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.refitted_pairs import RefittedSource
from mucal.workflow.stages import (
    BUNDLE,
    DIGESTS,
    REPORT,
    RESULT,
    TRACK_TABLES,
    Folder,
    close_folder,
    holds_lock,
    open_folder,
)
from mucal.workflow.tracked import TrackedChain, track
from mucal.workflow.tracks_config import Tracked
from mucal.workflow.verification import renew_digest, write_digests
from mucal.workflow.w_muons import w_shift

R = TypeVar("R", bound=Result)


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
            (out / DIGESTS).unlink(missing_ok=True)  # of an earlier end of this run
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
        data, simulation = RefittedSource(tracked.after), RefittedSource(tracked.simulation)
    folder.base = replace(folder.base, inputs={**folder.base.inputs, **inputs_of(data), **inputs_of(simulation)})
    chain = join(analysis, folder, data, simulation, tell)
    closure = None
    if tracked is not None and analysis.tracks is not None:
        chain = replace(chain, recovery=compare(chain.table, left_over(tracked.probes, chain.table)))
        closure = closed(analysis.tracks, tracked, chain.table, tell)
    for note in chain.notes:
        tell(Event(stage="warning", text=note))
    files = [*save(chain, folder), *save_tracks(closure, folder)]
    reasons = objections(chain, analysis.general)
    calibration = None
    if not reasons:
        tell(Event(stage="calibration", done=0, total=1, unit="bundle"))
        calibration = assembled(analysis, chain, folder.base)
        try:
            certify(calibration)
        except NotCertified as error:
            reasons = [error.what]
    released = [BUNDLE] if not reasons else []
    if reasons and (out / BUNDLE / "manifest.json").is_file():
        shutil.rmtree(out / BUNDLE)  # of an earlier run that went on here
    outcome = Outcome(
        status="not_certified" if reasons else "ok",
        reason="; ".join(reasons),
        headline=headline(chain, closure),
        lines=tuple(summary(chain, closure)),
        notes=chain.notes,
        files=(*files, *released, REPORT, RESULT, DIGESTS),
    )
    folder.write_text(RESULT, outcome.json())
    tell(Event(stage="report", done=0, total=1, unit="page"))
    report = _write_page(out)
    if released and calibration is not None:
        write_bundle(calibration, out / BUNDLE, attachments={REPORT: report.read_bytes()}, overwrite=True)
    write_digests(out, (*files, REPORT, RESULT))
    return outcome


def tracks_of(analysis: Analysis, folder: Folder, tell: Tell) -> TrackedChain | None:
    """The stages from hits to refitted pairs, if the analysis begins with hits."""
    if analysis.tracks is None:
        return None
    name = analysis.tracks.detector
    if name not in BUILT_IN:
        folder.base = replace(folder.base, inputs={name: sha256(name)} if Path(name).is_file() else {})
    return track(analysis.tracks, folder, detector_of(name), analysis.plain["tracks"], tell)


def closed(config: Tracked, tracked: TrackedChain, table: ScaleTable, tell: Tell) -> TrackResults:
    """What the stages from hits found, with the masses of other resonances and of W once there is a table."""
    return TrackResults(
        corrections=tracked.corrections, probes=tracked.probes, reference=tracked.reference, injected=tracked.injected,
        closing=tuple(
            close_masses(sample, pairs, table, tell)
            for sample, pairs in zip(config.closing, tracked.closing, strict=True)
        ),
        w=None if tracked.w is None else w_shift(tracked.w, tracked.corrections, table),
    )  # fmt: skip


def save_tracks(found: TrackResults | None, folder: Folder) -> list[str]:
    """What the stages from hits found, as files people look for; those of an earlier run are taken away."""
    results: dict[str, Result | None] = dict.fromkeys(TRACK_TABLES)
    if found is not None:
        made = (
            found.corrections, found.probes, found.reference, found.injected, ClosingMasses(masses=found.closing),
            found.w,
        )  # fmt: skip
        results = dict(zip(TRACK_TABLES, made, strict=True))
    for name, result in results.items():
        if result is None:
            (folder.path / name).unlink(missing_ok=True)
        else:
            kept = replace(folder.base, ledgers=result.provenance.ledgers)
            result.with_provenance(kept).save(folder.path / name, overwrite=True)
    return [name for name, result in results.items() if result is not None]


def save(chain: Chain, folder: Folder) -> list[str]:
    """Write the results of the chain as files people look for, take away those of an earlier run; returns names."""
    results: dict[str, Result | None] = {
        "massfit.h5": chain.fits,
        "massfit_simulation.h5": chain.simulation,
        "scale.h5": chain.table,
        "scale_residuals.h5": chain.residuals,
        "shifts.h5": chain.shifts,
        "resolution.h5": chain.resolution,
        "resolution_simulation.h5": chain.resolution_mc,
        "recovery.h5": chain.recovery,
    }
    for i, spectrum in enumerate(chain.spectra.values()):
        results |= {f"spectra/{i}_{when}.h5": getattr(spectrum, when) for when in ("before", "after", "simulation")}
    read = {**chain.before.provenance.ledgers, **chain.simulation_ledgers}
    for name, result in results.items():
        if result is None:
            (folder.path / name).unlink(missing_ok=True)
        else:
            own = replace(folder.base, ledgers={**read, **result.provenance.ledgers})
            result.with_provenance(own).save(folder.path / name, overwrite=True)
    return [name for name, result in results.items() if result is not None]


def assembled(analysis: Analysis, chain: Chain, base: Provenance) -> Calibration:
    """The calibration of a finished chain."""
    config: CalibrationConfig = analysis.calibration
    reference = analysis.references.get(chain.table.resonance)
    if reference is not None and config.reference_mass is None:
        mass, error = reference.in_gev
        config = replace(config, reference_mass=mass, reference_mass_error=error, pdg_edition=reference.edition)
    both = chain.resolution is not None and chain.resolution_mc is not None
    calibration = assemble(chain.table, chain.resolution, chain.resolution_mc if both else None, config)
    own = calibration.provenance
    return calibration.with_provenance(
        replace(own, inputs=base.inputs, seed=base.seed, configuration=dict(base.configuration))
    )


def load_run(out: str | Path) -> RunResults:
    """A finished run from its folder.

    Raises InputError if it is not the folder of a finished run, VerificationError if a file is damaged.
    """
    out = Path(out)
    try:
        ended = json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{out} is not the folder of a run: it has no readable {RESULT}",
            kind="input.not_a_run",
            where={"folder": out},
        ) from error
    if ended["status"] not in ("ok", "not_certified"):
        raise InputError(
            f"the run in {out} did not finish: {ended['reason']}",
            kind="input.unfinished_run",
            where={"folder": out},
            do="run it again with --resume",
        )
    table = ScaleTable.load(out / "scale.h5")
    provenance = table.provenance
    general = provenance.configuration.get("analysis", {})
    names = [
        entry.get("name", f"spectrum {i + 1}") for i, entry in enumerate(provenance.configuration.get("spectra", ()))
    ]
    return RunResults(
        title=general.get("title") or f"Calibration '{general.get('name', out.name)}'",
        status=ended["status"],
        reason=ended["reason"],
        notes=tuple(ended["notes"]),
        fits=MassFits.load(out / "massfit.h5"),
        simulation=_optional(MassFits, out / "massfit_simulation.h5"),
        table=table,
        residuals=ScaleResiduals.load(out / "scale_residuals.h5"),
        resolution=_optional(ResolutionTable, out / "resolution.h5"),
        resolution_mc=_optional(ResolutionTable, out / "resolution_simulation.h5"),
        shifts=MassShifts.load(out / "shifts.h5"),
        recovery=_optional(Recovery, out / "recovery.h5"),
        spectra={
            name: SpectrumFits(
                before=SpectrumFit.load(out / f"spectra/{i}_before.h5"),
                after=SpectrumFit.load(out / f"spectra/{i}_after.h5"),
                simulation=_optional(SpectrumFit, out / f"spectra/{i}_simulation.h5"),
            )
            for i, name in enumerate(names)
        },
        provenance=provenance,
        tracks=_tracks(out),
    )


def _tracks(out: Path) -> TrackResults | None:
    corrections, probes, reference, injected, closing, w = (out / name for name in TRACK_TABLES)
    if not corrections.exists():
        return None
    return TrackResults(
        corrections=GlobalCorrections.load(corrections), probes=ProbeBias.load(probes),
        reference=MassReference.load(reference), injected=InjectedParameters.load(injected),
        closing=ClosingMasses.load(closing).masses, w=_optional(WShift, w),
    )  # fmt: skip


def _optional(kind: type[R], path: Path) -> R | None:
    return kind.load(path) if path.exists() else None


def write_report(out: str | Path) -> Path:
    """Write the page of a finished run again, and its digest; returns its path."""
    out = Path(out)
    path = _write_page(out)
    renew_digest(out, REPORT)
    return path


def _write_page(out: Path) -> Path:
    html = run_page(load_run(out))
    return replace_file(out / REPORT, lambda path: path.write_text(html, encoding="utf-8"), overwrite=True)
