"""Navigation: tracks a second and core, against a vectorised numpy search of all modules of the built-in tracker.

Run with `pytest -m benchmark -s tests/benchmarks/test_navigation.py`; the numbers stand in docs/physics/detector.md.
"""

import time

import numpy as np
import pytest

from mucal.detector import cms_like, cross, navigation_index

pytestmark = pytest.mark.benchmark

GOAL = 2e4  # tracks a second and core
N, N_SEARCHED = 40_000, 40


def straight_search(detector, position, direction):
    """Modules that a straight track crosses, by asking every module at once."""
    m = detector.modules
    w = m.rotation[:, 2]
    along = w @ direction
    path = np.einsum("mi,mi->m", w, m.centre - position) / np.where(along == 0, np.nan, along)
    local = np.einsum("mij,mj->mi", m.rotation, position + path[:, None] * direction - m.centre)
    inside = np.clip(local[:, 1] / m.half_v, -1.0, 1.0)
    width = 0.5 * (m.half_u[:, 0] * (1 - inside) + m.half_u[:, 1] * (1 + inside))
    hit = (path > 0) & (np.abs(local[:, 1]) <= m.half_v) & (np.abs(local[:, 0]) <= width)
    found = np.flatnonzero(hit)
    return found[np.argsort(path[found])]


def test_navigation_of_the_built_in_tracker():
    detector = cms_like()
    rng = np.random.default_rng(1)
    eta, phi = rng.uniform(-2.4, 2.4, N), rng.uniform(-np.pi, np.pi, N)
    pt = np.exp(rng.uniform(np.log(3.0), np.log(60.0), N))
    position = np.zeros((N, 3))
    position[:, 2] = rng.normal(0.0, 3.6, N)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
    qop = rng.choice([-1.0, 1.0], N) / (pt * np.cosh(eta))

    start = time.perf_counter()
    cms_like()
    made = time.perf_counter() - start
    start = time.perf_counter()
    index = navigation_index(detector)
    indexed = time.perf_counter() - start
    cross(index, position[:10], direction[:10], qop[:10], 3.8)  # compile

    compiled, searched = [], []
    for _ in range(5):
        start = time.process_time()
        crossings = cross(index, position, direction, qop, 3.8)
        compiled.append((time.process_time() - start) / N)
        start = time.process_time()
        theirs = [straight_search(detector, position[i], direction[i]) for i in range(N_SEARCHED)]
        searched.append((time.process_time() - start) / N_SEARCHED)
    straight = cross(index, position[:N_SEARCHED], direction[:N_SEARCHED], np.zeros(N_SEARCHED), 3.8)
    for i, modules in enumerate(theirs):
        mine = straight.element[straight.offsets[i] : straight.offsets[i + 1]]
        np.testing.assert_array_equal(mine[mine < detector.n_modules], modules)

    rate, ratio = 1.0 / np.median(compiled), np.median(searched) / np.median(compiled)
    print(f"\ncms-like made in {1e3 * made:.0f} ms, index in {1e3 * indexed:.0f} ms")
    print(
        f"{rate:.3g} tracks/s/core, {crossings.element.size / N:.1f} elements a track ({rate / GOAL:.1f} of the goal)"
    )
    print(f"{ratio:.0f} times a numpy search of all {detector.n_modules} modules")
    assert made < 1.0
    assert rate > 0.5 * GOAL  # the goal is for a quiet machine; half of it stands also beside other work
