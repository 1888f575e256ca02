import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.detector import cms_like
from mucal.detector.field.modes import harmonic_modes
from mucal.errors import InputError
from mucal.globalcor import CMS_2016, REDUCED, Family, Registry, build_registry
from mucal.numerics.blocks import BLOCK


@pytest.fixture(scope="module")
def cms():
    return cms_like()


@pytest.fixture(scope="module")
def full(cms):
    return build_registry(cms, CMS_2016)


def test_counts_of_the_2016_tracker(full):
    # 1440 pixel + 15148 strip modules, 3288 stereo pairs: 5 x 16588 + 1440 + 7216 wedges; 16588 - 3288 legs twice
    assert [int(full.of_kind(kind).sum()) for kind in ("alignment", "bfield", "eloss")] == [91_596, 13_300, 13_300]
    assert len(full) == 118_196


def test_names_tell_kind_region_and_component(full):
    assert full.names[0] == "alignment/BPIX-L1/ladder01/module 0/u"
    assert full.units[full.index("bfield/BPIX-L1/ladder01/module 0/z")] == "T"
    assert len(set(full.names)) == len(full)


def test_stereo_sisters_share_field_and_loss_only(cms, full):
    m = cms.modules
    sister = int(np.flatnonzero(m.stereo)[0])
    first = int(np.flatnonzero(full.map.bfield[: m.n_modules, 2] == full.map.bfield[sister, 2])[0])
    assert first != sister
    assert np.linalg.norm(m.centre[first] - m.centre[sister]) < 0.5
    assert full.map.eloss[first] == full.map.eloss[sister]
    assert full.map.alignment[first, 0] != full.map.alignment[sister, 0]


def test_every_stereo_pair_is_one_to_one(full):
    shared = np.bincount(full.map.eloss[full.map.eloss >= 0])
    assert_array_equal(np.unique(shared[shared > 0], return_counts=True), [[1, 2], [10_012, 3288]])


def test_a_module_has_its_parameters_in_one_block(full):
    rows = full.map.alignment
    block = np.where(rows >= 0, full.slot[rows] // BLOCK, -1)
    assert np.all(np.array([len(set(b) - {-1}) for b in block.tolist()]) == 1)
    assert np.all(np.diff(full.slot) > 0)


def test_priors_are_those_of_the_cms_solver(full, cms):
    strip = int(np.flatnonzero((cms.modules.n_meas == 1) & ~cms.modules.is_wedge)[0])
    assert full.map.alignment[strip, 1] == -1
    free = build_registry(cms, (Family(kind="alignment", measured_v=False),))
    assert free.prior[free.map.alignment[strip, 1]] == 2.0
    assert full.prior[full.map.bfield[0, 2]] == 0.038
    assert full.prior[full.map.eloss[0]] == pytest.approx(np.log(2))


def test_modes_and_groups_of_material(cms):
    reduced = build_registry(cms, REDUCED, harmonic_modes(3))
    assert reduced.of_kind("modes").sum() == 15
    loss = [reduced.names[i] for i in np.flatnonzero(reduced.of_kind("eloss"))]
    assert "eloss/services/beam pipe/scale" in loss
    assert "eloss/TOB/sensors/scale" in loss
    pipe = reduced.index("eloss/services/beam pipe/scale")
    assert_array_equal(np.flatnonzero(reduced.map.eloss == pipe), [cms.n_modules])  # the cylinder at r = 3 cm
    assert np.all(reduced.map.eloss >= 0)
    assert reduced.prior[pipe] == 0.01


@pytest.mark.parametrize(("by", "count"), [("layer", 30 + 6 * 3), ("subdet", 13), ("whole", 7)])
def test_coarser_regions(tracker, by, count):
    if by == "layer":
        families = (Family(kind="alignment", by=by, measured_v=False, components=tuple("uvwac")),
                    Family(kind="bfield", by=by, components=("z",), passive=False))  # fmt: skip
        count = 9 * 5 + 9
    else:
        families = (Family(kind="alignment", by=by), Family(kind="bfield", by=by, components=("z",), passive=False))
        count = {"subdet": 6 + 5 + 2, "whole": 7}[by]
    assert len(build_registry(tracker, families)) == count


def test_half_barrels_and_endcaps(cms):
    halves = build_registry(cms, (Family(kind="alignment", by="half barrel", components=("u",)),))
    assert {name.split("/")[1] + name.split("/")[2] for name in halves.names} >= {"BPIXx+", "BPIXx-", "TECz+", "TECz-"}


def test_variances_of_hits_and_scattering(tracker):
    kinds = {"hit_variance": "subdet", "scattering": "subdet", "straggling": "whole"}
    families = [Family(kind=kind, by=by) for kind, by in kinds.items()]
    found = build_registry(tracker, families)
    assert "hit_variance/pixel/v" in found.names
    assert "hit_variance/strips/v" not in found.names  # strips do not measure v
    assert found.map.scattering.min() >= 0


def test_the_digest_is_of_the_map_and_not_of_the_priors(registry, tracker):
    assert registry.with_prior(2.0 * registry.prior).digest == registry.digest
    other = build_registry(tracker, (Family(kind="alignment", by="layer", measured_v=False),))
    assert other.digest != registry.digest
    assert registry.map.digest == registry.digest


def test_saved_and_loaded(registry, tmp_path):
    found = Registry.load(registry.save(tmp_path / "registry.h5"))
    assert found.names == registry.names
    assert found.digest == registry.digest


def test_two_families_of_one_component_are_refused(tracker):
    with pytest.raises(ValueError, match="acts where"):
        build_registry(tracker, (Family(kind="eloss", by="subdet"), Family(kind="eloss", by="layer")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "field"}, "no family of kind 'field'"),
        ({"kind": "eloss", "by": "modul"}, "no granularity 'modul'"),
        ({"kind": "bfield", "by": "mode"}, "cannot go by"),
        ({"kind": "bfield", "components": ("r",)}, "no component 'r'"),
        ({"kind": "bfield", "components": ("z",), "prior": (1.0, 2.0)}, "2 priors for 1"),
        ({"kind": "bfield", "components": ("z",), "prior": (0.0,)}, "must be positive"),
    ],
)
def test_bad_families_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Family(**options)


def test_unknown_names_are_refused_with_the_nearest(registry, tracker):
    with pytest.raises(ValueError, match="alignment/pixel-L1/u"):
        registry.index("alignment/pixel-L1/uu")
    with pytest.raises(ValueError, match="no subdetector 'pixels'"):
        build_registry(tracker, (Family(kind="alignment", subdets=("pixels",)),))


def test_a_saved_registry_of_another_type_is_refused(registry, tmp_path):
    with pytest.raises(InputError, match="holds a ParameterMap"):
        Registry.load(registry.map.save(tmp_path / "map.h5"))
