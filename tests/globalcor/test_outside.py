"""Field probes and surveys in a solve."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import cms_like
from mucal.detector.field import evaluate, harmonic_modes, with_modes
from mucal.errors import InputError
from mucal.globalcor import Chunk, Family, accumulate, build_registry, field_probes, solve, survey

from .conftest import blocks_of

PLACES = np.array([[0.0, 0.0, 0.0], [20.0, 10.0, 150.0], [-60.0, 5.0, -200.0], [90.0, -40.0, 40.0]])


@pytest.fixture(scope="module")
def magnet():
    detector = cms_like()
    registry = build_registry(detector, [Family(kind="modes", by="mode", min_entries=1)], harmonic_modes(3, 1))
    return detector, registry


def test_a_probe_measures_the_size_of_the_field_by_differences(magnet):
    detector, registry = magnet
    there = np.linalg.norm(evaluate(detector.field, PLACES).bfield, axis=1)
    rows = field_probes(registry, detector, PLACES, there + 1e-3, np.full(4, 1e-4))
    step = 1e-4
    for m, p in enumerate(registry.map.modes):
        sizes = []
        for sign in (1, -1):
            amplitudes = np.zeros(registry.map.modes.size)
            amplitudes[m] = sign * step
            moved = with_modes(detector.field, registry.modes, amplitudes)
            sizes.append(np.linalg.norm(evaluate(moved, PLACES).bfield, axis=1))
        slope = (sizes[0] - sizes[1]) / (2 * step)
        mine = [row.factor[row.index == p][0] for row in rows]
        assert_allclose(mine, slope, atol=1e-9)
    assert_allclose([row.value for row in rows], 1e-3, rtol=1e-9)


def test_probes_fix_the_scale_that_tracks_leave_open(magnet):
    # nothing but one probe: the prior of 4e-3 T gives way to 1e-5 T along what the probe sees
    detector, registry = magnet
    one = [Chunk(number=0, start=0, stop=1)]
    weak = accumulate(lambda chunk: blocks_of(registry, np.arange(1), rows=1, labels=1), one, registry)
    amplitudes = np.zeros(len(registry))
    amplitudes[registry.index("bfield/l1m0c")] = 2e-3
    true = with_modes(detector.field, registry.modes, amplitudes[registry.map.modes])
    size = np.linalg.norm(evaluate(true, PLACES).bfield, axis=1)
    rows = field_probes(registry, detector, PLACES, size, np.full(4, 1e-5))
    found = solve(weak, registry, measurements=rows)
    probed = np.array([[row.factor @ x[row.index] for row in rows] for x in (found.theta, amplitudes)])
    assert_allclose(probed[0], probed[1], atol=3e-5)
    for row in rows:
        factor = np.zeros(len(registry))
        factor[row.index] = row.factor
        assert np.sqrt(factor[found.free] @ found.covariance @ factor[found.free]) < 1.01e-5


def test_a_survey_measures_single_parameters(registry):
    name = registry.names[3]
    (row,) = survey(registry, [name], np.array([2e-3]), np.array([1e-3]))
    assert (row.index.tolist(), row.factor.tolist(), row.value, row.sigma) == ([3], [1.0], 2e-3, 1e-3)


def test_probes_without_modes_or_outside_the_field_are_refused(magnet, registry, tracker):
    detector, modes = magnet
    with pytest.raises(InputError, match="none floats"):
        field_probes(registry, tracker, PLACES, np.ones(4), np.ones(4))
    with pytest.raises(InputError, match="field probe 1"):
        field_probes(modes, detector, np.array([[0.0, 0, 0], [0, 0, 5e4]]), np.ones(2), np.ones(2))
