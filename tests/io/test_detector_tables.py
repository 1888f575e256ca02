"""Detectors through files: there and back without loss, foreign tables completed as documented, errors naming rows."""

from dataclasses import fields, replace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import SILICON, Detector, barrel, cms_like, cross, navigation_index
from mucal.detector.field import evaluate
from mucal.errors import ConfigError, InputError
from mucal.io.detector_tables import DetectorInput, read_detector, write_detector

PHASE_1 = DetectorInput(
    name="CMS Phase-1",
    subdet_names=("", "PXB", "PXF", "TIB", "TID", "TOB", "TEC"),
    measures={
        "PXB": (0.0010, 0.0025), "PXF": (0.0010, 0.0025), "TIB": (0.0025,), "TID": (0.0030,), "TOB": (0.0040,),
        "TEC": (0.0035,),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Detector:
    return barrel()


def columns_of(table) -> list[str]:
    return [field.name for field in fields(table) if field.name != "provenance"]


def assert_same(one: Detector, two: Detector):
    assert (one.name, one.subdet_names) == (two.name, two.subdet_names)
    for a, b in ((one.modules, two.modules), (one.passive, two.passive)):
        for name in columns_of(a):
            assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    if one.field is not None and two.field is not None:
        assert_array_equal(one.field.packed, two.field.packed)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_directory_of_tables_gives_the_same_detector_back(small, tmp_path, form):
    directory = write_detector(small, tmp_path / "tracker", format=form)
    assert_same(read_detector(directory), small)


def test_a_result_file_gives_the_same_detector_back(small, tmp_path):
    assert_same(read_detector(write_detector(small, tmp_path / "tracker.h5")), small)


def test_wedges_and_stereo_survive_a_directory(tmp_path):
    tracker = cms_like()
    assert_same(read_detector(write_detector(tracker, tmp_path / "tracker")), tracker)


def test_the_field_comes_back_with_the_detector(small, tmp_path):
    for path in (tmp_path / "tracker", tmp_path / "tracker.h5"):
        field = read_detector(write_detector(small, path)).field
        assert field is not None
        assert_array_equal(field.packed, small.field.packed)


def test_a_field_table_in_the_directory_is_read(small, tmp_path):
    directory = write_detector(replace(small, field=None), tmp_path / "tracker")
    assert read_detector(directory).field is None
    r, z = (a.ravel() for a in np.meshgrid(np.linspace(0, 120, 7), np.linspace(-150, 150, 9)))
    rows = {"r": r, "z": z, "br": 0 * r, "bz": np.full(r.size, 3.8)}
    pq.write_table(pa.table(rows), directory / "field.parquet")
    values = evaluate(read_detector(directory).field, np.array([[30.0, 20.0, 50.0]]))
    assert_allclose(values.bfield, [[0.0, 0.0, 3.8]], atol=1e-12)
    pq.write_table(pa.table({name: column[1:] for name, column in rows.items()}), directory / "field.parquet")
    with pytest.raises(InputError, match="field map has gaps: 1 of 63") as error:
        read_detector(directory)
    assert error.value.where["file"] == str(directory)


def plain_hdf5(path, detector, **changes):
    """Our columns in plain HDF5 groups, as another program would write them; None leaves a column out."""
    with h5py.File(path, "w") as file:
        file.attrs["name"], file.attrs["subdet_names"] = detector.name, list(detector.subdet_names)
        for table in ("modules", "passive"):
            part = getattr(detector, table)
            columns = {name: getattr(part, name) for name in columns_of(part)}
            for name, values in {**columns, **(changes if table == "modules" else {})}.items():
                if values is not None:
                    file[f"{table}/{name}"] = values
    return path


def test_plain_hdf5_groups_are_read(small, tmp_path):
    assert_same(read_detector(plain_hdf5(tmp_path / "plain.h5", small)), small)


def test_columns_that_may_lack_are_completed(small, tmp_path):
    lacking = dict.fromkeys(("module_id", "ladder", "side", "stereo", "strip_angle", "focus", "n_meas"))
    found = read_detector(plain_hdf5(tmp_path / "plain.h5", small, **lacking)).modules
    m = small.modules
    assert_array_equal(found.module_id, m.module_id)
    assert_array_equal(found.n_meas, m.n_meas)
    for name in ("side", "ladder", "stereo", "strip_angle", "focus"):
        assert_array_equal(getattr(found, name), 0)


def test_thickness_in_cm_is_silicon(small, tmp_path):
    thick = np.full(small.n_modules, 0.05)
    path = plain_hdf5(tmp_path / "plain.h5", small, x_over_x0=None, xi_mev=None, thickness=thick)
    found = read_detector(path).modules
    # 0.05 cm x 2.329 g/cm3 / 21.82 g/cm2 = 0.005337; 0.1535 MeV x 0.49848 x 0.11645 g/cm2 = 0.008912 MeV
    assert_allclose(found.x_over_x0, 0.005337, rtol=1e-4)
    assert_allclose(found.xi_mev, 0.008912, rtol=1e-3)
    assert_allclose(found.xi_mev, found.x_over_x0 * SILICON.xi_per_radiation_length * 1e3, rtol=1e-12)


def test_other_names_of_columns_are_mapped(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, layer=None, couche=small.modules.layer)
    found = read_detector(path, DetectorInput(columns={"layer": "couche"}))
    assert_array_equal(found.modules.layer, small.modules.layer)
    with pytest.raises(InputError, match="column 'couch' of modules is missing") as error:
        read_detector(path, DetectorInput(columns={"layer": "couch"}, places={"columns": "own.toml:3"}))
    assert error.value.where["near"].startswith("couche")
    assert error.value.where["asked"] == "own.toml:3 columns.layer"


def spoilt(small, column, row, value):
    values = getattr(small.modules, column).copy()
    values[row] = value
    return {column: values}


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("x_over_x0", 12, 0.0, r"x_over_x0\[12\] = 0.0; expected a thickness above 0"),
        ("half_v", 7, -4.5, r"half_v\[7\] = -4.5; expected a length above 0 cm"),
        ("module_id", 5, 4, r"module_id\[5\] = 4; expected dense ids"),
        ("sigma_u", 9, np.nan, r"sigma_u\[9\] = nan; expected finite"),
        ("subdet", 3, 8, r"subdet\[3\] = 8; expected a number of one of the 3 subdetectors"),
        ("centre", 20, [0, 0, np.inf], r"do not look like cm"),
    ],
)
def test_a_bad_row_is_named_with_its_file(small, tmp_path, column, row, value, message):
    path = plain_hdf5(tmp_path / "plain.h5", small, **spoilt(small, column, row, value))
    with pytest.raises(InputError, match=message) as error:
        read_detector(path)
    assert error.value.exit_code == 3
    assert error.value.where["file"] == str(path)


def test_a_reflection_is_refused_and_its_row_named(small, tmp_path):
    mirrored = small.modules.rotation[44] * np.array([1.0, -1.0, 1.0])[:, None]
    path = plain_hdf5(tmp_path / "plain.h5", small, **spoilt(small, "rotation", 44, mirrored))
    with pytest.raises(InputError, match=r"rotation\[44\].*this is a reflection"):
        read_detector(path)


def test_rounded_axes_are_made_orthonormal(small, tmp_path):
    rounded = small.modules.rotation.astype(np.float32)
    found = read_detector(plain_hdf5(tmp_path / "plain.h5", small, rotation=rounded)).modules
    assert_allclose(found.rotation, small.modules.rotation, atol=2e-7)
    assert_allclose(
        found.rotation @ found.rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (1288, 3, 3)), atol=1e-14
    )


def test_axes_far_from_orthonormal_are_refused(small, tmp_path):
    skewed = small.modules.rotation[44] * 1.001
    path = plain_hdf5(tmp_path / "plain.h5", small, **spoilt(small, "rotation", 44, skewed))
    with pytest.raises(InputError, match=r"rotation\[44\].*orthonormal"):
        read_detector(path)


@pytest.mark.parametrize("factor", [10.0, 0.01], ids=["mm", "m"])
def test_lengths_that_are_not_in_cm_are_refused(small, tmp_path, factor):
    m = small.modules
    path = plain_hdf5(tmp_path / "plain.h5", small, half_v=m.half_v * factor, centre=m.centre * factor)
    with pytest.raises(InputError, match="do not look like cm: median half_v") as error:
        read_detector(path)
    assert error.value.kind == "input.units"


def test_overlapping_modules_are_refused_and_named(small, tmp_path):
    m = small.modules
    centre, rotation = m.centre.copy(), m.rotation.copy()
    centre[700], rotation[700] = centre[600], rotation[600]
    path = plain_hdf5(tmp_path / "plain.h5", small, centre=centre, rotation=rotation)
    with pytest.raises(InputError, match=r"1 pairs of modules overlap.*module 600 and .*module 700"):
        read_detector(path)
    assert read_detector(path, DetectorInput(probes=0)).n_modules == small.n_modules


@pytest.mark.parametrize("column", ["centre", "half_u", "half_v", "subdet", "xi_mev"])
def test_a_column_that_may_not_lack_is_named(small, tmp_path, column):
    path = plain_hdf5(tmp_path / "plain.h5", small, **{column: None})
    name = "centre_x" if column == "centre" else column
    with pytest.raises(InputError, match=f"column '{name}' of modules is missing"):
        read_detector(path)


def test_a_table_without_resolutions_needs_measures(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, sigma_u=None, sigma_v=None, n_meas=None)
    with pytest.raises(InputError, match=r"neither the table nor measures gives the resolution of 'pixel' \(288"):
        read_detector(path)
    found = read_detector(path, DetectorInput(measures={"pixel": (0.001, 0.0028), "strips": (0.003,)}))
    assert_same(found, small)


def test_a_number_that_should_be_whole_is_named(small, tmp_path):
    layer = small.modules.layer.astype(float)
    layer[8] = 1.5
    path = plain_hdf5(tmp_path / "plain.h5", small, layer=layer)
    with pytest.raises(InputError, match=r"1 of 1288 rows of layer are not whole numbers: layer\[8\] = 1.5"):
        read_detector(path)


def test_columns_of_unequal_length_are_named(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, half_v=small.modules.half_v[:-3])
    with pytest.raises(InputError, match=r"columns 'half_v' and '.*' have 1285 and 1288 rows"):
        read_detector(path)


def test_links_out_of_a_file_are_refused(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, half_v=None)
    with h5py.File(path, "a") as file:
        file["modules/half_v"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(InputError, match="object 'half_v' is a link out of its place"):
        read_detector(path)


def test_text_columns_are_refused(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, remark=np.array([b"x"] * small.n_modules))
    with pytest.raises(InputError, match="object 'remark' is of type"):
        read_detector(path)


def test_a_declared_size_beyond_belief_is_refused(small, tmp_path):
    path = plain_hdf5(tmp_path / "plain.h5", small, half_v=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("modules/half_v", shape=(10**12,), dtype="f8", chunks=(1024,))
    with pytest.raises(InputError, match=r"object 'half_v' is declared as \(1000000000000,\)"):
        read_detector(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89HDF\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_detector_is_refused(tmp_path, content):
    path = tmp_path / "foreign.h5"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_detector(path)
    assert error.value.where["file"] == str(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_detector(tmp_path / "nowhere.h5")


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"neither modules.parquet nor modules.csv"):
        read_detector(tmp_path)


def test_two_tables_of_one_name_are_refused(small, tmp_path):
    directory = write_detector(small, tmp_path / "tracker")
    pc.write_csv(pq.read_table(directory / "modules.parquet").select(["layer"]), directory / "modules.csv")
    with pytest.raises(InputError, match=r"modules.parquet and modules.csv; which one"):
        read_detector(directory)


def test_nothing_is_overwritten_silently(small, tmp_path):
    write_detector(small, tmp_path / "tracker")
    with pytest.raises(FileExistsError):
        write_detector(small, tmp_path / "tracker")
    write_detector(small, tmp_path / "tracker", overwrite=True)


def test_an_unknown_format_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="as feather"):
        write_detector(small, tmp_path / "tracker", format="feather")
    with pytest.raises(ConfigError, match=r"tracker\.root"):
        write_detector(small, tmp_path / "tracker.root")


# ------------------------------------------------------------------------------------------------ the recorded table


@pytest.fixture(scope="module")
def phase_1(recorded) -> Detector:
    return read_detector(recorded / "cms_phase1_tracker_modules.h5", PHASE_1)


def test_the_phase_1_table_has_its_modules(phase_1):
    m = phase_1.modules
    counts = {name: int((m.subdet == i).sum()) for i, name in enumerate(phase_1.subdet_names) if name}
    assert counts == {"PXB": 1184, "PXF": 672, "TIB": 2724, "TID": 816, "TOB": 5208, "TEC": 6400}
    assert m.stereo.sum() == 3288
    assert phase_1.passive.n_surfaces == 0


def test_the_strips_of_phase_1_wedges_meet_on_the_beam_line(phase_1):
    # TID and TEC sensors are trapezoids whose sides are parallel to their outer strips; the table is rounded to 10 um,
    # which moves the point where 0.6 to 2.4 cm of taper meet by up to 1 cm
    m = phase_1.modules
    wedge = m.is_wedge & ~m.stereo
    assert set(m.subdet[wedge]) == {4, 6}
    assert wedge.sum() == 816 + 6400 - 288 - 1152
    focus = m.centre[wedge] - m.focus[wedge, None] * m.rotation[wedge, 1]
    assert np.hypot(focus[:, 0], focus[:, 1]).max() < 1.0


def test_sides_of_the_discs_follow_z(phase_1):
    m = phase_1.modules
    assert_array_equal(np.unique(m.subdet[m.side == 0]), [1, 3, 5])
    assert_array_equal(m.side[m.side != 0], np.sign(m.centre[m.side != 0, 2]))


def test_the_built_in_tracker_meets_tracks_as_the_real_one(phase_1):
    """Strip hits per muon, in eight bins of abs(eta) below 2.4: within a tenth; the outermost hit within 2 cm."""
    n = 8000
    rng = np.random.default_rng(4)
    eta, phi = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    position = np.zeros((n, 3))
    position[:, 2] = rng.normal(0.0, 3.6, n)
    direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1)
    qop = rng.choice([-1.0, 1.0], n) / (10.0 * np.cosh(eta))
    bins = (np.abs(eta) / 0.3).astype(int)
    counts, levers = [], []
    for detector in (phase_1, cms_like()):
        crossings = cross(navigation_index(detector), position, direction, qop, 3.8)
        strips = crossings.on_module & (detector.element_subdet[crossings.element] >= 3)
        hits = crossings.sum_over_tracks(strips.astype(float))
        counts.append(np.bincount(bins, hits) / np.bincount(bins))
        radius = np.hypot(*detector.modules.centre[crossings.element[strips], :2].T)
        outermost = np.zeros(n)
        np.maximum.at(outermost, crossings.track[strips], radius)
        levers.append(np.bincount(bins, outermost) / np.bincount(bins))
    assert_allclose(counts[1], counts[0], rtol=0.10)
    assert_allclose(levers[1], levers[0], atol=2.0)
