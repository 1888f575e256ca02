"""Resolution tables of a run: from the widths of one resonance, or of several together, in bins of eta of their own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mucal.arrays import FloatArray, same_edges
from mucal.errors import NotCertified
from mucal.massfit import BatchConfig, MassFits, MassHistograms, fit_bins
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, regrouped
from mucal.scale import ResolutionConfig, ResolutionTable, derive_resolution, scan_d
from mucal.workflow.progress import Event, Tell


def coarser(histograms: MassHistograms, eta_edges: FloatArray) -> MassHistograms:
    """The histograms in wider bins of eta.

    eta_edges : some of their edges

    Raises ValueError if an edge is none of theirs, or the range is another one.
    """
    place = np.searchsorted(eta_edges, histograms.eta_edges[:-1] + 1e-9, side="right") - 1
    same_range = np.allclose(eta_edges[[0, -1]], histograms.eta_edges[[0, -1]], atol=1e-9)
    known = np.any(np.isclose(eta_edges[:, None], histograms.eta_edges, atol=1e-9), axis=1)
    if not (same_range and np.all(known)):
        raise ValueError(f"edges {eta_edges.tolist()} are not a choice of {histograms.eta_edges.tolist()}")
    index = histograms.index.copy()
    for axis in (ETA_PLUS, ETA_MINUS):
        index[:, axis] = place[index[:, axis]]
    return replace(regrouped(histograms, index), eta_edges=eta_edges)


def in_bins(fits: MassFits, eta_edges: FloatArray, config: BatchConfig) -> MassFits:
    """The fits in wider bins of eta: the same if they are in these, else made again.

    Raises ValueError as `coarser` does.
    """
    if same_edges(fits.histograms.eta_edges, eta_edges):
        return fits
    return fit_bins(coarser(fits.histograms, eta_edges), config)


def resolution_of(
    fits: Sequence[tuple[MassFits, BatchConfig]], eta_edges: FloatArray, config: ResolutionConfig, what: str,
    notes: list[str], tell: Tell,
) -> ResolutionTable | None:  # fmt: skip
    """The table of the widths of some resonances together; None, with a note, where they do not give one.

    With a free b, to which d belongs, it carries a scan of d, and tells how far the resolution moves with it.

    fits      : with how they were made; those whose bins cannot be put together into these are left out
    eta_edges : of the table
    what      : "data" or "simulation", for notes
    """
    used = []
    for one, how in fits:
        try:
            used.append(in_bins(one, eta_edges, how))
        except ValueError:
            notes.append(f"the bins of {one.resonance} do not fit into those of the resolution: left out of it")
    try:
        table = derive_resolution(used, config)
    except (NotCertified, ValueError) as error:
        notes.append(f"no resolution table of {what}: {error.args[0]}")
        return None
    if held := table.provenance.configuration["held_at_zero"]:
        notes.append(f"resolution of {what}: {', '.join(held)} held at 0, below which the widths alone would bring it")
    if "b" not in config.free:
        return table
    scan = scan_d(used, config)
    tell(Event(stage="resolution", text=f"of {what}: {scan.line}"))
    return replace(table, by_d=scan)
