"""What a run from hits gives the uncertainty model: closures, weights by pixel hits, resolutions, their size."""

from collections.abc import Sequence

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.errors import NotCertified
from mucal.massfit import BatchConfig, MassFits
from mucal.report import UncertaintyModel
from mucal.scale import Closure, PixelMultiplicity, ResolutionTable, close, count_pixels, inflation_of
from mucal.workflow.bins import Bins
from mucal.workflow.chain import Chain
from mucal.workflow.closing import ClosedResonance
from mucal.workflow.closing_files import ClosedFiles
from mucal.workflow.closing_pairs import ClosingPairs
from mucal.workflow.config import Analysis
from mucal.workflow.progress import Tell
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.resolutions import resolution_of
from mucal.workflow.simulated_spectra import with_formula
from mucal.workflow.tracks_config import Tracked


def closures_of(closed: Sequence[ClosedResonance | ClosedFiles], bins: Bins, notes: list[str]) -> tuple[Closure, ...]:
    """A of corrected momenta, and M where it is asked for, from every closing resonance.

    bins  : of the scale table; bins of a closure are unions of them
    notes : why one is missing is added
    """
    found = []
    for one in closed:
        if "A" not in one.sample.scale.free:
            continue
        problem = _unlike(one.sample.resonance, one.sample.bins, bins)
        if problem:
            notes.append(f"no closure of {one.sample.resonance}: {problem}")
            continue
        try:
            found.append(close(one.data, one.simulation, one.sample.scale))
        except (NotCertified, ValueError) as error:
            notes.append(f"no closure of {one.sample.resonance}: {error.args[0]}")
    return tuple(found)


def _unlike(resonance: str, own: Bins, bins: Bins) -> str:
    """Why a closure in its own bins of eta says nothing of a table in `bins`; "" if it does."""
    if own.abs_eta:
        return (
            "in bins of |eta| the residuals of one side are those of the other; leave abs_eta out of its bins and give "
            "eta_edges of both sides"
        )
    edges = bins.table_edges
    if not set(own.eta_edges) <= set(edges):
        return "its eta_edges are not some of those of [bins]"
    if resonance == "z" and (own.eta_edges[0], own.eta_edges[-1]) != (edges[0], edges[-1]):
        return (
            f"its eta_edges do not reach from {edges[0]:g} to {edges[-1]:g} as those of [bins], and a nuisance of the "
            "closure covers the whole table"
        )
    return ""


def pixels_of(
    config: Tracked, closing: Sequence[ClosingPairs], bins: Bins, notes: list[str]
) -> PixelMultiplicity | None:
    """Muons of Z with and without pixel hits, in the bins of the scale table; None, with a note, if they are too few.

    Nothing is counted, and nothing noted, where no muon loses its pixel hits.
    """
    z = next((pairs for pairs in closing if pairs.resonance == "z"), None)
    if z is None or not any(config.pixel_loss):
        return None
    edges = np.array(bins.eta_edges)
    (data, data_zero), (mc, mc_zero) = (_counts(pairs, edges, config.trigger_pt) for pairs in (z.after, z.simulation))
    try:
        return PixelMultiplicity(eta_edges=edges, data=data, data_zero=data_zero, mc=mc, mc_zero=mc_zero)
    except ValueError as error:
        notes.append(f"no weight by pixel hits: {error.args[0]}")
        return None


def _counts(pairs: RefittedPairs, edges: FloatArray, trigger_pt: float) -> tuple[FloatArray, FloatArray]:
    triggered = pairs.pt > trigger_pt
    return count_pixels(edges, pairs.eta.ravel(), pairs.charge.ravel(), triggered.ravel(), pairs.n_pixel.ravel())


def resolutions_of(
    analysis: Analysis, chain: Chain, closed: Sequence[ClosedResonance | ClosedFiles], notes: list[str], tell: Tell
) -> tuple[ResolutionTable | None, ResolutionTable | None]:
    """Resolutions of data and simulation, from all resonances together; None, with a note, where there is none."""
    if analysis.resolution is None:
        return None, None
    bins = analysis.bins
    edges = np.array(bins.resolution_eta_edges or bins.eta_edges)
    own = with_formula(analysis).massfit
    data: list[tuple[MassFits, BatchConfig]] = [(chain.widths, own)]
    data += [(one.data, one.sample.fits) for one in closed]
    found = resolution_of(data, edges, analysis.resolution, "data", notes, tell)
    if chain.unsmeared is None:
        return found, None
    simulation = [(chain.unsmeared, own)]
    simulation += [(one.simulation, one.sample.fits) for one in closed if one.simulation is not None]
    return found, resolution_of(simulation, edges, analysis.resolution, "simulation", notes, tell)


def model_of(calibration: Calibration, closures: Sequence[Closure], w_slope: FloatArray | None) -> UncertaintyModel:
    """The groups of a calibration in numbers, and what the closures ask of the errors of the scale.

    closures : that the calibration was assembled with
    w_slope  : (3B,) MeV  d m_W / d (A, e, M); None where no W was simulated
    """
    groups = tuple(dict.fromkeys(calibration.groups))
    counts, factors, impacts, sources = [], [], [], []
    flat = calibration.scale_variations.reshape(len(calibration.scale_variations), -1)
    of_scale = [group for group, kind in zip(calibration.groups, calibration.kinds, strict=True) if kind == "scale"]
    for group in groups:
        counts.append(calibration.groups.count(group))
        factors.append(float(calibration.factors[group]))
        own = [source for source, name in zip(calibration.sources, calibration.groups, strict=True) if name == group]
        sources.append("; ".join(own) if group == "alternative" else own[0])
        rows = [i for i, name in enumerate(of_scale) if name == group]
        impacts.append(np.nan if w_slope is None or not rows else float(np.linalg.norm(flat[rows] @ w_slope)))
    return UncertaintyModel(
        groups=groups, counts=np.array(counts), factors=np.array(factors), w_impact=np.array(impacts),
        sources=tuple(sources),
        inflation=inflation_of(calibration.scale, closures) if closures else None,
    )  # fmt: skip
