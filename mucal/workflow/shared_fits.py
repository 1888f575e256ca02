"""Mass fits of data and simulation in the same bins: where one of either fails, its bin is merged in both."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import IntArray
from mucal.massfit import MassFits, MassHistograms, Merging, marked
from mucal.workflow.progress import Event, Tell
from mucal.workflow.simulated_fits import SimulatedFits


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFits:
    """Fits of one pass; names as in `workflow.chain.Chain`.

    simulated : fits of simulation by the model of `widths`; None without simulation
    """

    merging: Merging
    widths: MassFits
    simulated: SimulatedFits | None
    fits: MassFits
    simulation: MassFits | None
    notes: tuple[str, ...]

    @property
    def samples(self) -> dict[str, MassFits]:
        """Whose masses the table is solved from, by name."""
        return {"data": self.fits} | ({} if self.simulation is None else {"simulation": self.simulation})


Fit = Callable[[Merging, SharedFits | None], SharedFits]
"""The merging of bins, and what was found with fewer of them merged -> all fits."""


def fit_shared(fit: Fit, merging: Merging, data: MassHistograms, tell: Tell) -> SharedFits:
    """Fits of bins that data and simulation share; where one fails, the bin is merged in pT, and all are fitted again.

    data : in the bins that are merged
    """
    found = fit(merging, None)
    while (wider := found.merging.joined(_failed(found), data)).n_merged > found.merging.n_merged:
        n = wider.n_merged - found.merging.n_merged
        tell(Event(stage="bins", text=f"{n} bins whose mass fits failed are merged with a neighbour in pT"))
        found = fit(wider, found)
    simulation = None if found.simulation is None else marked(found.simulation, found.merging)
    found = replace(found, fits=marked(found.fits, found.merging), simulation=simulation)
    for name, fits in found.samples.items():
        for line in fits.remedy_lines():
            tell(Event(stage="massfit", text=f"{name}: {line}"))
    return found


def _failed(found: SharedFits) -> IntArray:
    """(F, 4) merged bins without a fit in one of the samples."""
    result: IntArray = np.unique(np.concatenate([fits.failed_bins for fits in found.samples.values()]), axis=0)
    return result
