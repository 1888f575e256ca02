import numpy as np
import pytest

from mucal.errors import ConfigError
from mucal.io import check_dimuons, open_dimuons


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
