"""Where muons arrive: against closed forms, exact integration, and symmetries; and how they fail."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mucal.detector import mean_loss, radiative_loss, straggling
from mucal.detector.field import (
    MagneticField,
    harmonic_field,
    harmonic_modes,
    solenoid_field,
    uniform_field,
    with_modes,
)
from mucal.errors import InputError
from mucal.propagation import (
    StepConfig,
    Surfaces,
    TrackStatus,
    compose,
    curvilinear_axes,
    cylinders,
    free_states,
    local_by_curvilinear,
    planes,
    propagate,
    with_gaps,
)
from mucal.units import CURVATURE, MUON_MASS


def across(free: np.ndarray) -> Surfaces:
    """A plane through each muon, across its direction, with the curvilinear axes."""
    u, v = curvilinear_axes(free[:, 3:6])
    return planes(free[:, :3], np.stack([u, v, free[:, 3:6]], axis=1))


def helix(start: np.ndarray, bfield: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The closed form in a uniform field, by the rotation about it: (N, 7), (3,), (N,) -> (N, 6)."""
    size = np.linalg.norm(bfield)
    e = bfield / size
    r, t, q = start[:, :3], start[:, 3:6], start[:, 6]
    w = CURVATURE * q * size
    angle = w * s
    along = (t @ e)[:, None] * e
    perp, turned = t - along, np.cross(e, t)
    sin, cos = np.sin(angle)[:, None], np.cos(angle)[:, None]
    end = r + s[:, None] * along + sin / w[:, None] * perp - (1 - cos) / w[:, None] * turned
    return np.hstack([end, along + cos * perp - sin * turned])


def test_uniform_field_gives_the_helix(tracker: SimpleNamespace) -> None:
    b = np.array([0.3, 0.2, 3.8])
    y = tracker.start_states(200, "barrel")
    legs = propagate(uniform_field(b), cylinders(np.array([80.0])), y, np.array([0]))
    assert_allclose(legs.free[:, 0, :6], helix(y, b, legs.path[:, 0]), atol=1e-11)
    assert_allclose(np.hypot(legs.free[:, 0, 0], legs.free[:, 0, 1]), 80.0, rtol=1e-12)


def test_runge_kutta_in_a_uniform_field_gives_the_helix_to_1e_9_cm(tracker: SimpleNamespace) -> None:
    # modes of amplitude 0 keep the kernel from its closed form
    b = np.array([0.3, 0.2, 3.8])
    magnet = with_modes(uniform_field(b), harmonic_modes(1))
    y = tracker.start_states(50, "barrel", low=3.0)
    legs = propagate(magnet, cylinders(np.array([80.0])), y, np.array([0]), config=StepConfig(longest_step=1.0))
    assert np.abs(legs.free[:, 0, :3] - helix(y, b, legs.path[:, 0])[:, :3]).max() < 1e-9


def test_error_falls_with_the_fourth_power_of_the_step(tracker: SimpleNamespace) -> None:
    # the track of the reference table: pT = 3 GeV, eta = 1.2, 200 cm in the CMS-like field
    lam = np.arctan(np.sinh(1.2))
    y = free_states(np.array([[np.cos(lam) / 3.0, lam, 0.4, 0, 0]]), np.zeros(3))
    exact = tracker.exact_path(harmonic_field(), y[0], 200.0)
    errors = []
    for h in (10.0, 5.0, 2.5):
        end = propagate(harmonic_field(), across(exact[None]), y, np.array([0]), config=StepConfig(longest_step=h))
        errors.append(np.linalg.norm(end.free[0, 0, :3] - exact[:3]))
    assert errors[0] < 5e-7
    # with longer steps the ratio is 13 to 14: the fifth power is felt
    assert_allclose(np.array(errors[:-1]) / errors[1:], 16.0, atol=2.0)


@pytest.mark.parametrize("name", ["harmonic", "map_rz", "map_xyz", "solenoid", "modes"])
def test_pairs_of_sensors_3_mm_apart_do_not_spoil_the_track(
    name: str, magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    # the field is not looked up between the two, over less than half a centimetre; it is then off by 5e-7 T at most
    y = tracker.start_states(20, "barrel")
    dense = cylinders(np.concatenate([np.add.outer(np.arange(20.0, 50.0, 3.0), [0.0, 0.3]).ravel(), [60.0]]))
    config = StepConfig(longest_step=1.0)
    close = propagate(magnets[name], dense, y, np.arange(dense.n_surfaces), config=config)
    direct = propagate(magnets[name], dense, y, np.array([dense.n_surfaces - 1]), config=config)
    assert np.abs(close.free[:, -1] - direct.free[:, -1]).max() < 1e-8
    by_start = compose(close).by_start[:, -1]
    scale = np.abs(direct.transport[:, 0]).max(axis=(0, 2))
    assert np.all(np.abs(by_start - direct.transport[:, 0]).max(axis=(0, 2)) < 1e-6 * scale)


def test_direction_stays_a_unit_vector(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    surfaces = tracker.layers("endcap")
    legs = propagate(magnets["harmonic"], surfaces, tracker.start_states(50, "endcap"), np.arange(surfaces.n_surfaces))
    assert_allclose(np.linalg.norm(legs.free[..., 3:6], axis=-1), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", ["uniform", "harmonic", "map_xyz"])
def test_forwards_and_backwards_return_the_start(
    name: str, magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    magnet, y = magnets[name], tracker.start_states(20, "barrel", low=3.0)
    away = with_gaps(cylinders(np.array([60.0])), x_over_x0=1e-3, xi=2e-6)
    out = propagate(magnet, away, y, np.array([0]), config=StepConfig(longest_step=2.0))
    home = with_gaps(across(y), x_over_x0=1e-3, xi=2e-6)
    back = propagate(
        magnet, home, out.free[:, 0], np.arange(20)[:, None], config=StepConfig(longest_step=2.0, backwards=True)
    )
    assert (back.status == 0).all()
    assert_allclose(back.free[:, 0], y, atol=1e-8)


def test_backward_jacobian_undoes_the_forward_one(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    magnet, y = magnets["uniform"], tracker.start_states(20, "barrel", low=3.0)
    b = np.array([0.3, 0.2, 3.8])
    out = propagate(magnet, cylinders(np.array([60.0])), y, np.array([0]))
    end = out.free[:, 0]
    there = propagate(magnet, across(end), y, np.arange(20)[:, None]).transport[:, 0]
    config = StepConfig(backwards=True)
    back = propagate(magnet, across(y), end, np.arange(20)[:, None], config=config).transport[:, 0]
    frames = [np.stack([*curvilinear_axes(free[:, 3:6]), free[:, 3:6]], axis=1) for free in (y, end)]
    at_start, at_end = (local_by_curvilinear(free, axes, b) for free, axes in zip((y, end), frames, strict=True))
    product = np.linalg.solve(at_start, back) @ np.linalg.solve(at_end, there)
    assert_allclose(product, np.broadcast_to(np.eye(5), (20, 5, 5)), atol=1e-8)


def test_projection_on_a_sensor_closes_over_the_curvilinear_frame(tracker: SimpleNamespace) -> None:
    """H F_curvilinear = F_local, with losses and bending between the two planes."""
    rng = np.random.default_rng(1)
    b, loss = np.array([0.4, -0.3, 3.7]), 1e-5
    for y in tracker.start_states(20, "barrel"):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation[2] *= np.sign(rotation[2] @ y[3:6])
        d = rng.normal(size=(7, 6))
        t, k = y[3:6], CURVATURE * y[6] * np.cross(y[3:6], b)
        flow = np.concatenate([t, k, [loss]])

        def on_plane(normal: np.ndarray, d: np.ndarray = d, flow: np.ndarray = flow) -> np.ndarray:
            return d - np.outer(flow, normal @ d[:3]) / (normal @ flow[:3])

        u, v = (axis[0] for axis in curvilinear_axes(t[None]))
        c = on_plane(t)
        curvilinear = np.vstack([c[6], v @ c[3:6], u @ c[3:6] / np.hypot(t[0], t[1]), u @ c[:3], v @ c[:3]])
        s = on_plane(rotation[2])
        tu, tv, tw = rotation @ t
        local = np.vstack([
            s[6],
            (rotation[0] - tu / tw * rotation[2]) @ s[3:6] / tw,
            (rotation[1] - tv / tw * rotation[2]) @ s[3:6] / tw,
            rotation[0] @ s[:3],
            rotation[1] @ s[:3],
        ])  # fmt: skip
        h = local_by_curvilinear(y[None], rotation, b, loss)[0]
        size = np.abs(h) @ np.abs(curvilinear)
        assert np.all(np.abs(h @ curvilinear - local) <= 1e-14 * size)


# ------------------------------------------------------------------------------------------------ losses


def test_thin_layer_takes_its_mean_loss(tracker: SimpleNamespace) -> None:
    y = tracker.start_states(30, "endcap")
    centre = np.array([[0, 0, 40.0], [0, 0, 41.0]])
    surfaces = planes(centre, np.broadcast_to(np.eye(3), (2, 3, 3)), x_over_x0=0.02, xi=[2e-4, 0.0])
    config = StepConfig(alpha=0.99)
    legs = propagate(uniform_field(3.8), surfaces, y, np.array([0, 1]), config=config)
    p = 1 / np.abs(legs.local[:, :, 0])
    energy = np.sqrt(p**2 + MUON_MASS**2)
    xi = 2e-4 / legs.free[:, 0, 5]
    expected, variance = straggling(p[:, 0], xi, alpha=0.99)
    grammage = xi / (0.5 * 0.307075e-3 * 0.49848)
    expected = expected + radiative_loss(p[:, 0], grammage)
    # E is near 10 GeV and the loss near 5 MeV: rounding is 2e-15 GeV
    assert_allclose(energy[:, 0] - energy[:, 1], expected, rtol=1e-10, atol=1e-14)
    assert_allclose(legs.noise[:, 1, 0, 0], variance * (energy[:, 1] / p[:, 1] ** 3) ** 2, rtol=1e-10)


def test_losses_of_the_steps_in_a_gap_add_up_to_the_integral(tracker: SimpleNamespace) -> None:
    y = tracker.start_states(10, "barrel", low=1.0)
    surfaces = with_gaps(cylinders(np.array([60.0])), x_over_x0=2e-3, xi=1e-5)
    legs = propagate(uniform_field(0.0), surfaces, y, np.array([0]))
    for start, end, length in zip(y[:, 6], legs.local[:, 0, 0], legs.path[:, 0], strict=True):
        energy = np.hypot(1 / start, MUON_MASS)
        for _ in range(2000):  # the middle of each of 2000 slices, an error of (slice)^2
            step = length / 2000
            middle = energy
            for _ in range(2):
                p = np.sqrt(middle**2 - MUON_MASS**2)
                rate = mean_loss(np.array([p]), np.array([1e-5]))[0] + radiative_loss(
                    np.array([p]), np.array([1e-5 / (0.5 * 0.307075e-3 * 0.49848)])
                )[0]  # fmt: skip
                middle = energy - 0.5 * step * rate
            energy -= step * rate
        assert_allclose(np.hypot(1 / end, MUON_MASS), energy, rtol=1e-9)


def test_splitting_a_gap_changes_nothing(magnets: dict[str, MagneticField], tracker: SimpleNamespace) -> None:
    y = tracker.start_states(20, "barrel", low=2.0)
    whole = with_gaps(cylinders(np.array([30.0, 60.0])), x_over_x0=1e-3, xi=1e-5)
    config = StepConfig(longest_step=2.0)
    split = propagate(magnets["harmonic"], whole, y, np.array([0, 1]), config=config)
    direct = propagate(magnets["harmonic"], whole, y, np.array([1]), config=config)
    assert_allclose(split.free[:, 1], direct.free[:, 0], rtol=1e-9, atol=1e-8)


# ------------------------------------------------------------------------------------------------ symmetries

ANGLES = st.floats(-np.pi, np.pi)
STATES = st.tuples(st.floats(0.05, 0.5), st.floats(-0.8, 0.8), ANGLES)


@settings(max_examples=30, deadline=None)
@given(STATES)
def test_charge_and_field_flipped_together_change_nothing(state: tuple[float, float, float]) -> None:
    surfaces = cylinders(np.array([20.0, 60.0]), x_over_x0=0.03, xi=1e-4)
    ends = []
    for sign in (1.0, -1.0):
        y = free_states(np.array([[sign * state[0], state[1], state[2], 0, 0]]), np.zeros(3))
        ends.append(propagate(uniform_field(sign * 3.8), surfaces, y, np.array([0, 1])))
    assert_allclose(ends[0].free[..., :6], ends[1].free[..., :6], atol=1e-12)
    assert_allclose(np.abs(ends[0].noise), np.abs(ends[1].noise), rtol=1e-9, atol=1e-18)


@settings(max_examples=30, deadline=None)
@given(STATES, ANGLES)
def test_a_rotation_about_the_beam_rotates_the_track(state: tuple[float, float, float], angle: float) -> None:
    magnet, surfaces = harmonic_field(), cylinders(np.array([20.0, 60.0]), x_over_x0=0.03, xi=1e-4)
    y = free_states(np.array([[state[0], state[1], phi, 0, 0] for phi in (state[2], state[2] + angle)]), np.zeros(3))
    legs = propagate(magnet, surfaces, y, np.array([0, 1]))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert_allclose(legs.free[0, :, :3] @ turn.T, legs.free[1, :, :3], atol=1e-9)
    assert_allclose(legs.transport[0], legs.transport[1], rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(STATES)
def test_the_mirror_in_z_mirrors_the_track(state: tuple[float, float, float]) -> None:
    # B is an axial vector: B_z stays, B_r turns its sign, which even powers of z on the axis provide
    magnet = harmonic_field((3.8, 0.0, -0.19, 0.0, 0.011))
    surfaces = cylinders(np.array([20.0, 60.0]))
    y = free_states(np.array([[state[0], lam, state[2], 0, 0] for lam in (state[1], -state[1])]), np.zeros(3))
    ends = propagate(magnet, surfaces, y, np.array([0, 1])).free
    assert_allclose(ends[0] * [1, 1, -1, 1, 1, -1, 1], ends[1], atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(STATES, st.floats(-40.0, 40.0))
def test_all_moved_along_the_beam_moves_the_track(state: tuple[float, float, float], shift: float) -> None:
    cylinder = cylinders(np.array([20.0, 60.0]), x_over_x0=0.03, xi=1e-4)
    legs = []
    for dz in (0.0, shift):
        y = free_states(np.array([[*state, 0, 0]]), np.array([0.1, 0.2, dz]))
        legs.append(propagate(solenoid_field(centre=1.79 + dz), cylinder, y, np.array([0, 1])))
    assert_allclose(legs[0].free[..., :3] + [0.0, 0.0, shift], legs[1].free[..., :3], atol=1e-9)
    assert_allclose(legs[0].transport, legs[1].transport, rtol=1e-9, atol=1e-9)
    assert_allclose(legs[0].noise, legs[1].noise, rtol=1e-9, atol=1e-18)


def test_any_number_of_threads_gives_the_same_bytes(
    magnets: dict[str, MagneticField], tracker: SimpleNamespace
) -> None:
    surfaces, y = tracker.layers("barrel"), tracker.start_states(101, "barrel")
    one, three = (
        propagate(magnets["harmonic"], surfaces, y, np.arange(14), config=StepConfig(n_threads=n)) for n in (1, 3)
    )
    for name in ("free", "transport", "by_parameters", "noise", "status"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes()


# ------------------------------------------------------------------------------------------------ failures


def ending(magnet: MagneticField, surfaces: Surfaces, state: list[float], **config: float) -> TrackStatus:
    y = free_states(np.array([[*state, 0, 0], [0.05, 0.1, 0.3, 0, 0]]), np.zeros(3))
    legs = propagate(magnet, surfaces, y, np.arange(surfaces.n_surfaces), config=StepConfig(**config))  # type: ignore[arg-type]
    status = TrackStatus(int(legs.status[0]))
    reached = int(legs.n_reached[0])
    assert np.isnan(legs.free[0, reached:]).all()
    assert np.isnan(legs.transport[0, reached:]).all()
    assert not np.isnan(legs.free[0, :reached]).any()
    assert len(status.sentence) > 20
    return status


BARREL = cylinders(np.array([20.0, 60.0, 108.0]))


def test_a_looping_track_is_named() -> None:
    assert ending(uniform_field(3.8), BARREL, [1 / 0.5, 0.1, 0.3]) == TrackStatus.LOOPER
    assert ending(harmonic_field(), BARREL, [1 / 0.5, 0.1, 0.3]) == TrackStatus.LOOPER


def test_a_muon_that_stops_in_a_layer_is_named() -> None:
    thick = cylinders(np.array([20.0, 60.0, 108.0]), x_over_x0=5.0, xi=0.08)
    assert ending(uniform_field(3.8), thick, [0.7, 0.1, 0.3]) == TrackStatus.RANGED_OUT


def test_a_muon_that_stops_in_a_gap_is_named() -> None:
    thick = with_gaps(BARREL, x_over_x0=0.1, xi=2e-3)
    assert ending(uniform_field(0.0), thick, [0.9, 0.1, 0.3]) == TrackStatus.RANGED_OUT


def test_a_track_that_leaves_the_field_is_named() -> None:
    assert ending(harmonic_field(), BARREL, [0.1, 1.4, 0.3]) == TrackStatus.OUTSIDE_FIELD


def test_a_plane_behind_the_track_is_missed() -> None:
    w = np.array([np.cos(0.3), np.sin(0.3), 0.0])
    axes = np.stack([np.cross([0, 0, 1.0], w), [0, 0, 1], w])
    y = free_states(np.array([[0.1, 0.1, 0.3, 0, 0]]), np.zeros(3))
    legs = propagate(uniform_field(3.8), planes(-10 * w[None], axes[None]), y, np.array([0]))
    assert legs.status[0] == TrackStatus.MISSED


def test_the_step_cap_holds() -> None:
    assert ending(harmonic_field(), BARREL, [0.1, 0.1, 0.3], most_steps=3) == TrackStatus.STEP_CAP


def test_a_bad_start_is_named() -> None:
    assert ending(uniform_field(3.8), BARREL, [float("nan"), 0.1, 0.3]) == TrackStatus.BAD_START
    assert ending(uniform_field(3.8), BARREL, [0.0, 0.1, 0.3]) == TrackStatus.BAD_START


def test_a_track_beyond_eta_4_is_named() -> None:
    lam = float(np.arctan(np.sinh(4.2)))
    assert ending(uniform_field(3.8), BARREL, [0.01, lam, 0.3]) == TrackStatus.TOO_FORWARD


def test_counts_name_every_ending(tracker: SimpleNamespace) -> None:
    legs = propagate(uniform_field(3.8), BARREL, tracker.start_states(10, "barrel"), np.arange(3))
    counts = legs.counts()
    assert sum(counts.values()) == 10
    assert set(counts) == {status.name.lower() for status in TrackStatus}


def test_a_route_that_ends_early_is_complete(tracker: SimpleNamespace) -> None:
    legs = propagate(uniform_field(3.8), BARREL, tracker.start_states(2, "barrel"), np.array([[0, 1, -1], [0, 1, 2]]))
    assert legs.n_reached.tolist() == [2, 3]
    assert legs.status.tolist() == [0, 0]


def test_a_route_to_no_surface_is_refused(tracker: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="names surface 3, there are 3"):
        propagate(uniform_field(3.8), BARREL, tracker.start_states(2, "barrel"), np.array([0, 3]))


def test_negative_thickness_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Surfaces.xi\[1\] = -1e-05"):
        cylinders(np.array([20.0, 60.0]), xi=np.array([1e-5, -1e-5]))


def test_a_cylinder_that_a_track_grazes_from_inside_is_missed_or_crossed_once() -> None:
    # around the largest radius that this track reaches, 2 p/(kappa B) in its circle through the origin
    reach = 2 * 0.65 / (CURVATURE * 3.8)
    radii = reach * (1 + np.array([-1e-4, -1e-7, 1e-7, 1e-4]))
    y = free_states(np.array([[1 / 0.65, 0.0, 0.3, 0, 0]]), np.zeros(3))
    for magnet in (uniform_field(3.8), with_modes(uniform_field(3.8), harmonic_modes(1))):
        legs = [propagate(magnet, cylinders(radii[i : i + 1]), y, np.array([0])) for i in range(4)]
        assert legs[0].status[0] == TrackStatus.OK
        assert legs[3].status[0] in (TrackStatus.MISSED, TrackStatus.LOOPER)
        for leg in legs:
            assert leg.status[0] in (TrackStatus.OK, TrackStatus.MISSED, TrackStatus.LOOPER)
