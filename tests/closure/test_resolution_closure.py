"""A known curvature resolution comes back from the widths of generated J/psi."""

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassHistograms, fill, fit_bins
from mucal.scale import ResolutionTable, derive_resolution, relative_variance
from mucal.simulation import DimuonSimulation, stream_dimuons

ETA = np.linspace(-2.4, 2.4, 7)
CENTRES = 0.5 * (ETA[1:] + ETA[:-1])
PT = np.array([4.0, 5.2, 6.3, 8.7, 12.0, 25.0])


def injected(size: float) -> ResolutionTable:
    x = np.abs(CENTRES) / 2.4
    return ResolutionTable(
        eta_edges=ETA, a=size * (6e-5 + 2e-4 * x**2), b=np.zeros(6), c=size * (2e-8 + 5e-8 * x**2), d=np.full(6, 370.0),
        cov=np.zeros((18, 18)),
    )  # fmt: skip


def recovered(size: float, n: int) -> ResolutionTable:
    binning = Binning(eta_edges=ETA, pt_edges=PT, mass_edges=np.linspace(2.9, 3.3, 81))
    config = DimuonSimulation(seed=round(100 * size), resolution=injected(size))
    total: MassHistograms | None = None
    for part in stream_dimuons(config, n):
        filled = fill(part.dimuons, binning)
        total = filled if total is None else total + filled
    return derive_resolution([fit_bins(total, BatchConfig(min_events=300))])


@pytest.mark.parametrize("size", [1.0, 1.1, 0.9])
def test_injected_resolution_comes_back(size):
    true, found = injected(size), recovered(size, 300_000)
    kept = np.r_[0:6, 12:18]
    difference = np.concatenate([found.a - true.a, found.c - true.c])
    z = np.linalg.solve(np.linalg.cholesky(found.cov[np.ix_(kept, kept)]), difference)
    # 12 independent N(0,1): their sum of squares is 12 +- sqrt(24)
    assert np.sum(z**2) < 12 + 4 * np.sqrt(24)
    at = np.full(6, 6.0)
    ratio = relative_variance(found, at, CENTRES) / relative_variance(true, at, CENTRES)
    # sigma^2 of 3 10^5 pairs is known to sqrt(4 * 0.7 / 3e5) = 0.3 %; binning in the smeared pT costs as much again
    assert abs(np.mean(ratio) - 1) < 4 * 0.003 + 0.003
