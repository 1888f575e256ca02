"""The stages joined into named calibrations, with configuration, ledgers and provenance.

A configuration (TOML) becomes one `Analysis`; `run` reads its events in passes, fits masses in bins, solves for the
scale table on one half of the events and shows it on the other, assembles the calibration and writes the page.  Every
stage leaves a file that says what it was made from, so that an interrupted run goes on where it stopped.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mucal.workflow.application import apply, bundle_of
    from mucal.workflow.calibration_run import run
    from mucal.workflow.compilation import compiling_ahead
    from mucal.workflow.config import Analysis, load_analysis
    from mucal.workflow.description import describe
    from mucal.workflow.finished_run import load_run, write_report
    from mucal.workflow.outcome import Outcome
    from mucal.workflow.progress import Event, Tell, silent
    from mucal.workflow.single import check, derive_closure, derive_scale, fit_masses, fit_summary, simulate
    from mucal.workflow.threads import at_most
    from mucal.workflow.verification import verify, verify_against

# Imported on first use: one stage does not wait for the libraries of the others.
_PLACES: Final = {
    "Analysis": "mucal.workflow.config",
    "Event": "mucal.workflow.progress",
    "Outcome": "mucal.workflow.outcome",
    "Tell": "mucal.workflow.progress",
    "apply": "mucal.workflow.application",
    "at_most": "mucal.workflow.threads",
    "bundle_of": "mucal.workflow.application",
    "check": "mucal.workflow.single",
    "compiling_ahead": "mucal.workflow.compilation",
    "derive_closure": "mucal.workflow.single",
    "derive_scale": "mucal.workflow.single",
    "describe": "mucal.workflow.description",
    "fit_masses": "mucal.workflow.single",
    "fit_summary": "mucal.workflow.single",
    "load_analysis": "mucal.workflow.config",
    "load_run": "mucal.workflow.finished_run",
    "run": "mucal.workflow.calibration_run",
    "silent": "mucal.workflow.progress",
    "simulate": "mucal.workflow.single",
    "verify": "mucal.workflow.verification",
    "verify_against": "mucal.workflow.verification",
    "write_report": "mucal.workflow.finished_run",
}

__all__ = [
    "Analysis",
    "Event",
    "Outcome",
    "Tell",
    "apply",
    "at_most",
    "bundle_of",
    "check",
    "compiling_ahead",
    "derive_closure",
    "derive_scale",
    "describe",
    "fit_masses",
    "fit_summary",
    "load_analysis",
    "load_run",
    "run",
    "silent",
    "simulate",
    "verify",
    "verify_against",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'mucal.workflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
