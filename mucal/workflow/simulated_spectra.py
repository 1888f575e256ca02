"""Spectra of simulation as the signal of the mass fits of data: the model "morphing".

The scales that it finds are those of data over simulation, so that the table is solved from them alone.  Simulation
should be as wide as data first, which the fits of a formula ("template") see to; widths and resolutions are theirs too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.massfit import Binning, MassFits, MassHistograms, Merging, simulated_template
from mucal.scale import ResolutionTable
from mucal.workflow.bins import Bins
from mucal.workflow.config import Analysis
from mucal.workflow.mass_fits import at_reference_mass, fit_histograms
from mucal.workflow.passes import Source, collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.stages import Folder, digest

WIDER: Final = 0.375
"""Of the window, on either side of it: from there events may move in."""
FINER: Final = 10
"""Bins of simulated mass to one of the fit: what is inside one is taken at its middle."""


def with_formula(analysis: Analysis) -> Analysis:
    """The analysis with a model that needs no simulated spectra; itself unless its model is "morphing"."""
    if analysis.massfit.model != "morphing":
        return analysis
    return replace(analysis, massfit=analysis.massfit.with_model("template"))


def with_spectra(analysis: Analysis) -> Analysis:
    """The analysis with the model "morphing"."""
    return replace(analysis, massfit=analysis.massfit.with_model("morphing"))


def require_simulation(analysis: Analysis, simulation: Source | None, asks: str) -> Source:
    """The simulation.  Raises ConfigError, which names what asks for it, if there is none."""
    if simulation is None:
        raise ConfigError(
            f"{asks} compares data with simulated spectra, and the configuration names no simulation",
            kind="config.no_simulation",
            do="add a section [simulation], or leave this out",
        )
    return simulation


def fine_binning(bins: Bins) -> Binning:
    """The kinematic bins, with finer bins of mass over a wider range."""
    low, high = bins.mass_window
    step = (high - low) / (bins.mass_bins * FINER)
    beyond = round(WIDER * bins.mass_bins * FINER)
    below = min(beyond, int(0.5 * low / step))  # masses are positive
    edges: FloatArray = low + step * np.arange(-below, bins.mass_bins * FINER + beyond + 1, dtype=np.float64)
    return replace(bins.binning(), mass_edges=edges)


def simulated_spectra(
    analysis: Analysis, folder: Folder, source: Source, smearing: ResolutionTable | None,
    made_from: Mapping[str, Any], tell: Tell,
) -> MassHistograms:  # fmt: skip
    """Fine mass histograms of simulation, smeared or as it is; saved in the folder."""
    terms = None if smearing is None else {name: getattr(smearing, name).tolist() for name in _TERMS}

    def make() -> MassHistograms:
        return collect(source, fine_binning(analysis.bins), smearing=smearing, tell=tell, stage="spectra").derive

    name = f"stages/spectra_{digest({'smearing': terms})[:8]}.h5"
    return folder.once(name, MassHistograms, {**made_from, "smearing": terms}, make)[0]


_TERMS: Final = ("eta_edges", "a", "b", "c", "d")


def fit_spectra(
    analysis: Analysis, data: MassHistograms, spectra: MassHistograms, merging: Merging | None, tell: Tell
) -> tuple[MassFits, MassHistograms]:
    """Fits of data with simulated spectra as signal, and these spectra at the reference mass, merged as data are.

    data    : merged
    spectra : fine, not merged
    """
    merged = at_reference_mass(spectra if merging is None else merging.apply(spectra), analysis)
    tell(Event(stage="massfit", text="the signal of each bin is its simulated spectrum"))
    return fit_histograms(data, with_spectra(analysis), template=simulated_template(merged, data)), merged
