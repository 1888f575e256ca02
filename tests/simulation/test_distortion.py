"""Distortions: their sizes, their signs, and what they do to what is measured."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import Detector, cms_like, displaced, to_local
from mucal.simulation.distortion import coherent_misalignment, random_misalignment, rigid_misalignment, scaled_material


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


def test_a_curl_turns_by_the_square_of_the_radius(detector):
    x, y, _ = detector.modules.centre.T
    shift = moved(detector, coherent_misalignment(detector.modules, "curl", 1e-3))
    r = np.hypot(x, y)
    assert_allclose((x * shift[:, 1] - y * shift[:, 0]) / r, 1e-3 * (r / 100) ** 2, atol=1e-12)
    assert_allclose(x * shift[:, 0] + y * shift[:, 1], 0, atol=1e-12)


def test_a_z_scale_moves_along_z(detector):
    shift = moved(detector, coherent_misalignment(detector.modules, "z_scale", 1e-2))
    assert_allclose(shift, np.outer(detector.modules.centre[:, 2] * 1e-4, [0, 0, 1]), atol=1e-12)


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


def test_unknown_names_are_refused(detector):
    with pytest.raises(ValueError, match="no pattern 'saddle'"):
        coherent_misalignment(detector.modules, "saddle", 1.0)
    with pytest.raises(ValueError, match="no subdetector"):
        scaled_material(detector, {"TOBB": 1.1})
