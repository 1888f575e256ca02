"""Muons of W -> tau nu: the share of the tau's momentum, and what it leaves of an event."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.theory.generator import FIRST, PT, SECOND, generate
from mucal.theory.production import production
from mucal.theory.tau import momentum_share, through_tau


def test_share_inverts_its_distribution_function():
    u = np.concatenate([[1e-12, 1e-6], np.linspace(0.001, 0.999, 999), 1 - np.logspace(-4, -12, 9)])
    z = momentum_share(u)
    assert np.all(np.diff(z) > 0)
    assert_allclose((4 * z - z**4) / 3, u, atol=1e-15, rtol=1e-13)


def test_share_is_that_of_a_left_handed_tau():
    # the Michel spectrum of polarisation P, boosted: moments of (1-z)[5+5z-4z^2 + P(1+z-8z^2)]/3 by Gauss points
    nodes, weights = np.polynomial.legendre.leggauss(8)
    z, w = 0.5 * (nodes + 1), 0.5 * weights
    density = (1 - z) * (5 + 5 * z - 4 * z**2 - (1 + z - 8 * z**2)) / 3
    drawn = momentum_share((np.arange(100_000) + 0.5) / 100_000)
    assert_allclose((w * density).sum(), 1.0, rtol=1e-14)
    for k in (1, 2, 3):
        assert_allclose(np.mean(drawn**k), (w * density * z**k).sum(), rtol=1e-6)


def test_only_the_momentum_of_the_muon_changes():
    events = generate(production("w_plus"), 0, 1 << 12, seed=2)
    found = through_tau(events, 2)
    share = found.leptons[:, FIRST, PT] / events.leptons[:, FIRST, PT]
    assert abs(share.mean() - 0.4) < 4 * share.std() / 64
    assert_allclose(found.leptons[:, FIRST, 1:], events.leptons[:, FIRST, 1:])
    assert_allclose(found.leptons[:, SECOND], events.leptons[:, SECOND])
    assert_allclose(found.weight, events.weight)


def test_pieces_of_a_sample_are_those_of_the_whole():
    made = production("w_minus")
    whole = through_tau(generate(made, 0, 256, seed=2), 2)
    part = through_tau(generate(made, 128, 128, seed=2), 2)
    assert_allclose(part.leptons, whole.leptons[128:], rtol=1e-12)


def test_a_z_is_refused():
    with pytest.raises(ValueError, match="another polarisation"):
        through_tau(generate(production("z"), 0, 16, seed=2), 2)
