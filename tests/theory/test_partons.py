"""The toy partons: what they were made to give, and the symmetries that any partons have."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from mucal.theory import partons, resonance

M_W, M_Z = resonance("w").mass, resonance("z").mass


def w_rate(charge: int) -> float:
    return quad(lambda y: 2 * float(partons.w_luminosity(charge, M_W, np.array(y))), -5, 5, limit=200)[0]


def test_quarks_carry_half_of_the_momentum():
    # global fits give 0.54 at Q = M_W, with s and c; these densities are fitted around x = 6e-3 only
    flavours = [f"{name}{bar}" for name in "udsc" for bar in ("", "bar")]
    share = sum(
        quad(lambda x, f=f: float(partons.momentum_density(f, np.array(x))), 1e-6, 1, limit=200)[0] for f in flavours
    )
    assert_allclose(share, 0.54, atol=0.06)


def test_more_positive_than_negative_w():
    # the page's value for these densities; physical 1.352
    assert_allclose(w_rate(+1) / w_rate(-1), 1.32, atol=0.02)


@pytest.mark.parametrize(("charge", "expected"), [(+1, 0.90), (-1, 0.56)])
def test_forward_preference_of_w(charge, expected):
    front, back = (partons.w_luminosity(charge, M_W, np.array([y])) for y in (2.5, -2.5))
    assert_allclose(2 * (front - back) / (front + back), expected, atol=0.03)


def test_no_preference_at_rest():
    for charge in (+1, -1):
        assert_allclose(
            partons.w_luminosity(charge, M_W, np.array([1e-9])), partons.w_luminosity(charge, M_W, np.array([-1e-9]))
        )


def test_z_preference_is_bounded_by_the_couplings():
    # A_l = 0.147, A_u = 0.67, A_d = 0.94 at sin^2 = 0.2315 (Review of Particle Physics, electroweak review)
    lepton = partons.asymmetry(-0.5 + 2 * partons.SIN2_THETA, -0.5)
    assert_allclose(lepton, 0.147, atol=1e-3)
    total, preference = partons.z_luminosity(M_Z, np.linspace(-3, 3, 31))
    assert np.all((preference > 0.66 * lepton * total) & (preference < 0.94 * lepton * total))


def test_nothing_beyond_the_kinematic_limit():
    limit = np.log(partons.COLLISION_ENERGY / M_W)
    assert partons.w_luminosity(+1, M_W, np.array([limit + 0.01, -limit - 0.01])).tolist() == [0.0, 0.0]


def test_an_unknown_flavour_is_refused():
    with pytest.raises(KeyError, match="top"):
        partons.momentum_density("top", np.array([0.1]))
