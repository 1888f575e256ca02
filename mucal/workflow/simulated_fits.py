"""Mass fits of simulation as they are subtracted from those of data: merged, with background, as wide as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mucal.errors import NotCertified
from mucal.massfit import MassFits, MassHistograms, Merging
from mucal.scale import ResolutionTable, add_fitted_background
from mucal.scale.iteration import match_resolution
from mucal.workflow.config import Analysis
from mucal.workflow.mass_fits import fit_simulated_histograms
from mucal.workflow.passes import Source, collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.stages import Folder, digest

Refill = Callable[[ResolutionTable | None], MassHistograms]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFits:
    """Fits of simulation.

    plain    : as it is; its widths are its resolution
    matched  : smeared until it is as wide as data; its shifts are what the scale subtracts
    smearing : what was added to it; None if nothing was
    """

    plain: MassFits
    matched: MassFits
    smearing: ResolutionTable | None = None


def fit_simulation(
    analysis: Analysis, data: MassFits, refill: Refill, merging: Merging, before: SimulatedFits | None,
    notes: list[str], tell: Tell,
) -> SimulatedFits:  # fmt: skip
    """The fits of simulation beside those of data.

    refill : its mass histograms, smeared by a table; None: as it is
    before : fits of the same pass, in bins of which some are merged now; their smearing is taken over
    notes  : what a reader should know is added
    """

    def filled(extra: ResolutionTable | None) -> MassHistograms:
        return beside(merging.apply(refill(extra)), data, analysis)

    plain = fit_simulated_histograms(filled(None), analysis)
    if analysis.resolution is None or not analysis.general.match_resolution:
        return SimulatedFits(plain=plain, matched=plain)

    def fit(histograms: MassHistograms) -> MassFits:
        same = np.array_equal(histograms.counts, plain.histograms.counts)
        return plain if same else fit_simulated_histograms(histograms, analysis)

    if before is not None:
        matched = plain if before.smearing is None else fit(filled(before.smearing))
        return SimulatedFits(plain=plain, matched=matched, smearing=before.smearing)
    found, why = None, ""
    for free in _ladder(analysis.resolution.free):
        try:
            found = match_resolution(data, filled, fit, replace(analysis.resolution, free=free))
            break
        except (NotCertified, ValueError) as error:
            why = str(error.args[0])
    if found is None:
        notes.append(f"simulation keeps its own resolution: {why}")
        return SimulatedFits(plain=plain, matched=plain)
    ratios = ", ".join(f"{ratio:.3f}" for ratio in found.ratios)
    tell(Event(stage="resolution", text=f"mass width of data over simulation, smeared step by step: {ratios}"))
    if not found.matched:
        notes.append(f"the mass widths of data and simulation still differ, by a factor of {found.ratios[-1]:.3f}")
    return SimulatedFits(plain=plain, matched=found.fits, smearing=found.extra)


def _ladder(free: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Terms to compare widths with: one resonance cannot tell b from c, and few pairs of it not even c from a."""
    of_one = tuple(name for name in free if name != "b") or free
    return list(dict.fromkeys((of_one, of_one[:1])))


def refilled(
    analysis: Analysis, folder: Folder, source: Source, plain: MassHistograms, number: int,
    made_from: Mapping[str, Any], tell: Tell, extra: ResolutionTable | None,
) -> MassHistograms:  # fmt: skip
    """Histograms of simulation, smeared; each filling is saved, for files are slow to read."""
    if extra is None:
        return plain
    terms = {name: getattr(extra, name).tolist() for name in ("eta_edges", "a", "b", "c", "d")}
    name = f"stages/simulation_{number}_{digest(terms)[:8]}.h5"

    def make() -> MassHistograms:
        found = collect(source, analysis.bins.binning(), smearing=extra, tell=tell, stage="smeared simulation")
        return found.derive

    return folder.once(name, MassHistograms, {**made_from, "smearing": terms}, make)[0]


def beside(simulation: MassHistograms, data: MassFits, analysis: Analysis) -> MassHistograms:
    """The simulation as it is fitted beside data: with the background of data under its peak."""
    return add_fitted_background(simulation, data) if analysis.general.add_background else simulation
