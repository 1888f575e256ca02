"""The stages joined into named calibrations, with configuration, ledgers and provenance.

A configuration (TOML) becomes one `Analysis`; `run` reads its events in passes, fits masses in bins, solves for the
scale table on one half of the events and shows it on the other, assembles the calibration and writes the page.  Every
stage leaves a file that says what it was made from, so that an interrupted run goes on where it stopped.
"""

from mucal.workflow.apply import apply, bundle_of
from mucal.workflow.config import Analysis, load_analysis
from mucal.workflow.describe import describe
from mucal.workflow.outcome import Outcome
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.run import load_run, run, write_report
from mucal.workflow.single import check, derive_scale, fit_masses, fit_summary, simulate
from mucal.workflow.threads import at_most
from mucal.workflow.verification import verify

__all__ = [
    "Analysis",
    "Event",
    "Outcome",
    "Tell",
    "apply",
    "at_most",
    "bundle_of",
    "check",
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
    "write_report",
]
