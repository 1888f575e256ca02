"""Biases of directions: found where they are, not found where they are not, and what they do to A, e and M."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.massfit import Binning
from mucal.scale.angles import PARAMETERS, PRIORS, fill_by_side, watch_angles
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.track import Dimuons, angular_response, invariant_mass

BINNING = Binning(
    eta_edges=np.linspace(-2.4, 2.4, 5), pt_edges=np.array([4.0, 5.2, 7.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 3)
)
CHARGE = np.array([1.0, -1.0])


@pytest.fixture(scope="module")
def pairs() -> Dimuons:
    return generate_dimuons(DimuonSimulation(seed=6), 150_000).dimuons


@pytest.mark.parametrize("muon", [0, 1])
def test_the_response_to_angles_is_a_difference_of_masses(pairs: Dimuons, muon: int):
    some = pairs.select(slice(0, 500))
    by_lambda, by_phi = angular_response(some.pt, some.eta, some.phi)
    h = 1e-6
    for found, name in ((by_lambda, "eta"), (by_phi, "phi")):
        moved = []
        for sign in (1.0, -1.0):
            angles = {"eta": some.eta.copy(), "phi": some.phi.copy()}
            if name == "phi":
                angles["phi"][:, muon] += sign * h
            else:
                lam = np.arctan(np.sinh(some.eta[:, muon])) + sign * h
                angles["eta"][:, muon] = np.arcsinh(np.tan(lam))
            moved.append(np.log(invariant_mass(some.pt, angles["eta"], angles["phi"])))
        assert_allclose(found[:, muon], (moved[0] - moved[1]) / (2 * h), atol=1e-7 * np.abs(found).max())


def biased(pairs: Dimuons, A=0.0, M=0.0, M_lambda=0.0, A_phi=0.0, M_phi=0.0) -> Dimuons:
    """Pairs that the correction with these parameters would bring back."""
    k = 1.0 / pairs.pt
    lam = np.arctan(np.sinh(pairs.eta)) - M_lambda
    return replace(
        pairs,
        pt=1.0 / ((k - CHARGE * M) / (1.0 + A)),
        eta=np.arcsinh(np.tan(lam)),
        phi=pairs.phi - CHARGE * A_phi * k - M_phi,
    )


def watched(pairs: Dimuons, make_fits, noise: float = 0.0, loose: float = 1.0, **bias: float):
    """What is found from the mean mass ratios of biased pairs, with the errors of a J/psi of 1.2 %."""
    rng, sides = np.random.default_rng(1), []
    moved = biased(pairs, **bias)
    ratio = np.log(moved.mass / pairs.mass)
    for side in fill_by_side(pairs, BINNING):
        h = side.histograms
        keep = (np.sin(pairs.phi[:, 0] - pairs.phi[:, 1]) > 0) == (side.slopes[np.argmax(h.n_events), 0, 3] > 0)
        own = pairs.select(keep)
        at = np.searchsorted(BINNING.eta_edges, own.eta, side="right") - 1
        pt = np.searchsorted(BINNING.pt_edges, own.pt, side="right") - 1
        inside = np.all((at >= 0) & (at < 4) & (pt >= 0) & (pt < 3), axis=1) & (own.mass >= 2.9) & (own.mass < 3.3)
        four = np.stack([at[:, 0], pt[:, 0], at[:, 1], pt[:, 1]], axis=1)[inside]
        place = {tuple(row): i for i, row in enumerate(h.index.tolist())}
        row = np.array([place[tuple(each)] for each in four.tolist()])
        mean = np.bincount(row, weights=ratio[keep][inside], minlength=h.n_bins) / h.n_events
        error = 1.2 * 0.012 / np.sqrt(h.n_events)
        sides.append((make_fits(h, mean + noise * error * rng.standard_normal(h.n_bins), error), None, side.slopes))
    return watch_angles(sides, priors={key: loose * width for key, width in PRIORS.items()})


def test_what_moves_no_mass_is_held_by_its_prior(pairs, make_fits):
    found = watched(pairs, make_fits)
    assert np.max(np.abs(found.values / found.error)) < 1e-6
    uniform = np.zeros(28)
    uniform[PARAMETERS.index("M_phi") * 4 :] = 0.5  # of unit length: a common rotation
    assert np.sqrt(uniform @ found.cov @ uniform) == pytest.approx(PRIORS["M_phi"], rel=0.01)
    assert found.n_angular < 16


@pytest.mark.parametrize(("name", "size"), [("M_lambda", 2e-4), ("A_phi", 1e-3), ("A", 1e-3), ("M", 5e-5)])
def test_an_injected_bias_is_found_and_leaves_the_others(pairs, make_fits, name: str, size: float):
    # 3e4 pairs know M_lambda to 1e-3 rad, no better than its prior, which would pull it to 0
    found = watched(pairs, make_fits, loose=100.0, **{name: size})
    i = PARAMETERS.index(name)
    # bins are averages: the products of shifts and slopes inside them are left
    assert_allclose(found.values[i], size, atol=0.02 * size + 0.1 * found.error[i].max())
    others = np.delete(found.values / found.error, i, axis=0)
    assert np.max(np.abs(others)) < 0.2


def test_a_rotation_odd_in_charge_hides_without_the_sides_and_shows_with_them(pairs, make_fits):
    found = watched(pairs, make_fits, A_phi=2e-3)
    assert found.drop > 100
    assert found.p_value < 1e-6
    # it averages out of A, e and M of both sides together
    assert np.max(np.abs(found.plain / found.error[:3])) < 1.0


def test_a_bias_of_lambda_is_read_as_a_scale_without_its_term(pairs, make_fits):
    found = watched(pairs, make_fits, loose=100.0, M_lambda=5e-4)
    assert np.max(np.abs(found.plain[0])) > 1e-4
    assert np.max(np.abs(found.values[0])) < 0.1 * np.max(np.abs(found.plain[0]))


def test_no_bias_gives_a_plain_probability(pairs, make_fits):
    found = watched(pairs, make_fits, noise=1.0)
    assert found.p_value > 1e-3
    assert abs(found.chi2 - found.ndf) < 4 * np.sqrt(2 * found.ndf)
    assert np.max(np.abs(found.values / found.error)) < 4.5
    assert "chi2 falls by" in found.summary()[0]


def test_sides_whose_edges_differ_in_the_last_bit_go_together(pairs, make_fits):
    sides = []
    moved = (BINNING.eta_edges, np.nextafter(BINNING.eta_edges, 9.0))
    for side, edges in zip(fill_by_side(pairs, BINNING), moved, strict=True):
        h = replace(side.histograms, eta_edges=edges)
        sides.append((make_fits(h, np.zeros(h.n_bins), 0.012 / np.sqrt(h.n_events)), None, side.slopes))
    assert watch_angles(sides).ndf > 0


def test_bins_of_absolute_eta_are_refused(pairs, make_fits):
    side = fill_by_side(pairs, replace(BINNING, eta_edges=np.linspace(0, 2.4, 3), abs_eta=True))[0]
    fits = make_fits(side.histograms, np.zeros(side.histograms.n_bins), np.ones(side.histograms.n_bins))
    with pytest.raises(ValueError, match="signed eta"):
        watch_angles([(fits, None, side.slopes)])
