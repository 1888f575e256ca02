import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mucal.track import MINUS, PLUS, Dimuons, curvature_weights, invariant_mass, pair_kinematics
from mucal.units import MUON_MASS

JPSI, Z = 3.0969, 91.1879

muons = st.tuples(
    st.floats(2.0, 200.0), st.floats(2.0, 200.0), st.floats(-2.5, 2.5), st.floats(-2.5, 2.5),
    st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi),
)  # fmt: skip


def pair(found: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pt1, pt2, eta1, eta2, phi1, phi2 = found
    return np.array([[pt1, pt2]]), np.array([[eta1, eta2]]), np.array([[phi1, phi2]])


def apart(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> bool:
    """Whether the pair is far enough above threshold for its mass to be a good number."""
    return bool(2 * pt.prod() * (np.cosh(eta[0, 0] - eta[0, 1]) - np.cos(phi[0, 0] - phi[0, 1])) > 1.0)


def mass_by_four_vectors(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> float:
    """The sum of two four-vectors, with the standard library alone."""
    total = [0.0, 0.0, 0.0, 0.0]
    for p, h, f in zip(pt[0], eta[0], phi[0], strict=True):
        vector = (p * math.cos(f), p * math.sin(f), p * math.sinh(h))
        energy = math.sqrt(sum(x * x for x in vector) + MUON_MASS**2)
        total = [t + x for t, x in zip(total, (energy, *vector), strict=True)]
    return math.sqrt(total[0] ** 2 - sum(x * x for x in total[1:]))


@given(muons)
def test_mass_is_that_of_the_summed_four_vectors(found: tuple[float, ...]):
    pt, eta, phi = pair(found)
    if apart(pt, eta, phi):
        # E^2 - p^2 of the sum cancels up to E^2/m^2 < (2500)^2 of the last bit
        assert_allclose(invariant_mass(pt, eta, phi)[0], mass_by_four_vectors(pt, eta, phi), rtol=1e-8)


def test_muons_back_to_back_at_rest_have_twice_their_energy():
    p = math.sqrt((JPSI / 2) ** 2 - MUON_MASS**2)
    found = invariant_mass(np.array([[p, p]]), np.zeros((1, 2)), np.array([[0.0, math.pi]]))
    assert found[0] == pytest.approx(JPSI, rel=1e-15)


def boosted(mass: float, energies: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two muons in the transverse plane with the given energies and pair mass."""
    p1, p2 = (math.sqrt(e**2 - MUON_MASS**2) for e in energies)
    cos = (energies[0] * energies[1] + MUON_MASS**2 - mass**2 / 2) / (p1 * p2)
    return np.array([[p1, p2]]), np.zeros((1, 2)), np.array([[0.0, math.acos(cos)]])


# docs/physics/scale.md: w = 1/2 [1 - 2 (m_mu^2/m^2) (1 + E2/E1)]
@pytest.mark.parametrize(
    ("mass", "energies", "weight"),
    [(JPSI, (10.0, 10.0), 0.4976720), (JPSI, (5.0, 20.0), 0.4941800), (Z, (50.0, 50.0), 0.4999973)],
)
def test_curvature_weights_golden(mass: float, energies: tuple[float, float], weight: float):
    assert curvature_weights(*boosted(mass, energies))[0, PLUS] == pytest.approx(weight, abs=5e-8)


@given(muons)
def test_curvature_weights_are_difference_quotients_of_the_mass(found: tuple[float, ...]):
    pt, eta, phi = pair(found)
    if not apart(pt, eta, phi):
        return
    weights = curvature_weights(pt, eta, phi)
    h = 1e-3
    for muon in (PLUS, MINUS):

        def log_mass(step: float, muon: int = muon) -> float:
            moved = pt.copy()
            moved[0, muon] /= math.exp(step)  # ln k + step
            return math.log(invariant_mass(moved, eta, phi)[0])

        # fourth order: the error is h^4 of a fifth derivative of order 1, plus rounding of m^2 (E^2/m^2 eps) over h
        slope = (8 * (log_mass(h) - log_mass(-h)) - (log_mass(2 * h) - log_mass(-2 * h))) / (12 * h)
        assert -slope == pytest.approx(weights[0, muon], abs=1e-6)


def test_curvature_weights_approach_one_half_for_heavy_pairs():
    weights = curvature_weights(*boosted(1e4, (6e3, 6e3)))
    assert_allclose(weights, 0.5, atol=1e-9)


@given(muons)
def test_exchanging_the_muons_exchanges_their_weights(found: tuple[float, ...]):
    pt, eta, phi = pair(found)
    if apart(pt, eta, phi):
        swapped = curvature_weights(pt[:, ::-1], eta[:, ::-1], phi[:, ::-1])
        assert_allclose(swapped[:, ::-1], curvature_weights(pt, eta, phi), rtol=1e-7)


@given(muons, st.floats(-3.0, 3.0), st.floats(-1.0, 1.0))
def test_rotation_and_longitudinal_boost_leave_the_mass(found: tuple[float, ...], turn: float, boost: float):
    pt, eta, phi = pair(found)
    if apart(pt, eta, phi):
        mass = invariant_mass(pt, eta, phi)
        assert_allclose(invariant_mass(pt, eta, phi + turn), mass, rtol=1e-8)
        # eta shifts exactly for massless muons only: m_mu^2/pT^2 of the momentum at most
        assert_allclose(invariant_mass(pt, eta + boost, phi), mass, rtol=MUON_MASS**2 / pt.min() ** 2 * 10 + 1e-8)


@given(muons)
def test_pair_kinematics_are_those_of_the_summed_vectors(found: tuple[float, ...]):
    pt, eta, phi = pair(found)
    pair_pt, rapidity, azimuth = pair_kinematics(pt, eta, phi)
    px, py = (pt * np.cos(phi)).sum(), (pt * np.sin(phi)).sum()
    pz = (pt * np.sinh(eta)).sum()
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + MUON_MASS**2).sum()
    assert_allclose(pair_pt, math.hypot(px, py), rtol=1e-12, atol=1e-12)
    assert_allclose(rapidity, 0.5 * math.log((energy + pz) / (energy - pz)), rtol=1e-9, atol=1e-10)
    assert_allclose(azimuth, math.atan2(py, px), atol=1e-9)


# ------------------------------------------------------------------------------------------------ the table


def dimuons(n: int) -> Dimuons:
    rng = np.random.default_rng(3)
    ids = np.arange(n)
    return Dimuons(
        run=ids,
        lumi=ids + 1,
        event=ids + 2,
        pt=rng.uniform(4, 40, (n, 2)),
        eta=rng.uniform(-2.4, 2.4, (n, 2)),
        phi=rng.uniform(-3, 3, (n, 2)),
        charge=np.tile([1, -1], (n, 1)),
    )


def test_parts_concatenate_to_the_whole():
    whole = dimuons(10)
    parts = [whole.select(slice(0, 3)), whole.select(slice(3, 3)), whole.select(np.arange(3, 10))]
    found = Dimuons.concatenate(parts)
    assert_array_equal(found.pt, whole.pt)
    assert_array_equal(found.event, whole.event)
    assert len(found) == 10


def test_no_parts_give_no_pairs():
    none = Dimuons.concatenate([])
    assert len(none) == 0
    assert none.mass.shape == (0,)


def test_a_mask_selects_pairs():
    whole = dimuons(5)
    assert_array_equal(whole.select(whole.run > 2).run, [3, 4])


def test_columns_of_different_lengths_are_refused():
    whole = dimuons(5)
    with pytest.raises(ValueError, match=r"Dimuons\.pt has shape \(4, 2\), expected \(5, 2\)"):
        whole.with_pt(whole.pt[:4])
