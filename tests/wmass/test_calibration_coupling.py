"""The momentum calibration in the fit of m_W: what a shift of momenta does, and how noise of templates hides it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration
from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit, global_impacts, rescale
from mucal.templates import Templates, TemplatesConfig, build
from mucal.templates.smoothing import smoothed
from mucal.wmass import MASS, compare, mass_model, split_mass
from mucal.wmass.dilution import expected_shares, recovered_share
from mucal.wmass.overlap import responses
from mucal.workflow.templates import describe_templates

EXACT = FitConfig(mc_stat="none")
SIZE_A, SIZE_M = 1e-5, 3e-7
"""Of the two coherent nuisances: 0.8 MeV of 80.4 GeV; 1.2e-5 at 40 GeV, 1 MeV with opposite signs for the charges."""


@pytest.fixture(scope="module")
def noisy(cms_like: Calibration) -> Templates:
    """The 314 nuisances of a calibration, and two more that are even and odd in charge everywhere; as filled."""
    v = np.zeros((2, 3, cms_like.scale.n_bins))
    v[0, 0], v[1, 2] = SIZE_A, SIZE_M
    n = cms_like.scale_variations.shape[0]
    more = replace(
        cms_like,
        names=(*cms_like.names[:n], "all_A", "all_M", *cms_like.names[n:]),
        groups=(*cms_like.groups[:n], "even", "odd", *cms_like.groups[n:]),
        kinds=(*cms_like.kinds[:n], "scale", "scale", *cms_like.kinds[n:]),
        sources=(*cms_like.sources[:n], "", "", *cms_like.sources[n:]),
        scale_variations=np.concatenate([cms_like.scale_variations, v]),
    )
    return build(TemplatesConfig(events=1 << 19, chunk=1 << 15, theory=False), calibration=more, n_threads=2)


@pytest.fixture(scope="module")
def templates(noisy: Templates) -> Templates:
    return smoothed(noisy)


@pytest.fixture(scope="module")
def model(templates: Templates) -> Model:
    return mass_model(templates)


def direct_shift(templates: Templates, nuisance: str) -> float:
    """MeV by which a fit of mass and yield alone takes a nuisance at +1 for a mass."""
    kappa = templates.kappa[:, templates.index([nuisance])[0]]
    nominal = templates.nominal.sum(axis=0)
    change = (templates.nominal * np.expm1(kappa)).sum(axis=0)
    mass = 0.5 * (templates.at_mass(0.1) - templates.at_mass(-0.1)).sum(axis=0)
    j = np.stack([mass, nominal])
    return float(100 * np.linalg.solve((j / nominal) @ j.T, (j / nominal) @ change)[0])


def impact(model: Model, group: str, factor: float = 1.0) -> float:
    """MeV, global impact of a group with its errors multiplied."""
    scaled = rescale(model, dict.fromkeys(model.groups[group], factor))
    counts = expected_events(scaled)
    return 100 * global_impacts(scaled, counts, fit(scaled, counts, EXACT), MASS).groups[group]


def test_a_coherent_field_error_is_its_share_of_the_mass(templates):
    # k goes up by 1e-5: -0.80 MeV of 80.4 GeV; a boson's own pT does not scale with its mass, which adds up to 10 %
    assert_allclose(direct_shift(templates, "all_A"), -80.4e3 * SIZE_A, rtol=0.1)


def test_a_shift_of_momenta_under_the_data_is_found_as_the_mass(templates):
    # with every other source switched off, the profile fit answers as the direct one does
    model = mass_model(templates, without=sorted(set(templates.groups)), luminosity_error=0.01)
    counts = expected_events(model)
    kappa = templates.kappa[:, templates.index(["all_A"])[0]]
    moved = (templates.nominal * np.exp(kappa)).sum(axis=0)
    found = 100 * (fit(model, moved, EXACT).value(MASS) - fit(model, counts, EXACT).value(MASS))
    assert_allclose(found, direct_shift(templates, "all_A"), rtol=0.02)


@pytest.mark.parametrize(("group", "factor"), [("zclosure_lep", 0.1), ("jpsi_stat", 1 / 2.1), ("resolution_stat", 0.1)])
def test_factors_on_the_errors_come_off(model, group, factor):
    # the smaller a prior, the less the data improve on it: at most the whole, at least the factor times it
    whole, part = impact(model, group), impact(model, group, factor)
    assert factor * whole * (1 - 1e-9) < part < whole


def test_a_small_coherent_error_has_its_whole_impact(model, templates):
    # a tenth of 2.1 MeV on 91 188 is 0.19 MeV of m_W, which 8 MeV of data and other nuisances leave alone but for the
    # part of the spectrum that those take out of use
    size = 0.1 * 2.1 / 91188
    expected = abs(direct_shift(templates, "all_A")) * size / SIZE_A
    assert 0.8 * expected < impact(model, "zclosure_lep", 0.1) < 1.05 * expected


def test_even_errors_move_the_mass_and_odd_ones_the_difference_of_charges(model):
    split = split_mass(model, "charge")
    counts = expected_events(split)
    result = fit(split, counts, EXACT)
    known = 1e3 * compare(result).difference("plus", "minus")[1]
    found = {}
    for name, weights in (("mean", {"mass_plus": 0.5, "mass_minus": 0.5}),
                          ("difference", {"mass_plus": 1.0, "mass_minus": -1.0})):  # fmt: skip
        groups = global_impacts(split, counts, result, weights).groups
        found[name] = {group: 100 * groups[group] for group in ("even", "odd")}
    assert found["mean"]["even"] > 5 * found["mean"]["odd"]
    assert found["difference"]["odd"] > 5 * found["difference"]["even"]
    # not more than moving every muon does: 0.8 MeV, and 1 MeV of either charge
    assert found["mean"]["even"] < 0.9
    assert found["difference"]["odd"] < min(2.2, known)


@pytest.fixture(scope="module")
def bare(noisy: Templates, templates: Templates) -> dict[str, Model]:
    """Mass and yield alone, of derivatives as filled and smooth."""
    return {
        name: mass_model(t, without=sorted(set(t.groups)), rates={"rate": list(t.processes)}, luminosity_error=0.0)
        for name, t in (("noisy", noisy), ("smooth", templates))
    }


@pytest.fixture(scope="module")
def truth() -> Templates:
    """Other events."""
    return build(TemplatesConfig(events=1 << 18, chunk=1 << 15, seed=7, theory=False), n_threads=2)


def test_noise_of_the_mass_template_dilutes_every_shift_alike(bare, truth, noisy, templates):
    """Of an injected mass, and of a shift of momenta, a fit finds (its error / the error without noise)^2."""
    share = {name: recovered_share(one, truth, EXACT) for name, one in bare.items()}
    error = {name: fit(one, expected_events(one), EXACT).error(MASS) for name, one in bare.items()}
    assert share["noisy"] < 0.6 < 0.9 < share["smooth"] < 1.05
    assert_allclose(share["noisy"] / share["smooth"], (error["noisy"] / error["smooth"]) ** 2, rtol=0.1)
    momenta = [direct_shift(t, "all_A") for t in (noisy, templates)]
    assert_allclose(momenta[0] / momenta[1], share["noisy"] / share["smooth"], rtol=0.1)


def test_one_sample_says_what_another_will_find(bare, truth, noisy):
    # 2880 - 210 functions know the noise to 3 %; a share of 0.4 moves by half of that, and `truth` has a noise of 2 %
    found = expected_shares(noisy)
    for name, expected in (("noisy", found.as_filled), ("smooth", found.smooth)):
        assert_allclose(recovered_share(bare[name], truth, EXACT), expected, atol=0.05)


def test_the_command_tells_it(noisy):
    plain, lines = describe_templates(noisy)
    found = expected_shares(noisy)
    assert plain["mass_share"] == {"as_filled": found.as_filled, "smooth": found.smooth}
    assert any(f"finds {found.smooth:.3f} with smooth variations" in line for line in lines)


def test_templates_find_their_own_shift_whole(bare, noisy):
    assert_allclose(recovered_share(bare["noisy"], noisy, EXACT), 1.0, rtol=1e-3)


def test_share_is_the_answer_of_a_fit_to_other_templates(bare, truth):
    model = bare["noisy"]
    counts = expected_events(model)
    a = responses(model, counts, fit(model, counts, EXACT), MASS)
    change = 0.5 * (truth.at_mass(0.02) - truth.at_mass(-0.02)).sum(axis=0)
    found = fit(model, counts + change, EXACT).value(MASS) - fit(model, counts - change, EXACT).value(MASS)
    assert_allclose(found / 2, a @ change, rtol=1e-3)
    assert_allclose(recovered_share(model, truth, EXACT, shift=0.02), found / 2 / 0.2, rtol=1e-3)


def test_other_bins_are_refused(bare):
    other = build(TemplatesConfig(channel="dilepton", events=1 << 15, chunk=1 << 15, theory=False))
    with pytest.raises(ConfigError, match="350 bins beside"):
        recovered_share(bare["smooth"], other)
