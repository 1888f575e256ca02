"""The boson's pT from fits that do not see it: derivatives, errors, pulls of differences.

With the templates of the measurement: docs/examples/pt_z_validation.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit, from_arrays, observe, toy
from mucal.templates import CHANNELS, Templates, TemplatesConfig, build
from mucal.wmass import combine
from mucal.wmass.boson_spectrum import compare_spectra, propagate

EXACT = FitConfig(mc_stat="none")
NAMES = ("a", "b", "c", "d")


def channel(name: str, seed: int, n_bins: int, parameters: tuple[str, ...] = NAMES, events: float = 1e5) -> Model:
    rng = np.random.default_rng(seed)
    model = from_arrays(
        events * rng.uniform(0.5, 1.5, (n_bins, 1)), rng.normal(0, 0.01, (n_bins, 1, len(parameters))),
        parameters=parameters, processes=("z",),
    )  # fmt: skip
    return replace(model, channels=(replace(model.channels[0], name=name),))


def test_derivatives_of_the_shares_are_difference_quotients():
    generated, fitted = channel("boson", 1, 5), channel("muons", 2, 12)
    result = fit(fitted, np.random.default_rng(3).poisson(expected_events(fitted)).astype(float), EXACT)
    found = propagate(generated, fitted, result)
    step = 1e-5
    for j in range(len(NAMES)):
        up, down = (expected_events(generated, result.values + s * step * np.eye(len(NAMES))[j]) for s in (1.0, -1.0))
        quotient = (up / up.sum() - down / down.sum()) / (2 * step)
        assert_allclose(found.response[:, j], quotient, atol=1e-9)
    assert_allclose(found.shares.sum(), 1.0, rtol=1e-13)
    assert_allclose(found.cov.sum(axis=0), 0.0, atol=1e-15)


def test_nuisances_that_the_fit_has_not_stay_at_their_prior():
    generated, fitted = channel("boson", 1, 5, (*NAMES, "own")), channel("muons", 2, 12)
    result = fit(fitted, expected_events(fitted), EXACT)
    found = propagate(generated, fitted, result)
    assert found.joint[4, 4] == 1.0
    assert np.all(found.joint[4, :4] == 0.0)
    same = compare_spectra(found, found)
    # the same unknown in both predictions is none of their difference
    only_own = found.response[:, 4:] @ found.response[:, 4:].T
    assert_allclose(np.diag(same.cov), np.diag(2 * (found.cov - only_own) - 2 * _known(found)), atol=1e-18)


def _known(found) -> np.ndarray:
    """J C c C J^T of the four that the fit has."""
    part = found.response[:, :4] @ found.joint[:4, :4]
    return part @ part.T


def test_differences_of_two_fits_follow_chi2():
    # two channels with counts of their own and the same centres, each fitted by itself: mean of chi2 is its ndof
    generated = channel("boson", 1, 5)
    models = [channel("muons", 2, 12), channel("pairs", 3, 12)]
    joint, rng = combine(models), np.random.default_rng(11)
    chi2 = []
    for _ in range(250):
        drawn = toy(joint, rng, mc_stat="none")
        spectra = []
        for i, model in enumerate(models):
            data = observe(model, drawn.counts[12 * i : 12 * (i + 1)], centre=drawn.centre)
            spectra.append(propagate(generated, model, fit(model, data, EXACT)))
        chi2.append(compare_spectra(*spectra).chi2)
    # 4 degrees of freedom: mean 4 with a standard deviation of sqrt(8 / 250)
    assert abs(np.mean(chi2) - 4.0) < 4 * np.sqrt(8 / 250)


def test_models_without_anything_in_common_are_refused():
    fitted = channel("muons", 2, 12)
    result = fit(fitted, expected_events(fitted), EXACT)
    with pytest.raises(ConfigError, match="share no parameter"):
        propagate(channel("boson", 1, 5, ("x",)), fitted, result)
    one, other = (propagate(channel("boson", 1, n), fitted, result) for n in (5, 6))
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_spectra(one, other)


@pytest.fixture(scope="module")
def bosons() -> Templates:
    return build(TemplatesConfig(channel="boson_z", events=1 << 16, chunk=1 << 15), n_threads=2)


def test_generated_bosons_vary_as_their_theory_says(bosons):
    assert bosons.nominal.shape == (1, CHANNELS["boson_z"].n_bins)
    kappa = dict(zip(bosons.nuisances, bosons.kappa[0], strict=True))
    # angular coefficients do not change the pT spectrum over all angles
    assert np.abs(kappa["scale_z_A0_inclusive_avg"]).max() < 1e-12
    assert np.abs(kappa["resum_gamma_cusp"]).max() > 1e-3
    with pytest.raises(ConfigError, match="no muons"):
        build(TemplatesConfig(channel="boson_z", events=1 << 15, chunk=1 << 15), calibration=object())
