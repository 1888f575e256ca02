"""Certified luminosity sections and eras (B16): what belongs to none is refused or rejected, and each is counted."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucal.errors import InputError
from mucal.io import check_dimuons, open_dimuons
from mucal.io.runs import CertifiedRuns, check_eras, read_certified

ERAS = {"G": (278820, 280385), "H": (281207, 284068)}


def events(files, path: Path, run: np.ndarray) -> Path:
    table = files.pairs(run.size)
    return files.write(path, {**table, "run": run, "lumi": np.arange(run.size) + 1})


def test_b16_a_run_of_no_era_is_refused_with_count_and_place(files, tmp_path: Path):
    path = events(files, tmp_path / "a.parquet", np.repeat([278900, 273158], [9, 3]))
    with pytest.raises(
        InputError, match=r"3 events are of runs outside all eras of the configuration \(G, H\)"
    ) as error:
        open_dimuons(path, files.config(eras=ERAS)).read()
    assert error.value.exit_code == 3
    assert "entry 9 (273158:10:" in error.value.where["first"]


def test_b16_each_era_has_its_ledger(files, tmp_path: Path):
    path = events(files, tmp_path / "a.parquet", np.repeat([278900, 281300, 279000], [4, 6, 2]))
    source = open_dimuons(path, files.config(eras=ERAS, pt_min=20.0, chunk_rows=5))
    pairs = source.read()
    ledgers = source.era_ledgers
    assert {name: ledger.read for name, ledger in ledgers.items()} == {"G": 6, "H": 6}
    for name, (first, last) in ERAS.items():
        assert ledgers[name].used == int(((pairs.run >= first) & (pairs.run <= last)).sum())
    total = ledgers["G"] + ledgers["H"]
    assert (total.read, total.used, dict(total.rejected)) == (
        source.ledger.read, source.ledger.used, dict(source.ledger.rejected),
    )  # fmt: skip


def test_b16_sections_that_are_not_certified_are_rejected_and_counted(files, tmp_path: Path):
    path = events(files, tmp_path / "a.parquet", np.repeat([7, 8], 6))
    (tmp_path / "certified.json").write_text(json.dumps({"7": [[1, 2], [5, 5]], "9": [[1, 99]]}))
    source = open_dimuons(path, files.config(certified=str(tmp_path / "certified.json")))
    pairs = source.read()
    assert pairs.lumi.tolist() == [1, 2, 5]
    assert dict(source.ledger.rejected) == {"uncertified": 9}


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=30))
def test_membership_is_that_of_a_loop(asked: list[tuple[int, int]]):
    ranges = {1: [(2, 4), (6, 6)], 3: [(1, 12)]}
    listed = [(run * 2**32 + low, run * 2**32 + high) for run, found in ranges.items() for low, high in found]
    first, last = np.array(listed).T
    run, lumi = np.array(asked).T
    expected = [any(low <= x <= high for low, high in ranges.get(r, [])) for r, x in asked]
    assert CertifiedRuns(first=first, last=last).hold(run, lumi).tolist() == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "not run -> ranges"),
        ('{"7": [[1, 2, 3]]}', "not run -> ranges"),
        ('{"run7": [[1, 2]]}', "not run -> ranges"),
        ('{"7": [[1, 5], [5, 9]]}', "ranges of run 7 overlap or run backwards at section 1"),
        ('{"7": [[5, 1]]}', "ranges of run 7 overlap or run backwards at section 5"),
    ],
)
def test_what_is_no_list_of_certified_runs_is_refused(files, tmp_path: Path, content: str, said: str):
    (tmp_path / "certified.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read_certified(tmp_path / "certified.json")
    path = events(files, tmp_path / "a.parquet", np.full(3, 7))
    report = check_dimuons(path, files.config(certified=str(tmp_path / "certified.json")))
    assert [error.kind for error in report.problems] == ["input.certified"]


def test_no_certified_runs_reject_everything(tmp_path: Path):
    (tmp_path / "none.json").write_text("{}")
    assert not read_certified(tmp_path / "none.json").hold(np.array([1]), np.array([1])).any()


@pytest.mark.parametrize(
    ("eras", "said"),
    [({"G": (5, 4)}, r"eras.G is \[5, 4\]"), ({"G": (1, 5), "H": (5, 9)}, "eras.G and eras.H both hold run 5")],
)
def test_eras_that_are_none_are_refused(eras, said: str):
    with pytest.raises(ValueError, match=said):
        check_eras(eras)


def test_eras_and_certificates_need_the_columns_they_are_about(files):
    without_lumi = {"columns": type(files.columns)(pt=("a", "b"), eta=("c", "d"), phi=("e", "f"), charge=(1, -1))}
    with pytest.raises(ValueError, match=r"eras needs columns.run"):
        files.config(eras=ERAS, **without_lumi)
    with pytest.raises(ValueError, match=r"certified needs columns.run"):
        files.config(certified="x.json", **without_lumi)
