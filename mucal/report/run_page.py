"""What a run leaves behind, in the order in which a reader wants to see it."""

from collections.abc import Sequence
from typing import Final

from mucal.report.closing_files_section import closing_files_section
from mucal.report.closure_section import front_lines, front_section
from mucal.report.cross_check_section import cross_check_section
from mucal.report.detector_section import detector_section
from mucal.report.fit_sections import fits_section, ledger_section, provenance_section, spectra_section
from mucal.report.page import Section, Tone, render
from mucal.report.resolution_section import resolution_section
from mucal.report.run_results import RunResults, events_shown, p_text, variable_name
from mucal.report.scale_sections import recovery_section, scale_section, shift_section
from mucal.report.track_sections import bias_section, corrections_section, track_lines, weak_section
from mucal.report.uncertainty_section import uncertainty_section
from mucal.report.world_section import world_section

VERDICTS: Final = {
    "ok": "Certified: the calibration was written.",
    "not_certified": "Not certified: no calibration was written.",
}


def run_page(run: RunResults, added: Sequence[Section] = ()) -> str:
    """The page of a run as HTML.

    added : sections about other results that belong to it, as efficiencies and template fits
    """
    front = [] if run.tracks is None else [front_section(run.tracks, run.recovery, run.table, run.table_factor)]
    tracks = [] if run.tracks is None else [
        bias_section(run.tracks), corrections_section(run.tracks), weak_section(run.tracks)
    ]  # fmt: skip
    recovery = [] if run.recovery is None else [recovery_section(run.recovery, after_corrections=bool(tracks))]
    models = [] if run.tracks is None else [detector_section(run.tracks.detector, run.tracks.models)]
    sections = [
        *front,
        world_section(run),
        *recovery,
        shift_section(run),
        closing_files_section(run.closing, run.fits.resonance),
        scale_section(run),
        cross_check_section(run.table, run.one_step, run.angles, run.unheld),
        spectra_section(run),
        resolution_section(run),
        uncertainty_section(run.uncertainties),
        *models,
        fits_section(run),
        *tracks,
        *added,
        ledger_section(run.provenance.ledgers),
        provenance_section(run.provenance),
    ]
    tone: Tone = "good" if run.status == "ok" else "bad"
    verdict = VERDICTS.get(run.status, run.status)
    return render(run.title, verdict, tone, sections, headline=headline(run))


def headline(run: RunResults) -> list[str]:
    """What came out, in a few lines."""
    lines = [run.reason] if run.reason else []
    if run.tracks is not None:
        lines += [*track_lines(run.tracks), *front_lines(run.tracks)]
        return [*lines, *(f"{note[:1].upper()}{note[1:]}." for note in run.notes)]
    if run.recovery is not None:
        r = run.recovery
        lines.append(f"Recovered against injected: χ² = {r.chi2:.1f} for {r.ndf} parameters, {p_text(r.p_value)}.")
    for points in run.shifts.series:
        lines.append(
            f"Mass shift against {variable_name(points.name)}, {events_shown(run)}; no shift anywhere: "
            f"{p_text(points.p_before)} before the correction, {p_text(points.p_after)} after."
        )
    return [*lines, *(f"{note[:1].upper()}{note[1:]}." for note in run.notes)]
