"""In the true field a muon leaves the reference helix; half a centimetre of slack finds all that it meets."""

import numpy as np
import pytest

from mucal.detector import cms_like, cross, navigation_index
from mucal.detector.field import evaluate
from mucal.units import CURVATURE

STEP = 1.0  # cm
CENTRAL = 3.8112  # T, of the field of the tracker


def followed(field, position, direction, qop, n_steps):
    """Positions and directions (n_steps+1, N, 3) along tracks in the field: fourth-order Runge-Kutta, 1 cm steps."""

    def turn(r, t):
        return CURVATURE * qop[:, None] * np.cross(t, np.nan_to_num(evaluate(field, r).bfield))

    r, t, h = position, direction, STEP
    way = [(r, t)]
    for _ in range(n_steps):
        k1 = turn(r, t)
        k2 = turn(r + h / 2 * t, t + h / 2 * k1)
        k3 = turn(r + h / 2 * t + h * h / 4 * k1, t + h / 2 * k2)
        k4 = turn(r + h * t + h * h / 2 * k2, t + h * k3)
        r, t = r + h * t + h * h / 6 * (k1 + k2 + k3), t + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        way.append((r, t))
    return np.array([r for r, _ in way]), np.array([t for _, t in way])


def met(modules, candidates, points, directions):
    """The candidates that one followed track passes through."""
    for module in candidates:
        above = (points - modules.centre[module]) @ modules.rotation[module, 2]
        for j in np.flatnonzero(above[1:] * above[:-1] < 0):
            step = -above[j] / (directions[j] @ modules.rotation[module, 2])
            u, v, _ = modules.rotation[module] @ (points[j] + step * directions[j] - modules.centre[module])
            part = v / modules.half_v[module]
            if abs(part) <= 1 and abs(u) <= modules.half_u[module] @ [0.5 * (1 - part), 0.5 * (1 + part)]:
                yield module


@pytest.mark.parametrize("pt", [1.5, 4.0])
def test_half_a_centimetre_is_enough_in_the_field_of_the_built_in_tracker(pt):
    detector = cms_like()
    index = navigation_index(detector)
    rng = np.random.default_rng(3)
    n = 60
    eta, phi = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
    qop = rng.choice([-1.0, 1.0], n) / (pt * np.cosh(eta))
    position = np.zeros((n, 3))
    position[:, 2] = rng.normal(0.0, 3.6, n)
    narrow, wide = (cross(index, position, direction, qop, CENTRAL, slack=s) for s in (0.5, 10.0))
    points, directions = followed(detector.field, position, direction, qop, 290)
    found = 0
    for i in range(n):
        mine, candidates = (
            {int(e) for e in c.element[c.offsets[i] : c.offsets[i + 1]] if e < detector.n_modules}
            for c in (narrow, wide)
        )
        true = set(met(detector.modules, candidates, points[:, i], directions[:, i]))
        assert true <= mine, f"track {i} misses {detector.module_names(sorted(true - mine))}"
        found += len(true)
    assert found > 15 * n


def candidates(crossings) -> list[set[int]]:
    return [
        {int(e) for e in crossings.element[crossings.offsets[i] : crossings.offsets[i + 1]]}
        for i in range(crossings.n_tracks)
    ]


def test_a_spread_widens_with_the_path_and_over_the_slant():
    detector = cms_like()
    index = navigation_index(detector)
    rng = np.random.default_rng(4)
    n = 300
    eta, phi = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
    start = np.zeros((n, 3)), direction, 0.2 / np.cosh(eta), CENTRAL
    spread = 0.01
    narrow, wide, widest = (
        cross(index, *start, slack=0.1),
        cross(index, *start, slack=0.1, spread=np.full(n, spread)),
        cross(index, *start, slack=20.0),
    )
    # at the end of a way out of 100 to 300 cm that is 1 to 3 cm across the track; at half of it, a third of that
    added = 0
    for i, (few, some, most) in enumerate(zip(candidates(narrow), candidates(wide), candidates(widest), strict=True)):
        assert few <= some <= most
        for e in some - few:
            at = wide.offsets[i] + int(np.flatnonzero(wide.element[wide.offsets[i] : wide.offsets[i + 1]] == e)[0])
            if e >= detector.n_modules:
                continue
            beyond = max(abs(wide.v[at]) - detector.modules.half_v[e],
                         abs(wide.u[at]) - detector.modules.half_u[e].max())  # fmt: skip
            way_out = min(130 / np.sqrt(1 - direction[i, 2] ** 2), 300 / max(abs(direction[i, 2]), 1e-9)) * 1.3
            assert beyond <= 0.1 + 2.0 * spread * max(wide.path[at], 10.0) / max(wide.cosine[at], 0.1)
            assert beyond <= 0.1 + spread * way_out / 0.1
            added += 1
    assert added > 100


def test_a_negative_spread_is_refused():
    index = navigation_index(cms_like())
    one = np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]), np.array([0.1]), CENTRAL
    with pytest.raises(ValueError, match="spread from -1"):
        cross(index, *one, spread=np.array([-1.0]))
