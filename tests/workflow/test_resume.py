"""A folder that a run goes on in holds nothing of another configuration, and never more than is there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal.errors import NotCertified, VerificationError
from mucal.io import write_dimuons
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow import calibration_run, load_analysis, run, verify

from ..cli.conftest import COLUMNS
from .conftest import small

CERTIFIED = (
    """
[analysis]
passes = 1
derive_fraction = 1.0
min_p_value = 0.0
[input]
files = ["pairs.parquet"]
layout = "pair"
certified = "good.json"
"""
    + COLUMNS
    + """[bins]
eta_edges = [-2.4, 0.0, 2.4]
pt_edges = [4.0, 6.5, 25.0]
[massfit]
min_events = 100
[scale]
free = ["A"]
max_lost = 0.5
[calibration]
pt_definition = "generated"
"""
)


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_failed_run_that_went_on_leaves_no_results_of_another_configuration(small_run: Path, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(small_run, out)
    (out / "mine.h5").write_text("not yours")
    with pytest.raises(NotCertified):
        run(small("massfit.min_events=1_000_000"), out, resume=True)
    outside = {name for name in left_in(out) if not name.startswith("stages/")}
    assert outside == {"mine.h5", "result.json"}


def test_a_run_that_dies_before_its_release_is_written_does_not_say_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def dies(*arguments: object, **options: object) -> None:
        raise SystemExit(137)

    monkeypatch.setattr(calibration_run, "write_bundle", dies)
    monkeypatch.setattr(calibration_run, "failed", dies)  # killed: no chance to say why
    with pytest.raises(SystemExit):
        run(small(), tmp_path / "out")
    assert (tmp_path / "out/report.html").exists()
    assert not (tmp_path / "out/result.json").exists()


def test_a_file_that_the_result_lists_and_that_is_not_there_is_missing(small_run: Path, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(small_run, out)
    shutil.rmtree(out / "calibration")
    with pytest.raises(VerificationError, match="1 of"):
        verify([out])


def test_another_list_of_certified_sections_is_another_input(tmp_path: Path):
    pairs = generate_dimuons(DimuonSimulation(seed=3), 30_000).dimuons
    section = np.arange(len(pairs)) % 10 + 1
    write_dimuons(tmp_path / "pairs.parquet", iter([replace(pairs, run=np.full(len(pairs), 5), lumi=section)]))
    (tmp_path / "c.toml").write_text(CERTIFIED)
    found = []
    for last in (10, 5):
        (tmp_path / "good.json").write_text(json.dumps({"5": [[1, last]]}))
        found.append(run(load_analysis(tmp_path / "c.toml"), tmp_path / "out", resume=True).headline["pairs"])
    assert found[1] == pytest.approx(0.5 * found[0], rel=0.05)
