"""The walk through a detector: what is crossed, in which order, and where."""

from dataclasses import fields, replace

import numpy as np
import pytest

from mucal.detector import CYLINDER, Detector, cms_like, to_local
from mucal.detector.field import evaluate, harmonic_field
from mucal.propagation import Routes, StepConfig, Terrain, TrackStatus, find_routes, free_states, propagate, terrain
from mucal.units import CURVATURE

N = 2000
FEW = 20


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


def slow_path(magnet, start: np.ndarray, h: float, n_steps: int) -> np.ndarray:
    """Points every h cm along one track without material, by the classical Runge-Kutta rule: (n_steps + 1, 3)."""

    def rate(y: np.ndarray) -> np.ndarray:
        b = evaluate(magnet, y[None, :3]).bfield[0]
        return np.concatenate([y[3:], CURVATURE * start[6] * np.cross(y[3:], b)])

    points, y = [start[:3]], start[:6].copy()
    for _ in range(n_steps):
        k1 = rate(y)
        k2 = rate(y + 0.5 * h * k1)
        k3 = rate(y + 0.5 * h * k2)
        k4 = rate(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        points.append(y[:3])
    return np.array(points)


def crossed(height: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step, surface and share of the step of each change of sign: (steps + 1, S) cm -> (C,) each."""
    step, surface = np.nonzero((height[:-1] < 0) != (height[1:] < 0))
    before, after = height[step, surface], height[step + 1, surface]
    return step, surface, before / (before - after)


def slow_route(detector: Detector, points: np.ndarray) -> np.ndarray:
    """Every element whose outline the straight pieces between the points cross, in order."""
    m, p = detector.modules, detector.passive
    step, row, share = crossed(points @ m.rotation[:, 2].T - np.einsum("mi,mi->m", m.rotation[:, 2], m.centre))
    hit = points[step] + share[:, None] * (points[step + 1] - points[step])
    u, v, _ = to_local(m, row, hit).T
    half_u = np.mean(m.half_u[row], axis=1) + 0.5 * (m.half_u[row, 1] - m.half_u[row, 0]) * v / m.half_v[row]
    inside = (np.abs(v) < m.half_v[row]) & (np.abs(u) < half_u)
    found = [(step + share)[inside], row[inside]]
    r, z = np.hypot(points[:, 0], points[:, 1])[:, None], points[:, 2, None]
    across, along = np.where(p.kind == CYLINDER, r, z), np.where(p.kind == CYLINDER, z, r)
    step, row, share = crossed(across - p.position)
    at = along[step, row] + share * (along[step + 1, row] - along[step, row])
    inside = (at >= p.low[row]) & (at < p.high[row])
    path = np.concatenate([found[0], (step + share)[inside]])
    return np.concatenate([found[1], detector.n_modules + row[inside]])[np.argsort(path)]


def test_routes_agree_with_every_surface_tried_at_every_step(detector, ground, start):
    bare = replace(ground, surfaces=replace(ground.surfaces, xi=np.zeros(ground.surfaces.n_surfaces)))
    routes = find_routes(detector.field, bare, start[:FEW]).element
    for track in range(FEW):
        points = slow_path(detector.field, start[track], 1.0, 310)
        points = points[(np.hypot(points[:, 0], points[:, 1]) < 125) & (np.abs(points[:, 2]) < 285)]
        assert routes[track][routes[track] >= 0].tolist() == slow_route(detector, points).tolist()


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


def a_start(pt: float, eta: float) -> np.ndarray:
    lam = np.arctan(np.sinh(eta))
    return free_states(np.array([[np.cos(lam) / pt, lam, 0.3, 0.0, 0.0]]), np.zeros(3))


def test_every_end_of_a_walk_has_its_name(detector, ground):
    thick = scaled(detector, 200.0)
    ends = {
        "ok": find_routes(detector.field, ground, a_start(10.0, 0.1)),
        "looper": find_routes(detector.field, ground, a_start(0.3, 0.1)),
        "ranged_out": find_routes(detector.field, terrain(thick), a_start(0.8, 0.1)),
        "outside_field": find_routes(harmonic_field(r_max=60.0), ground, a_start(10.0, 0.1)),
        "too_forward": find_routes(detector.field, ground, a_start(10.0, 4.2)),
        "bad_start": find_routes(detector.field, ground, np.full((1, 7), np.nan)),
    }
    for name, routes in ends.items():
        assert {end: n for end, n in routes.counts().items() if n} == {name: 1}
    # until it ended, the way was that of a track that goes on
    before = ends["outside_field"].element[0]
    np.testing.assert_array_equal(before, ends["ok"].element[0, : before.size])
    assert before.size >= 10


def scaled(detector: Detector, factor: float) -> Detector:
    m, p = detector.modules, detector.passive
    return replace(
        detector,
        modules=replace(m, x_over_x0=m.x_over_x0 * factor, xi_mev=m.xi_mev * factor),
        passive=replace(p, x_over_x0=p.x_over_x0 * factor, xi_mev=p.xi_mev * factor),
    )


def test_no_element_is_found_behind_a_track(routes):
    assert np.all(routes.passed == 0)


def test_of_two_surfaces_in_one_place_both_are_crossed(detector):
    """A second sensor on the same plane is met 0 cm further on: neither is lost."""
    m = detector.modules
    names = [f.name for f in fields(m) if f.name not in ("provenance", "module_id")]
    twice = {name: np.concatenate([getattr(m, name), getattr(m, name)[:1]]) for name in names}
    double = replace(detector, modules=replace(m, module_id=np.arange(m.n_modules + 1), **twice))
    towards = m.centre[0] / np.linalg.norm(m.centre[0])
    start = np.concatenate([np.zeros(3), towards, [0.001]])[None]
    routes = find_routes(detector.field, terrain(double), start)
    assert {0, m.n_modules} <= set(routes.element[0].tolist())
    assert routes.passed[0] == 0
