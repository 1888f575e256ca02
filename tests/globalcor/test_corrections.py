"""What a solve returns, and how it is applied."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector.field import evaluate
from mucal.detector.field.modes import harmonic_modes
from mucal.globalcor import (
    Family,
    GlobalCorrections,
    accumulate,
    build_registry,
    divide,
    solve,
)

from .conftest import OPEN, Sample


def test_saved_and_loaded(registry, sums, tmp_path):
    found = solve(sums, registry)
    again = GlobalCorrections.load(found.save(tmp_path / "corrections.h5"))
    assert_array_equal(again.theta, found.theta)
    assert again.registry.names == registry.names
    assert again.provenance.ledgers["accumulate"].used == 400


def test_applied_to_the_detector_modules_move_and_the_field_changes(tracker):
    registry = build_registry(
        tracker, (Family(kind="alignment", by="layer"), Family(kind="modes", by="mode")), harmonic_modes(1)
    )
    truth = np.zeros(len(registry))
    truth[registry.index("alignment/strips-L4/u")] = 0.01
    truth[registry.index("bfield/l1m0c")] = 2e-3
    found = solve(accumulate(Sample(registry, truth), divide(400, 400), registry, OPEN), registry)
    exact = replace(found, theta=truth)
    moved = exact.to_detector(tracker)
    layer = (tracker.modules.subdet == 2) & (tracker.modules.layer == 4)
    shift = np.einsum("mij,mj->mi", tracker.modules.rotation, moved.modules.centre - tracker.modules.centre)
    assert_allclose(shift[layer], [[0.01, 0.0, 0.0]] * layer.sum(), atol=1e-12)
    assert_allclose(shift[~layer], 0.0, atol=1e-12)
    point = np.array([[30.0, 10.0, 20.0]])
    db = evaluate(moved.field, point).bfield - evaluate(tracker.field, point).bfield
    assert_allclose(db, [[0.0, 0.0, 2e-3]], atol=1e-12)


def test_another_detector_is_refused(tracker, registry, sums):
    found = solve(sums, registry)
    with pytest.raises(ValueError, match="these corrections are of 'barrel'"):
        found.to_detector(replace(tracker, name="other"))
    assert_array_equal(found.to_detector(tracker).modules.centre.shape, tracker.modules.centre.shape)


def test_prior_driven_results_are_flagged(registry, sums):
    tight = registry.with_prior(np.where(np.arange(len(registry)) == 5, 1e-9, registry.prior))
    found = solve(sums, tight)
    assert found.prior_driven[5]
    assert found.error_over_prior[5] == pytest.approx(1.0, abs=1e-3)
