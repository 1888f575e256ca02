"""HDF5 as an outside file: nothing leads out of it, runs code or claims more than it holds."""

import h5py
import numpy as np
import pytest

from mucal.errors import InputError
from mucal.io import DimuonInput, MuonColumns, check_dimuons, open_dimuons

COLUMNS = MuonColumns(pt="pt", eta="eta", phi="phi", charge="q")
CONFIG = DimuonInput(columns=COLUMNS, layout="rows", tree="muons")


@pytest.fixture
def path(tmp_path, files):
    rows = {"pt": np.array([5.0, 4.0]), "eta": np.zeros(2), "phi": np.array([0.0, 1.0]), "q": np.array([1, -1])}
    return files.write(tmp_path / "a.h5", rows, tree="muons")


def refused(path, column: str = "pt") -> str:
    with pytest.raises(InputError) as caught:
        open_dimuons(path, CONFIG)
    assert caught.value.kind == "input.refused"
    assert caught.value.where["object"] == column
    return caught.value.what


def test_external_and_soft_links_are_refused_b40(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["pt"] = np.array([5.0, 4.0])
    for link in (h5py.ExternalLink("other.h5", "pt"), h5py.SoftLink("/muons/eta")):
        with h5py.File(path, "a") as file:
            del file["muons/pt"]
            file["muons/pt"] = link
        assert "a link out of its place" in refused(path)


def test_a_group_behind_a_link_is_refused_b40(path):
    with h5py.File(path, "a") as file:
        file["same"] = h5py.SoftLink("/muons")
    with pytest.raises(InputError, match="'same' is a link"):
        open_dimuons(path, DimuonInput(columns=COLUMNS, layout="rows", tree="same"))


def test_virtual_and_external_datasets_are_refused_b40(path, tmp_path):
    with h5py.File(path, "a") as file:
        del file["muons/pt"]
        layout = h5py.VirtualLayout(shape=(2,), dtype="f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "pt", shape=(2,))
        file.create_virtual_dataset("muons/pt", layout)
    assert "stored in another file" in refused(path)
    with h5py.File(path, "a") as file:
        del file["muons/pt"]
        file.create_dataset("muons/pt", (2,), "f8", external=[(str(tmp_path / "raw"), 0, 16)])
    assert "stored in another file" in refused(path)


def test_object_columns_are_refused_b39(path):
    with h5py.File(path, "a") as file:
        del file["muons/pt"]
        file.create_dataset("muons/pt", data=["5", "4"], dtype=h5py.string_dtype())
    assert "made of objects" in refused(path)


def test_terabyte_shapes_are_refused_before_anything_is_allocated_b41(path):
    with h5py.File(path, "a") as file:
        for name in ("pt", "eta", "phi", "q"):
            del file[f"muons/{name}"]
            file.create_dataset(f"muons/{name}", (2**40,), "f8", chunks=(1000,))
    assert f"declared as {2**43} bytes, of which 0 are in the file" in refused(path)


def test_a_column_of_one_value_may_take_no_space(path):
    with h5py.File(path, "a") as file:
        file.create_dataset("muons/run", (2,), "i8", chunks=(2,), fillvalue=7)
    columns = MuonColumns(run="run", pt="pt", eta="eta", phi="phi", charge="q")
    assert open_dimuons(path, DimuonInput(columns=columns, layout="rows", tree="muons")).read().run.tolist() == [7]


def test_giant_pieces_are_refused_before_anything_is_allocated_b41(path):
    with h5py.File(path, "a") as file:
        del file["muons/pt"]
        n = 2**26
        pt = file.create_dataset("muons/pt", (n,), "f8", chunks=(n,), compression="gzip")
        pt.id.write_direct_chunk((0,), b"x" * (2**20))
    assert "stored in pieces of" in refused(path)


def test_an_unsafe_object_nobody_asks_for_does_no_harm(path):
    with h5py.File(path, "a") as file:
        file["muons/elsewhere"] = h5py.ExternalLink("other.h5", "pt")
        file["muons/cube"] = np.zeros((2, 2))
        file.create_group("muons/more")
    assert len(open_dimuons(path, CONFIG).read()) == 1
    assert check_dimuons(path, CONFIG).ok


def test_a_dataset_named_as_the_group_is_refused(path):
    with pytest.raises(InputError, match="is a dataset, expected a group"):
        open_dimuons(path, DimuonInput(columns=COLUMNS, layout="rows", tree="muons/pt"))


def test_text_columns_can_be_selected(path):
    with h5py.File(path, "a") as file:
        file["muons/kind"] = np.array([b"G", b"G"])
    config = DimuonInput(columns=COLUMNS, layout="rows", tree="muons", select=('kind == "G"',))
    assert len(open_dimuons(path, config).read()) == 1
