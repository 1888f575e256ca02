"""Navigation against a brute-force search of every module, and against what a straight line or a circle must do."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel, cms_like
from mucal.detector.navigation import NavigationStatus, cross, navigation_index
from mucal.detector.table import CYLINDER, DISC, Detector, Modules, Passive
from mucal.units import CURVATURE

BZ = 3.8


@pytest.fixture(scope="module")
def trackers():
    made = {d.name: d for d in (cms_like(), barrel())}
    return {name: (d, navigation_index(d)) for name, d in made.items()}


def muons(n, seed, *, low=0.8, high=100.0, spread=(0.5, 0.5, 4.0)):
    """Start points, directions and q/p of n muons, log-uniform in pT, |eta| < 2.6."""
    rng = np.random.default_rng(seed)
    pt = np.exp(rng.uniform(np.log(low), np.log(high), n))
    eta, phi = rng.uniform(-2.6, 2.6, n), rng.uniform(-np.pi, np.pi, n)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1)
    return rng.normal(size=(n, 3)) * spread, direction, rng.choice([-1.0, 1.0], n) / (pt * np.cosh(eta))


@njit(cache=True)
def turned(x0, t0, k, s):
    """Helix by its centre: position after path s, k != 0 (its own formula, not the kernel's)."""
    cx, cy = x0[0] + t0[1] / k, x0[1] - t0[0] / k
    c, d = np.cos(k * s), np.sin(k * s)
    dx, dy = x0[0] - cx, x0[1] - cy
    return cx + c * dx + d * dy, cy + c * dy - d * dx, x0[2] + t0[2] * s


@njit(cache=True)
def search_all(x0, t0, k, centre, rotation, half_u, half_v, length, slack, elements, paths):
    """Every module, every step of about 0.7 cm: sign changes of the distance to the plane, bisected to the end."""
    found = 0
    steps = int(length / 0.7) + 1
    points = np.empty((steps + 1, 3))
    for j in range(steps + 1):
        points[j, 0], points[j, 1], points[j, 2] = turned(x0, t0, k, length * j / steps)
    for m in range(centre.shape[0]):
        w = rotation[m, 2]
        near = np.hypot(half_v[m], max(half_u[m, 0], half_u[m, 1])) + 2 * slack + length / steps
        close = False
        for j in range(0, steps + 16, 16):  # every point is within 16 steps of one of these
            i = min(j, steps)
            px, py, pz = points[i, 0] - centre[m, 0], points[i, 1] - centre[m, 1], points[i, 2] - centre[m, 2]
            close = close or px * px + py * py + pz * pz < (near + 16 * length / steps) ** 2
        if not close:
            continue
        before = 0.0
        for j in range(steps + 1):
            rx, ry, rz = points[j, 0] - centre[m, 0], points[j, 1] - centre[m, 1], points[j, 2] - centre[m, 2]
            now = w[0] * rx + w[1] * ry + w[2] * rz
            if j > 0 and before * now < 0 and rx * rx + ry * ry + rz * rz < near * near:
                low, high = length * (j - 1) / steps, length * j / steps
                for _ in range(60):
                    s = 0.5 * (low + high)
                    x, y, z = turned(x0, t0, k, s)
                    at = w[0] * (x - centre[m, 0]) + w[1] * (y - centre[m, 1]) + w[2] * (z - centre[m, 2])
                    if at * before > 0:
                        low = s
                    else:
                        high = s
                rx, ry, rz = x - centre[m, 0], y - centre[m, 1], z - centre[m, 2]
                u = rotation[m, 0, 0] * rx + rotation[m, 0, 1] * ry + rotation[m, 0, 2] * rz
                v = rotation[m, 1, 0] * rx + rotation[m, 1, 1] * ry + rotation[m, 1, 2] * rz
                inside = min(1.0, max(-1.0, v / half_v[m]))
                width = half_u[m, 0] + 0.5 * (inside + 1) * (half_u[m, 1] - half_u[m, 0])
                if abs(v) <= half_v[m] + slack and abs(u) <= width + slack:
                    elements[found], paths[found] = m, s
                    found += 1
            before = now
    return found


def brute_force(detector, position, direction, qop, bz, slack=0.0):
    """Modules and paths of one track, in order, from the search of all modules."""
    m = detector.modules
    t0 = direction / np.linalg.norm(direction)
    k = CURVATURE * bz * qop
    out = (abs(position[2]) + 300.0) / max(abs(t0[2]), 1e-9)
    length = min(np.pi / abs(k), out, 900.0)
    elements, paths = np.empty(5000, dtype=np.int64), np.empty(5000)
    n = search_all(position, t0, k, m.centre, m.rotation, m.half_u, m.half_v, length, slack, elements, paths)
    order = np.argsort(paths[:n], kind="stable")
    return elements[:n][order], paths[:n][order]


@pytest.mark.parametrize(
    ("name", "n", "low", "high", "slack", "spread"),
    [
        ("cms-like", 2000, 0.8, 100.0, 0.0, (0.5, 0.5, 4.0)),
        ("cms-like", 400, 0.1, 0.8, 0.0, (0.5, 0.5, 4.0)),
        ("cms-like", 300, 1.0, 20.0, 0.0, (30.0, 30.0, 60.0)),
        ("cms-like", 200, 1.0, 20.0, 2.0, (0.5, 0.5, 4.0)),
        ("barrel", 2000, 0.5, 50.0, 0.0, (0.5, 0.5, 4.0)),
        ("barrel", 500, 0.1, 5.0, 0.5, (20.0, 20.0, 20.0)),
    ],
    ids=["tracks", "loopers", "displaced", "slack", "small", "small loopers"],
)
def test_finds_what_a_search_of_all_modules_finds(trackers, name, n, low, high, slack, spread):
    detector, index = trackers[name]
    position, direction, qop = muons(n, 7, low=low, high=high, spread=spread)
    crossings = cross(index, position, direction, qop, BZ, slack=slack)
    assert crossings.on_module.sum() > 3 * n
    for i in range(n):
        mine = slice(crossings.offsets[i], crossings.offsets[i + 1])
        keep = crossings.on_module[mine]
        elements, paths = brute_force(detector, position[i], direction[i], qop[i], BZ, slack)
        found, where = crossings.element[mine][keep], crossings.path[mine][keep]
        assert np.all(np.diff(where) >= 0)
        # modules of one plane, widened by slack, are crossed at one point: their order is arbitrary
        mine_sorted, theirs = np.lexsort((where, found)), np.lexsort((paths, elements))
        assert_array_equal(found[mine_sorted], elements[theirs], err_msg=f"track {i}")
        assert_allclose(where[mine_sorted], paths[theirs], rtol=0, atol=1e-8)


def test_a_straight_track_meets_the_plane_where_a_line_does(trackers):
    detector, index = trackers["cms-like"]
    m = detector.modules
    position, direction, _ = muons(200, 3)
    crossings = cross(index, position, direction, np.zeros(200), BZ)
    keep = crossings.on_module
    i, t = crossings.element[keep], crossings.track[keep]
    unit = direction[t] / np.linalg.norm(direction[t], axis=1, keepdims=True)
    w = m.rotation[i, 2]
    path = np.sum(w * (m.centre[i] - position[t]), axis=1) / np.sum(w * unit, axis=1)
    assert_allclose(crossings.path[keep], path, atol=1e-10)
    local = np.einsum("nij,nj->ni", m.rotation[i], position[t] + path[:, None] * unit - m.centre[i])
    assert_allclose(np.stack([crossings.u[keep], crossings.v[keep]], axis=1), local[:, :2], atol=1e-10)
    assert_allclose(crossings.cosine[keep], np.abs(np.sum(w * unit, axis=1)), atol=1e-13)


def test_very_stiff_tracks_are_straight(trackers):
    _, index = trackers["cms-like"]
    position, direction, _ = muons(500, 4)
    straight, stiff = (cross(index, position, direction, q, BZ) for q in (np.zeros(500), np.full(500, 1e-12)))
    # sagitta of 300 cm at 1e12 GeV: 300^2 / (8 x 1e12 / 0.0114) = 1e-10 cm
    assert_array_equal(straight.element, stiff.element)
    assert_allclose(straight.path, stiff.path, atol=1e-8)


def test_charge_and_field_flipped_together_change_nothing(trackers):
    _, index = trackers["cms-like"]
    position, direction, qop = muons(300, 5)
    one, two = cross(index, position, direction, qop, BZ), cross(index, position, direction, -qop, -BZ)
    assert_array_equal(one.element, two.element)
    assert_array_equal(one.path, two.path)


def test_positive_charge_turns_towards_decreasing_phi(trackers):
    detector, index = trackers["barrel"]
    crossings = cross(index, np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]), np.array([0.5]), BZ)
    last = crossings.element[crossings.on_module][-1]
    # radius 2 GeV / (0.0029979 x 3.8) = 175.6 cm: at r = 108 cm phi = -asin(108 / 351.1) = -0.313
    assert_allclose(np.arctan2(*detector.modules.centre[last, 1::-1]), -0.313, atol=9.4 / 108)


def test_passive_surfaces_are_crossed_where_a_circle_crosses_them(trackers):
    detector, index = trackers["cms-like"]
    passive = detector.passive
    position, direction, qop = muons(200, 6, spread=(0.0, 0.0, 4.0))
    crossings = cross(index, position, direction, qop, BZ)
    keep = ~crossings.on_module
    row, t = crossings.element[keep] - detector.n_modules, crossings.track[keep]
    assert np.all(row >= 0)
    unit = direction[t] / np.linalg.norm(direction[t], axis=1, keepdims=True)
    k = CURVATURE * BZ * qop[t]
    points = [turned(position[t[j]], unit[j], k[j], crossings.path[keep][j]) for j in range(t.size)]
    x, y, z = np.array(points).T
    r = np.hypot(x, y)
    disc = passive.kind[row] == DISC
    assert_allclose(np.where(disc, z, r), passive.position[row], atol=1e-8)
    where = np.where(disc, r, z)
    assert np.all((where >= passive.low[row] - 1e-8) & (where <= passive.high[row] + 1e-8))


@pytest.mark.parametrize("kind", [CYLINDER, DISC])
def test_no_passive_surface_is_missed(trackers, kind):
    # straight tracks from the origin: radius and z at every surface by proportion
    detector, index = trackers["cms-like"]
    passive = detector.passive
    _, direction, _ = muons(300, 8)
    crossings = cross(index, np.zeros((300, 3)), direction, np.zeros(300), BZ)
    found = crossings.element[~crossings.on_module] - detector.n_modules
    slope = direction[:, 2]  # z / r
    rows = passive.kind == kind
    where = passive.position * slope[:, None] if kind == CYLINDER else passive.position / slope[:, None]
    met = rows & (where >= passive.low) & (where < passive.high) & ((kind == CYLINDER) | (where > 0))
    assert_array_equal(np.bincount(found, minlength=passive.n_surfaces)[rows], met.sum(axis=0)[rows])


def test_slack_finds_all_that_is_found_without(trackers):
    _, index = trackers["cms-like"]
    position, direction, qop = muons(300, 9)
    tight, wide = cross(index, position, direction, qop, BZ), cross(index, position, direction, qop, BZ, slack=1.0)
    for i in range(300):
        few = tight.element[tight.offsets[i] : tight.offsets[i + 1]]
        assert set(few) <= set(wide.element[wide.offsets[i] : wide.offsets[i + 1]])


def test_a_looper_is_named(trackers):
    _, index = trackers["cms-like"]
    crossings = cross(index, np.zeros((2, 3)), np.array([[1.0, 0, 0.1], [1.0, 0, 0.1]]), np.array([1 / 0.2, 0.1]), BZ)
    assert_array_equal(crossings.status, [NavigationStatus.LOOPER, NavigationStatus.OK])
    assert "half a turn" in NavigationStatus.LOOPER.sentence


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_track_that_is_not_finite_is_named_and_the_others_are_kept(trackers, bad):
    _, index = trackers["barrel"]
    position, direction, qop = muons(3, 10)
    broken = qop.copy()
    broken[1] = bad
    crossings, whole = (cross(index, position, direction, q, BZ) for q in (broken, qop))
    assert_array_equal(crossings.status, [0, NavigationStatus.NON_FINITE, 0])
    assert crossings.offsets[1] == crossings.offsets[2]
    assert_array_equal(crossings.element[crossings.offsets[2] :], whole.element[whole.offsets[2] :])


def test_a_direction_of_no_length_is_not_finite(trackers):
    _, index = trackers["barrel"]
    crossings = cross(index, np.zeros((1, 3)), np.zeros((1, 3)), np.array([0.1]), BZ)
    assert crossings.status[0] == NavigationStatus.NON_FINITE


def test_at_large_eta_nothing_is_crossed_but_the_pipe(trackers):
    _, index = trackers["cms-like"]
    direction = np.array([[1.0, 0.0, np.sinh(4.5)]])
    crossings = cross(index, np.zeros((1, 3)), direction, np.zeros(1), BZ)
    assert not crossings.on_module.any()
    assert crossings.status[0] == NavigationStatus.OK


def test_shapes_that_do_not_fit_are_refused(trackers):
    _, index = trackers["barrel"]
    with pytest.raises(ValueError, match=r"direction has shape \(2, 3\), expected \(1, 3\)"):
        cross(index, np.zeros((1, 3)), np.ones((2, 3)), np.ones(1), BZ)
    with pytest.raises(ValueError, match="slack"):
        cross(index, np.zeros((1, 3)), np.ones((1, 3)), np.ones(1), BZ, slack=-1.0)


def test_crossings_come_back_from_a_file_bit_for_bit(trackers, tmp_path):
    _, index = trackers["barrel"]
    crossings = cross(index, *muons(10, 11), BZ)
    loaded = type(crossings).load(crossings.save(tmp_path / "crossings.h5"))
    assert_array_equal(loaded.path, crossings.path)


def test_a_turned_tracker_is_crossed_in_the_same_places(trackers):
    # a rotation about the beam by an angle that no symmetry of the tracker shares
    detector, index = trackers["barrel"]
    c, s = np.cos(0.7), np.sin(0.7)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    m = detector.modules
    turned_modules = replace(m, centre=m.centre @ turn.T, rotation=m.rotation @ turn.T)
    other = navigation_index(replace(detector, modules=turned_modules))
    position, direction, qop = muons(300, 12)
    one = cross(index, position, direction, qop, BZ)
    two = cross(other, position @ turn.T, direction @ turn.T, qop, BZ)
    assert_array_equal(one.element, two.element)
    assert_allclose(one.path, two.path, atol=1e-9)


def test_layers_are_only_for_speed(trackers):
    detector, index = trackers["cms-like"]
    one = np.ones(detector.n_modules, dtype=np.int64)
    heap = navigation_index(replace(detector, modules=replace(detector.modules, subdet=one, layer=one, side=0 * one)))
    position, direction, qop = muons(150, 13)
    a, b = cross(index, position, direction, qop, BZ), cross(heap, position, direction, qop, BZ)
    assert_array_equal(a.element, b.element)
    assert_allclose(a.path, b.path, atol=1e-9)


@pytest.fixture(scope="module")
def telescope():
    """Seven planes across the beam, the beam through their middle, as in a test beam."""
    n = 7
    whole = {name: np.zeros(n, dtype=np.int64) for name in ("subdet", "side", "ladder")}
    real = {"sigma_u": 0.001, "sigma_v": 0.001, "strip_angle": 0.0, "focus": 0.0, "x_over_x0": 0.003, "xi_mev": 0.005}
    modules = Modules(
        module_id=np.arange(n), layer=np.arange(n), **whole, stereo=np.zeros(n, dtype=bool),
        centre=np.column_stack([np.zeros(n), np.zeros(n), 10.0 * np.arange(n) - 20.0]),
        rotation=np.tile(np.eye(3), (n, 1, 1)), half_u=np.full((n, 2), 2.0), half_v=np.full(n, 1.0),
        n_meas=np.full(n, 2), **{name: np.full(n, value) for name, value in real.items()},
    )  # fmt: skip
    empty = {name: np.zeros(0) for name in ("position", "low", "high", "x_over_x0", "xi_mev")}
    passive = Passive(subdet=np.zeros(0, dtype=np.int64), kind=np.zeros(0, dtype=np.int64), **empty)
    return Detector(name="telescope", subdet_names=("planes",), modules=modules, passive=passive)


def test_planes_about_the_beam_are_crossed_in_their_middle(telescope):
    # along the beam, and aimed at the very middle of each plane from the side
    targets = np.column_stack([np.zeros(7), np.zeros(7), 10.0 * np.arange(7) - 20.0])
    start = np.tile([-0.5, 0.3, -30.0], (7, 1))
    index = navigation_index(telescope)
    aimed = cross(index, start, targets - start, np.zeros(7), BZ)
    for i in range(7):
        mine = slice(aimed.offsets[i], aimed.offsets[i + 1])
        at = np.flatnonzero(aimed.element[mine] == i)
        assert at.size == 1
        assert_allclose([aimed.u[mine][at], aimed.v[mine][at]], 0.0, atol=1e-12)
    along = cross(index, np.array([[0.0, 0.0, -30.0]]), np.array([[0.0, 0.0, 1.0]]), np.zeros(1), BZ)
    assert_array_equal(along.element, np.arange(7))
    assert_allclose(along.path, 10.0 + 10.0 * np.arange(7))


def test_a_telescope_agrees_with_a_search_of_all_planes(telescope):
    rng = np.random.default_rng(14)
    n = 500
    position = np.column_stack([rng.uniform(-3, 3, n), rng.uniform(-2, 2, n), np.full(n, -31.37)])
    direction = np.column_stack([rng.normal(0, 0.05, n), rng.normal(0, 0.03, n), np.ones(n)])
    qop = rng.choice([-1.0, 1.0], n) / rng.uniform(0.5, 5.0, n)
    crossings = cross(navigation_index(telescope), position, direction, qop, BZ)
    for i in range(n):
        elements, _ = brute_force(telescope, position[i], direction[i], qop[i], BZ)
        assert_array_equal(crossings.element[crossings.offsets[i] : crossings.offsets[i + 1]], elements)


def test_a_detector_without_modules_is_crossed_without_hits(telescope):
    nothing = {f.name: getattr(telescope.modules, f.name)[:0] for f in fields(Modules) if f.name != "provenance"}
    empty = replace(telescope, modules=Modules(**nothing))
    crossings = cross(navigation_index(empty), *muons(3, 1), BZ)
    assert crossings.element.size == 0
