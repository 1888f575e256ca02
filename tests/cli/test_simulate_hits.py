"""`mucal simulate` of hits, as a script sees it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mucal.cli.program import resuming
from mucal.detector import barrel
from mucal.io import read_hits, write_detector

GUN = """[muons]
process = "gun"
events = 40
pt = [5.0, 10.0]
eta = [-0.5, 0.5]
[hits]
detector = "barrel"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "gun.toml").write_text(GUN)
    return tmp_path / "gun.toml"


def test_hits_are_written_with_their_ledgers_and_any_jobs_give_the_same_bytes(mucal, config, tmp_path):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    ended = mucal("simulate", "--config", config, "--jobs", 1, "-o", one)
    assert ended.code == 0
    assert "generate: read 40 events = used 40" in ended.out
    assert "simulate: read 40 muons = used " in ended.out
    assert mucal("simulate", "--config", config, "--jobs", 2, "-o", two).code == 0
    assert one.read_bytes() == two.read_bytes()
    assert (tmp_path / "one_detector.h5").is_file()
    assert len(read_hits(one)) == json.loads((tmp_path / "one.json").read_text())["ledgers"]["simulate"]["used"]


def test_the_number_of_events_and_the_seed_are_on_the_command_line(mucal, config, tmp_path):
    ended = mucal("simulate", "--config", config, "-n", 7, "--seed", 5, "--json", "-o", tmp_path / "h.parquet")
    assert ended.code == 0
    assert json.loads(ended.out)["ledgers"]["simulate"]["read"] == 7


def test_a_wrong_key_ends_with_its_line_and_code_2(mucal, config, tmp_path):
    config.write_text(GUN + "efficency = 0.9\n")
    ended = mucal("simulate", "--config", config, "-o", tmp_path / "h.parquet")
    assert ended.code == 2
    assert "gun.toml:8 unknown key 'efficency'; did you mean 'efficiency'?" in ended.err


def test_a_written_file_is_not_replaced(mucal, config, tmp_path):
    (tmp_path / "h.parquet").write_bytes(b"mine")
    ended = mucal("simulate", "--config", config, "-o", tmp_path / "h.parquet")
    assert ended.code == 2
    assert (tmp_path / "h.parquet").read_bytes() == b"mine"


def test_check_and_show_know_files_of_hits(mucal, config, tmp_path):
    path = tmp_path / "h.parquet"
    assert mucal("simulate", "--config", config, "-o", path).code == 0
    shown = mucal("show", path)
    assert shown.code == 0
    assert "40 tracks: 0 in pairs, 40 single" in shown.out
    checked = mucal("check", path, "--set", 'refit.detector="barrel"', "--json")
    assert checked.code == 0
    assert json.loads(checked.out)["ledger"]["used"] == 40
    wrong = mucal("check", path)
    assert wrong.code == 3
    assert "40 of 40 tracks are bad" in wrong.err


@pytest.mark.parametrize(
    ("table", "column", "change", "message"),
    [
        ("modules", "x_over_x0", lambda x: "0", "x_over_x0[0] = 0"),
        ("modules", "w_z", lambda x: str(-float(x) - 1e-3), "rotation[0]"),
        ("field", "bz", lambda x: str(10 * float(x)), "kilogauss"),
        ("field", "bz", lambda x: "", "bz"),
    ],
    ids=["no thickness", "not orthonormal", "kilogauss", "a gap in the map"],
)
def test_a_tracker_that_cannot_be_is_3_and_what_is_wrong_is_named(
    mucal, config, tmp_path, table, column, change, message
):
    folder = write_detector(replace(barrel(), field=None), tmp_path / "tracker", format="csv")
    nodes = [(r, z) for r in range(0, 140, 20) for z in range(-320, 340, 40)]
    (folder / "field.csv").write_text("r,z,br,bz\n" + "".join(f"{r},{z},0.0,3.8\n" for r, z in nodes))
    with open(folder / f"{table}.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows if table == "field" and change("1") else rows[:1]:
        row[column] = change(row[column])
    with open(folder / f"{table}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    ended = mucal("simulate", "--config", config, "--set", f'hits.detector="{folder}"', "-o", tmp_path / "h.parquet")
    assert ended.code == 3
    assert message in ended.err
    assert not (tmp_path / "h.parquet").exists()


def test_resume_without_an_interrupted_run_begins_anew(mucal, config, tmp_path):
    assert mucal("simulate", "--config", config, "--resume", "-o", tmp_path / "h.parquet").code == 0
    assert len(read_hits(tmp_path / "h.parquet")) == 40


def test_an_interruption_names_the_command_that_goes_on():
    given = ["simulate", "--hits", "--overwrite", "-o", "h.parquet"]
    assert resuming(given) == "go on with: mucal simulate --hits -o h.parquet --resume"
