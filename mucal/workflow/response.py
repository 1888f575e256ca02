"""The response of the simulated muons of a run from hits, for its release: what weights by nuisances need."""

from collections.abc import Sequence

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration.response_map import FEWEST, ResponseMap, count_response, response_map
from mucal.workflow.bins import Bins
from mucal.workflow.refitted_pairs import RefittedPairs


def response_of(samples: Sequence[RefittedPairs], bins: Sequence[Bins], notes: list[str]) -> ResponseMap | None:
    """The map of all simulated pairs together; None, with a note, if no cell holds muons enough.

    samples : of the assumed detector
    bins    : of each; the map has all their edges in pT, and those of the first in eta

    A muon's cell in eta is that of its measured direction, which is off the generated one by far less than its width.
    """
    eta_edges = np.array(bins[0].eta_edges)
    pt_edges: FloatArray = np.unique(np.concatenate([one.pt_edges for one in bins]))
    if bins[0].abs_eta:
        eta_edges = np.unique(np.concatenate([-eta_edges, eta_edges]))
    counts = [
        count_response(
            pairs.pt.ravel(), 1.0 / pairs.k_gen.ravel(), pairs.eta.ravel(), pairs.charge.ravel(), pt_edges=pt_edges,
            eta_edges=eta_edges,
        )
        for pairs in samples
    ]  # fmt: skip
    total = counts[0]
    for more in counts[1:]:
        total = total + more
    found = response_map(total)
    if not np.any(np.isfinite(found.coefficients)):
        notes.append(f"no map of the response: no cell holds {FEWEST} simulated muons")
        return None
    return found
