"""The bias of mass fits in bins of measured pT: of its known size, then gone."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassFits, MassHistograms, fill, fit_bins
from mucal.numerics.keyed import normal
from mucal.scale import ResolutionConfig, ResolutionTable
from mucal.scale.iteration import extra_variance, match_resolution
from mucal.simulation import DimuonSimulation, SimulatedDimuons, generate_dimuons
from mucal.simulation.dimuons import nominal_resolution

BINNING = Binning(
    eta_edges=np.linspace(-2.4, 2.4, 7), pt_edges=np.array([4.0, 4.8, 5.8, 7.5, 25.0]),
    mass_edges=np.linspace(2.9, 3.3, 81),
)  # fmt: skip
FITS = BatchConfig(min_events=250)


def generated(seed: int, resolution: ResolutionTable | None = None, n: int = 700_000) -> SimulatedDimuons:
    # the cut lies below the first bin, so that muons may enter it from there
    return generate_dimuons(DimuonSimulation(seed=seed, resolution=resolution, pt_min=3.5), n)


@pytest.fixture(scope="module")
def sample() -> SimulatedDimuons:
    return generated(1)


def in_true_bins(pairs: SimulatedDimuons) -> MassHistograms:
    """Measured masses in bins of the true momenta."""
    index = np.searchsorted(BINNING.pt_edges, pairs.pt_gen, side="right") - 1
    eta = np.searchsorted(BINNING.eta_edges, pairs.dimuons.eta, side="right") - 1
    mass = np.searchsorted(BINNING.mass_edges, pairs.dimuons.mass, side="right") - 1
    keep = np.all((index >= 0) & (index < 4) & (eta >= 0) & (eta < 6), axis=1) & (mass >= 0) & (mass < 80)
    four = np.stack([eta[keep, 0], index[keep, 0], eta[keep, 1], index[keep, 1]], axis=1)
    bins, row = np.unique(four, axis=0, return_inverse=True)
    counts = np.bincount(row.reshape(-1) * 80 + mass[keep], minlength=80 * len(bins)).reshape(-1, 80).astype(float)
    return replace(fill(pairs.dimuons, BINNING), index=bins, counts=counts, sums=np.ones((len(bins), 2, 5)))


def coherent(fits: MassFits) -> float:
    """Mean ln s of all pairs."""
    good = fits.good
    return float(np.average(fits.value("ln_s")[good], weights=fits.histograms.n_events[good]))


def test_bins_of_measured_momenta_shift_the_scale(sample: SimulatedDimuons):
    measured, true = fit_bins(fill(sample.dimuons, BINNING), FITS), fit_bins(in_true_bins(sample), FITS)
    shift = coherent(measured) - coherent(true)
    # the same pairs in both: little noise beside the statistical 1.23 sigma / sqrt(N) of either
    assert 1e-4 < shift < 4e-4  # 3.3e-4 for 1.2 % of all muons; here sigma goes from 0.7 % in the middle to 1.6 %
    # templates binned alike have the same shift: two independent samples agree
    other = fit_bins(fill(generated(2).dimuons, BINNING), FITS)
    error = 1.23 * 0.011 * np.sqrt(1 / len(sample) + 1 / other.histograms.n_events.sum())
    assert abs(coherent(other) - coherent(measured)) < 4 * error


def flat(sigma: float) -> ResolutionTable:
    """sigma_k/k of all muons."""
    table = nominal_resolution()
    return replace(table, a=np.full_like(table.a, sigma**2), b=0.0 * table.b, c=0.0 * table.c)


def test_at_one_resolution_of_all_muons_the_shift_is_3_3e_4():
    # 2.9e5 of 1.5e6 generated pairs fall into fitted bins, with 0.93 % of the mass (angles included): a mean ln s is
    # known to 1.23 * 0.0093 / sqrt(2.9e5) = 2.1e-5, and eight seeds scatter by as much; two fits of the same pairs
    # differ by 1.9e-4 with a scatter of 3e-6, a resolution 10 % wider adds 6.4e-5 with one of 1e-6
    sigma, error = 0.012, 2.1e-5
    pairs, wider = (generated(5, flat(factor * sigma), 1_500_000) for factor in (1.0, 1.1))
    measured, true, wide_measured = (
        coherent(fit_bins(h, FITS))
        for h in (fill(pairs.dimuons, BINNING), in_true_bins(pairs), fill(wider.dimuons, BINNING))
    )
    print(f"\nln s {measured:.2e} in measured bins, {true:.2e} in true ones; a width 10 % wider {wide_measured:.2e}")
    assert measured == pytest.approx(3.3e-4, rel=0.15)  # 2.4 of its errors
    # without the selection what is left is the mean of (k1 k2)^(-1/2): 3/4 sigma^2 for independent normal k
    assert true == pytest.approx(0.75 * sigma**2, abs=3 * error)
    assert measured - true > 1.5e-4
    assert wide_measured - measured == pytest.approx(7e-5, rel=0.15)  # (1.1^2 - 1) 3.3e-4


def test_the_shift_grows_with_the_square_of_the_resolution(sample: SimulatedDimuons):
    wider = generated(1, wide(1.4))
    shifts = [
        coherent(fit_bins(fill(pairs.dimuons, BINNING), FITS)) - coherent(fit_bins(in_true_bins(pairs), FITS))
        for pairs in (sample, wider)
    ]
    assert shifts[1] / shifts[0] == pytest.approx(1.4**2, rel=0.25)


def wide(factor: float) -> ResolutionTable:
    """The built-in resolution with sigma times a factor."""
    table = nominal_resolution()
    return replace(table, a=factor**2 * table.a, c=factor**2 * table.c)


def test_passes_of_smearing_bring_simulation_to_the_data(sample: SimulatedDimuons):
    data = fit_bins(fill(generated(1, wide(1.3)).dimuons, BINNING), FITS)
    pairs = sample.dimuons
    keys = (pairs.event[:, None], np.array([[0, 1]]))
    z = normal(3, "test.smear", *(np.broadcast_to(key, pairs.pt.shape) for key in keys))

    def refill(extra: ResolutionTable | None) -> MassHistograms:
        stretch = 1.0 + z * np.sqrt(extra_variance(extra, pairs.pt, pairs.eta))
        return fill(pairs.with_pt(pairs.pt / stretch), BINNING)

    found = match_resolution(data, refill, lambda h: fit_bins(h, FITS), ResolutionConfig(free=("a", "c")))
    assert found.matched
    assert found.ratios[0] == pytest.approx(1.3, abs=0.05)
    assert len(found.ratios) <= 4
    before = coherent(fit_bins(refill(None), FITS)) - coherent(data)
    after = coherent(found.fits) - coherent(data)
    # the smearing is random: sqrt(1.69 - 1) of the width, in one of the two samples
    noise = 1.23 * 0.83 * 0.011 / np.sqrt(len(sample))
    assert abs(before) > 5e-5
    assert abs(after) < 3 * noise
    assert abs(after) < 0.7 * abs(before)
