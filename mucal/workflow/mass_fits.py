"""Mass fits of an analysis: thin bins merged, failures tried again, scales relative to what is known of the mass.

Data are relative to the reference mass, simulation to the mass that its generator had: a simulation that was generated
at another mass than the reference moves nothing.
"""

from dataclasses import replace

import numpy as np

from mucal.massfit import MassFits, MassHistograms, Merging, Status, Template, fit_with_retries, merge_thin
from mucal.theory import resonance
from mucal.workflow.config import Analysis
from mucal.workflow.progress import Event, Tell


def merging_of(data: MassHistograms, simulation: MassHistograms | None, analysis: Analysis, tell: Tell) -> Merging:
    """Which thin bins go together, in all passes."""
    of_data, of_simulation = analysis.bins.fewest_events(analysis.massfit.resonance)
    found = merge_thin(data, simulation, min_data=of_data, min_simulation=of_simulation)
    if found.n_merged:
        tell(Event(stage="bins", text=f"{found.n_merged} of {len(found.index)} kinematic bins are merged with others"))
    return found


def fit_histograms(histograms: MassHistograms, analysis: Analysis, *, template: Template | None = None) -> MassFits:
    """Mass fits of data, those that failed tried again with less freedom, relative to the reference mass.

    template : the signal of each bin, for the model "morphing": of spectra `at_reference_mass`
    """
    fits = fit_with_retries(histograms, analysis.massfit, template)
    mass, error = reference_mass(analysis)
    if analysis.massfit.model == "morphing":
        return replace(fits, reference_mass=mass, reference_mass_error=error)
    return fits.relative_to(mass, error)


def fit_simulated_histograms(histograms: MassHistograms, analysis: Analysis) -> MassFits:
    """Mass fits of simulation, those that failed tried again with less freedom, relative to the generated mass."""
    fits = fit_with_retries(histograms, analysis.massfit)
    return fits.relative_to(generated_mass(analysis))


def reference_mass(analysis: Analysis, name: str | None = None) -> tuple[float, float]:
    """The mass that data should have, and its uncertainty, GeV: of ``[reference.NAME]`` or else of the table.

    name : of the resonance; None: the fitted one
    """
    name = name or analysis.massfit.resonance
    if name in analysis.references:
        return analysis.references[name].in_gev
    return resonance(name).mass, resonance(name).mass_error


def generated_mass(analysis: Analysis) -> float:
    """The mass of the fitted resonance that simulation was generated with, GeV."""
    return analysis.simulated_mass or resonance(analysis.massfit.resonance).mass


def at_reference_mass(spectra: MassHistograms, analysis: Analysis) -> MassHistograms:
    """Simulated spectra as if the reference mass had been generated: all masses times m_reference / m_generated."""
    ratio = reference_mass(analysis)[0] / generated_mass(analysis)
    return replace(spectra, mass_edges=spectra.mass_edges * ratio)


def quality_line(fits: MassFits) -> str:
    """`1 204 of 1 210 fits are good; not_converged 4, low_stats 812` as a line."""
    tried = ~np.isin(fits.status, (Status.EMPTY, Status.LOW_STATS))
    counts = {s: int((fits.status == s).sum()) for s in Status if s != Status.OK}
    others = ", ".join(f"{s.name.lower()} {n}" for s, n in counts.items() if n)
    return f"{int(fits.good.sum())} of {int(tried.sum())} fits are good" + (f"; {others}" if others else "")
