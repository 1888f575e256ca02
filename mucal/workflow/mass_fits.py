"""Mass fits of an analysis: thin bins merged, failures tried again, scales relative to its reference mass."""

from dataclasses import replace

import numpy as np

from mucal.massfit import MassFits, MassHistograms, Merging, Status, Template, fit_with_retries, merge_thin
from mucal.workflow.config import Analysis, Reference
from mucal.workflow.progress import Event, Tell, silent


def merging_of(data: MassHistograms, simulation: MassHistograms | None, analysis: Analysis, tell: Tell) -> Merging:
    """Which thin bins go together, in all passes."""
    bins = analysis.bins
    found = merge_thin(data, simulation, min_data=bins.min_data, min_simulation=bins.min_simulation)
    if found.n_merged:
        tell(Event(stage="bins", text=f"{found.n_merged} of {len(found.index)} kinematic bins are merged with others"))
    return found


def fit_histograms(
    histograms: MassHistograms, analysis: Analysis, tell: Tell = silent, *, template: Template | None = None
) -> MassFits:
    """Mass fits, those that failed tried again with less freedom, relative to the reference mass of the analysis.

    template : the signal of each bin, for the model "morphing": its scales are relative to simulation, whatever the
               reference mass
    """
    retried = fit_with_retries(histograms, analysis.massfit, template)
    for line in retried.lines():
        tell(Event(stage="massfit", text=line))
    reference = analysis.references.get(analysis.massfit.resonance)
    if reference is None or analysis.massfit.model == "morphing":
        return retried.fits
    return rebased(retried.fits, reference)


def rebased(fits: MassFits, reference: Reference) -> MassFits:
    """The fits with scales relative to another reference mass: ln s moves by ln(m_old / m_new)."""
    mass, error = reference.in_gev
    values = fits.values.copy()
    values[:, fits.parameters.index("ln_s")] += np.log(fits.reference_mass / mass)
    return replace(fits, values=values, reference_mass=mass, reference_mass_error=error)


def quality_line(fits: MassFits) -> str:
    """`1 204 of 1 210 fits are good; not_converged 4, low_stats 812` as a line."""
    tried = ~np.isin(fits.status, (Status.EMPTY, Status.LOW_STATS))
    counts = {s: int((fits.status == s).sum()) for s in Status if s != Status.OK}
    others = ", ".join(f"{s.name.lower()} {n}" for s, n in counts.items() if n)
    return f"{int(fits.good.sum())} of {int(tried.sum())} fits are good" + (f"; {others}" if others else "")
