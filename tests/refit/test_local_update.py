"""The fit relinearised about its own kinks against the fit about one smooth track."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from mucal.refit import RefitConfig, fit_tracks
from mucal.refit.local_update import update_locally

TIGHT = RefitConfig(tolerance=1e-12, most_iterations=20)
N = 30


def compared(sample, surfaces, n):
    """Of the first n tracks: largest change of a state in errors, median relative change of q/p and change of chi2."""
    hits, routes = sample.hits.select(slice(0, n)), sample.routes[:n]
    fits = fit_tracks(sample.detector, sample.magnet, hits, routes, TIGHT, surfaces=surfaces)[0]
    found = update_locally(
        sample.detector, sample.magnet, hits, fits, routes, TIGHT, rounds=8, surfaces=surfaces
    )  # fmt: skip
    ok = np.isfinite(found.chi2)
    assert ok.sum() >= 0.9 * n
    assert found.step[ok].max() < 1e-3
    moved = np.abs(found.state - fits.state) / np.sqrt(np.einsum("nii->ni", fits.cov))
    relative = found.state[:, 0] / fits.state[:, 0] - 1
    return moved[ok].max(), np.median(np.abs(relative[ok])), np.median(np.abs(found.chi2 - fits.chi2)[ok])


def test_kinks_move_the_fit_little_and_by_their_square(tracker, magnet, sample, make_sample):
    # 2 mrad at 3 GeV put the track 1 mm aside at the outer layers, where slopes differ by 2 mrad: 2 um, a tenth of an
    # error, from the kinks' second order; with a hundredth of the material a hundredth of it
    moved, relative, rise = compared(sample, sample.surfaces, N)
    assert moved < 0.2
    assert rise < 0.3
    x_over_x0 = 0.01 * sample.surfaces.x_over_x0
    surfaces = replace(sample.surfaces, x_over_x0=x_over_x0, xi=0.01 * sample.surfaces.xi)
    thin = make_sample(tracker, magnet, 16, eta=2.2, surfaces=surfaces)
    _, relative_thin, rise_thin = compared(thin, surfaces, len(thin.hits))
    assert relative_thin < 0.1 * relative
    assert rise_thin < 0.1 * rise


def test_without_noise_both_are_one(tracker, magnet, sample):
    surfaces = replace(sample.surfaces, x_over_x0=0 * sample.surfaces.x_over_x0, xi=0 * sample.surfaces.xi)
    hits, routes = sample.hits.select(slice(0, N)), sample.routes[:N]
    fits = fit_tracks(tracker, magnet, hits, routes, TIGHT, surfaces=surfaces)[0]
    found = update_locally(tracker, magnet, hits, fits, routes, TIGHT, surfaces=surfaces)
    ok = np.isfinite(found.chi2)
    assert ok.sum() >= 0.9 * N
    moved = np.abs(found.state - fits.state) / np.sqrt(np.einsum("nii->ni", fits.cov))
    assert moved[ok].max() < 1e-4
    assert_allclose(found.chi2[ok], fits.chi2[ok], rtol=1e-6)


def test_rounds_converge(tracker, magnet, sample):
    hits, routes = sample.hits.select(slice(0, 8)), sample.routes[:8]
    fits = fit_tracks(tracker, magnet, hits, routes, TIGHT)[0]
    few, many = (
        update_locally(tracker, magnet, hits, fits, routes, TIGHT, rounds=n, surfaces=sample.surfaces) for n in (3, 8)
    )
    assert np.all(many.step <= np.maximum(0.1 * few.step, 1e-8))
    assert np.nanmax(many.step) < 1e-4
