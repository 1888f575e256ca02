import awkward as ak
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
    path = files.write(tmp_path / "a.root", table)
    assert open_root(path, None).columns["Type"].kind == "text"
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


def test_an_rntuple_reads_like_a_tree(files, tmp_path):
    table = files.pairs(30)
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", table)
    source = open_dimuons(path, files.config(chunk_rows=7))
    assert source.files[0].columns["pt1"].kind == "number"
    assert_array_equal(source.read().pt, files.expected(table).pt)


def test_lists_in_an_rntuple_read_like_those_in_a_tree(files, tmp_path):
    table = {
        "pt": [[5.0, 4.0], [], [9.0, 3.0]],
        "eta": [[0.1, 0.2], [], [0.3, 0.4]],
        "phi": [[1.0, 2.0], [], [1.0, 2.0]],
        "q": [[-1, 1], [], [1, -1]],
    }
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {name: ak.Array(values) for name, values in table.items()})
    config = DimuonInput(columns=MuonColumns(pt="pt", eta="eta", phi="phi", charge="q"), layout="jagged")
    assert_array_equal(open_dimuons(path, config).read().pt, [[4, 5], [9, 3]])


def test_a_tree_in_a_folder_and_a_colon_in_the_path_are_no_trouble(files, tmp_path):
    path = files.write(tmp_path / "run:1.root", files.pairs(3), tree="analysis/Events")
    assert len(open_dimuons(path, files.config(tree="analysis/Events")).read()) == 3
    assert len(open_dimuons(path, files.config()).read()) == 3
