"""Bad inputs end with the exit code and the words of docs/bad_inputs.md (B01 … B45)."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def wrong(config: Path, tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "wrong.toml"
    text = config.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_b42_a_typo_in_the_configuration_is_2_with_file_line_and_the_nearest_key(mucal, config, events, tmp_path):
    typo = wrong(config, tmp_path, "mass_bins = 40", "mass_bin = 40")
    line = typo.read_text().splitlines().index("mass_bin = 40") + 1
    for command in ("check", "massfit"):
        ended = mucal(command, events, "--config", typo, *(["-o", tmp_path / "x.h5"] if command == "massfit" else []))
        assert ended.code == 2
        assert f"wrong.toml:{line} unknown key 'mass_bin'; did you mean 'mass_bins'?" in ended.err


def test_files_whose_columns_nobody_named_are_2_and_say_so(mucal, events, tmp_path):
    for command in (("check", events), ("massfit", events, "-o", tmp_path / "x.h5"), ("run", events, "-o", tmp_path)):
        ended = mucal(*command)
        assert ended.code == 2
        assert "FILES need --config: their columns have to be named" in ended.err


def test_b42_a_wrong_type_is_2(mucal, config, events, tmp_path):
    ended = mucal("check", events, "--config", wrong(config, tmp_path, "mass_bins = 40", 'mass_bins = "40"'))
    assert ended.code == 2
    assert "expected a whole number" in ended.err


def test_b42_a_syntax_error_is_2_with_line_and_column(mucal, config, events, tmp_path):
    ended = mucal("check", events, "--config", wrong(config, tmp_path, "mass_bins = 40", "mass_bins = = 40"))
    assert ended.code == 2
    assert "wrong.toml:13:13" in ended.err


def test_b45_a_reference_mass_without_edition_is_2(mucal, config, events, tmp_path):
    text = "[reference.jpsi]\nmass = 3.0969\nuncertainty = 6e-6\nunit = 'GeV'\n[bins]"
    ended = mucal("check", events, "--config", wrong(config, tmp_path, "[bins]", text))
    assert ended.code == 2
    assert "the reference mass of jpsi has no edition" in ended.err


def test_b08_a_missing_column_is_3_with_file_near_names_and_the_line_that_asks(mucal, config, events, tmp_path):
    absent = wrong(config, tmp_path, '["pt1", "pt2"]', '["pt1", "pt_2"]')
    ended = mucal("massfit", events, "--config", absent, "-o", tmp_path / "x.h5")
    assert ended.code == 3
    assert "'pt_2' is missing" in ended.err
    assert str(events) in ended.err
    assert "wrong.toml:5 columns.pt" in ended.err
    assert "pt2" in ended.err


def test_b08_check_says_the_same_before_the_run(mucal, config, events, tmp_path):
    ended = mucal("check", events, "--config", wrong(config, tmp_path, '["pt1", "pt2"]', '["pt1", "pt_2"]'))
    assert ended.code == 3
    assert "pt_2" in ended.err


def test_b06_a_truncated_file_is_3(mucal, config, events, tmp_path):
    part = tmp_path / "part.parquet"
    part.write_bytes(events.read_bytes()[:-1000])
    ended = mucal("massfit", part, "--config", config, "-o", tmp_path / "x.h5")
    assert ended.code == 3
    assert "part.parquet" in ended.err
    assert not (tmp_path / "x.h5").exists()


def test_b06_a_bad_file_is_skipped_only_if_asked(mucal, config, events, tmp_path):
    part = tmp_path / "part.parquet"
    part.write_bytes(events.read_bytes()[:-1000])
    arguments = (events, part, "--config", config, "-o", tmp_path / "x.h5")
    assert mucal("massfit", *arguments).code == 3
    ended = mucal("massfit", *arguments, "--on-bad-file", "skip")
    assert ended.code == 0
    assert "read 2 files = used 1 + " in ended.out


def test_b07_a_web_page_is_3(mucal, config, tmp_path):
    page = tmp_path / "data.root"
    page.write_text("<html><body>404</body></html>")
    ended = mucal("massfit", page, "--config", config, "-o", tmp_path / "x.h5")
    assert ended.code == 3
    assert "<htm" in ended.err


def test_b13_duplicates_across_files_are_3_unless_the_first_is_asked_for(mucal, config, events, tmp_path):
    again = tmp_path / "again.parquet"
    pq.write_table(pq.read_table(events).slice(0, 1000), again)
    arguments = (events, again, "--config", config, "-o", tmp_path / "x.h5")
    ended = mucal("massfit", *arguments)
    assert ended.code == 3
    assert "1000 of 41000 pairs come twice" in ended.err
    assert "again.parquet entry 0 repeats" in ended.err
    assert not (tmp_path / "x.h5").exists()
    first = mucal("massfit", *arguments, "--set", "input.duplicates='first'")
    assert first.code == 0
    assert "read 41 000 pairs = used 40 000 + duplicate 1 000" in first.out


def test_b14_the_same_file_twice_is_3(mucal, config, events, tmp_path):
    ended = mucal("massfit", events, events, "--config", config, "-o", tmp_path / "x.h5")
    assert ended.code == 3
    assert f"the same file is given twice: {events} " in ended.err.replace("\n", " ")
    assert f"{events} and {events}" not in ended.err


def test_a_missing_file_is_3(mucal, config, tmp_path):
    assert mucal("check", tmp_path / "absent.parquet", "--config", config).code == 3


def test_no_files_at_all_are_2(mucal, config, tmp_path):
    assert mucal("check", "--config", config).code == 2
    assert mucal("massfit", "--config", config, "-o", tmp_path / "x.h5").code == 2


def test_b23_an_asymmetric_window_is_a_warning_with_a_better_one(mucal, config, events, tmp_path):
    lopsided = wrong(config, tmp_path, "[2.9, 3.3]", "[2.5, 3.2]")
    ended = mucal("massfit", events, "--config", lopsided, "-o", tmp_path / "x.h5")
    assert ended.code == 0
    assert "warning" in ended.out
    assert "use 2.500 to 3.694 GeV" in ended.out


def test_b24_a_selection_correlated_with_the_residual_is_a_warning_of_check_and_of_a_fit(
    mucal, config, events, tmp_path
):
    cut = ("--set", 'input.select=["pt1 > 4.5"]', "--config", config)
    for command in (("check", events), ("massfit", events, "-o", tmp_path / "x.h5")):
        ended = mucal(*command, *cut)
        assert ended.code == 0
        assert "warning" in ended.out
        assert "'pt1 > 4.5' cuts in the measured momentum" in ended.out


def test_b34_a_broken_json_is_3(mucal, tmp_path):
    (tmp_path / "broken.json").write_text('{"a": 1,\n "b" 2}')
    ended = mucal("show", tmp_path / "broken.json")
    assert ended.code == 3
    assert "2:" in ended.err


def test_b36_a_gzip_bomb_is_3(mucal, tmp_path):
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * 2**28))
    assert mucal("show", tmp_path / "bomb.json.gz").code == 3


def test_b39_a_pickle_is_3(mucal, tmp_path):
    (tmp_path / "table.pkl").write_bytes(b"\x80\x04\x95" + b"x" * 100)
    shown, verified = (mucal(command, tmp_path / "table.pkl") for command in ("show", "verify"))
    assert shown.code == verified.code == 3
    assert "is a pickle, which is not read" in shown.err
    assert shown.err == verified.err


def test_a_table_that_the_data_do_not_determine_is_4(mucal, config, events, tmp_path):
    fits = tmp_path / "fits.h5"
    assert mucal("massfit", events, "--config", config, "-o", fits).code == 0
    too_many = ("--set", "scale.min_events=1e9")
    ended = mucal("scale", fits, "--config", config, *too_many, "-o", tmp_path / "scale.h5")
    assert ended.code == 4
    assert "no information" in ended.err


def test_check_refuses_the_bad_events_that_a_run_refuses(mucal, config, events, tmp_path):
    table = pq.read_table(events).slice(0, 5000)
    pt = table["pt1"].to_numpy().copy()
    pt[::20] = np.nan
    pq.write_table(table.set_column(table.column_names.index("pt1"), "pt1", pa.array(pt)), tmp_path / "nan.parquet")
    for command, more in (("check", []), ("massfit", ["-o", tmp_path / "x.h5"])):
        ended = mucal(command, tmp_path / "nan.parquet", "--config", config, *more)
        assert ended.code == 3
        assert "pairs are bad" in ended.err


def test_check_prints_the_ledger_of_the_first_rows_and_only_bins_that_were_asked_for(mucal, config, events, tmp_path):
    ended = mucal("check", events, "--config", config)
    assert "read 2 000 pairs = used 2 000 (first rows)" in ended.out
    assert "bins: 3 in eta" in ended.out
    bare = tmp_path / "bare.toml"
    bare.write_text(config.read_text().partition("[bins]")[0])
    assert "bins:" not in mucal("check", events, "--config", bare).out
