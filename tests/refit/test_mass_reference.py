"""The mass that a constraint assumes, and what the window of the selection makes of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from mucal.refit import MassReference, derive_mass_reference, window_shift
from mucal.simulation import MuonGeneration, generate_muons
from mucal.workflow.hit_sums import pair_masses

WINDOW = (2.9, 3.3)


@pytest.fixture(scope="module")
def pairs():
    """Generated masses after radiation, errors of 0.6 to 2.6 % of them, and measured masses with mirrored noise."""
    mass = pair_masses(generate_muons(MuonGeneration(process="jpsi", seed=8), 400_000).state.reshape(-1, 2, 5))
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.006, 0.026, mass.size)
    noise = mass * sigma * rng.standard_normal(mass.size)
    return mass, sigma, np.stack([mass + noise, mass - noise])


def test_mean_mass_is_that_of_the_measured_masses_at_every_error(pairs):
    mass, sigma, measured = pairs
    inside = (measured > WINDOW[0]) & (measured < WINDOW[1])
    soft = np.full(mass.size, 5.0)
    reference = derive_mass_reference(
        np.tile(mass, 2), np.tile(soft, 2), np.tile(sigma, 2), inside.ravel(), window=WINDOW
    )
    mean, _ = reference.at(soft, sigma)
    off, corrected = [], []
    for low, high in zip((0.0, 0.011, 0.015, 0.021), (0.011, 0.015, 0.021, 0.03), strict=True):
        here = inside & (sigma > low) & (sigma < high)
        # both signs of the noise of a pair are one entry: its mean says how well the mean is known
        weight = here.sum(axis=0)
        for values, found in ((measured - reference.m_ref[0], off), (measured - mean, corrected)):
            total = (here * values).sum(axis=0)
            average = total.sum() / weight.sum()
            found.append((average, np.sqrt(((total - average * weight) ** 2).sum()) / weight.sum()))
    (off, _), (corrected, error) = np.transpose(off), np.transpose(corrected)
    # the common mean of the sample fluctuates with its radiation: 20 MeV / sqrt(n)
    assert np.all(np.abs(corrected) < 3.0 * error)
    assert off[-1] > 5 * error[-1]
    assert off[-1] / 3.1 > 1e-4
    assert np.all(np.diff(off) > 0)


def test_shift_is_the_mean_of_truncated_noise():
    mass = np.array([2.95, 3.0, 3.09])
    entries = np.array([1.0, 2.0, 10.0])
    for sigma in (0.006, 0.016):

        def moment(power, sigma=sigma):
            return sum(
                n * integrate.quad(lambda x, m=m: x**power * stats.norm.pdf(x, m, m * sigma), *WINDOW)[0]
                for m, n in zip(mass, entries, strict=True)
            )  # fmt: skip

        none = window_shift(mass, entries, WINDOW, np.array([0.0, sigma]), np.zeros(1))
        generated = mass @ entries / entries.sum()
        assert_allclose(none, [0.0, moment(1) / moment(0) - generated], atol=1e-9)


def test_without_a_window_there_is_no_shift(pairs):
    mass, sigma, _ = pairs
    every = np.ones(mass.size, dtype=bool)
    reference = derive_mass_reference(mass, np.full(mass.size, 5.0), sigma, every, window=(0.0, np.inf))
    assert np.abs(reference.shift).max() < 1e-6  # GeV: masses below 0 are cut
    mean, gamma = reference.at(np.array([5.0, np.nan]), np.array([0.01, 0.01]))
    assert_allclose([mean[0], gamma[0]], [mass.mean(), mass.std(ddof=1)])
    assert np.isnan(mean[1])
    assert np.isnan(gamma[1])


def test_a_reference_of_another_window_is_told():
    constant = MassReference.constant(3.0924, 0.02)
    assert constant.holds_for(WINDOW)
    mass = np.linspace(2.8, 3.4, 100)
    found = derive_mass_reference(mass, np.full(100, 5.0), np.full(100, 0.01), mass > 2.9, window=WINDOW)
    assert found.holds_for(WINDOW)
    assert not found.holds_for((2.8, 3.3))
