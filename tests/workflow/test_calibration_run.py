"""A run goes on where it stopped, refuses what it should, and shows what it found on events that it did not use."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal.errors import ConfigError, InputError, NotCertified
from mucal.plot.masses import MassShifts
from mucal.scale import ScaleTable
from mucal.store import sha256
from mucal.workflow import load_analysis, load_run, run
from mucal.workflow.config import Analysis
from mucal.workflow.progress import Event

SETTINGS = (
    "generate.data=60_000", "generate.simulation=60_000", "bins.eta_edges=[-2.4, -0.8, 0.8, 2.4]",
    "bins.pt_edges=[4.0, 6.5, 25.0]", "spectra.0.events=5_000", "massfit.min_events=200",
)  # fmt: skip
RESULTS = ("scale.h5", "massfit.h5", "shifts.h5", "recovery.h5", "resolution.h5", "report.html", "digests.json")


def analysis(*settings: str) -> Analysis:
    return load_analysis(settings=(*SETTINGS, *settings), preset="dimuons")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    run(analysis(), out)
    return out


def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def test_the_same_analysis_gives_the_same_bytes(finished: Path, tmp_path: Path):
    run(analysis(), tmp_path / "out")
    for name in RESULTS:
        assert sha256(tmp_path / "out" / name) == sha256(finished / name), name


@pytest.mark.parametrize("stopped_at", ["stages/scale_0.h5", "stages/pass_2.h5"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(finished: Path, tmp_path: Path, stopped_at: str):
    out = copied(finished, tmp_path)
    stages = ["stages/simulation.h5", "stages/pass_0.h5", "stages/scale_0.h5", "stages/pass_1.h5", "stages/scale_1.h5",
              "stages/pass_2.h5"]  # fmt: skip
    for name in (*stages[stages.index(stopped_at) :], *RESULTS, "result.json"):
        (out / name).unlink()
    told: list[Event] = []
    run(analysis(), out, resume=True, tell=told.append)
    taken_up = [event.stage for event in told if "taken up" in event.text]
    assert taken_up == stages[: stages.index(stopped_at)]
    for name in RESULTS:
        assert sha256(out / name) == sha256(finished / name), name


def test_stages_made_from_something_else_are_made_again(finished: Path, tmp_path: Path):
    out, fresh = copied(finished, tmp_path), tmp_path / "fresh"
    changed = analysis("massfit.min_events=250")
    told: list[Event] = []
    run(changed, out, resume=True, tell=told.append)
    run(changed, fresh)
    taken_up = [event.stage for event in told if "taken up" in event.text]
    assert taken_up == ["stages/simulation.h5", "stages/pass_0.h5"]
    assert sha256(out / "scale.h5") == sha256(fresh / "scale.h5")


def test_a_damaged_stage_is_made_again(finished: Path, tmp_path: Path):
    out = copied(finished, tmp_path)
    path = out / "stages/pass_1.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run(analysis(), out, resume=True)
    assert sha256(out / "scale.h5") == sha256(finished / "scale.h5")


def test_a_folder_that_holds_something_is_refused(finished: Path):
    with pytest.raises(ConfigError, match="not empty"):
        run(analysis(), finished)


def test_a_folder_in_which_another_run_works_is_refused(finished: Path, tmp_path: Path):
    out = copied(finished, tmp_path)
    (out / ".running").write_text("1")  # the process that is always there
    with pytest.raises(ConfigError, match="another run works in"):
        run(analysis(), out, resume=True)


def test_the_lock_of_a_dead_run_is_taken_over(finished: Path, tmp_path: Path):
    out = copied(finished, tmp_path)
    (out / ".running").write_text("999999999")
    assert run(analysis(), out, resume=True).status == "ok"
    assert not (out / ".running").exists()


def test_what_is_not_certified_is_written_but_not_released(tmp_path: Path):
    with pytest.raises(NotCertified, match="p = "):
        run(analysis("analysis.min_p_value=0.9999999"), tmp_path / "out")
    assert json.loads((tmp_path / "out/result.json").read_text())["status"] == "not_certified"
    assert (tmp_path / "out/scale.h5").exists()
    assert "Not certified" in (tmp_path / "out/report.html").read_text()
    assert not (tmp_path / "out/calibration").exists()


def test_a_new_run_that_fails_leaves_nothing_of_the_old_one_but_foreign_files(finished: Path, tmp_path: Path):
    out = copied(finished, tmp_path)
    (out / "mine.h5").write_text("not yours")
    with pytest.raises(NotCertified):
        run(analysis("massfit.min_events=1_000_000"), out, overwrite=True)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {"mine.h5", "result.json", "stages/simulation.h5", "stages/pass_0.h5"}


def test_a_failed_run_says_so(tmp_path: Path):
    with pytest.raises(NotCertified):
        run(analysis("massfit.min_events=1_000_000"), tmp_path / "out")
    ended = json.loads((tmp_path / "out/result.json").read_text())
    assert ended["status"] == "failed"
    assert "no information" in ended["reason"]
    with pytest.raises(InputError, match="did not finish"):
        load_run(tmp_path / "out")


def test_a_run_without_data_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="no input files"):
        run(replace(analysis(), generate=None), tmp_path / "out")


@pytest.mark.parametrize("simulated", [0, 60_000])
def test_another_reference_mass_moves_the_table_by_its_ratio(simulated: int, tmp_path: Path):
    # all three A move by ln(m_old / m_new) = -1e-4 / (mean 2 w of both muons, 0.995); the equations are not linear
    # in p, which leaves the product of the shift and the correction, 1e-4 times 1e-3
    mass = float(3.0969 * np.exp(1e-4))
    settings = (f"reference.jpsi.mass={mass!r}", "reference.jpsi.uncertainty=6e-6", "reference.jpsi.unit='GeV'",
                "reference.jpsi.edition=2026", "scale.free=['A']", f"generate.simulation={simulated}",
                "analysis.passes=1", "analysis.min_p_value=0.0")  # fmt: skip
    run(analysis(*settings), tmp_path / "moved")
    run(analysis(*settings[4:]), tmp_path / "plain")
    moved, plain = (ScaleTable.load(tmp_path / name / "scale.h5").A for name in ("moved", "plain"))
    np.testing.assert_allclose(moved - plain, -1e-4 / 0.995, atol=1e-6)
    # masses before the correction are that much below the new reference, those after it are at it but for the pairs
    # that cross an edge of a bin on the way
    of_moved, of_plain = (MassShifts.load(tmp_path / name / "shifts.h5").series[0] for name in ("moved", "plain"))
    np.testing.assert_allclose(of_moved.before - of_plain.before, -1e-4, atol=1e-9)
    np.testing.assert_allclose(of_moved.after, of_plain.after, atol=2e-5)


def test_simulation_generated_at_the_reference_mass_is_at_it(tmp_path: Path):
    # simulation with the same peaks, generated 1e-4 higher, reads too low: what is asked of the data is that much more
    mass = float(3.0969 * np.exp(1e-4))
    common = ("scale.free=['A']", "analysis.passes=1", "analysis.min_p_value=0.0")
    reference = (f"reference.jpsi.mass={mass!r}", "reference.jpsi.uncertainty=6e-6", "reference.jpsi.unit='GeV'",
                 "reference.jpsi.edition=2026")  # fmt: skip
    run(analysis(*common), tmp_path / "plain")
    run(replace(analysis(*common), simulated_mass=mass), tmp_path / "generated")
    run(replace(analysis(*common, *reference), simulated_mass=mass), tmp_path / "both")
    plain, generated, both = (
        ScaleTable.load(tmp_path / name / "scale.h5").A for name in ("plain", "generated", "both")
    )
    np.testing.assert_allclose(generated - plain, 1e-4 / 0.995, atol=1e-6)
    np.testing.assert_allclose(both, plain, atol=1e-12)


def test_without_a_split_all_events_do_both(tmp_path: Path):
    run(analysis("analysis.derive_fraction=1.0"), tmp_path / "out")
    found = load_run(tmp_path / "out")
    assert found.fits.histograms.counts.sum() > 55_000
