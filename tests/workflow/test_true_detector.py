"""The true detector of a closure, and what a perfect solve would find of it."""

import numpy as np
from numpy.testing import assert_allclose

from mucal.detector import barrel
from mucal.globalcor.corrections import corrected
from mucal.simulation import Distortion, RandomMisalignment
from mucal.workflow.tracks_config import Tracked
from mucal.workflow.true_detector import true_detector, true_parameters


def made(**options):
    config = Tracked(detector="barrel", l_max=2, m_max=1, **options)
    detector = barrel()
    registry = config.registry(detector)
    return detector, registry, true_detector(config, detector, registry), true_parameters(config, detector, registry)


def test_without_distortions_the_true_detector_is_the_assumed_one():
    detector, _, true, theta = made()
    assert_allclose(true.modules.centre, detector.modules.centre, rtol=0, atol=0)
    assert np.all(np.nan_to_num(theta) == 0)


def test_corrections_by_the_true_parameters_move_modules_where_they_are():
    detector, registry, true, theta = made(misalignment=1e-3, distortion=Distortion(field={"bias": 1e-3}))
    moved = corrected(registry, np.nan_to_num(theta), detector)
    assert np.abs(true.modules.centre - detector.modules.centre).max() > 1e-4
    assert_allclose(moved.modules.centre, true.modules.centre, rtol=0, atol=1e-12)


def test_the_field_and_the_material_are_those_of_the_distortion():
    detector, registry, _, theta = made()
    name = detector.subdet_names[int(detector.modules.subdet[0])]
    distortion = Distortion(field={"bias": 2e-3}, material={f"{name}/modules": 1.1})
    _, _, true, theta = made(distortion=distortion)
    at = registry.index("bfield/l1m0c")
    assert theta[at] == true.field.amplitudes[0]
    losses = registry.of_kind("eloss")
    found = {registry.names[i]: theta[i] for i in np.flatnonzero(losses)}
    off = {key: value for key, value in found.items() if value != 0}
    assert len(off) == 1
    assert_allclose(next(iter(off.values())), np.log(1.1), rtol=1e-12)


def test_a_distortion_finer_than_the_regions_is_found_in_the_mean():
    shifts = RandomMisalignment(of="module", shift=(1e-3, 0.0, 0.0))
    detector, registry, true, theta = made(distortion=Distortion(random=(shifts,)))
    moved = np.einsum("mi,mi->m", true.modules.centre - detector.modules.centre, detector.modules.rotation[:, 0])
    i = int(np.flatnonzero(registry.of_kind("alignment"))[0])
    inside = registry.map.alignment[:, 0] == i
    assert inside.sum() > 1
    assert_allclose(theta[i], moved[inside].mean(), rtol=0, atol=1e-12)
