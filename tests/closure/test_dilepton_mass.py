"""The mass of the Z from pairs with the nuisances of the calibration: what a scale does to it, pulls, stat and syst.

The slow part prints what docs/physics/calibration.md quotes: pytest -m slow -s tests/closure/test_dilepton_mass.py
"""

from dataclasses import replace

import numpy as np
import pytest

from mucal.calibration import Calibration
from mucal.likelihood import FitConfig, Model, asimov, expected_events, fit, global_impacts, linear_toys, toy
from mucal.likelihood.blinding import blind
from mucal.templates import TemplatesConfig, build
from mucal.wmass import MASS, mass_model

EXACT = FitConfig(mc_stat="none")
MEV = 100.0
"""MASS is in units of 100 MeV."""
TOYS = 200
"""Full fits of pseudo-experiments with all nuisances."""


def pairs(events: int) -> TemplatesConfig:
    return TemplatesConfig(channel="dilepton", events=events, chunk=min(events >> 2, 1 << 15), theory=False)


@pytest.fixture(scope="module")
def uniform(cms_like: Calibration) -> Model:
    """One nuisance: A = 1e-4 in every bin."""
    v = np.zeros((1, 3, cms_like.scale.n_bins))
    v[0, 0] = 1e-4
    calibration = replace(
        cms_like, names=("all_A",), groups=("field",), kinds=("scale",), sources=("",), scale_variations=v,
        resolution_variations=cms_like.resolution_variations[:0], pixel_variations=np.zeros((0, 0)), pixels=None,
    )  # fmt: skip
    templates = build(pairs(1 << 16), calibration=calibration)
    return mass_model(templates, luminosity_error=0.0, rates={"rate": ["Zmumu"]})


def test_a_uniform_scale_moves_the_mass_by_itself(uniform: Model):
    # A = 1e-4 added to the curvature of simulation lowers its momenta: the fitted mass is 1e-4 m_Z = 9.1 MeV lower
    values = uniform.centre.copy()
    values[uniform.index(["all_A"])] = 1.0
    known = replace(uniform, precision=np.where(uniform.precision > 0, 1e6, 0.0))  # the scale: it cannot follow
    result = fit(known, expected_events(uniform, values), EXACT)
    # 3e4 pairs tell a mass to 16 MeV; their weights, of 1 %, are as noisy: 0.16 MeV
    assert MEV * result.value(MASS) == pytest.approx(-9.1, abs=4 * 0.16)


def test_the_fit_is_blinded_unless_asked(uniform: Model):
    result = fit(uniform, asimov(uniform), EXACT)
    hidden = blind(result, key="data")
    assert hidden.value(MASS) != result.value(MASS)
    assert hidden.error(MASS) == result.error(MASS)
    assert blind(result, unblind=[MASS], key="data").value(MASS) == result.value(MASS)


@pytest.mark.slow
def test_pulls_and_the_split_with_all_nuisances(cms_like: Calibration):
    # 2^21 events: with fewer, the noise of the weights looks like information on the calibration
    templates = build(pairs(1 << 21), calibration=cms_like)
    whole = mass_model(templates)
    lep = global_impacts(whole, asimov(whole), fit(whole, asimov(whole), EXACT), MASS).groups["zclosure_lep"]
    print(f"\nthe mass of the Z in the closure, if it were a nuisance: {MEV * lep:.2f} MeV")
    assert MEV * lep == pytest.approx(2.1, rel=0.2)
    # the mass of the Z is measured, so that it is no nuisance of the calibration
    model = mass_model(templates, without=("zclosure_lep",))
    data = asimov(model)
    result = fit(model, data, EXACT)
    impacts = global_impacts(model, data, result, MASS)
    syst = np.sqrt(sum(value**2 for value in impacts.groups.values()))
    total = np.hypot(impacts.data_stat, syst)
    print(f"m_Z: {MEV * result.error(MASS):.2f} = {MEV * impacts.data_stat:.2f} (stat) + {MEV * syst:.2f} (syst) MeV")
    print({name: round(MEV * value, 3) for name, value in impacts.groups.items()})
    assert total == pytest.approx(result.error(MASS), rel=1e-3)
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
    print(f"{TOYS} full fits: mean pull {np.mean(full):.2f}, width {width:.3f}; linear {pulls.std():.3f}")
    assert abs(np.mean(full)) < 4 / np.sqrt(TOYS)
    assert abs(width - 1.0) < 0.2  # 4 of its errors, 1/sqrt(2 TOYS)
