"""Opening and streaming: what comes out, what is counted, and each bad input that must end in an error."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mucal.errors import ConfigError, InputError
from mucal.io import DimuonInput, DimuonSource, MuonColumns, open_dimuons
from mucal.io.event_table import Chunk, Column, Jagged
from mucal.ledger import Ledger
from mucal.track import Dimuons

FORMATS = ["root", "parquet", "csv", "hdf5"]


def tree_of(kind: str) -> dict[str, str]:
    return {"tree": "Events"} if kind == "hdf5" else {}


def assert_same(found: Dimuons, expected: Dimuons) -> None:
    for name in ("run", "lumi", "event", "pt", "eta", "phi", "charge"):
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunk_rows", [1, 3, 1000])
def test_every_format_and_chunk_size_returns_what_was_written(files, tmp_path, kind: str, chunk_rows: int):
    table = files.pairs(12)
    path = files.write(tmp_path / f"a{files.suffix[kind]}", table)
    source = open_dimuons(path, files.config(chunk_rows=chunk_rows, **tree_of(kind)))
    chunks = list(source)
    assert max(len(chunk) for chunk in chunks) <= chunk_rows
    assert_same(Dimuons.concatenate(chunks), files.expected(table))
    assert source.ledger.line() == "read 12 pairs = used 12"


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_of_one_event_are_one_event_in_every_format(files, tmp_path, kind: str):
    # events of 2, 1, 3 and 2 muons
    rows = {
        "run": np.full(8, 7), "lumi": np.full(8, 1), "event": np.array([1, 1, 2, 3, 3, 3, 4, 4]),
        "pt": np.array([5.0, 4, 9, 3, 8, 7, 6, 2]), "eta": np.arange(8) / 10, "phi": np.arange(8) / 8,
        "q": np.array([-1, 1, 1, 1, -1, 1, 1, 1]),
    }  # fmt: skip
    path = files.write(tmp_path / f"a{files.suffix[kind]}", rows)
    for chunk_rows in (1, 2, 3, 5, 100):
        config = DimuonInput(columns=files.lists, layout="rows", chunk_rows=chunk_rows, **tree_of(kind))
        source = open_dimuons(path, config)
        found = source.read()
        assert_array_equal(found.pt, [[4, 5], [7, 8]])
        assert source.ledger.line() == "read 4 events = used 2 + fewer_than_two_muons 1 + same_charge 1"


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_lists_of_muons_are_paired_in_every_format_that_has_them(files, tmp_path, kind: str):
    table = {
        "run": np.full(4, 7), "lumi": np.full(4, 1), "event": np.arange(4), "trigger": np.array([1, 1, 1, 0]),
        "pt": [[5.0, 4.0], [], [9.0, 3.0, 8.0], [5.0, 4.0]], "eta": [[0.1, 0.2], [], [0.3, 0.4, 0.5], [0.1, 0.2]],
        "phi": [[1.0, 2.0], [], [1.0, 2.0, 3.0], [1.0, 2.0]], "q": [[-1, 1], [], [1, -1, -1], [1, -1]],
        "good": [[1, 1], [], [1, 1, 0], [1, 1]],
    }  # fmt: skip
    path = files.write(tmp_path / f"a{files.suffix[kind]}", table)
    config = DimuonInput(columns=files.lists, layout="jagged", select=("trigger == 1", "good == 1"))
    source = open_dimuons(path, config)
    assert_array_equal(source.read().pt, [[4, 5], [9, 3]])
    assert dict(source.ledger.rejected) == {"fewer_than_two_muons": 1, "selection:trigger == 1": 1}


def test_two_rows_an_event_need_no_event_numbers(files, tmp_path):
    rows = {"pt": np.array([5.0, 4, 9, 3]), "eta": np.zeros(4), "phi": np.arange(4) / 4, "q": np.array([1, -1, -1, 1])}
    path = files.write(tmp_path / "a.h5", rows, tree="muons")
    config = DimuonInput(
        columns=MuonColumns(pt="pt", eta="eta", phi="phi", charge="q"), layout="rows", tree="muons", chunk_rows=1
    )
    source = open_dimuons(path, config)
    assert_array_equal(source.read().pt, [[5, 4], [3, 9]])
    assert "no event number" in source.notes[0]


def test_events_without_numbers_are_numbered_over_all_files(files, tmp_path):
    columns = MuonColumns(pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"), charge=("q1", "q2"))
    paths = [files.write(tmp_path / f"{seed}.parquet", files.pairs(4, seed)) for seed in (1, 2)]
    assert_array_equal(open_dimuons(paths, DimuonInput(columns=columns, chunk_rows=3)).read().event, np.arange(8))


def test_charges_may_be_stated_instead_of_read(files, tmp_path):
    table = files.pairs(3)
    path = files.write(tmp_path / "a.parquet", {k: v for k, v in table.items() if k not in ("q1", "q2")})
    columns = MuonColumns(pt=("pt2", "pt1"), eta=("eta2", "eta1"), phi=("phi2", "phi1"), charge=(-1, 1))
    found = open_dimuons(path, DimuonInput(columns=columns)).read()
    assert_array_equal(found.pt, files.expected(table).pt)


def test_iterating_again_starts_anew(files, tmp_path):
    source = open_dimuons(files.write(tmp_path / "a.parquet", files.pairs(4)), files.config())
    assert_same(source.read(), source.read())
    assert source.ledger.read == 4


def test_digests_are_those_of_the_files(files, tmp_path):
    path = files.write(tmp_path / "a.parquet", files.pairs(4))
    source = open_dimuons(path, files.config())
    assert source.digests == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}


class InMemory:
    """An event table cut into chunks as a test says."""

    path, format, tree = Path("made.up"), "parquet", ""

    def __init__(self, columns: dict[str, np.ndarray], cuts: Sequence[int]) -> None:
        self.data = columns
        self.entries = next(iter(columns.values())).size
        self.columns = {name: Column(kind="number", type="float64") for name in columns}
        self.cuts = sorted({0, self.entries, *(c for c in cuts if c < self.entries)})

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        for start, stop in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            part: dict[str, np.ndarray | Jagged] = {name: self.data[name][start:stop] for name in names}
            yield Chunk(start=start, rows=stop - start, columns=part)


ROW = st.tuples(
    st.integers(0, 6), st.sampled_from([3.0, 4.5, 20.0, np.nan, -1.0]), st.sampled_from([-1.0, 1.0, 1.0, 0.0])
)


@given(rows=st.lists(ROW, min_size=1, max_size=30), cuts=st.lists(st.integers(1, 30), max_size=8))
def test_any_chunking_gives_the_same_pairs_and_the_same_ledger(rows: list, cuts: list[int]):
    event, pt, charge = (np.array(values) for values in zip(*rows, strict=True))
    n = event.size
    table = {"event": event, "pt": pt, "eta": np.arange(n) / n, "phi": np.arange(n) / n, "q": charge}
    columns = MuonColumns(event="event", pt="pt", eta="eta", phi="phi", charge="q")
    config = DimuonInput(columns=columns, layout="rows", duplicates="first", max_bad_fraction=1.0)
    whole, parts = (DimuonSource([InMemory(table, c)], config, Ledger(unit="files"), ()) for c in ([], cuts))
    assert_same(parts.read(), whole.read())
    assert parts.ledger == whole.ledger
    assert parts.ledger.line() == whole.ledger.line()
    assert parts.ledger.read == np.count_nonzero(np.diff(event)) + 1


# ------------------------------------------------------------------------------------------------ bad inputs


def test_rejections_add_up_and_name_the_entry_b01(files, tmp_path):
    table = files.pairs(400)
    table["pt1"][[3, 9]] = np.nan
    table["q2"][5] = 0
    source = open_dimuons(files.write(tmp_path / "a.parquet", table), files.config(chunk_rows=7))
    assert len(source.read()) == 397
    assert dict(source.ledger.rejected) == {"nonfinite:pt": 2, "charge": 1}
    assert source.ledger.examples["nonfinite:pt"] == (
        f"{tmp_path}/a.parquet entry 3 (7:1:3000010)",
        f"{tmp_path}/a.parquet entry 9 (7:2:9000028)",
    )


def test_more_bad_events_than_allowed_end_in_an_error_with_counts_b04(files, tmp_path):
    table = files.pairs(100)
    table["q1"] = table["q1"].astype(float)
    table["q1"][:6] = 0.99
    path = files.write(tmp_path / "a.parquet", table)
    with pytest.raises(InputError, match=r"6 of 100 pairs are bad, more than 0\.01: charge 6") as caught:
        open_dimuons(path, files.config()).read()
    assert caught.value.where["charge"].count("entry") == 5
    assert len(open_dimuons(path, files.config(max_bad_fraction=0.06)).read()) == 94


def test_the_same_pair_twice_is_refused_across_files_b13(files, tmp_path):
    first, second = files.pairs(6, 1), files.pairs(6, 2)
    for name in first:
        second[name][4] = first[name][2]
    paths = [files.write(tmp_path / f"{i}.parquet", t) for i, t in enumerate((first, second))]
    with pytest.raises(InputError, match="1 of 12 pairs come twice") as caught:
        open_dimuons(paths, files.config()).read()
    assert caught.value.where["1"] == f"{paths[1]} entry 4 repeats {paths[0]} entry 2"


def test_the_first_of_two_equal_pairs_is_kept_when_asked_b13(files, tmp_path):
    table = files.pairs(6)
    for name in table:
        table[name][4] = table[name][2]
    path = files.write(tmp_path / "a.parquet", table)
    source = open_dimuons(path, files.config(duplicates="first", chunk_rows=2))
    assert_array_equal(source.read().event, table["event"][[0, 1, 2, 3, 5]])
    assert dict(source.ledger.rejected) == {"duplicate": 1}


def test_two_pairs_of_one_event_are_no_duplicates(files, tmp_path):
    table = files.pairs(6)
    table["event"][:] = 1
    table["lumi"][:] = 1
    assert len(open_dimuons(files.write(tmp_path / "a.parquet", table), files.config()).read()) == 6


def test_the_same_file_given_twice_is_refused_b14(files, tmp_path):
    path = files.write(tmp_path / "a.parquet", files.pairs(3))
    link, copy = tmp_path / "link.parquet", tmp_path / "copy.parquet"
    link.symlink_to(path)
    copy.write_bytes(path.read_bytes())
    for again in (path, link, copy):
        with pytest.raises(InputError) as caught:
            open_dimuons([path, again], files.config())
        assert caught.value.kind == "input.same_file"
        assert str(path) in caught.value.what
        assert str(again) in caught.value.what


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_column_is_named_before_anything_is_read_b08(files, tmp_path, kind: str):
    table = files.pairs(3)
    table["ptt2"] = table.pop("pt2")
    path = files.write(tmp_path / f"a{files.suffix[kind]}", table)
    with pytest.raises(InputError, match="'pt2' is missing") as caught:
        open_dimuons(path, files.config(places={"columns.pt": "config.toml:14"}, **tree_of(kind)))
    error = caught.value
    assert (error.exit_code, error.kind, error.where["asked"]) == (
        3,
        "input.missing_branch",
        "config.toml:14 columns.pt",
    )
    assert error.where["near"].startswith("ptt2")
    assert str(path) in error.where["file"]


def test_a_column_in_some_files_only_counts_the_files_b09(files, tmp_path):
    tables = [files.pairs(3, seed) for seed in (1, 2, 3)]
    del tables[1]["lumi"]
    paths = [files.write(tmp_path / f"{i}.root", table) for i, table in enumerate(tables)]
    with pytest.raises(InputError, match="'lumi' is missing") as caught:
        open_dimuons(paths, files.config())
    assert caught.value.where["files"] == "missing in 1 of 3 files"


def test_a_declared_default_fills_a_missing_column_and_says_so_b09(files, tmp_path):
    tables = [files.pairs(3, seed) for seed in (1, 2)]
    del tables[1]["lumi"]
    paths = [files.write(tmp_path / f"{i}.root", table) for i, table in enumerate(tables)]
    source = open_dimuons(paths, files.config(defaults={"lumi": 99}))
    assert_array_equal(source.read().lumi, [1, 1, 1, 99, 99, 99])
    assert source.notes == ("1.root lacks 'lumi': 99 is used",)


def test_a_default_that_nothing_asks_for_names_the_nearest(files, tmp_path):
    path = files.write(tmp_path / "a.root", files.pairs(3))
    with pytest.raises(ConfigError, match="'lumy'") as caught:
        open_dimuons(path, files.config(defaults={"lumy": 1}))
    assert caught.value.where["near"].startswith("lumi")


@pytest.mark.parametrize("kind", FORMATS)
def test_momenta_in_mev_are_refused_with_the_median_seen_b05(files, tmp_path, kind: str):
    table = files.pairs(51)
    for name in ("pt1", "pt2"):
        table[name] = table[name] * 1000
    median = np.median(np.concatenate([table["pt1"], table["pt2"]]))
    path = files.write(tmp_path / f"a{files.suffix[kind]}", table)
    with pytest.raises(InputError, match="median muon pT") as caught:
        open_dimuons(path, files.config(**tree_of(kind)))
    assert f"{median:.4g}" in caught.value.what
    assert caught.value.kind == "input.units"


def test_a_mass_column_in_mev_is_refused_b05(files, tmp_path):
    table = files.pairs(51)
    table["M"] = files.expected(table).mass * 1000
    columns = MuonColumns(pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"), charge=("q1", "q2"), mass="M")
    with pytest.raises(InputError, match="median mass column"):
        open_dimuons(files.write(tmp_path / "a.root", table), DimuonInput(columns=columns, check_mass=0.1))


def test_a_list_where_a_number_is_expected_names_both_columns_b10(files, tmp_path):
    table = files.pairs(3)
    table["pt1"] = [[1.0], [2.0, 3.0], []]
    path = files.write(tmp_path / "a.parquet", table)
    with pytest.raises(InputError, match=r"column 'pt1' is a list of numbers a row .* while 'pt2' is one number a row"):
        open_dimuons(path, files.config())


def test_text_where_a_number_is_expected_is_refused_b10(files, tmp_path):
    table = files.pairs(3)
    table["pt1"] = np.array(["high", "low", "low"])
    with pytest.raises(InputError, match="column 'pt1' is text"):
        open_dimuons(files.write(tmp_path / "a.csv", table), files.config())


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_lists_of_different_length_name_both_columns_and_the_entry_b10(files, tmp_path, kind: str):
    table = {
        "run": np.full(3, 7), "lumi": np.full(3, 1), "event": np.arange(3), "pt": [[5.0, 4.0], [], [9.0, 3.0]],
        "eta": [[0.1, 0.2], [], [0.3]], "phi": [[1.0, 2.0], [], [1.0, 2.0]], "q": [[-1, 1], [], [1, -1]],
    }  # fmt: skip
    path = files.write(tmp_path / f"a{files.suffix[kind]}", table)
    with pytest.raises(InputError, match="'pt' and 'eta' have 2 and 1 muons") as caught:
        open_dimuons(path, DimuonInput(columns=files.lists, layout="jagged"))
    assert caught.value.where["entry"] == "2"


def test_datasets_of_different_length_name_both_b10(files, tmp_path):
    table = files.pairs(4)
    table["eta2"] = table["eta2"][:3]
    with pytest.raises(InputError, match=r"'eta2' and '\w+' have 3 and 4 rows"):
        open_dimuons(files.write(tmp_path / "a.h5", table), files.config(tree="Events"))


def test_an_odd_number_of_rows_is_refused(files, tmp_path):
    rows = {"pt": np.array([5.0, 4, 9]), "eta": np.zeros(3), "phi": np.arange(3) / 4, "q": np.array([1, -1, -1])}
    columns = MuonColumns(pt="pt", eta="eta", phi="phi", charge="q")
    with pytest.raises(InputError, match="3 rows, an odd number"):
        open_dimuons(files.write(tmp_path / "a.parquet", rows), DimuonInput(columns=columns, layout="rows"))


def test_an_event_column_that_tells_nothing_apart_is_refused(files, tmp_path):
    n = 10_002
    rows = {"event": np.zeros(n, int), "pt": np.full(n, 5.0), "eta": np.zeros(n), "phi": np.zeros(n), "q": np.ones(n)}
    columns = MuonColumns(event="event", pt="pt", eta="eta", phi="phi", charge="q")
    with pytest.raises(InputError, match="more than 10000 rows from 0 on have the same event number"):
        open_dimuons(
            files.write(tmp_path / "a.h5", rows), DimuonInput(columns=columns, layout="rows", tree="Events")
        ).read()


def test_event_numbers_that_float_cannot_hold_are_refused(files, tmp_path):
    table = files.pairs(3)
    table["event"] = np.array([1.0, 2.0**53, 3.0])
    with pytest.raises(InputError, match="column 'event' holds"):
        open_dimuons(files.write(tmp_path / "a.parquet", table), files.config()).read()


@pytest.mark.parametrize("kind", ["root", "hdf5"])
def test_a_wrong_tree_lists_what_the_file_holds_b11(files, tmp_path, kind: str):
    path = files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(3))
    with pytest.raises(InputError, match="Events") as caught:
        open_dimuons(path, files.config(tree="Event"))
    assert caught.value.kind == "input.missing_tree"


def test_two_trees_in_a_file_need_a_choice_b11(files, tmp_path):
    path = files.write(tmp_path / "a.root", files.pairs(3))
    with uproot.update(path) as file:
        file.mktree("Runs", {"run": np.dtype("i8")})
    with pytest.raises(ConfigError, match="holds 2 trees: Events, Runs"):
        open_dimuons(path, files.config())
    assert len(open_dimuons(path, files.config(tree="Events")).read()) == 3


def test_a_skipped_file_stands_in_the_file_ledger_b06(files, tmp_path):
    good, bad = (files.write(tmp_path / f"{i}.root", files.pairs(3, i)) for i in (1, 2))
    bad.write_bytes(bad.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"2\.root is truncated"):
        open_dimuons([good, bad], files.config())
    source = open_dimuons([good, bad], files.config(on_bad_file="skip"))
    assert source.file_ledger.line() == "read 2 files = used 1 + truncated 1"
    assert str(bad) in source.file_ledger.examples["truncated"][0]
    assert any(str(bad) in note for note in source.notes)
    assert len(source.read()) == 3


def test_files_that_are_all_bad_are_an_error_even_when_skipping(files, tmp_path):
    with pytest.raises(InputError, match="none of the 1 files can be read"):
        open_dimuons([tmp_path / "no.root"], files.config(on_bad_file="skip"))


def test_a_file_that_changes_under_the_reader_is_named(files, tmp_path):
    path = files.write(tmp_path / "a.csv", files.pairs(3))
    source = open_dimuons(path, files.config())
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match="2 of 3 lines came"):
        source.read()


def test_no_file_at_all_is_an_error(files):
    with pytest.raises(InputError, match="no input file"):
        open_dimuons([], files.config())
