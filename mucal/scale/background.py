"""The background of data put under the simulated peak, so that both are fitted under the same conditions."""

from dataclasses import replace

import numpy as np

from mucal.arrays import same_edges
from mucal.massfit.background import background_shape
from mucal.massfit.bins import MassHistograms, matching_rows
from mucal.massfit.fits import MassFits


def add_fitted_background(simulation: MassHistograms, data: MassFits) -> MassHistograms:
    """Simulated mass histograms with the background that the fits found in data, at the same share of each bin.

    A signal shape that is not exactly right lets the background take part of a tail, and moves the peak: -2e-5 for
    4 % of background under a J/psi (docs/physics/scale.md).  With the same background on both sides the movement is the
    same and drops out of their ratio.  What is added are expected contents, not whole events; the sums over events,
    which `scale` takes from data alone, are not changed.

    simulation : signal only, in the kinematic and mass bins of the data
    data       : fits with "logit_f" and "slope"; a bin without a good fit, or without events in data, adds nothing

    Raises ValueError for different binnings.
    """
    if not same_edges(simulation.mass_edges, data.histograms.mass_edges):
        raise ValueError("data and simulation were binned with different mass_edges; fill both with one binning")
    place = matching_rows(simulation, data.histograms)
    known = (place >= 0) & data.good[place]
    of_data = place[known]
    odds = np.exp(data.value("logit_f")[of_data])
    shape = background_shape(data.value("slope")[of_data], simulation.mass_edges)
    counts = simulation.counts.copy()
    counts[known] += (odds * simulation.n_events[known])[:, None] * shape
    # the averages of data and simulation are sums over events: events added without sums would change them
    growth = counts.sum(axis=1) / simulation.n_events
    return replace(simulation, counts=counts, sums=simulation.sums * growth[:, None, None])
