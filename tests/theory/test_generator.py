"""Samples of W and Z: their truth, their kinematics, and the exact weights of other masses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError
from mucal.theory import boson_pt, fsr, generator, harmonics, kernels, partons, production, reweighting
from mucal.units import MUON_MASS

N = 1 << 15


def sample(name: str, n: int = N, **options) -> generator.BosonEvents:
    return generator.generate(production.production(name), 0, n, seed=3, **options)


@pytest.fixture(scope="module", params=production.SAMPLES)
def events(request) -> generator.BosonEvents:
    return sample(request.param)


def test_mean_weight_is_one(events):
    # the weights' own spread, as if random: 0.1 / sqrt(N); Sobol points do better
    assert_allclose(events.weight.mean(), 1.0, atol=3e-4)


def test_coefficients_come_back_from_the_angles(events):
    # the mean of each A_i by shares is known event by event: a_i = h_i (1 + c^2) / (h_UL P_i)
    found = harmonics.project(events.cosine, events.angle, events.weight)
    rate, forward = kernels.rates(events.mass, production.couplings(events.sample), events.luminosity)
    a = kernels.all_coefficients(events.pt, events.mass, events.rapidity, forward)
    assert np.all(rate >= 0)
    assert_allclose(found, np.average(a, axis=0, weights=events.weight), atol=5e-3)


def test_pieces_are_those_of_the_whole():
    whole, made = sample("w_plus", 64), production.production("w_plus")
    parts = [generator.generate(made, first, 16, seed=3) for first in (0, 16, 32, 48)]
    for name in ("mass", "weight", "leptons", "shares", "spare"):
        assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))


def test_reused_bosons_decay_several_times():
    e = sample("w_minus", N, reuse=4)
    assert_array_equal(e.mass[::4], e.mass[3::4])
    assert len(np.unique(e.cosine)) > 0.99 * N
    assert_allclose(e.weight.mean(), 1.0, atol=3e-3)


def test_leptons_have_the_mass_of_their_boson():
    for name in production.SAMPLES:
        e = sample(name, 256, radiation=False)
        pt, eta, phi = np.moveaxis(e.leptons, 2, 0)
        lepton_mass = MUON_MASS * np.array([1.0, name == "z"])
        p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
        energy = np.sqrt((p**2).sum(axis=0) + lepton_mass**2).sum(axis=1)
        assert_allclose(np.sqrt(energy**2 - (p.sum(axis=2) ** 2).sum(axis=0)), e.mass, rtol=1e-9)
        transverse = np.abs((pt * np.exp(1j * phi)).sum(axis=1))
        assert_allclose(transverse, e.pt, rtol=1e-9, atol=1e-9)


def test_radiation_of_a_pair_is_that_of_the_line_shapes():
    e = sample("z")
    x = np.sort(e.kept)
    expected = fsr.cumulative(np.sqrt(np.array([0.5, 0.9, 0.99, 0.999])) * 91.19, 91.19)
    # the strength changes with the logarithm of the mass: 1 % between 80 and 100 GeV
    assert_allclose(np.searchsorted(x, [0.5, 0.9, 0.99, 0.999]) / N, expected, rtol=0.015)


def test_published_binnings_are_equally_populated():
    for steps in (boson_pt.W_STEPS, boson_pt.Z_STEPS):
        assert_allclose(np.diff(boson_pt.cumulative(steps, np.array(steps))), 1 / len(steps), rtol=1e-12)
        pt = boson_pt.quantiles(steps, 1001)
        assert np.all(np.diff(pt) > 0)


def test_luminosities_are_those_of_the_partons():
    y = np.array([-1.3, 0.4])
    table = production.luminosities("w_plus", 80.4, y)
    ahead, behind = (partons.w_luminosity(+1, 80.4, s * y) for s in (1, -1))
    assert_allclose(table[:, 0], ahead + behind)
    assert_allclose(table[:, 2], ahead - behind)


def test_charge_asymmetry_grows_forward():
    both = {}
    for name in ("w_plus", "w_minus"):
        e = sample(name)
        eta = np.abs(e.leptons[:, 0, 1])
        w = e.weight * production.CROSS_SECTIONS[name]
        both[name] = np.array([w[(eta > low) & (eta < low + 0.4)].sum() for low in (0.0, 2.0)])
    asymmetry = (both["w_plus"] - both["w_minus"]) / (both["w_plus"] + both["w_minus"])
    assert 0.05 < asymmetry[0] < asymmetry[1] < 0.35


@pytest.mark.parametrize("name", ["w_plus", "z"])
def test_reweighted_mass_is_a_sample_of_that_mass(name):
    # closure: mean mass near the peak of events drawn at M + 100 MeV, and of events at M weighted
    shift = 0.1
    mass, _ = production.POLES[name]
    moved = production.production(name, mass + shift, reweighting.shifted_width(name, shift))
    direct = generator.generate(moved, 0, 2 * N, seed=5)
    nominal = generator.generate(production.production(name), 0, 2 * N, seed=5)
    w = nominal.weight * reweighting.mass_weight(nominal, shift)
    edges = mass + np.array([-6.0, -3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0, 6.0])
    found = np.histogram(nominal.mass, edges, weights=w)[0]
    expected = np.histogram(direct.mass, edges, weights=direct.weight)[0]
    # bin edges cut one-dimensional point sets of 2N points: a few points in each bin
    assert_allclose(found / found.sum(), expected / expected.sum(), rtol=2e-3)
    # the rate changes by the ratio of the integrals
    assert_allclose(w.mean(), moved.norm / production.production(name).norm, rtol=2e-4)


def test_typical_mass_weights():
    # docs/physics/theory.md, for +100 MeV
    e = sample("w_plus")
    order = np.argsort(e.mass)
    w = reweighting.mass_weight(e, 0.1)[order]
    assert_allclose(np.interp([79.0, 80.4, 81.0], e.mass[order], w), [0.909, 0.990, 1.078], atol=6e-4)


def test_running_and_fixed_width_weights_agree():
    # M -> M / sqrt(1 + G^2/M^2), and the same for G, turn one into the other: -27.19 MeV
    m = np.linspace(75, 86, 12)
    mass, width = production.POLES["w_plus"]

    def fixed(pole: float, gamma: float) -> np.ndarray:
        f = np.sqrt(1 + (gamma / pole) ** 2)
        assert_allclose(pole / f - pole, -27.19e-3, atol=2e-4)
        return 1 / ((m**2 - (pole / f) ** 2) ** 2 + (pole * gamma / f**2) ** 2)

    gamma = reweighting.shifted_width("w_plus", 0.05)
    coupling = [production.couplings("w_plus", *p) for p in ((mass + 0.05, gamma), (mass, width))]
    ones = np.ones((12, 4))
    running = kernels.rates(m, coupling[0], ones)[0] / kernels.rates(m, coupling[1], ones)[0]
    ratio = fixed(mass + 0.05, gamma) / fixed(mass, width)
    # equal up to a constant, the ratio of 1 + G^2/M^2
    assert_allclose(running / running[5], ratio / ratio[5], rtol=1e-12)


def test_z_forward_preference_changes_sign_over_the_peak():
    y, m = np.full(2, 2.0), np.array([70.0, 110.0])
    table = production.luminosities("z", m, y)
    forward = kernels.rates(m, production.couplings("z"), table)[1]
    assert forward[0] < 0 < forward[1]


def test_unknown_sample_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="w_plus"):
        production.production("w_plas")
