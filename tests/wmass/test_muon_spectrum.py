"""The W mass of muons seen twice: what was injected is found, and the spectrum's statistics cancels."""

import numpy as np
import pytest

from mucal.simulation import MuonGeneration, generate_muons
from mucal.theory import resonance
from mucal.theory.lineshape import breit_wigner_running
from mucal.track import LAM, QOP
from mucal.wmass.muon_spectrum import CHARGES, MuonSample, fit_mass, mass_ratios, scatter, spectrum, spectrum_model

W = resonance("w")
RESOLUTION = 0.015
GROUPS = 50
"""Of muons with nearly the same weight."""


def generated(charge: int, n: int, seed: int) -> tuple[MuonSample, np.ndarray]:
    made = generate_muons(MuonGeneration(process="w_plus" if charge > 0 else "w_minus", seed=seed), n)
    pulls = np.random.default_rng(seed).normal(size=len(made))
    pt = np.cos(made.state[:, LAM]) / np.abs(made.state[:, QOP]) / (1.0 + RESOLUTION * pulls)
    return MuonSample(eta=np.arcsinh(np.tan(made.state[:, LAM])), pt=pt), made.mass


@pytest.fixture(scope="module")
def ratios():
    return {charge: mass_ratios(*generated(charge, 400_000, 3 + charge), W.mass, W.width) for charge in CHARGES}


@pytest.fixture(scope="module")
def seen():
    return {charge: generated(charge, 200_000, 13 + charge) for charge in CHARGES}


@pytest.fixture(scope="module")
def muons(seen):
    return {charge: sample for charge, (sample, _) in seen.items()}


@pytest.fixture(scope="module")
def model(muons, ratios):
    return spectrum_model(spectrum(muons), ratios)


def scaled(muons, by):
    return {c: MuonSample(eta=m.eta, pt=m.pt * (1.0 + by[c])) for c, m in muons.items()}


def test_the_same_muons_have_the_mass_of_the_simulation(muons, model):
    found = fit_mass(model, spectrum(muons))
    assert np.abs(found.values).max() < 1e-8
    assert scatter(found, muons, muons).tolist() == [0.0, 0.0]


def test_a_heavier_w_is_found_as_heavy_as_it_is(seen, model):
    counts = np.zeros(model.n_bins)
    for charge, (sample, mass) in seen.items():
        weight = breit_wigner_running(mass, W.mass + 0.05, W.width) / breit_wigner_running(mass, W.mass, W.width)
        for group in np.array_split(np.argsort(weight), GROUPS):
            alone = {c: MuonSample(eta=np.zeros(0), pt=np.zeros(0)) for c in CHARGES}
            alone[charge] = MuonSample(eta=sample.eta[group], pt=sample.pt[group])
            counts += weight[group].mean() * spectrum(alone)
    both, difference = fit_mass(model, counts).values
    # the weights of 50 MeV scatter by 0.034, over a response of 0.0031 and the root of 5e4 muons inside of each sample
    assert both == pytest.approx(0.05, abs=0.008)
    assert abs(difference) < 0.016


def test_a_scale_of_1e_3_is_80_mev_and_one_odd_in_charge_is_their_difference(muons, model):
    even = fit_mass(model, spectrum(scaled(muons, {-1: -1e-3, 1: -1e-3})))
    assert even.values[0] == pytest.approx(-0.080, rel=0.05)  # arXiv:2412.13872: about 8 MeV for 1e-4
    assert abs(even.values[1]) < 0.01
    odd = fit_mass(model, spectrum(scaled(muons, {-1: 1e-3, 1: -1e-3})))
    assert odd.values[1] == pytest.approx(-0.160, rel=0.06)
    assert abs(odd.values[0]) < 0.01


def test_the_error_is_the_scatter_of_repeated_fits(muons, ratios):
    few = {c: MuonSample(eta=m.eta[:4000], pt=m.pt[:4000]) for c, m in muons.items()}
    own = spectrum_model(spectrum(few), ratios)
    rng, values, errors = np.random.default_rng(5), [], []
    for _ in range(60):
        moved = scaled(few, {c: rng.normal(0.0, 3e-3, 4000) for c in CHARGES})
        found = fit_mass(own, spectrum(moved))
        values.append(found.values)
        errors.append(scatter(found, few, moved))
    # 60 fits know a standard deviation to 9 %
    assert np.std(values, axis=0) == pytest.approx(np.mean(errors, axis=0), rel=0.28)


def test_a_charge_without_muons_gives_no_number(muons, ratios):
    none = {**muons, 1: MuonSample(eta=np.zeros(0), pt=np.zeros(0))}
    found = fit_mass(spectrum_model(spectrum(none), ratios), spectrum(none))
    assert np.isnan(found.values).all()
