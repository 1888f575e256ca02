"""Detectors and their crossings as surfaces and routes: navigation and propagation see the same tracks."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import Crossings, Detector, barrel, cms_like, cross, navigation_index
from mucal.detector.field import harmonic_field, uniform_field
from mucal.propagation import Surfaces, TrackStatus, propagate, routes_of, surfaces_of

BZ = 3.8


def crossed(detector: Detector, n: int, *, eta_max: float, low: float) -> tuple[np.ndarray, Crossings]:
    """Muons from the beam line, (N, 7), and what they cross in the uniform field."""
    rng = np.random.default_rng(4)
    pt, eta, phi = rng.uniform(low, 30, n), rng.uniform(-eta_max, eta_max, n), rng.uniform(-np.pi, np.pi, n)
    direction = np.column_stack([np.cos(phi), np.sin(phi), np.sinh(eta)]) / np.cosh(eta)[:, None]
    position = rng.normal(size=(n, 3)) * [0.01, 0.01, 3.0]
    qop = rng.choice([-1, 1], n) / (pt * np.cosh(eta))
    crossings = cross(navigation_index(detector), position, direction, qop, BZ)
    return np.column_stack([position, direction, qop]), crossings


def without_loss(surfaces: Surfaces) -> Surfaces:
    return replace(surfaces, xi=np.zeros(surfaces.n_surfaces))


@pytest.mark.parametrize("detector", [barrel(), cms_like()], ids=["barrel", "cms-like"])
def test_propagation_arrives_where_navigation_says(detector: Detector) -> None:
    y, crossings = crossed(detector, 100, eta_max=2.4, low=1.0)
    surfaces, routes = surfaces_of(detector), routes_of(crossings)
    bare = propagate(uniform_field(BZ), without_loss(surfaces), y, routes)
    assert (bare.status == TrackStatus.OK).all()
    there = routes >= 0
    assert_allclose(np.cumsum(bare.path, axis=1)[there], crossings.path, atol=1e-7)
    module = crossings.element < detector.n_modules
    local = bare.local[there][module]
    assert_allclose(local[:, 3], crossings.u[module], atol=1e-7)
    assert_allclose(local[:, 4], crossings.v[module], atol=1e-7)


def test_routes_survive_losses_and_the_true_field() -> None:
    detector = cms_like()
    y, crossings = crossed(detector, 200, eta_max=2.4, low=3.0)
    legs = propagate(harmonic_field(), surfaces_of(detector), y, routes_of(crossings))
    # the field is 5 % weaker at the ends than in the middle, which moves no crossing out of order
    assert (legs.status == TrackStatus.OK).all()
    p = 1 / np.abs(legs.local[:, 0, 0])
    last = legs.local[np.arange(200), legs.n_reached - 1, 0]
    assert np.all((p - 1 / np.abs(last) > 0.005) & (p - 1 / np.abs(last) < 0.5))


def test_shorter_routes_are_padded() -> None:
    _, crossings = crossed(barrel(), 5, eta_max=0.5, low=1.0)
    routes = routes_of(crossings)
    assert routes.shape == (5, int(np.diff(crossings.offsets).max()))
    assert ((routes == -1).sum(axis=1) == routes.shape[1] - np.diff(crossings.offsets)).all()
