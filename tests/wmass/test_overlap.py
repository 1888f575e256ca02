"""W-like and dilepton masses of the same pairs: correlation by shared events, by a bootstrap, and of the two halves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import FitConfig, expected_events, fit
from mucal.templates import CHANNELS, TemplatesConfig, build
from mucal.templates.reconstruction import chosen_muon, measure, selected_pair
from mucal.templates.response import default_resolution
from mucal.theory.generator import generate
from mucal.theory.production import production
from mucal.wmass import MASS, mass_model
from mucal.wmass.overlap import bootstrap_covariance, responses, shared_covariance

N = 1 << 15
EXACT = FitConfig(mc_stat="none")


@pytest.fixture(scope="module")
def parts():
    """Responses, bins and weights of generated pairs: W-like muons of even and of odd events, and the pair's mass."""
    events = generate(production("z"), 0, N, seed=3)
    seen = measure(events, default_resolution())
    keep, mass = selected_pair(events, seen)
    rows = np.arange(N)
    found = []
    for channel, odd in (("wlike", False), ("wlike", True), ("dilepton", False)):
        made = build(TemplatesConfig(channel=channel, events=8 * N, chunk=N, theory=False), n_threads=2)
        model = mass_model(made, rates={"rate": ["Zmumu"]}, luminosity_error=0.0)
        counts = expected_events(model)
        a = responses(model, counts, fit(model, counts, EXACT), MASS)
        if channel == "dilepton":
            forward = np.argmax(np.abs(seen.eta), axis=1)
            values = (mass, seen.eta[rows, forward])
            own = keep
        else:
            # one muon of each event: halves of the sample that share no event
            muon = chosen_muon(events, 3, False)
            values = (seen.charge[0, muon], seen.eta[rows, muon], seen.pt[rows, muon])
            own = keep & ((muon == 1) == odd)
        bins = np.where(own, CHANNELS[channel].index(values), -1)
        found.append((a, bins, events.weight))
    return found


def test_bootstrap_finds_the_covariance_of_shared_events(parts):
    cov = np.array([[shared_covariance(one, other) for other in parts] for one in parts])
    n = 400
    drawn = bootstrap_covariance(parts, n, np.random.default_rng(5))
    error = np.sqrt(np.diag(cov))
    correlation = cov / np.outer(error, error)
    # a variance of n draws is off by sqrt(2 / n), a correlation by (1 - rho^2) / sqrt(n)
    assert_allclose(np.sqrt(np.diag(drawn)) / error, 1.0, atol=4 / np.sqrt(2 * n))
    found = drawn / np.sqrt(np.outer(np.diag(drawn), np.diag(drawn)))
    assert_allclose(found, correlation, atol=4 / np.sqrt(n))


def test_halves_share_nothing_and_pairs_share_with_both(parts):
    assert shared_covariance(parts[0], parts[1]) == 0.0
    correlation = [
        shared_covariance(parts[i], parts[2])
        / np.sqrt(shared_covariance(parts[i], parts[i]) * shared_covariance(parts[2], parts[2]))
        for i in (0, 1)
    ]
    # a heavier Z makes harder muons: the masses go together, though a muon's pT knows little of the pair's mass
    assert all(0.0 < rho < 0.7 for rho in correlation)


def test_two_events_by_hand():
    a, b = np.array([1.0, 2.0]), np.array([3.0])
    first = (a, np.array([0, 1, -1]), np.array([1.0, 0.5, 9.0]))
    second = (b, np.array([0, 0, 0]), np.array([1.0, 1.0, 1.0]))
    assert shared_covariance(first, second) == 1.0 * 3.0 + 0.5 * 2.0 * 3.0
