"""Overlapping modules are found, and modules that no track meets are named."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.detector import (
    barrel,
    cms_like,
    cross,
    find_overlaps,
    navigation_index,
    require_no_overlaps,
    unhit_modules,
)


@pytest.fixture(scope="module")
def small():
    return barrel()


def with_centre(detector, module, centre):
    centres = detector.modules.centre.copy()
    centres[module] = centre
    return replace(detector, modules=replace(detector.modules, centre=centres))


@pytest.mark.parametrize("make", [barrel, cms_like])
def test_the_built_in_trackers_have_no_overlaps(make):
    assert len(find_overlaps(make(), n_tracks=20_000)) == 0


def test_a_module_entered_twice_is_found_and_named(small):
    m = small.modules
    rotation = m.rotation.copy()
    rotation[700] = rotation[600]
    clone = with_centre(replace(small, modules=replace(m, rotation=rotation)), 700, m.centre[600])
    assert_array_equal(find_overlaps(clone, n_tracks=10), [[600, 700]])
    with pytest.raises(ValueError, match=r"1 pairs of modules overlap.*module 600 and .*module 700"):
        require_no_overlaps(clone, n_tracks=10)


def test_modules_pushed_into_each_other_are_found(small):
    # two neighbours of a strip layer stand 4 cm apart in radius; bring one onto the other, 5 cm along its u axis
    m = small.modules
    i = int(np.flatnonzero((m.subdet == 2) & (m.layer == 5))[40])
    same_plane = replace(
        m, rotation=np.where(np.arange(m.n_modules)[:, None, None] == i, m.rotation[i + 1], m.rotation)
    )
    pushed = with_centre(replace(small, modules=same_plane), i, m.centre[i + 1] + 5.0 * m.rotation[i + 1, 0])
    assert [i, i + 1] in find_overlaps(pushed).tolist()


def test_modules_that_cut_through_each_other_are_found(small):
    # one module of a strip layer turned upright, so that it cuts its neighbour
    m = small.modules
    i = int(np.flatnonzero((m.subdet == 2) & (m.layer == 5))[40])
    upright = m.rotation[i + 1][[2, 1, 0]] * np.array([1.0, 1.0, -1.0])[:, None]
    rotation = m.rotation.copy()
    rotation[i] = upright
    cut = with_centre(replace(small, modules=replace(m, rotation=rotation)), i, m.centre[i + 1] + m.rotation[i + 1, 0])
    assert [i, i + 1] in find_overlaps(cut, n_tracks=0).tolist()


def test_a_layer_moved_onto_another_is_found(small):
    m = small.modules
    layer = (m.subdet == 2) & (m.layer == 4)
    centre = m.centre.copy()
    centre[layer, :2] *= 60.0 / 75.0
    pairs = find_overlaps(replace(small, modules=replace(m, centre=centre)))
    assert len(pairs) > 10
    assert set(m.layer[pairs].min(axis=1)) == {3}


def test_modules_that_no_track_meets_are_listed(small):
    # straight tracks in the half phi > 0 from the origin never meet the other half
    n = 4000
    rng = np.random.default_rng(1)
    phi, eta = rng.uniform(0.0, np.pi, n), rng.uniform(-1.0, 1.0, n)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1)
    missed = unhit_modules(small, cross(navigation_index(small), np.zeros((n, 3)), direction, np.zeros(n), 3.8))
    below = np.flatnonzero((small.modules.corners()[..., 1] < 0).all(axis=1))
    assert set(below) <= set(missed)
    assert "strips-L6/ladder21" in " ".join(small.module_names(missed))


def test_the_probes_are_the_same_every_time(small):
    clone = with_centre(small, 700, small.modules.centre[600] + 0.005)
    assert_array_equal(find_overlaps(clone), find_overlaps(clone))
