"""Simulation brought to the resolution of data, pass by pass, so that both have the same shift in bins of measured pT.

A bin in reconstructed pT selects fluctuations: its mean mass is off by an amount that goes with the square of the
resolution (+2e-4 to +3e-4 for the J/psi).  Simulation with the same resolution has the same shift, the ratio none.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.massfit.bins import MassHistograms
from mucal.massfit.fits import MassFits
from mucal.scale.resolution import ResolutionConfig, derive_resolution, relative_variance
from mucal.scale.table import ResolutionTable

TOLERANCE: Final = 0.01
"""Of sigma, averaged over eta: 1 % of it moves the scale by 5e-6."""
PASSES: Final = 3

Refill = Callable[[ResolutionTable | None], MassHistograms]
Fit = Callable[[MassHistograms], MassFits]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedSimulation:
    """The simulation after the last pass.

    fits     : of the simulation, smeared
    extra    : what it was smeared with, None if not at all; a, b, c are differences and may be negative
    ratios   : sigma of data over simulation, averaged over eta at the mean momentum, before each pass and at the end
    matched  : whether the last of them is within the tolerance of 1; where simulation is the worse one it cannot be
    """

    fits: MassFits
    extra: ResolutionTable | None
    ratios: tuple[float, ...]
    matched: bool


def match_resolution(
    data: MassFits, refill: Refill, fit: Fit, config: ResolutionConfig | None = None, *,
    tolerance: float = TOLERANCE, max_passes: int = PASSES,
) -> MatchedSimulation:  # fmt: skip
    """Fill and fit the simulation, and smear it by what its width lacks, until it is as wide as data.

    data       : mass fits
    refill     : mass histograms of the simulation, each muon's k -> k (1 + z sqrt(max(0, variance))) with the relative
                 variance (`extra_variance`) of the table given, z the same in every pass; None: as it is
    fit        : of such histograms, as those of data were fitted
    config     : of the resolution tables
    tolerance  : on the ratio of the widths
    max_passes : fills of the simulation with a smearing

    Raises what `refill`, `fit` and `derive_resolution` raise.
    """
    of_data = derive_resolution([data], config)
    extra: ResolutionTable | None = None
    ratios: list[float] = []
    fits = fit(refill(None))
    for step in range(max_passes + 1):
        of_simulation = derive_resolution([fits], config)
        ratios.append(_ratio(of_data, of_simulation, data.histograms))
        if abs(ratios[-1] - 1.0) < tolerance or step == max_passes:
            break
        extra = _lacking(of_data, of_simulation, extra)
        fits = fit(refill(extra))
    return MatchedSimulation(fits=fits, extra=extra, ratios=tuple(ratios), matched=abs(ratios[-1] - 1.0) < tolerance)


def extra_variance(table: ResolutionTable | None, pt: FloatArray, eta: FloatArray) -> FloatArray:
    """Relative curvature variance to smear by, at least 0: never un-smear.  Arguments as for `relative_variance`."""
    if table is None:
        return np.zeros_like(np.asarray(pt, dtype=float))
    result: FloatArray = np.maximum(0.0, relative_variance(table, pt, eta))
    return result


def _lacking(data: ResolutionTable, simulation: ResolutionTable, before: ResolutionTable | None) -> ResolutionTable:
    """What was added before, and what still lacks."""
    terms = {name: getattr(data, name) - getattr(simulation, name) for name in ("a", "b", "c")}
    if before is not None:
        terms = {name: values + getattr(before, name) for name, values in terms.items()}
    return replace(data, **terms)


def _ratio(data: ResolutionTable, simulation: ResolutionTable, histograms: MassHistograms) -> float:
    eta = 0.5 * (data.eta_edges[1:] + data.eta_edges[:-1])
    weight = histograms.n_events[:, None]
    pt = np.full(eta.size, float(np.sum(histograms.mean("wpt") * weight) / np.sum(histograms.mean("w") * weight)))
    ratio = relative_variance(data, pt, eta) / relative_variance(simulation, pt, eta)
    return float(np.mean(np.sqrt(ratio)))
