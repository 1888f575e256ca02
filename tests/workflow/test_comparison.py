"""Two runs beside each other: differences in units of the errors, what was configured differently, and refusals."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal.errors import InputError
from mucal.report.comparison_page import comparison_lines
from mucal.scale import ScaleTable
from mucal.workflow import run
from mucal.workflow.comparison import compare_runs, write_comparison

from .conftest import small


@pytest.fixture(scope="module")
def runs(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    other = tmp_path_factory.mktemp("compared") / "other"
    run(small("generate.seed=31", "massfit.min_events=250"), other)
    return small_run, other


def test_a_run_is_itself(runs: tuple[Path, Path]):
    found = compare_runs(runs[0], runs[0])
    assert found.shared
    assert found.chi2 == 0.0
    assert found.configuration == ()
    assert all(pair.first == pair.second for pairs in found.groups.values() for pair in pairs)


def test_independent_samples_agree_within_their_errors(runs: tuple[Path, Path]):
    found = compare_runs(*runs)
    assert not found.shared
    assert found.ndf == 4
    assert found.p_value > 1e-4
    tables = [ScaleTable.load(folder / "scale.h5") for folder in runs]
    first = found.groups["scale table"][0]
    error = np.sqrt(tables[0].cov[0, 0] + tables[1].cov[0, 0])
    assert first.name == "A at eta -2.4 to 0"
    assert first.pull == pytest.approx((tables[1].A[0] - tables[0].A[0]) / error)


def test_lines_of_the_configuration_that_differ_are_named(runs: tuple[Path, Path]):
    changed = {key: (a, b) for key, a, b in compare_runs(*runs).configuration}
    assert changed == {"generate.seed": ("20", "31"), "massfit.min_events": ("200", "250")}


def test_a_shift_of_one_error_is_a_pull_of_its_size(runs: tuple[Path, Path], tmp_path: Path):
    moved = tmp_path / "moved"
    shutil.copytree(runs[0], moved)
    table = ScaleTable.load(moved / "scale.h5")
    error = np.sqrt(np.diag(table.cov))[:2]
    replace(table, A=table.A + 3.0 * error).save(moved / "scale.h5", overwrite=True)
    pulls = [pair.pull for pair in compare_runs(runs[0], moved).groups["scale table"]]
    np.testing.assert_allclose(pulls, [3.0 / np.sqrt(2.0)] * 2 + [0.0] * 2, atol=1e-9)


def test_runs_in_other_bins_are_refused_with_both(runs: tuple[Path, Path], tmp_path: Path):
    other = ("bins.eta_edges=[-2.4, -0.6, 0.6, 2.4]", "calibration.pt_definition='other'")
    run(small(*other), tmp_path / "other")
    with pytest.raises(InputError, match="bins of eta, pt_definition") as refused:
        compare_runs(runs[0], tmp_path / "other")
    assert "-0.6" in str(refused.value.where["bins of eta"])


def test_a_folder_that_is_no_run_is_refused(runs: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(InputError, match="not the folder of a run"):
        compare_runs(runs[0], tmp_path)


def test_page_and_lines_hold_the_same_verdict(runs: tuple[Path, Path], tmp_path: Path):
    found = compare_runs(*runs)
    page = write_comparison(found, tmp_path / "c.html").read_text(encoding="utf-8")
    lines = comparison_lines(found, everything=True)
    assert found.verdict in page
    assert found.verdict.replace("χ²", "chi2") in lines
    assert "massfit.min_events: 200 -> 250" in "\n".join(lines)
    assert sum(line.startswith("A at eta") for line in lines) == 2
    with pytest.raises(FileExistsError):
        write_comparison(found, tmp_path / "c.html")
