"""Templates of weak modes, seen by J/psi pairs in the simple track model of `jpsi`."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import displaced
from mucal.detector.field.modes import harmonic_modes
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    accumulate,
    build_registry,
    divide,
    gauges,
    solve,
    templates,
)
from mucal.globalcor.templates import TYPICAL_SIZE

from .jpsi import JpsiPairs


def pairs_of(tracker, registry, n):
    return accumulate(JpsiPairs(tracker, registry, n, eta_max=0.7, tries=60), divide(n, 500), registry)


@pytest.fixture(scope="module")
def fine(tracker):
    """Six parameters of every module, field and loss by layer."""
    families = (
        Family(kind="alignment", measured_v=False, min_entries=1),
        Family(kind="bfield", by="layer", components=("z",), passive=False, min_entries=1),
        Family(kind="eloss", by="layer", passive=False, min_entries=1),
    )
    return build_registry(tracker, families)


def test_rigid_templates_are_rigid_motions_of_the_modules(tracker, fine):
    found = templates(fine, tracker)
    small = 1e-4
    for name, move in (
        ("translation y", lambda x: x + small * np.array([0.0, 1.0, 0.0])),
        ("rotation z", lambda x: x + small / 108.0 * np.cross([0.0, 0.0, 1.0], x)),
        ("rotation x", lambda x: x + small / 108.0 * np.cross([1.0, 0.0, 0.0], x)),
    ):
        vector = small * found.vectors[:, found.names.index(name)]
        moved = displaced(tracker.modules, vector[fine.map.alignment])
        assert_allclose(moved.corners(), move(tracker.modules.corners()), atol=1e-9)


def test_rigid_motions_cannot_be_seen(tracker, fine):
    found = templates(fine, tracker)
    sums = pairs_of(tracker, fine, 300)
    h = sums.matrix()
    whole = np.zeros((h.n, len(found.names)))
    whole[fine.slot] = found.vectors
    information = np.einsum("nt,nt->t", whole, h.product(whole))
    by_name = dict(zip(found.names, information, strict=True))
    for name in ("translation x", "translation y", "translation z", "rotation z"):  # the field keeps its axis
        assert by_name[name] < 1e-9 * by_name["elliptic"], name
    assert by_name["curl"] > 1e-6 * by_name["elliptic"]


def test_a_uniform_field_is_a_template_of_legs_and_of_modes(tracker):
    families = (Family(kind="bfield", by="layer", components=("z",)), Family(kind="modes", by="mode"))
    both = build_registry(tracker, families, harmonic_modes(3, 0))
    found = templates(both, tracker)
    vector = found.vectors[:, found.names.index("uniform field")]
    assert_allclose(vector[both.of_kind("bfield")], 1.0)
    modes = both.modes.index[:, 0]
    assert_allclose(vector[both.of_kind("modes")], np.where(modes == 1, vector[both.index("bfield/l1m0c")], 0.0))
    assert vector[both.index("bfield/l1m0c")] == pytest.approx(1.0, rel=1e-9)  # one unit of l = 1 is 1 T everywhere


def test_what_cancels_within_a_parameter_is_no_template(tracker):
    # a layer that closes around the beam follows neither a shift across it nor a rotation about an axis across it
    registry = build_registry(tracker, (Family(kind="alignment", by="layer"),))
    found = templates(registry, tracker)
    assert set(found.names) == {
        "translation z", "rotation z", "radial", "telescope", "layer rotation", "curl", "twist", "bowing",
    }  # fmt: skip
    assert np.linalg.norm(found.vectors, axis=0).min() > 1e-3
    assert [row.name for row in gauges(registry, tracker)] == ["translation z", "rotation z"]


def test_gauges_weigh_rotations_with_the_size_of_a_module(tracker, fine):
    rows = gauges(fine, tracker)
    assert [row.name for row in rows] == [
        "translation x", "translation y", "translation z", "rotation x", "rotation y", "rotation z",
    ]  # fmt: skip
    row = rows[5]
    turn = fine.component[row.index] >= 3
    vector = templates(fine, tracker)
    rotation = vector.vectors[:, vector.names.index("rotation z")][row.index]
    assert_allclose(row.factor[turn], rotation[turn] * TYPICAL_SIZE**2)


def test_a_gauge_makes_the_alignment_without_priors_solvable(tracker):
    families = (Family(kind="alignment", by="layer", components=("u",), min_entries=1, prior=(np.inf,)),)
    registry = build_registry(tracker, families)
    data = JpsiPairs(tracker, registry, 500, eta_max=0.7, tries=80)
    sums = accumulate(data, divide(500, 500), registry, AccumulateConfig())
    gauge = [row for row in gauges(registry, tracker) if row.name == "rotation z"]
    found = solve(sums, registry, constraints=gauge)
    assert abs(gauge[0].factor @ found.theta[gauge[0].index]) < 1e-12 * np.abs(gauge[0].factor).max()
    assert np.all(found.error > 0)
