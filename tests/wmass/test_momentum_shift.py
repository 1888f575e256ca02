"""A bias of momenta as a shift of the W mass: the moment of the score says what a mass says."""

import numpy as np
import pytest

from mucal.simulation import MuonGeneration, generate_muons
from mucal.theory import resonance
from mucal.theory.lineshape import breit_wigner_running
from mucal.track import LAM, QOP
from mucal.wmass.momentum_shift import PtScore, curvature_weights, pt_score

W = resonance("w")


@pytest.fixture(scope="module")
def muons():
    made = generate_muons(MuonGeneration(process="w_plus", seed=3), 600_000)
    return np.cos(made.state[:, LAM]) / np.abs(made.state[:, QOP]), made.mass


@pytest.fixture(scope="module")
def score(muons):
    return pt_score(*muons, W.mass, W.width)


def mass_shift(score: PtScore, nominal: np.ndarray, pt: np.ndarray) -> float:
    return float(np.mean(score.at(pt) - score.at(nominal))) / score.response


def test_a_heavier_w_is_found_as_heavy_as_it_is(muons, score):
    # the weights of 50 MeV on other muons than those of the score; their noise and the second order are a few percent
    made = generate_muons(MuonGeneration(process="w_plus", seed=4), 600_000)
    pt = np.cos(made.state[:, LAM]) / np.abs(made.state[:, QOP])
    shape = [breit_wigner_running(made.mass, W.mass + shift, W.width) for shift in (0.05, 0.0)]
    weight = shape[0] / shape[1]
    s = score.at(pt)
    centred = (weight / weight.mean() - 1.0) * (s - s.mean())
    found, error = centred.mean() / score.response, centred.std() / np.sqrt(pt.size) / score.response
    assert error < 0.005
    assert abs(found - 0.05) < 4 * error


def test_lower_momenta_are_a_lighter_w(muons, score):
    # a spectrum that scales with the mass would give -80.4 MeV; the momentum of the W, which does not, adds up to 15 %
    assert -0.0925 < mass_shift(score, muons[0], muons[0] * (1 - 1e-3)) < -0.0804


def test_weights_of_curvature_are_the_derivative(muons, score):
    pt = muons[0]
    step = 1e-5
    up, down = (mass_shift(score, pt, pt / (1 + s)) for s in (step, -step))
    # within 0.5 % are the muons that the two steps move across the ends of the range, where the slope ends
    assert curvature_weights(score, pt).sum() == pytest.approx((up - down) / (2 * step), rel=5e-3)
