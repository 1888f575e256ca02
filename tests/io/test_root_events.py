import numpy as np
import pytest
import uproot
from numpy.testing import assert_array_equal

from mucal.errors import InputError
from mucal.io import DimuonInput, MuonColumns, open_dimuons
from mucal.io.root_events import open_root


def test_text_branches_can_be_selected(files, tmp_path):
    table = files.pairs(6)
    table["Type"] = np.array(["GG", "GT", "GG", "TT", "GT", "GG"])
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file["Events"] = {
            name: values if values.dtype.kind != "U" else values.tolist() for name, values in table.items()
        }
    if open_root(path, None).columns.get("Type") is None or open_root(path, None).columns["Type"].kind != "text":
        pytest.skip("this uproot does not write text branches")
    source = open_dimuons(path, files.config(select=('Type == "GG"',)))
    assert_array_equal(source.read().event, table["event"][[0, 2, 5]])


def test_the_name_of_a_branch_is_never_evaluated(files, tmp_path):
    table = files.pairs(3)
    columns = MuonColumns(pt=("pt1", "pt1 * 2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"), charge=("q1", "q2"))
    with pytest.raises(InputError, match=r"'pt1 \* 2' is missing"):
        open_dimuons(files.write(tmp_path / "a.root", table), DimuonInput(columns=columns))


def test_the_newest_cycle_of_a_tree_is_read(files, tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for n in (2, 5):
            file.mktree("Events", {k: v.dtype for k, v in files.pairs(n).items()})
            file["Events"].extend(files.pairs(n))
    assert len(open_dimuons(path, files.config()).read()) == 5


def test_an_object_without_events_is_no_tree_b11(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0, 2.0])
    with pytest.raises(InputError, match="no TTree or RNTuple"):
        open_root(path, None)
    with pytest.raises(InputError, match="object 'h' holds no events"):
        open_root(path, "h")
