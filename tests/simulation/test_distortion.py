"""Distortions: their sizes, their signs, and what they do to what is measured."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import Detector, cms_like, displaced, to_local
from mucal.detector.field import evaluate
from mucal.errors import ConfigError, InputError
from mucal.simulation import (
    COHERENT,
    CoherentMisalignment,
    Distortion,
    RandomMisalignment,
    RigidMisalignment,
    coherent_misalignment,
    distorted,
    distorted_field,
    misalignment,
    random_misalignment,
    rigid_misalignment,
    scaled_material,
    structure_misalignment,
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return cms_like()


def moved(detector: Detector, parameters: np.ndarray) -> np.ndarray:
    return displaced(detector.modules, parameters).centre - detector.modules.centre


def test_a_true_module_displaced_along_u_measures_smaller_u(detector):
    parameters = np.zeros((detector.n_modules, 6))
    parameters[:, 0] = 0.01
    ids = detector.modules.module_id
    assert_allclose(to_local(displaced(detector.modules, parameters), ids, detector.modules.centre)[:, 0], -0.01)


def test_random_widths_are_as_asked(detector):
    widths = np.array([1e-3, 2e-3, 5e-3, 1e-4, 1e-4, 5e-5])
    pull = random_misalignment(detector.modules, widths, 1) / widths
    assert np.all(np.abs(pull.std(axis=0) - 1) < 4 / np.sqrt(2 * detector.n_modules))
    assert np.all(np.abs(pull.mean(axis=0)) < 4 / np.sqrt(detector.n_modules))


def along(detector: Detector, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components of displacements away from the beam, around it, and along it."""
    x, y, _ = detector.modules.centre.T
    r = np.hypot(x, y)
    return (x * shift[:, 0] + y * shift[:, 1]) / r, (x * shift[:, 1] - y * shift[:, 0]) / r, shift[:, 2]


# pattern -> displacement (away, around, along) in cm of a module at r, phi, z (cm, rad), by hand, for an amplitude of
# 0.01 cm and a phase of 0.3
BY_HAND = {
    "curl": lambda r, phi, z: (0, 1e-6 * r**2, 0),
    "twist": lambda r, phi, z: (0, 1e-6 * r * z, 0),
    "layer_rotation": lambda r, phi, z: (0, 1e-6 * r * (r - 57), 0),
    "sagitta": lambda r, phi, z: (0, 1e-4 * r * np.cos(phi + 0.3), 0),
    "radial": lambda r, phi, z: (1e-4 * r, 0, 0),
    "elliptic": lambda r, phi, z: (1e-4 * r * np.cos(2 * phi + 0.3), 0, 0),
    "bowing": lambda r, phi, z: (1e-6 * z**2, 0, 0),
    "z_scale": lambda r, phi, z: (0, 0, 1e-4 * z),
    "telescope": lambda r, phi, z: (0, 0, 1e-4 * r),
    "skew": lambda r, phi, z: (0, 0, 1e-4 * r * np.cos(phi + 0.3)),
}


@pytest.mark.parametrize("pattern", COHERENT)
def test_a_coherent_pattern_has_its_size_and_direction(detector, pattern):
    x, y, z = detector.modules.centre.T
    found = along(detector, moved(detector, coherent_misalignment(detector.modules, pattern, 0.01, 0.3)))
    for component, expected in zip(found, BY_HAND[pattern](np.hypot(x, y), np.arctan2(y, x), z), strict=True):
        assert_allclose(component, np.broadcast_to(expected, z.shape), atol=1e-11)


@pytest.mark.parametrize("pattern", COHERENT)
def test_a_coherent_pattern_turns_no_module(detector, pattern):
    assert_allclose(coherent_misalignment(detector.modules, pattern, 0.01)[:, 3:], 0)


def test_a_rigid_motion_keeps_distances_between_modules(detector):
    parameters = rigid_misalignment(detector.modules, np.array([0.1, -0.2, 0.3]), np.array([1e-4, -2e-4, 3e-4]))
    corners = displaced(detector.modules, parameters).corners()[::500].reshape(-1, 3)
    before = detector.modules.corners()[::500].reshape(-1, 3)
    lengths = [np.linalg.norm(c[1:] - c[:1], axis=1) for c in (before, corners)]
    assert_allclose(lengths[1], lengths[0], atol=3e-5)  # 300 cm times half the angle squared


def test_only_the_named_material_is_scaled(detector):
    scaled = scaled_material(detector, {"TOB": 1.1})
    tob = detector.element_subdet == detector.subdet_names.index("TOB")
    assert_allclose(scaled.element_xi_mev / detector.element_xi_mev, np.where(tob, 1.1, 1.0))


def test_sensors_and_services_are_scaled_apart(detector):
    scaled = scaled_material(detector, {"TOB/modules": 1.1, "TOB/passive": 0.9, "TIB": 2.0})
    m, p = detector.modules, detector.passive
    names = np.array(detector.subdet_names)
    expected = np.select([names[m.subdet] == "TOB", names[m.subdet] == "TIB"], [1.1, 2.0], 1.0)
    assert_allclose(scaled.modules.x_over_x0 / m.x_over_x0, expected)
    expected = np.select([names[p.subdet] == "TOB", names[p.subdet] == "TIB"], [0.9, 2.0], 1.0)
    assert_allclose(scaled.passive.xi_mev / np.where(p.xi_mev > 0, p.xi_mev, 1), np.where(p.xi_mev > 0, expected, 0))


def test_structures_move_as_bodies(detector):
    m = detector.modules
    structure = m.subdet * 100 + m.layer
    shift = moved(detector, structure_misalignment(m, structure, np.array([0.1, 0.2, 0.3]), np.zeros(3), 4))
    for number in np.unique(structure):
        own = shift[structure == number]
        assert_allclose(own, np.broadcast_to(own[0], own.shape), atol=1e-9)
    turned = structure_misalignment(m, structure, np.zeros(3), np.array([1e-3, 1e-3, 1e-3]), 4)
    one = structure == structure[0]
    assert_allclose(moved(detector, turned)[one].mean(axis=0), 0, atol=1e-9)
    rotation = np.einsum("mij,mi->mj", m.rotation[one], turned[one, 3:])
    assert_allclose(rotation, rotation[:1].repeat(one.sum(), 0), atol=1e-12)
    assert np.linalg.norm(rotation[0]) > 1e-5


def test_a_structure_moves_alike_whatever_others_there_are(detector):
    m = detector.modules
    widths = np.full(3, 0.1), np.full(3, 1e-3)
    every = structure_misalignment(m, m.subdet, *widths, 1)
    two = m.subdet < 2
    some = structure_misalignment(m, np.where(two, m.subdet, 77), *widths, 1)
    assert_allclose(every[two], some[two])


@pytest.mark.parametrize(("name", "shape"), [
    ("bias", lambda r, z: 1.0 + 0 * z), ("gradient", lambda r, z: z), ("l3m0c", lambda r, z: z**2 - r**2 / 2),
])  # fmt: skip
def test_a_mode_of_the_field_has_its_shape_and_its_rms(detector, name, shape):
    size = 1e-3
    field = distorted_field(detector.field, {name: size})
    rng = np.random.default_rng(1)
    n = 20_000
    r, phi, z = 110 * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n), rng.uniform(-280, 280, n)
    points = np.column_stack([r * np.cos(phi), r * np.sin(phi), z])
    added = evaluate(field, points).bfield - evaluate(detector.field, points).bfield
    b0 = evaluate(detector.field, np.zeros((1, 3))).bfield[0, 2]
    square = np.sum(added**2, axis=1)
    assert abs(square.mean() - (size * b0) ** 2) < 4 * square.std() / np.sqrt(n) + 1e-15
    factor = added[0, 2] / shape(r[0], z[0])
    assert_allclose(added[:, 2], factor * shape(r, z), atol=1e-14)  # differences of numbers near 4
    assert factor > 0


def test_a_distortion_is_the_sum_of_its_parts(detector):
    data = Distortion(
        seed=3,
        random=(RandomMisalignment(shift=(1e-3, 2e-3, 5e-3), turn=(1e-4, 1e-4, 1e-4), subdet=("TIB",)),),
        coherent=tuple(CoherentMisalignment(pattern=pattern, amplitude=1e-3) for pattern in ("twist", "skew")),
        rigid=(RigidMisalignment(translation=(0.01, 0, 0), subdet=("BPIX",)),),
        field={"bias": 1e-3},
        material={"TEC": 1.05},
    )  # fmt: skip
    m = detector.modules
    total = misalignment(detector, data)
    smooth = coherent_misalignment(m, "twist", 1e-3) + coherent_misalignment(m, "skew", 1e-3)
    rest = total - smooth
    names = np.array(detector.subdet_names)[m.subdet]
    assert_allclose(rest[~np.isin(names, ["TIB", "BPIX"])], 0, atol=1e-15)
    tib = rest[names == "TIB"]
    widths = np.array([1e-3, 2e-3, 5e-3, 1e-4, 1e-4, 1e-4])
    assert np.all(np.abs(tib.std(axis=0) / widths - 1) < 4 / np.sqrt(2 * len(tib)))
    assert_allclose(np.linalg.norm(rest[names == "BPIX"], axis=1), 0.01)
    true = distorted(detector, data)
    assert_allclose(true.modules.centre, displaced(m, total).centre)
    assert true.field.amplitudes[0] == pytest.approx(1e-3 * 3.8112, rel=1e-3)
    assert_allclose(true.modules.xi_mev / m.xi_mev, np.where(names == "TEC", 1.05, 1.0))


def test_no_distortion_changes_nothing(detector):
    true = distorted(detector, Distortion())
    assert np.array_equal(true.modules.centre, detector.modules.centre)
    assert np.array_equal(true.modules.xi_mev, detector.modules.xi_mev)
    assert true.field is detector.field


def test_unknown_names_are_refused_with_the_nearest(detector):
    with pytest.raises(ConfigError, match="no pattern 'twists'; the nearest are twist"):
        coherent_misalignment(detector.modules, "twists", 1.0)
    with pytest.raises(ConfigError, match="no material 'TOBB'; the nearest are TOB"):
        scaled_material(detector, {"TOBB": 1.1})
    with pytest.raises(ConfigError, match="expected above 0"):
        scaled_material(detector, {"TOB": -1.0})
    with pytest.raises(ConfigError, match="'l1m2c' is no mode"):
        distorted_field(detector.field, {"l1m2c": 1.0})
    with pytest.raises(ConfigError, match="no subdetector 'TIBB' in"):
        misalignment(detector, Distortion(rigid=(RigidMisalignment(subdet=("TIBB",)),)))
    with pytest.raises(InputError, match="stands in no field that could be distorted"):
        distorted(replace(detector, field=None), Distortion(field={"bias": 1e-3}))
