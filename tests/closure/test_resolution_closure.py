"""A known curvature resolution comes back from the widths of generated J/psi and Z; with it the scale stands still."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import chdtrc

from mucal.arrays import FloatArray
from mucal.massfit import BatchConfig, Binning, MassFits, MassHistograms, fill, fit_bins
from mucal.numerics.keyed import normal
from mucal.scale import (
    ResolutionConfig,
    ResolutionTable,
    ScaleTable,
    coherent_shift,
    derive,
    derive_resolution,
    relative_variance,
    scan_d,
)
from mucal.scale.iteration import extra_variance, match_resolution
from mucal.scale.resolution_scan import mean_resolution
from mucal.simulation import DimuonSimulation, generate_dimuons, stream_dimuons
from mucal.simulation.dimuons import nominal_resolution

JPSI_PT = np.array([4.0, 5.2, 6.3, 8.7, 12.0, 25.0])
JPSI_MASS = np.linspace(2.9, 3.3, 81)
ALL = ResolutionConfig(free=("a", "b", "c"))


def injected(n_eta: int, size: float = 1.0, b: float = 0.0) -> ResolutionTable:
    """a and c of a CMS-like detector, times a size, and a cross term that grows by a half towards |eta| = 2.4."""
    edges = np.linspace(-2.4, 2.4, n_eta + 1)
    x = np.abs(centres(edges)) / 2.4
    return ResolutionTable(
        eta_edges=edges, a=size * (6e-5 + 2e-4 * x**2), b=b * (1.0 + 0.5 * x), c=size * (2e-8 + 5e-8 * x**2),
        d=np.full(n_eta, 370.0), cov=np.zeros((3 * n_eta, 3 * n_eta)),
    )  # fmt: skip


def centres(edges: FloatArray) -> FloatArray:
    return 0.5 * (edges[1:] + edges[:-1])


def filled(config: DimuonSimulation, n: int, pt_edges: FloatArray, mass_edges: FloatArray) -> MassHistograms:
    binning = Binning(eta_edges=config.resolution.eta_edges, pt_edges=pt_edges, mass_edges=mass_edges)
    parts = [fill(part.dimuons, binning) for part in stream_dimuons(config, n)]
    return sum(parts[1:], start=parts[0])


def jpsi_fits(true: ResolutionTable, n: int, seed: int, config: BatchConfig) -> MassFits:
    return fit_bins(filled(DimuonSimulation(seed=seed, resolution=true), n, JPSI_PT, JPSI_MASS), config)


WITHOUT_BACKGROUND = {"logit_f": -12.0, "slope": 0.0}


def z_fits(true: ResolutionTable, n: int) -> MassFits:
    """In one bin of momenta, whose cuts lie off the peak: every pair of eta bins then has the common line shape.

    Not so where |eta+ - eta-| is above 2.5 or so, 1 % of the pairs, whose muons are near the cut: with 2 10^7 pairs
    those fits fail their test of goodness (BAD_GOF), and the table leaves them out.
    """
    simulation = DimuonSimulation(resonance="z", seed=12, resolution=true, pt_min=12.0)
    config = BatchConfig(resonance="z", min_events=300, fixed=WITHOUT_BACKGROUND)
    return fit_bins(filled(simulation, n, np.array([15.0, 80.0]), np.linspace(75.0, 107.0, 81)), config)


def chi2_of(found: ResolutionTable, true: ResolutionTable) -> float:
    """Of all parameters together."""
    difference = np.concatenate([getattr(found, name) - getattr(true, name) for name in "abc"])
    return float(difference @ np.linalg.solve(found.cov, difference))


def correlation(found: ResolutionTable) -> float:
    """Median over eta of that of b and c."""
    n, cov = found.n_bins, found.cov
    b, c = np.arange(n, 2 * n), np.arange(2 * n, 3 * n)
    return float(np.median(cov[b, c] / np.sqrt(cov[b, b] * cov[c, c])))


@pytest.mark.parametrize("size", [1.0, 1.1, 0.9])
def test_injected_resolution_comes_back(size):
    true = injected(6, size)
    found = derive_resolution([jpsi_fits(true, 300_000, round(100 * size), BatchConfig(min_events=300))])
    kept = np.r_[0:6, 12:18]
    difference = np.concatenate([found.a - true.a, found.c - true.c])
    z = np.linalg.solve(np.linalg.cholesky(found.cov[np.ix_(kept, kept)]), difference)
    # 12 independent N(0,1): their sum of squares is 12 +- sqrt(24)
    assert np.sum(z**2) < 12 + 4 * np.sqrt(24)
    eta, at = centres(true.eta_edges), np.full(6, 6.0)
    ratio = relative_variance(found, at, eta) / relative_variance(true, at, eta)
    # sigma^2 of 3 10^5 pairs is known to sqrt(4 * 0.7 / 3e5) = 0.3 %; binning in the smeared pT costs as much again
    assert abs(np.mean(ratio) - 1) < 4 * 0.003 + 0.003


def described(name: str, table: ResolutionTable, true: ResolutionTable) -> str:
    found, error = mean_resolution(table, 40.0)
    return (
        f"{name}: sigma_k/k at 40 GeV = {100 * found:.3f} % +- {100 * error / found:.2f} % of it, pull "
        f"{pull(table, true):+.2f}; corr(b, c) = {correlation(table):+.3f}; fit chi2 = {table.chi2:.0f} for {table.ndf}"
    )


def pull(table: ResolutionTable, true: ResolutionTable) -> float:
    """Of the squared resolution at 40 GeV, which is linear in a, b, c, averaged over eta."""
    (found, error), (injected_size, _) = mean_resolution(table, 40.0), mean_resolution(true, 40.0)
    return (found**2 - injected_size**2) / (2.0 * found * error)


@pytest.mark.parametrize(
    ("n_jpsi", "n_z"),
    [
        pytest.param(800_000, 1_200_000, id="quick"),
        pytest.param(10_000_000, 20_000_000, id="large", marks=pytest.mark.slow),
    ],
)
def test_jpsi_and_z_give_back_a_b_and_c_and_the_resolution_at_40_gev(n_jpsi, n_z):
    true = injected(24, b=4e-5)
    config = BatchConfig(min_events=150, fixed=WITHOUT_BACKGROUND)  # what is known of c sits in thin bins
    fits = [jpsi_fits(true, n_jpsi, 11, config), z_fits(true, n_z)]
    both, alone = derive_resolution(fits, ALL), derive_resolution(fits[:1], ALL)
    chi2 = chi2_of(both, true)
    p_value = chdtrc(72, chi2)
    size, _ = mean_resolution(true, 40.0)
    print(f"\n{n_jpsi} J/psi, {n_z} Z, injected sigma_k/k at 40 GeV {100 * size:.3f} %")
    print(f"{described('J/psi and Z', both, true)}; a, b, c: chi2 = {chi2:.1f} for 72, p = {p_value:.2g}")
    print(f"{described('J/psi alone', alone, true)}\n{scan_d(fits, ALL).line}")
    assert both.provenance.configuration["held_at_zero"] == ()
    assert p_value > 0.01
    assert abs(pull(both, true)) < 3.0
    assert abs(pull(alone, true)) < 3.0
    (sigma, error), (_, error_of_jpsi) = mean_resolution(both, 40.0), mean_resolution(alone, 40.0)
    # n var(ln sigma) is 21 for Z, whose own width hides the resolution: they alone give sqrt(21 / n_z) near 40 GeV
    assert error / sigma < 1.3 * np.sqrt(21.0 / n_z)
    assert error_of_jpsi > 10.0 * error
    assert correlation(alone) < -0.97 < correlation(both)


def test_the_scale_stands_still_once_simulation_is_smeared():
    binning = Binning(
        eta_edges=np.linspace(-2.4, 2.4, 7), pt_edges=np.array([4.0, 4.8, 5.8, 7.5, 25.0]), mass_edges=JPSI_MASS
    )
    config = BatchConfig(min_events=250, fixed=WITHOUT_BACKGROUND)
    narrow = nominal_resolution()
    wide = replace(narrow, a=1.2**2 * narrow.a, c=1.2**2 * narrow.c)
    scale = ScaleTable(
        eta_edges=binning.eta_edges, A=np.full(6, 3e-4), e=np.full(6, 1e-3), M=np.full(6, 1e-5), cov=np.zeros((18, 18))
    )
    # the cut lies below the first bin, so that muons may enter it from there
    distorted = DimuonSimulation(seed=1, resolution=wide, scale=scale, pt_min=3.5)
    data = fit_bins(fill(generate_dimuons(distorted, 1_000_000).dimuons, binning), config)
    pairs = generate_dimuons(DimuonSimulation(seed=2, resolution=narrow, pt_min=3.5), 1_000_000).dimuons
    keys = (pairs.event[:, None], np.array([[0, 1]]))
    z = normal(3, "test.smear", *(np.broadcast_to(key, pairs.pt.shape) for key in keys))
    passes: list[MassFits] = []

    def refill(extra: ResolutionTable | None) -> MassHistograms:
        return fill(pairs.with_pt(pairs.pt / (1.0 + z * np.sqrt(extra_variance(extra, pairs.pt, pairs.eta)))), binning)

    def fit(histograms: MassHistograms) -> MassFits:
        passes.append(fit_bins(histograms, config))
        return passes[-1]

    ratios = match_resolution(data, refill, fit, tolerance=1e-9, max_passes=3).ratios
    tables = [derive(data, simulation) for simulation in passes]
    even = np.array([coherent_shift(table).even[0] for table in tables])
    errors = np.sqrt(np.diag(tables[-1].cov))
    moves = np.array([(b.parameters - a.parameters) / errors for a, b in pairwise(tables)])
    print(f"\nsigma of data over simulation {ratios}; even scale at 8 GeV {even}; moves {np.abs(moves).max(axis=1)}")
    # 20 % of sigma is 44 % of its square, of a shift of 3.3e-4; 1 % of sigma moves the scale by 5e-6, and that much of
    # it the passes of a run may leave; a tenth of an error in any parameter is of no consequence
    assert abs(even[1] - even[0]) > 5e-5
    assert np.all(np.abs(np.array(ratios[1:]) - 1.0) < 0.01)
    assert np.all(np.abs(np.diff(even)[1:]) < 5e-6)
    assert np.all(np.abs(moves[1:]) < 0.1)
