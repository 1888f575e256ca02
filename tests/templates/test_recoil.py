"""Recoil: geometry by hand, quantiles and their covariance, and mT of a W unbiased after calibration in Z."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, InputError
from mucal.simulation.recoil import RecoilTruth, WRecoil, generate_w_recoil, generate_z_recoil
from mucal.templates.recoil import (
    RecoilCalibration,
    RecoilConfig,
    RecoilSample,
    calibrate,
)
from mucal.templates.recoil_vectors import project, recoil_of_met, transverse_mass, unproject

DATA, MC = RecoilTruth(response=0.80, sigma=10.5, growth=1.8, tail=0.13), RecoilTruth()
FIELDS = ("pt", "u_par", "u_perp", "weight")
ONE = RecoilConfig(pt_edges=(0.0, 120.0))


@pytest.fixture(scope="module")
def calibration() -> RecoilCalibration:
    return calibrate(generate_z_recoil(DATA, 400_000, 1), generate_z_recoil(MC, 400_000, 2), RecoilConfig())


def test_a_balanced_boson_by_hand():
    pt, par, perp = project(np.array([-3.0]), np.array([-4.0]), np.array([3.0]), np.array([4.0]))
    assert_allclose([pt[0], par[0], perp[0]], [5.0, 5.0, 0.0], atol=1e-14)
    # a boson along x, recoil (-2, 1): 2 against it, 1 to the left
    _, par, perp = project(np.array([-2.0]), np.array([1.0]), np.array([7.0]), np.array([0.0]))
    assert_allclose([par[0], perp[0]], [2.0, 1.0])


def test_projection_there_and_back():
    ux, uy, qx, qy = np.random.default_rng(1).normal(0, 10, (4, 100))
    _, par, perp = project(ux, uy, qx, qy)
    assert_allclose(unproject(par, perp, qx, qy), (ux, uy), rtol=1e-12)


def test_transverse_mass_by_hand():
    # a muon of 40 GeV against 40 GeV of missing momentum: no recoil, mT = 80
    assert_allclose(transverse_mass(np.array([40.0]), np.array([0.3]), np.zeros(1), np.zeros(1)), 80.0)
    ux, uy = recoil_of_met(np.array([40.0]), np.array([0.3 + np.pi]), 40 * np.cos([0.3]), 40 * np.sin([0.3]))
    assert_allclose([ux[0], uy[0]], 0.0, atol=1e-13)


def test_equal_samples_need_no_correction():
    sample = generate_z_recoil(MC, 50_000, 3)
    same = calibrate(sample, sample, RecoilConfig(min_events=100))
    par, perp = same.correct(sample.pt, sample.u_par, sample.u_perp)
    assert_allclose(par, sample.u_par, atol=1e-9)
    assert_allclose(perp, sample.u_perp, atol=1e-9)


def test_a_shift_is_found_everywhere():
    sample = generate_z_recoil(MC, 50_000, 3)
    moved = replace(sample, u_par=sample.u_par + 2.5, u_perp=sample.u_perp - 1.0)
    found = calibrate(moved, sample, RecoilConfig(min_events=100))
    par, perp = found.correct(sample.pt, sample.u_par, sample.u_perp)
    assert_allclose(par - sample.u_par, 2.5, atol=1e-9)
    assert_allclose(perp - sample.u_perp, -1.0, atol=1e-9)


def test_covariance_of_quantiles_is_that_of_toys():
    rng = np.random.default_rng(4)
    n, found = 4000, []
    for _ in range(300):
        sample = generate_z_recoil(MC, 1, 1)
        values = rng.normal(0, 10, n)
        sample = replace(sample, pt=np.full(n, 10.0), u_par=values + 10.0, u_perp=values, weight=np.ones(n))
        found.append(calibrate(sample, sample, ONE))
    q = np.array([one.data[1, 0] for one in found])
    predicted = np.mean([one.cov[1, 0] for one in found], axis=0) / 2  # one sample of the two
    inner = slice(2, -2)
    # variances to sqrt(2 / 300) = 8 %; densities from differences of quantiles scatter by as much
    assert_allclose(np.diag(np.cov(q.T))[inner], np.diag(predicted)[inner], rtol=0.35)
    assert_allclose(np.corrcoef(q.T)[inner, inner], _correlation(predicted)[inner, inner], atol=0.2)


def _correlation(cov: FloatArray) -> FloatArray:
    sigma = np.sqrt(np.diag(cov))
    result: FloatArray = cov / np.outer(sigma, sigma)
    return result


def test_response_and_resolution_are_those_generated(calibration: RecoilCalibration):
    pt = calibration.pt_mean
    for s, truth in enumerate((DATA, MC)):
        expected = truth.response * (1 - np.exp(-(pt + 4) / truth.rise))
        pulls = (calibration.response[s] - expected) / calibration.response_error[s]
        assert np.abs(pulls[2:]).max() < 4.5  # below, the curvature of the response within a bin shows
        width = np.sqrt((truth.sigma**2 + truth.growth * pt) * (1 + 3 * truth.tail))
        pulls = (calibration.resolution[s, 1] - width) / calibration.resolution_error[s, 1]
        assert np.abs(pulls).max() < 4.5


def test_simulation_of_z_becomes_data(calibration: RecoilCalibration):
    fresh, data = generate_z_recoil(MC, 200_000, 5), generate_z_recoil(DATA, 200_000, 6)
    par, perp = calibration.correct(fresh.pt, fresh.u_par, fresh.u_perp)
    for ours, theirs in ((par, data.u_par), (perp, data.u_perp)):
        error = np.hypot(ours.std(), theirs.std()) / np.sqrt(200_000)
        assert abs(ours.mean() - theirs.mean()) < 5 * error
        assert abs(ours.std() / theirs.std() - 1) < 0.012


def mt_of(w: WRecoil, recoil: tuple[FloatArray, FloatArray]) -> FloatArray:
    return transverse_mass(w.muon_pt, w.muon_phi, *recoil)


def test_mt_of_a_w_is_unbiased_after_calibration(calibration: RecoilCalibration):
    # the same bosons, decays and random numbers: what differs is the recoil's response and resolution
    data, mc = generate_w_recoil(DATA, 200_000, 7), generate_w_recoil(MC, 200_000, 7)
    par, perp = calibration.correct(np.hypot(mc.qx, mc.qy), mc.u_par, mc.u_perp)
    measured, before = mt_of(data, data.recoil), mt_of(mc, mc.recoil)
    after = mt_of(mc, unproject(par, perp, mc.qx, mc.qy))
    error = np.hypot((after - measured).std() / np.sqrt(200_000), _error_of_mean(calibration, mc, after))
    assert abs(after.mean() - measured.mean()) < 4 * error
    assert abs(before.mean() - measured.mean()) > 15 * error
    independent = generate_w_recoil(DATA, 200_000, 8)
    edges = np.linspace(0, 120, 41)
    counts = [np.histogram(x, edges)[0].astype(float) for x in (mt_of(independent, independent.recoil), before, after)]
    chi2 = [float(((counts[0] - c) ** 2 / np.maximum(counts[0] + c, 1)).sum()) for c in counts[1:]]
    assert chi2[0] > 250
    assert chi2[1] < 40 + 5 * np.sqrt(80)


def _error_of_mean(calibration: RecoilCalibration, mc: WRecoil, after: FloatArray) -> float:
    """Standard error of the mean mT by the calibration's nuisances, on a part of the sample."""
    part = slice(0, 10_000)
    pt = np.hypot(mc.qx, mc.qy)[part]
    variance = 0.0
    for shift in calibration.shifts():
        varied = calibration.correct(pt, mc.u_par[part], mc.u_perp[part], shift=shift)
        moved = transverse_mass(mc.muon_pt[part], mc.muon_phi[part], *unproject(*varied, mc.qx[part], mc.qy[part]))
        variance += (moved.mean() - after[part].mean()) ** 2
    return float(np.sqrt(variance))


def test_kept_variations_carry_the_variance_and_saving_keeps_them(calibration: RecoilCalibration, tmp_path: Path):
    assert len(calibration.nuisances()) == 2 * 13 * 6
    assert calibration.kept_share().min() > 0.84
    loaded = RecoilCalibration.load(calibration.save(tmp_path / "recoil.h5"))
    assert_array_equal(loaded.shifts(), calibration.shifts())
    assert "response of data" in calibration.summary()[0]


def test_thin_bins_nan_and_absurd_settings_are_refused():
    sample = generate_z_recoil(MC, 3000, 9)
    with pytest.raises(InputError, match="effective events") as refused:
        calibrate(sample, sample, RecoilConfig())
    assert "pT" in refused.value.where["bin"]
    bad = replace(sample, u_par=np.where(np.arange(3000) == 17, np.nan, sample.u_par))
    with pytest.raises(InputError, match="first at 17"):
        calibrate(bad, sample, ONE)
    with pytest.raises(ConfigError, match="2 quantiles"):
        RecoilConfig(n_quantiles=2)


def test_outside_all_quantiles_the_outermost_shift_holds(calibration: RecoilCalibration):
    far = np.array([-500.0, 500.0])
    _, perp = calibration.correct(np.full(2, 5.0), np.zeros(2), far)
    assert np.all(np.abs(perp - far) < 10.0)
    with pytest.raises(ValueError, match="not finite"):
        calibration.correct(np.array([np.nan]), np.zeros(1), np.zeros(1))


def test_subtracted_background_leaves_the_signal():
    # 10 % of pairs from decays of top, with twice the width and half the response; as many simulated ones, weighted
    signal = generate_z_recoil(DATA, 200_000, 11)
    other = RecoilTruth(response=0.4, sigma=20.0)
    mixed = generate_z_recoil(other, 20_000, 12)
    seen = RecoilSample(**{n: np.concatenate([getattr(signal, n), getattr(mixed, n)]) for n in FIELDS})
    simulated = generate_z_recoil(other, 80_000, 13)
    background = replace(simulated, weight=np.full(80_000, 0.25))
    config = RecoilConfig(pt_edges=(0.0, 10.0, 20.0, 120.0))
    reference = generate_z_recoil(MC, 50_000, 14)
    pure, spoilt, cleaned = (calibrate(s, reference, config) for s in (signal, seen, seen.without(background)))
    error = np.sqrt(np.einsum("cbkk->cbk", cleaned.cov))
    middle = slice(3, -3)

    def off(found: RecoilCalibration) -> np.ndarray:
        return np.abs((found.data - pure.data) / error)[..., middle]

    assert off(spoilt).max() > 6.0
    # the signal itself is the same: what is left is the noise of the background, less than the errors
    assert off(cleaned).max() < 1.5
    assert_allclose(cleaned.response[0], pure.response[0], rtol=0.01)
