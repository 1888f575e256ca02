"""The walk through a detector: what is crossed, in which order, and where."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.detector import Detector, cms_like
from mucal.propagation import Routes, StepConfig, Terrain, TrackStatus, find_routes, free_states, propagate, terrain

N = 400


@pytest.fixture(scope="module")
def detector() -> Detector:
    return cms_like()


@pytest.fixture(scope="module")
def ground(detector: Detector) -> Terrain:
    return terrain(detector)


@pytest.fixture(scope="module")
def start() -> np.ndarray:
    rng = np.random.default_rng(1)
    pt, eta, phi = rng.uniform(3, 60, N), rng.uniform(-2.4, 2.4, N), rng.uniform(-np.pi, np.pi, N)
    lam = np.arctan(np.sinh(eta))
    state = np.column_stack([rng.choice([-1, 1], N) * np.cos(lam) / pt, lam, phi, 0 * phi, 0 * phi])
    return free_states(state, np.array([0.09, 0.17, 0.9]))


@pytest.fixture(scope="module")
def routes(detector: Detector, ground: Terrain, start: np.ndarray) -> Routes:
    assert detector.field is not None
    return find_routes(detector.field, ground, start)


def test_propagation_reaches_every_element_of_every_route(detector, ground, start, routes):
    legs = propagate(detector.field, ground.surfaces, start, routes.element)
    assert np.all(routes.status == TrackStatus.OK)
    assert np.all(legs.status == TrackStatus.OK)
    assert np.nanmin(legs.path) > 0
    on_module = (routes.element >= 0) & (routes.element < detector.n_modules)
    assert np.abs(legs.local[..., 3] - routes.u)[on_module].max() < 1e-6
    assert np.abs(legs.local[..., 4] - routes.v)[on_module].max() < 1e-6


def test_no_module_is_lost_or_added(detector, ground, start, routes):
    """Against wide candidates: three times the slack finds nothing else."""
    wide = find_routes(detector.field, ground, start, slack=3.0)
    np.testing.assert_array_equal(wide.element, routes.element)


def test_a_required_module_stays_beside_its_outline(detector, ground, start, routes):
    outlines = ground.outlines.copy()
    outlines[: detector.n_modules, 1:] *= 1e-3
    narrow = replace(ground, outlines=outlines)
    first = np.array([row[(row >= 0) & (row < detector.n_modules)][0] for row in routes.element])[:, None]
    kept = find_routes(detector.field, narrow, start, required=first).element
    lost = find_routes(detector.field, narrow, start).element
    assert np.all((kept == first).any(axis=1))
    assert np.mean((lost == first).any(axis=1)) < 0.01


def test_threads_change_nothing(detector, ground, start, routes):
    again = find_routes(detector.field, ground, start, config=StepConfig(n_threads=3))
    np.testing.assert_array_equal(again.element, routes.element)
    np.testing.assert_array_equal(again.u, routes.u)


def test_a_forward_muon_is_named(detector, ground):
    found = find_routes(detector.field, ground, free_states(np.array([[0.01, 1.54, 0, 0, 0]]), np.zeros(3)))
    assert found.status[0] == TrackStatus.TOO_FORWARD
