"""Muons of J/psi through the simulated detector, refitted without knowing their routes."""

import numpy as np
import pytest

from mucal.refit import RefitConfig, fit_tracks
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.track import PHI, QOP


@pytest.fixture(scope="module")
def simulated(tracker):
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 10_000)
    hits = simulate_hits(muons, tracker, HitSimulation(seed=2, straggling="gaussian")).hits
    return hits, fit_tracks(tracker, tracker.field, hits)[0]


def test_every_track_converges(simulated):
    _, fits = simulated
    assert fits.ledger().used >= 0.999 * len(fits)


def test_pulls_are_standard_normal(simulated):
    hits, fits = simulated
    shift = fits.state - hits.truth.state
    shift[:, PHI] = np.angle(np.exp(1j * shift[:, PHI]))
    pull = (shift / np.sqrt(np.einsum("nii->ni", fits.cov)))[fits.ok]
    assert np.all(np.abs(pull.std(axis=0) - 1) < 4 / np.sqrt(2 * len(pull)))
    assert np.all(np.abs(pull[:, 1:].mean(axis=0)) < 4 / np.sqrt(len(pull)))
    # the error of q/p grows with the fitted q/p: the mean pull is -1/2 d var/dq / sigma, about -sigma/q
    relative = np.sqrt(fits.cov[:, QOP, QOP]) / np.abs(fits.state[:, QOP])
    signed = pull[:, 0] * np.sign(fits.state[fits.ok, QOP])
    assert -2 * relative.mean() - 4 / np.sqrt(len(pull)) < signed.mean() < 4 / np.sqrt(len(pull))


def test_chi2_of_the_sample(simulated):
    _, fits = simulated
    chi2, ndof = fits.chi2[fits.ok].sum(), fits.ndof[fits.ok].sum()
    assert abs(chi2 - ndof) < 4 * np.sqrt(2 * ndof)


def test_momenta_are_unbiased(simulated):
    hits, fits = simulated
    truth = hits.truth.state[fits.ok, QOP]
    relative = fits.state[fits.ok, QOP] / truth - 1
    # weights that know the truth only: the fitted error is correlated with the fitted momentum
    eta = np.abs(np.arcsinh(np.tan(hits.truth.state[fits.ok, 1])))
    bins = np.digitize(eta, np.linspace(0, 2.4, 13)[1:-1])
    variance = np.bincount(bins, relative**2) / np.bincount(bins)
    weight = 1 / variance[bins]
    bias, error = (weight * relative).sum() / weight.sum(), 1 / np.sqrt(weight.sum())
    assert error < 2e-4
    assert abs(bias) < 3 * error


def test_solvers_agree_on_simulated_tracks(tracker, simulated):
    hits, fits = simulated
    few = hits.select(slice(0, 300))
    other = fit_tracks(tracker, tracker.field, few, None, RefitConfig(solver="states"))[0]
    sigma = np.sqrt(np.einsum("nii->ni", other.cov))
    assert np.abs((other.state - fits.state[:300]) / sigma).max() < 1e-9
