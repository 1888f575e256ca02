"""The mass of the Z from pairs with the nuisances of the calibration: what a scale does to it, pulls, stat and syst.

The errors of the calibration are those that CMS's samples give (`cms_inputs`).  The slow part prints what
docs/physics/calibration.md quotes: pytest -m slow -s tests/closure/test_dilepton_mass.py
"""

from dataclasses import replace

import numpy as np
import pytest

from mucal.calibration import Calibration
from mucal.likelihood import FitConfig, Model, asimov, expected_events, fit, global_impacts, linear_toys, rescale, toy
from mucal.likelihood.blinding import blind
from mucal.scale import coherent_shift, weak_modes
from mucal.templates import Templates, TemplatesConfig, build
from mucal.theory import resonance
from mucal.units import MeV
from mucal.wmass import MASS, compare, mass_model, split_mass

from .cms_inputs import COHERENT, best_error, cms_calibration, cms_scale, even_covariance, plain_error

EXACT = FitConfig(mc_stat="none")
MEV = 100.0
"""MASS is in units of 100 MeV."""
M_Z = resonance("z").mass / MeV
TOYS, SPLIT_TOYS = 200, 50
"""Full fits of pseudo-experiments with all nuisances: of one mass, of 14."""


def pairs(events: int) -> TemplatesConfig:
    return TemplatesConfig(channel="dilepton", events=events, chunk=min(events >> 2, 1 << 15), theory=False)


@pytest.fixture(scope="module")
def uniform(cms_like: Calibration) -> Model:
    """Two nuisances: A = 1e-4, and M = 1e-5/GeV, in every bin."""
    v = np.zeros((2, 3, cms_like.scale.n_bins))
    v[0, 0], v[1, 2] = 1e-4, 1e-5
    calibration = replace(
        cms_like, names=("all_A", "all_M"), groups=("field", "sagitta"), kinds=("scale",) * 2, sources=("",) * 2,
        scale_variations=v,
        resolution_variations=cms_like.resolution_variations[:0], pixel_variations=np.zeros((0, 0)), pixels=None,
    )  # fmt: skip
    templates = build(pairs(1 << 16), calibration=calibration)
    return mass_model(templates, luminosity_error=0.0, rates={"rate": ["Zmumu"]})


def shifted_mass(model: Model, nuisance: str) -> float:
    """MeV, of a fit that holds the scale where one of its nuisances is at +1."""
    values = model.centre.copy()
    values[model.index([nuisance])] = 1.0
    known = replace(model, precision=np.where(model.precision > 0, 1e6, 0.0))
    return MEV * fit(known, expected_events(model, values), EXACT).value(MASS)


def test_a_uniform_scale_moves_the_mass_by_itself(uniform: Model):
    # A = 1e-4 added to the curvature of simulation lowers its momenta: the fitted mass is 1e-4 m_Z = 9.1 MeV lower.
    # 3e4 pairs tell a mass to 16 MeV; their weights, of 1 %, are as noisy: 0.16 MeV
    assert shifted_mass(uniform, "all_A") == pytest.approx(-9.1, abs=4 * 0.16)


def test_a_sagitta_bias_moves_no_mass_of_all_pairs(uniform: Model):
    # 1e-5/GeV is 4e-4 of each momentum, up for one charge and down for the other; if it did not cancel, 36 MeV.  What
    # is odd in charge shows in `dilepton_mass.charge_difference` instead.  Weights of 4 %: noise of 0.64 MeV
    assert abs(shifted_mass(uniform, "all_M")) < 4 * 0.64


def test_the_fit_is_blinded_unless_asked(uniform: Model):
    result = fit(uniform, asimov(uniform), EXACT)
    hidden = blind(result, key="data")
    assert hidden.value(MASS) != result.value(MASS)
    assert hidden.error(MASS) == result.error(MASS)
    assert blind(result, unblind=[MASS], key="data").value(MASS) == result.value(MASS)


def test_j_psi_know_the_scale_as_pairs_do():
    # beside the toy of 2e7 J/psi with its own resolution: errors of 1.1e-4, 6e-4 GeV, 5e-6/GeV, coherent 1.4e-5 even
    # and 7e-5 odd; the numbers are given to a digit, so to 15 % where two of them enter
    table, n = cms_scale()
    sigma = np.sqrt(np.diag(table.cov)).reshape(3, -1)
    correlation = table.cov / np.outer(sigma, sigma)
    errors = np.median(sigma, axis=1) / np.array([1.1e-4, 6e-4, 5e-6])
    coherent, bins = coherent_shift(table, [40.0]), np.arange(48)
    print(f"{n:.3g} effective J/psi; {errors} times the errors of the toy, {COHERENT / 1.4e-5:.2f} by the coherent one")
    assert coherent.even_error[0] == pytest.approx(COHERENT)
    np.testing.assert_allclose(errors, COHERENT / 1.4e-5, rtol=0.15)
    assert coherent.odd_error[0] / COHERENT == pytest.approx(7e-5 / 1.4e-5, rel=0.15)
    assert np.median(correlation[bins, 48 + bins]) == pytest.approx(0.96, abs=0.02)
    assert np.median(correlation[96 + bins[1:], 95 + bins[1:]]) == pytest.approx(0.29, abs=0.03)
    assert np.median(correlation[bins[1:], bins[1:] - 1]) == pytest.approx(-0.03, abs=0.02)
    # the smoothest M(eta) are the weakest combinations
    np.testing.assert_allclose(weak_modes(table).eigenvalues[:4], [5.4, 4.1, 3.3, 2.3], rtol=0.1)


@pytest.fixture(scope="module")
def templates() -> Templates:
    # with few events the noise of the weights looks like information on the calibration
    return build(pairs(1 << 21), calibration=cms_calibration())


@pytest.fixture(scope="module")
def model(templates: Templates) -> Model:
    """The mass of the Z is measured, so that it is no nuisance of the calibration."""
    return mass_model(templates, without=("zclosure_lep",))


NOISE = 0.03
"""Of an error by the calibration: 2^19, 2^20 and 2^21 events differ by 1 %, and 42 GeV stand for all momenta of Z."""


def split(model: Model, text: str) -> tuple[float, float, float]:
    """Error of the mass, from statistics and from nuisances of the scale, MeV; all is printed."""
    data = asimov(model)
    result = fit(model, data, EXACT)
    impacts = global_impacts(model, data, result, MASS)
    groups = {name: MEV * value for name, value in impacts.groups.items()}
    syst, total = np.linalg.norm(list(groups.values())), MEV * result.error(MASS)
    print(f"\n{text}: m_Z +- {total:.2f} = {MEV * impacts.data_stat:.2f} (stat) + {syst:.2f} (syst) MeV")
    print({name: round(value, 3) for name, value in groups.items()})
    assert np.hypot(MEV * impacts.data_stat, syst) == pytest.approx(total, rel=1e-3)
    return total, MEV * impacts.data_stat, float(np.hypot(groups["jpsi_stat"], groups["zclosure_stat"]))


@pytest.mark.slow
def test_the_mass_of_the_z_in_the_closure_would_be_as_large_as_it_is(templates: Templates):
    whole = mass_model(templates)
    lep = global_impacts(whole, asimov(whole), fit(whole, asimov(whole), EXACT), MASS).groups["zclosure_lep"]
    print(f"\nthe mass of the Z in the closure, if it were a nuisance: {MEV * lep:.2f} MeV")
    assert MEV * lep == pytest.approx(2.1, rel=NOISE)


@pytest.mark.slow
def test_the_error_is_that_of_the_scale(model: Model):
    """2.2e-5 of J/psi times 2.1 is 4.2 MeV of m_Z; published: 4.8 = 1.0 (stat) + 4.7 (syst) MeV.

    Of the mean over eta as it stands, a fit of pairs leaves less: it sees the bins of eta move against each other, and
    takes the mean that is known best.  The published number is itself the impact in a fit; if 2.2e-5 is what that one
    left, all errors of J/psi are larger by the ratio of the two means.
    """
    of_jpsi, of_closure = (even_covariance(cms_calibration(), [group]) for group in ("jpsi_stat", "zclosure_stat"))
    best, mean = (M_Z * error(of_jpsi + of_closure) for error in (best_error, plain_error))
    total, stat, scale = split(model, "2.2e-5 before the fit")
    print(f"scale: {scale:.2f} MeV, between {best:.2f} (bins of eta profiled) and {mean:.2f} MeV (not)")
    assert (1.0 - NOISE) * best < scale < mean
    # 0.84 to 1.21 MeV of 7.5e6 pairs with widths of 0.9 to 2 GeV, and nothing else unknown
    assert 0.84 < stat < 1.21
    assert total > np.hypot(stat, scale)
    ratio = plain_error(of_jpsi) / best_error(of_jpsi)
    known_less = rescale(model, dict.fromkeys(model.groups["jpsi_stat"], ratio))
    total, _, scale = split(known_less, f"2.2e-5 after the fit, errors of J/psi times {ratio:.2f}")
    assert scale == pytest.approx(M_Z * best_error(ratio**2 * of_jpsi + of_closure), rel=NOISE)
    assert 4.0 < total < 5.0


@pytest.mark.slow
def test_pulls_with_all_nuisances(model: Model):
    data = asimov(model)
    result = fit(model, data, EXACT)
    rng = np.random.default_rng(5)
    fast = linear_toys(model, data, result, 1000, rng, [MASS])
    pulls = fast.values[:, 0] / fast.errors[0]
    assert abs(pulls.std() - 1.0) < 4 / np.sqrt(2 * 1000)
    full = []
    for seed in range(TOYS):
        seen = toy(model, np.random.default_rng(seed), simulation=False)
        one = fit(model, seen, EXACT)
        full.append(one.value(MASS) / one.error(MASS))
    width = np.std(full, ddof=1)
    print(f"\n{TOYS} full fits: mean pull {np.mean(full):.2f}, width {width:.3f}; linear {pulls.std():.3f}")
    assert abs(np.mean(full)) < 4 / np.sqrt(TOYS)
    assert abs(width - 1.0) < 0.2  # 4 of its errors, 1/sqrt(2 TOYS)


@pytest.mark.slow
def test_the_masses_by_eta_agree_as_their_errors_say(model: Model):
    parts = split_mass(model, "max_eta")
    asked = compare(fit(parts, asimov(parts), EXACT))
    errors = np.sqrt(np.diag(asked.cov)) / MeV
    toys = (toy(parts, np.random.default_rng(seed), simulation=False) for seed in range(SPLIT_TOYS))
    found = [compare(fit(parts, seen, EXACT)) for seen in toys]
    chi2 = np.array([one.chi2 for one in found])
    print(f"\n14 masses, +- {errors.min():.1f} to {errors.max():.1f} MeV, mean +- {asked.error / MeV:.2f} MeV")
    print(f"{SPLIT_TOYS} toys: chi2 {chi2.mean():.1f} in the mean, {chi2.std(ddof=1):.1f} rms for 13")
    assert abs(chi2.mean() - 13.0) < 4 * np.sqrt(2 * 13.0 / SPLIT_TOYS)
    assert asked.error == pytest.approx(0.1 * fit(model, asimov(model), EXACT).error(MASS), rel=1e-3)
