"""The Z mass of refitted pairs: what is injected is found, and what the calibration leaves open is in the error."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration
from mucal.simulation import MuonGeneration, generate_muons
from mucal.theory.lineshape import DrellYan, drell_yan
from mucal.track import LAM, PHI, QOP, Dimuons
from mucal.track.dimuon import invariant_mass
from mucal.wmass.dilepton_mass import (
    FEW_ETA_EDGES,
    SimulatedPairs,
    bins_for,
    charge_difference,
    fit_z,
    pair_counts,
    pair_model,
)

Z = DrellYan()
TRIGGER = 36.0
"""GeV"""


def generated(n: int, seed: int) -> SimulatedPairs:
    """Pairs with a resolution of 1.2 %, a twentieth of the muons without pixel hits."""
    made = generate_muons(MuonGeneration(process="z", seed=seed), n)
    state, rng = made.state.reshape(-1, 2, 5), np.random.default_rng(seed)
    pt = np.cos(state[..., LAM]) / np.abs(state[..., QOP]) / (1.0 + 0.012 * rng.normal(size=state.shape[:2]))
    eta, phi = np.arcsinh(np.tan(state[..., LAM])), state[..., PHI]
    first = slice(None, None, 2)
    muons = Dimuons(
        run=made.run[first], lumi=made.lumi[first], event=made.event[first], pt=pt, eta=eta, phi=phi,
        charge=made.charge.reshape(-1, 2),
    )  # fmt: skip
    inside = np.all((np.abs(eta) < 2.4) & (pt < 100.0), axis=1)
    n_pixel = np.where(rng.uniform(size=pt.shape) < 0.05, 0, 4)
    return SimulatedPairs(muons=muons.select(inside), n_pixel=n_pixel[inside], boson_mass=made.mass[first][inside])


@pytest.fixture(scope="module")
def pairs() -> SimulatedPairs:
    return generated(120_000, 5)


@pytest.fixture(scope="module")
def as_it_is(calibration: Calibration) -> Calibration:
    """Without a correction, so that data and simulation have the same momenta; and not smeared."""
    scale = calibration.scale
    zero = np.zeros(scale.n_bins)
    return replace(calibration, scale=replace(scale, A=zero, e=zero, M=zero), resolution_data=calibration.resolution_mc)


def test_the_pairs_of_the_templates_have_the_mass_of_the_simulation(pairs, as_it_is):
    model, binning = pair_model(pairs, as_it_is, TRIGGER)
    found = fit_z(model, pair_counts(binning, pairs.muons, pairs.muons.pt))
    assert abs(found.value) < 1e-7
    assert model.n_bins == 21 * 14


def test_a_heavier_z_is_found_as_heavy_as_it_is(pairs, as_it_is):
    model, binning = pair_model(pairs, as_it_is, TRIGGER)
    weight = drell_yan(pairs.boson_mass, replace(Z, peak=Z.peak + 0.04)) / drell_yan(pairs.boson_mass, Z)
    found = fit_z(model, pair_counts(binning, pairs.muons, pairs.muons.pt, weight))
    assert_allclose(found.value, 0.04, atol=2e-4)


def test_a_scale_that_is_not_corrected_moves_the_mass_as_much(pairs, as_it_is):
    """A = 1e-4 is 9.1 MeV; taken as ten times that, for the pairs' own statistics to matter less."""
    model, binning = pair_model(pairs, as_it_is, TRIGGER)
    counts = pair_counts(binning, pairs.muons, pairs.muons.pt * (1.0 + 1e-3))
    held, free = fit_z(model, counts, nuisances=False), fit_z(model, counts)
    assert held.calibration == 0.0
    assert_allclose(held.value, 0.0912, rtol=0.05)
    assert_allclose(free.value, held.value, atol=0.5 * free.calibration)


def test_a_sagitta_bias_moves_the_masses_of_both_charges_apart_and_not_that_of_all(pairs, as_it_is):
    bias, m = 3e-4, pairs.muons
    moved = m.pt / (1.0 - m.charge * bias * m.pt)
    peak = np.all((m.pt > 26.0) & (m.pt < 60.0), axis=1) & (np.abs(pairs.boson_mass - Z.peak) < 3.0)
    expected = bias * Z.peak * np.abs(m.pt[peak, 0] - m.pt[peak, 1]).mean()
    positive_is_harder = (m.pt[:, 0] - m.pt[:, 1]) * m.charge[:, 0] > 0
    halves = []
    for half in (positive_is_harder, ~positive_is_harder, np.ones_like(peak)):
        chosen = SimulatedPairs(
            muons=m.select(half), n_pixel=pairs.n_pixel[half], boson_mass=pairs.boson_mass[half]
        )  # fmt: skip
        model, binning = pair_model(chosen, as_it_is, TRIGGER)
        halves.append(fit_z(model, pair_counts(binning, chosen.muons, moved[half]), nuisances=False))
    plus, minus, every = halves
    given = plus.value - minus.value
    nothing, error = charge_difference(pairs, as_it_is, TRIGGER, m, m.pt)
    found, _ = charge_difference(pairs, as_it_is, TRIGGER, m, moved)
    print(f"MeV: {1e3 * expected:.1f} expected, {1e3 * given:.1f}, {1e3 * found:.1f} of halves as they are, of all "
          f"{1e3 * every.value:.1f}; errors {1e3 * error:.1f}, {1e3 * every.statistics:.1f}")  # fmt: skip
    assert abs(nothing) < 1e-7
    # the same pairs before and after: a tenth change their bin of 1 GeV, which makes a noise of 0.3 errors
    assert_allclose(given, expected, atol=3 * 0.3 * error)
    assert abs(every.value) < 3 * 0.3 * every.statistics
    # 6 % change their half as well, which adds to it
    assert expected < found < 1.4 * expected
    # of two halves
    assert_allclose(error, 2.0 * every.statistics, rtol=0.05)


def test_the_error_of_the_calibration_is_that_of_the_mean_mass(pairs, as_it_is):
    """Each nuisance of the scale moves the mean mass of the pairs on the peak; resolutions hardly do."""
    model, binning = pair_model(pairs, as_it_is, TRIGGER)
    found = fit_z(model, pair_counts(binning, pairs.muons, pairs.muons.pt))
    inside = np.all((pairs.muons.pt > 26.0) & (pairs.muons.pt < 60.0), axis=1)
    m = pairs.muons.select(inside & (np.abs(pairs.boson_mass - Z.peak) < 3.0))
    mass = invariant_mass(m.pt, m.eta, m.phi)
    moved = [
        invariant_mass(as_it_is.vary(m.pt, m.eta, m.phi, m.charge, name, "mc")[0], m.eta, m.phi) - mass
        for name in as_it_is.names[: len(as_it_is.scale_variations)]
    ]
    of_mean = np.linalg.norm(np.mean(moved, axis=1))
    print(f"calibration {1e3 * found.calibration:.1f} MeV in the fit, {1e3 * of_mean:.1f} MeV of the mean mass")
    assert_allclose(found.calibration, of_mean, rtol=0.15)
    assert_allclose(np.linalg.norm(list(found.groups.values())), found.calibration, rtol=0.2)


def test_every_kind_of_nuisance_acts(pairs, cms_like):
    model, binning = pair_model(pairs, cms_like, TRIGGER)
    m = pairs.muons
    found = fit_z(model, pair_counts(binning, m, cms_like.correct(m.pt, m.eta, m.phi, m.charge, outside="nan")))
    assert set(found.groups) == set(cms_like.groups)
    assert all(impact > 0.0 for impact in found.groups.values())


def test_other_pairs_have_the_mass_within_the_statistics(pairs, as_it_is):
    model, binning = pair_model(pairs, as_it_is, TRIGGER)
    pulls = []
    for seed in range(6):
        other = generated(30_000, 100 + seed).muons
        found = fit_z(model, pair_counts(binning, other, other.pt), nuisances=False)
        pulls.append(found.value / found.statistics)
    assert np.abs(pulls).max() < 3.5
    assert np.square(pulls).mean() < 2.5


def test_few_pairs_get_few_bins():
    assert bins_for(2_000).edges[1] == FEW_ETA_EDGES
    assert len(bins_for(20_000).edges[1]) == 15


def test_too_few_pairs_have_no_mass(as_it_is):
    few = generated(20, 9)
    model, binning = pair_model(few, as_it_is, TRIGGER)
    found = fit_z(model, pair_counts(binning, few.muons, few.muons.pt))
    assert np.isnan(found.value)
    assert np.isnan(found.statistics)
