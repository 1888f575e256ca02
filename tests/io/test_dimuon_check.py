import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mucal.errors import ConfigError
from mucal.io import MuonColumns, check_dimuons, open_dimuons


def test_every_file_gets_its_own_finding(files, tmp_path):
    tables = [files.pairs(20, seed) for seed in (1, 2, 3, 4)]
    tables[1]["pt_2"] = tables[1].pop("pt2")
    tables[2]["pt1"] = tables[2]["pt1"] * 1e3
    tables[2]["pt2"] = tables[2]["pt2"] * 1e3
    paths = [files.write(tmp_path / f"{i}.root", table) for i, table in enumerate(tables)]
    paths[3].write_bytes(paths[3].read_bytes()[:-9])
    report = check_dimuons([*paths, tmp_path / "none.root"], files.config())
    good, near, units, cut, missing = report.files
    assert (good.problem, good.missing, good.entries, good.tree) == (None, (), 20, "Events")
    assert (near.missing[0].column, near.missing[0].asked) == ("pt2", "columns.pt")
    assert near.missing[0].near[0] == "pt_2"
    assert near.problem is not None
    assert near.problem.kind == "input.missing_branch"
    assert units.problem is not None
    assert units.problem.kind == "input.units"
    assert cut.problem is not None
    assert cut.problem.kind == "input.truncated"
    assert missing.problem is not None
    assert missing.problem.kind == "input.missing_file"
    assert not report.ok
    assert report.lines()[-1] == "1 of 5 files can be read"


def test_the_head_states_ranges_and_medians(files, tmp_path):
    table = files.pairs(21)
    report = check_dimuons(files.write(tmp_path / "a.parquet", table), files.config())
    pt = np.concatenate([table["pt1"], table["pt2"]])
    found = report.files[0].head["pt"]
    assert (found.low, found.median, found.high) == (pt.min(), np.median(pt), pt.max())
    mass = files.expected(table).mass
    assert report.files[0].head["mass"].median == pytest.approx(np.median(mass), rel=1e-15)
    assert report.ok


def test_a_report_without_problems_opens(files, tmp_path):
    for kind in ("root", "parquet", "csv", "hdf5"):
        path = files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(3))
        config = files.config(**({"tree": "Events"} if kind == "hdf5" else {}))
        assert check_dimuons(path, config).ok
        assert open_dimuons(path, config).entries == 3


def test_the_same_file_twice_is_a_problem_of_the_whole_b14(files, tmp_path):
    path = files.write(tmp_path / "a.csv", files.pairs(3))
    report = check_dimuons([path, path], files.config())
    assert [error.kind for error in report.problems] == ["input.same_file"]
    assert not report.ok


def test_empty_files_defaults_and_cut_lines_are_warnings(files, tmp_path):
    table = files.pairs(3)
    del table["lumi"]
    path = files.write(tmp_path / "a.csv", table)
    path.write_text(path.read_text().rstrip("\n"))
    empty = tmp_path / "b.csv"
    empty.write_text(path.read_text().splitlines()[0] + "\n")
    report = check_dimuons([path, empty], files.config(defaults={"lumi": 1}))
    assert report.ok
    assert "no line end" in report.files[0].warnings[0]
    assert "its default 1 is used" in report.files[0].warnings[1]
    assert report.files[1].warnings[0] == "holds no rows"


def test_a_wrong_configuration_is_not_a_finding_but_an_error(files, tmp_path):
    with pytest.raises(ConfigError):
        check_dimuons(files.write(tmp_path / "a.csv", files.pairs(3)), files.config(defaults={"x": 1}))


def test_the_first_rows_are_paired_and_counted_as_a_run_would(files, tmp_path):
    path = files.write(tmp_path / "a.parquet", files.pairs(200))
    for config in (files.config(), files.config(mass_range=(20.0, 40.0))):
        source = open_dimuons(path, config)
        source.read()
        report = check_dimuons(path, config)
        assert report.files[0].ledger == source.ledger
        assert any(source.ledger.line() in line for line in report.lines())


@pytest.mark.parametrize(("column", "value", "reason"), [("pt1", np.nan, "nonfinite:pt"), ("q1", 0, "charge")])
def test_bad_events_in_the_first_rows_are_a_warning_and_above_the_limit_a_problem(
    files, tmp_path, column, value, reason
):
    table = files.pairs(200)
    table[column][:10] = value
    path = files.write(tmp_path / "a.parquet", table)
    strict, lax = (check_dimuons(path, files.config(max_bad_fraction=limit)) for limit in (0.01, 0.1))
    assert strict.files[0].problem is not None
    assert strict.files[0].problem.kind == "input.bad_fraction"
    assert lax.ok
    assert any(f"10 of the first 200 pairs are bad: {reason}" in text for text in lax.files[0].warnings)


def test_pairs_that_come_twice_in_the_first_rows_are_a_problem(files, tmp_path):
    table = {name: np.tile(values, 2) for name, values in files.pairs(20).items()}
    path = files.write(tmp_path / "a.parquet", table)
    problem = check_dimuons(path, files.config()).files[0].problem
    assert problem is not None
    assert problem.kind == "input.duplicates"
    first = check_dimuons(path, files.config(duplicates="first")).files[0]
    assert first.problem is None
    assert first.ledger is not None
    assert first.ledger.rejected == {"duplicate": 20}


def test_an_event_cut_by_the_end_of_the_first_rows_is_not_counted(files, tmp_path):
    # three muons an event: the head of 2000 rows ends inside the 667th
    n = 3 * 1000
    random = np.random.default_rng(1)
    table = {
        "event": np.arange(n) // 3, "pt": random.uniform(3, 50, n), "eta": random.uniform(-2, 2, n),
        "phi": random.uniform(-3, 3, n), "q": np.where(np.arange(n) % 3 == 1, -1, 1),
    }  # fmt: skip
    path = files.write(tmp_path / "a.parquet", table)
    pq.write_table(pa.table(table), path)
    config = files.config(columns=MuonColumns(event="event", pt="pt", eta="eta", phi="phi", charge="q"), layout="rows")
    ledger = check_dimuons(path, config).files[0].ledger
    assert ledger is not None
    assert (ledger.read, ledger.used) == (666, 666)
