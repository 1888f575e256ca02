from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mucal.errors import ConfigError, VerificationError
from mucal.io import DimuonInput, MuonColumns, dimuon_writer, open_dimuons, write_dimuons
from mucal.io.dimuon_writer import WRITTEN
from mucal.track import Dimuons

FIELDS = ("run", "lumi", "event", "pt", "eta", "phi", "charge")
SUFFIXES = [".parquet", ".root"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(n=st.integers(0, 30), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_what_is_written_in_any_chunks_reads_back_bit_for_bit(files, tmp_path, suffix: str, n: int, cuts: list[int]):
    made = files.expected(files.pairs(n))
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    chunks = [made.select(slice(a, b)) for a, b in pairwise(edges)]
    path = write_dimuons(tmp_path / f"a{suffix}", chunks, overwrite=True)
    found = open_dimuons(path, DimuonInput(columns=WRITTEN, check_mass=1e-12)).read()
    for name in FIELDS:
        assert_array_equal(getattr(found, name), getattr(made, name))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_names_of_columns_and_tree_are_the_users(files, tmp_path, suffix: str):
    columns = MuonColumns(
        pt=("plus_pt", "minus_pt"), eta=("plus_eta", "minus_eta"), phi=("plus_phi", "minus_phi"), charge=("qp", "qm")
    )
    path = write_dimuons(tmp_path / f"a{suffix}", files.expected(files.pairs(4)), columns=columns, tree="Jpsi")
    config = DimuonInput(columns=columns, tree="Jpsi" if suffix == ".root" else None)
    assert len(open_dimuons(path, config).read()) == 4


def test_like_sign_pairs_read_back_in_their_order(files, tmp_path):
    table = files.pairs(5)
    table["q2"][:] = 1
    made = files.expected(table)
    leading = made.pt[:, 0] >= made.pt[:, 1]
    made = made.select(leading)
    path = write_dimuons(tmp_path / "a.parquet", made)
    assert_array_equal(open_dimuons(path, DimuonInput(columns=WRITTEN, charge="same")).read().pt, made.pt)


def test_a_file_that_exists_is_kept(files, tmp_path):
    path = write_dimuons(tmp_path / "a.root", files.expected(files.pairs(2)))
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_dimuons(path, files.expected(files.pairs(3)))
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_halfway_leaves_nothing_behind(files, tmp_path, suffix: str):
    def chunks():
        yield files.expected(files.pairs(2))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_dimuons(tmp_path / f"a{suffix}", chunks())
    assert not list(tmp_path.iterdir())


def test_a_file_that_reads_back_differently_is_not_kept(files, tmp_path, monkeypatch):
    write = dimuon_writer._write_parquet

    def lossy(path, kinds, rows, tree):
        write(path, kinds, ({k: v.astype(np.float32).astype(v.dtype) for k, v in r.items()} for r in rows), tree)

    monkeypatch.setattr(dimuon_writer, "_write_parquet", lossy)
    with pytest.raises(VerificationError, match="reads back differently"):
        write_dimuons(tmp_path / "a.parquet", files.expected(files.pairs(3)))
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"not '\.csv'"):
        write_dimuons(tmp_path / "a.csv", Dimuons.concatenate([]))


def test_one_name_for_two_muons_is_refused(tmp_path):
    columns = MuonColumns(pt="pt", eta="eta", phi="phi", charge="q")
    with pytest.raises((ConfigError, ValueError), match="two names"):
        write_dimuons(tmp_path / "a.parquet", Dimuons.concatenate([]), columns=columns)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_colon_in_the_path_is_no_trouble(files, tmp_path, suffix: str):
    path = write_dimuons(tmp_path / f"run:1{suffix}", files.expected(files.pairs(4)))
    assert len(open_dimuons(path, DimuonInput(columns=WRITTEN)).read()) == 4
