"""A finished run, read back from its folder, and its page written again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mucal.efficiency import Efficiencies, EfficiencyModel, ScaleFactors
from mucal.errors import InputError
from mucal.globalcor import BiasMap, GlobalCorrections, InjectedParameters, ProbeBias, WeakModes
from mucal.massfit import MassFits, SpectrumFit
from mucal.plot.closing import ClosingMasses, WShift, ZMass
from mucal.plot.masses import ClosedMasses, MassShifts
from mucal.refit import MassReference
from mucal.report import RunResults, Section, SpectrumFits, TrackResults, UncertaintyModel, run_page
from mucal.report.efficiency_section import efficiency_section
from mucal.report.ingredient_sections import chain_section, nonprompt_section, recoil_section
from mucal.report.likelihood_sections import impacts_section
from mucal.report.published_impacts import published_impacts_section
from mucal.report.scale_models import ScaleModels
from mucal.scale import AngularBiases, ResolutionTable, ScaleResiduals, ScaleTable
from mucal.scale.detector_modes import DetectorModes
from mucal.scale.recovery import Recovery
from mucal.store import Result, is_result, read_header, replace_file
from mucal.templates.nonprompt import Nonprompt
from mucal.templates.recoil import RecoilCalibration
from mucal.workflow.fit import Fitted
from mucal.workflow.stages import MADE, REPORT, RESULT, TRACK_TABLES, UNCERTAINTIES
from mucal.workflow.verification import renew_digest

R = TypeVar("R", bound=Result)


def load_run(out: str | Path, ended: Mapping[str, Any] | None = None) -> RunResults:
    """A finished run from its folder.

    ended : status, reason and notes; None: as `result.json` has them

    Raises InputError if it is not the folder of a finished run, VerificationError if a file is damaged.
    """
    out = Path(out)
    ended = _ended(out) if ended is None else ended
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
        uncertainties=_optional(UncertaintyModel, out / UNCERTAINTIES),
        one_step=_optional(ScaleTable, out / "one_step.h5"),
        angles=_optional(AngularBiases, out / "angles.h5"),
        unheld=_optional(ScaleTable, out / "scale_without_priors.h5"),
        closing=() if (closed := _optional(ClosedMasses, out / "closing_files.h5")) is None else closed.shifts,
    )


def _ended(out: Path) -> Mapping[str, Any]:
    """What `result.json` says."""
    try:
        ended: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{out} is not the folder of a run: it has no readable {RESULT}",
            kind="input.not_a_run",
            where={"folder": out},
        ) from error
    return ended


def _tracks(out: Path) -> TrackResults | None:
    corrections, probes, reference, injected, closing, w, z, modes, bias, detector, models = (
        out / name for name in TRACK_TABLES
    )
    if not corrections.exists():
        return None
    return TrackResults(
        corrections=GlobalCorrections.load(corrections), probes=ProbeBias.load(probes),
        reference=MassReference.load(reference), injected=InjectedParameters.load(injected),
        closing=ClosingMasses.load(closing).masses, w=_optional(WShift, w), z=_optional(ZMass, z),
        modes=_optional(WeakModes, modes), mode_bias=_optional(BiasMap, bias),
        detector=_optional(DetectorModes, detector), models=_optional(ScaleModels, models),
    )  # fmt: skip


def _optional(kind: type[R], path: Path) -> R | None:
    return kind.load(path) if path.exists() else None


def write_report(out: str | Path) -> Path:
    """Write the page of a finished run again, and its digest; returns its path."""
    out = Path(out)
    path = write_page(out)
    renew_digest(out, REPORT)
    return path


def write_page(out: Path, ended: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a finished run, nothing else; returns its path.

    ended : as in `load_run`
    """
    html = run_page(load_run(out, ended), added_sections(out))
    return replace_file(out / REPORT, lambda path: path.write_text(html, encoding="utf-8"), overwrite=True)


def added_sections(out: Path) -> list[Section]:
    """Efficiencies, nonprompt muons, recoil and template fits that users have put into the folder of a run."""
    found = [
        efficiency_section(results_of(out, ScaleFactors), results_of(out, Efficiencies)),
        chain_section(results_of(out, EfficiencyModel)),
        nonprompt_section(results_of(out, Nonprompt)),
        recoil_section(results_of(out, RecoilCalibration)),
    ]
    for name, fitted in results_of(out, Fitted).items():
        for nominal, response in zip(fitted.nominal, fitted.responses, strict=True):
            found.append(published_impacts_section(name, nominal, response))
            own = impacts_section(fitted.result, fitted.pulls, fitted.constraints, nominal, response)
            found.append(replace(own, title=f"{own.title}, {name}"))
    return found


def results_of(out: Path, kind: type[R]) -> dict[str, R]:
    """File -> result of one type, of all that users have put into the folder of a run."""
    files = [path for path in sorted(out.glob("*.h5")) if path.name not in MADE and is_result(path)]
    return {path.name: kind.load(path) for path in files if read_header(path)["type"] == kind.__name__}
