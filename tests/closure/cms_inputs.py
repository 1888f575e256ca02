"""A calibration with the errors that CMS's samples give it: no events are fitted, their errors are predicted.

Pairs are generated and binned as in the measurement, each bin's mass fit gets the error that so many events have, and
A, e, M, the closure with Z and the resolution are derived from these fits as from any others.  So the covariances have
the correlations that the kinematics of pairs give them (docs/physics/scale.md, section 7).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import add

import numpy as np
from scipy.special import wofz

from mucal.arrays import FloatArray
from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.massfit import Binning, MassFits, fill
from mucal.massfit.status import Status
from mucal.scale import (
    PixelMultiplicity,
    ResolutionConfig,
    ScaleConfig,
    ScaleTable,
    close,
    coherent_shift,
    derive,
    derive_resolution,
)
from mucal.simulation import DimuonSimulation, generate_dimuons, nominal_resolution
from mucal.theory import resonance
from mucal.units import MeV

ETA = np.round(np.linspace(-2.4, 2.4, 49), 10)
JPSI_PT = np.array([4.0, 5.2, 6.3, 8.7, 12.0, 25.0])
Z_PT = np.array([30.0, 35.0, 39.0, 43.0, 48.0, 70.0])
N_Z = 7.5e6
COHERENT = 2.2e-5
"""Published error of delta k/k at 40 GeV by J/psi, eta average, before the factor 2.1: 3.7 MeV of m_W with it."""
MOMENTUM, Z_MOMENTUM = 40.0, 42.0
"""GeV, of muons of W and of Z."""
GENERATED, CHUNK = 10, 1 << 19

Errors = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""sigma_m/m -> errors of ln s and ln sigma of one event."""


def of_jpsi(width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """1.23 sigma_m/m, of fits with 10 % of background and radiation (docs/physics/massfit.md); about 1 of ln sigma."""
    return 1.23 * width, np.ones_like(width)


def of_z(width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From the Fisher information of a Breit-Wigner with a Gaussian resolution between 60 and 120 GeV."""
    z, mass, step = resonance("z"), np.linspace(60.0, 120.0, 6001), 1e-3

    def line(scale: float, sigma: float) -> FloatArray:
        f = wofz((mass / scale - z.mass + 0.5j * z.width) / (sigma * np.sqrt(2.0))).real
        return f / f.sum()

    grid = np.linspace(0.3, 5.0, 40)
    found = []
    for sigma in grid:
        slopes = (
            line(1.0 + step, sigma) - line(1.0 - step, sigma),
            line(1.0, sigma * (1.0 + step)) - line(1.0, sigma * (1.0 - step)),
        )
        found.append([1.0 / np.sqrt(np.sum((s / (2.0 * step)) ** 2 / line(1.0, sigma))) for s in slopes])
    scale, sigma = np.array(found).T
    return np.interp(width * z.mass, grid, scale), np.interp(width * z.mass, grid, sigma)


def predicted_fits(name: str, eta: FloatArray, pt: FloatArray, events: float, errors: Errors) -> MassFits:
    """Fits without any shift, of the kinematics of generated pairs, with the errors of so many events."""
    config, state = DimuonSimulation(resonance=name, pt_min=pt[0]), resonance(name)
    binning = Binning(eta_edges=eta, pt_edges=pt, mass_edges=np.array([0.9, 1.1]) * state.mass)
    parts = (generate_dimuons(config, CHUNK, first_event=i * CHUNK) for i in range(GENERATED))
    found = reduce(add, (fill(part.dimuons, binning) for part in parts))
    share = events / found.n_events.sum()
    found = replace(found, counts=share * found.counts, sums=share * found.sums)
    table = nominal_resolution()
    place = np.searchsorted(table.eta_edges, 0.5 * (eta[1:] + eta[:-1])) - 1
    cell = place[found.index[:, [0, 2]]]
    width = np.sqrt((table.a[cell] * found.mean("w2") + table.c[cell] * found.mean("w2_pt2")).sum(axis=1))
    b, none = found.n_bins, np.zeros(found.n_bins)
    cov = np.zeros((b, 2, 2))
    for i, error in enumerate(errors(width)):
        cov[:, i, i] = error**2 / found.n_events
    return MassFits(
        resonance=name, reference_mass=state.mass, reference_mass_error=2.1 * MeV if name == "z" else state.mass_error,
        model="template", parameters=("ln_s", "ln_sigma"), histograms=found, cov=cov,
        values=np.stack([none, np.log(width)], axis=1), deviance=none, ndf=none, p_value=none + 1.0, edm=none,
        n_steps=np.zeros(b, dtype=np.int64), status=np.full(b, Status.OK, dtype=np.int64),
    )  # fmt: skip


@cache
def cms_scale() -> tuple[ScaleTable, float]:
    """The table of as many J/psi as have the published coherent error, and their number."""
    one = derive(predicted_fits("jpsi", ETA, JPSI_PT, 1.0, of_jpsi), config=ScaleConfig(smooth_errors=False))
    n = float(coherent_shift(one, [MOMENTUM]).even_error[0] / COHERENT) ** 2
    return replace(one, cov=one.cov / n), n


@cache
def cms_calibration() -> Calibration:
    """The 314 nuisances, without any shift."""
    scale, n_jpsi = cms_scale()
    of_scale = predicted_fits("z", ETA[::2], Z_PT, N_Z, of_z)
    closure = close(of_scale, config=ScaleConfig(smooth_errors=False))
    widths = [predicted_fits("jpsi", ETA[::2], JPSI_PT, n_jpsi, of_jpsi), of_scale]
    resolution = derive_resolution(widths, ResolutionConfig(free=("a", "b", "c")))
    muons = np.full((2, 2, ETA.size - 1), 1e6)
    pixels = PixelMultiplicity(eta_edges=ETA, data=muons, data_zero=0.030 * muons, mc=muons, mc_zero=0.025 * muons)
    config = CalibrationConfig(pt_definition="refit", scale_factor=2.1, resolution_factor=10.0, pt_range=(4.0, 100.0))
    return assemble(scale, resolution, resolution, config, closures=[closure], pixels=pixels)


def even_covariance(calibration: Calibration, groups: Sequence[str]) -> FloatArray:
    """(B, B) of delta k/k in the bins of eta, both charges alike, of muons of Z, by nuisances of the scale."""
    of_scale = calibration.groups[: len(calibration.scale_variations)]
    chosen = calibration.scale_variations[np.isin(of_scale, groups)]
    shift = chosen[:, 0] - chosen[:, 1] / Z_MOMENTUM
    cov: FloatArray = shift.T @ shift
    return cov


def plain_error(cov: FloatArray) -> float:
    """Of the mean over eta: what a fit is left with that does not see the bins move against each other."""
    return float(np.sqrt(cov.sum())) / len(cov)


def best_error(cov: FloatArray) -> float:
    """Of the mean over eta that is known best: what one is left with that sees all of that."""
    one = np.ones(len(cov))
    return float(1.0 / np.sqrt(one @ np.linalg.solve(cov, one)))
