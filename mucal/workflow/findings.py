"""What a run found beside its scale table, and what of it enters the uncertainty model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mucal.calibration.response_map import ResponseMap
from mucal.plot.masses import ClosingShifts
from mucal.report import TrackResults
from mucal.scale import Closure, PixelMultiplicity, ResolutionTable, ScaleTable
from mucal.workflow.chain import Chain
from mucal.workflow.closing import ClosedResonance, close_masses
from mucal.workflow.closing_files import ClosedFiles, OpenClosing, close_files
from mucal.workflow.config import Analysis
from mucal.workflow.detector_model import run_modes, without_correction
from mucal.workflow.globalcor import detector_of
from mucal.workflow.mass_fits import reference_mass
from mucal.workflow.progress import Tell
from mucal.workflow.response import response_of
from mucal.workflow.stages import Folder
from mucal.workflow.tracked import TrackedChain
from mucal.workflow.uncertainties import closures_of, pixels_of, resolutions_of
from mucal.workflow.w_muons import w_shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run found beside its scale table.

    table      : that the release applies, with its errors
    tracks     : of a run from hits
    closing    : of resonances in files
    closures   : of other resonances, for the uncertainty model
    pixels     : muons with and without pixel hits; None where they were not counted
    resolution, resolution_mc : None where none could be derived
    response   : of simulated muons whose truth is known, if they are enough
    notes      : what a reader should know
    """

    table: ScaleTable
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
    return close_files(
        closing, chain.table, reference_mass(analysis, closing.asked.resonance), reference_mass(analysis), folder,
        made_from, tell,
    )  # fmt: skip


def findings_of(
    analysis: Analysis, tracked: TrackedChain | None, shown: Sequence[ClosedFiles], chain: Chain, tell: Tell
) -> Findings:
    """Masses of other resonances and of W with the calibration, and what they give the uncertainty model.

    shown : resonances in files
    """
    notes: list[str] = []
    closed: tuple[ClosedResonance | ClosedFiles, ...] = tuple(shown)
    tracks, pixels, response, table = None, None, None, chain.table
    if tracked is not None and analysis.tracks is not None:
        config = analysis.tracks
        edges = chain.table.eta_edges
        of_detector = run_modes(config, detector_of(config.detector), tracked.corrections, edges, notes)
        if of_detector is not None and analysis.calibration.scale_nuisances == "detector":
            table = without_correction(chain.table, of_detector)
            notes.append(
                "the release applies no scale table: its nuisances are what the global corrections leave uncertain; "
                "the table of the masses is only shown"
            )
        of_hits = tuple(
            close_masses(sample, pairs, table, tell)
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
            w=None if tracked.w is None else w_shift(config, tracked.w, tracked.corrections, table),
            modes=modes, mode_bias=bias, detector=of_detector,
        )  # fmt: skip
    closures = closures_of(closed, analysis.bins, notes)
    resolution, resolution_mc = resolutions_of(analysis, chain, closed, notes, tell)
    return Findings(
        table=table, tracks=tracks, closing=tuple(one.shifts for one in shown), closures=closures, pixels=pixels,
        resolution=resolution, resolution_mc=resolution_mc,
        response=response, notes=tuple(notes),
    )  # fmt: skip
