"""The fit knows no direction, no place along a uniform field and no sign of the charge; rows are counted once."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector.field import harmonic_field, uniform_field
from mucal.refit import RefitConfig, fit_tracks

ONCE = RefitConfig(tolerance=1e12)
SAME = np.ones(5)


@pytest.fixture(scope="module")
def straight(tracker, make_sample):
    """Tracks in a uniform field."""
    return make_sample(tracker, uniform_field(3.8), 30, eta=2.0)


def fitted(sample, magnet, hits, surfaces):
    return fit_tracks(sample.detector, magnet, hits, sample.routes, ONCE, surfaces=surfaces)[0]


def assert_same(one, other, signs=SAME, turn=0.0):
    """Two sets of fits but for the signs of their states and a turn of phi."""
    assert_allclose(other.chi2, one.chi2, rtol=1e-9)
    errors = np.sqrt(np.einsum("nii->ni", one.cov))
    shift = other.state * signs - one.state
    shift[:, 2] = np.angle(np.exp(1j * (shift[:, 2] - turn)))
    assert np.abs(shift / errors).max() < 1e-7
    scale = errors[:, :, None] * errors[:, None, :]
    assert_allclose(other.cov * np.outer(signs, signs) / scale, one.cov / scale, atol=1e-9)


@pytest.mark.parametrize("angle", [0.3, 2.0, -1.1])
def test_turned_about_the_beam(sample, angle):
    magnet = harmonic_field()
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    few = replace(sample, hits=sample.hits.select(slice(0, 30)), routes=sample.routes[:30])
    hits, plain = few.hits, sample.surfaces
    plane = ~plain.is_cylinder
    surfaces = replace(
        plain, centre=np.where(plane[:, None], plain.centre @ turn.T, plain.centre),
        rotation=np.where(plane[:, None, None], plain.rotation @ turn.T, plain.rotation),
    )  # fmt: skip
    turned = replace(hits, seed=hits.seed + np.array([0, 0, angle, 0, 0]), seed_ref=hits.seed_ref @ turn.T)
    assert_same(fitted(few, magnet, hits, plain), fitted(few, magnet, turned, surfaces), turn=angle)


def test_moved_along_the_beam(straight):
    hits, plain = straight.hits, straight.surfaces
    shift = np.array([0.0, 0.0, 7.0])
    surfaces = replace(plain, centre=plain.centre + shift)
    moved = replace(hits, seed_ref=hits.seed_ref + shift)
    assert_same(fitted(straight, straight.magnet, hits, plain), fitted(straight, straight.magnet, moved, surfaces))


def test_other_charge_in_the_other_field(straight):
    hits, signs = straight.hits, np.array([-1.0, 1.0, 1.0, 1.0, 1.0])
    other = replace(hits, seed=hits.seed * signs, charge=-hits.charge)
    one = fitted(straight, straight.magnet, hits, straight.surfaces)
    assert_same(one, fitted(straight, uniform_field(-3.8), other, straight.surfaces), signs)


def test_seen_in_a_mirror_across_the_beam(straight):
    # z -> -z: a field along z is an axial vector and stays; a module keeps u and v, its normal turns: right-handed
    hits, plain = straight.hits, straight.surfaces
    mirror = np.diag([1.0, 1.0, -1.0])
    plane = ~plain.is_cylinder
    rotation = plain.rotation @ mirror
    rotation[:, 2] *= -1.0
    surfaces = replace(
        plain, centre=plain.centre @ mirror, rotation=np.where(plane[:, None, None], rotation, plain.rotation)
    )
    # lambda and the axis V along it change sign
    signs = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    other = replace(hits, seed=hits.seed * signs, seed_ref=hits.seed_ref @ mirror)
    one = fitted(straight, straight.magnet, hits, plain)
    assert_same(one, fitted(straight, straight.magnet, other, surfaces), signs)


def test_twice_the_scattering_does_not_move_the_mean(tracker, magnet, sample):
    fits = fit_tracks(tracker, magnet, sample.hits, sample.routes, surfaces=sample.surfaces)[0]
    wide = replace(sample.surfaces, x_over_x0=2 * sample.surfaces.x_over_x0)
    other = fit_tracks(tracker, magnet, sample.hits, sample.routes, surfaces=wide)[0]
    ok = fits.ok & other.ok
    moved = ((other.state[:, 0] - fits.state[:, 0]) / sample.hits.truth.state[:, 0])[ok]
    assert moved.std() > 1e-4
    assert abs(moved.mean()) < 4 * moved.std() / np.sqrt(moved.size)


def test_rows_are_degrees_of_freedom_plus_five(tracker, magnet, sample):
    fits = fit_tracks(tracker, magnet, sample.hits, sample.routes)[0]
    rows = np.bincount(sample.hits.track, np.isfinite(sample.hits.u).astype(int) + np.isfinite(sample.hits.v))
    assert_array_equal(fits.ndof[fits.ok], rows[fits.ok] - 5)
    assert np.isfinite(fits.state[fits.ok]).all()
    assert np.isfinite(fits.cov[fits.ok]).all()
