"""A resonance in files that took no part shows the calibration, and enters its uncertainty model."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mucal.calibration import load
from mucal.errors import ConfigError
from mucal.io import write_dimuons
from mucal.plot.masses import ClosedMasses
from mucal.scale import ScaleTable
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.store import sha256
from mucal.theory import resonance
from mucal.workflow import load_analysis, load_run, run
from mucal.workflow.progress import Event

from ..cli.conftest import COLUMNS

CONFIG = (
    """
[analysis]
passes = 1
derive_fraction = 1.0
[input]
files = ["jpsi.parquet"]
layout = "pair"
"""
    + COLUMNS
    + """[simulation]
files = ["jpsi_simulation.parquet"]
layout = "pair"
columns = { pt = ["pt1", "pt2"], eta = ["eta1", "eta2"], phi = ["phi1", "phi2"], charge = ["charge1", "charge2"] }
[bins]
eta_edges = [-2.4, 0.0, 2.4]
pt_edges = [4.0, 6.5, 25.0]
mass_window = [2.9, 3.3]
mass_bins = 80
[massfit]
fixed = { logit_f = -12.0, slope = 0.0 }
min_events = 100
[scale]
free = ["A", "M"]
[calibration]
pt_definition = "generated"
"""
)
CLOSING = """
[[closing]]
resonance = "z"
[closing.input]
files = ["z.parquet"]
[closing.simulation]
files = ["z_simulation.parquet"]
layout = "pair"
columns = { pt = ["pt1", "pt2"], eta = ["eta1", "eta2"], phi = ["phi1", "phi2"], charge = ["charge1", "charge2"] }
[closing.bins]
eta_edges = [-2.4, 0.0, 2.4]
pt_edges = [15.0, 80.0]
mass_window = [75.0, 107.0]
[closing.massfit]
fixed = { logit_f = -12.0, slope = 0.0 }
min_events = 100
[closing.scale]
free = ["A", "M"]
prior = { M = 5e-5 }
max_lost = 0.5
"""
SHIFT = 2e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """J/psi and Z whose curvature is too small by 2e-3, and simulation of both without that."""
    folder = tmp_path_factory.mktemp("closing")
    off = ScaleTable(
        eta_edges=np.array([-2.4, 0.0, 2.4]), A=np.full(2, SHIFT), e=np.zeros(2), M=np.zeros(2), cov=np.zeros((6, 6)),
        resonance="jpsi",
    )  # fmt: skip
    for seed, (name, state, table, n) in enumerate(
        (("jpsi", "jpsi", off, 60_000), ("jpsi_simulation", "jpsi", None, 60_000), ("z", "z", off, 30_000),
         ("z_simulation", "z", None, 60_000)), 41,
    ):  # fmt: skip
        pairs = generate_dimuons(DimuonSimulation(seed=seed, resonance=state, scale=table), n).dimuons
        write_dimuons(folder / f"{name}.parquet", iter([pairs]))
    (folder / "c.toml").write_text(CONFIG + CLOSING)
    run(load_analysis(folder / "c.toml"), folder / "out")
    return folder


def test_the_mass_of_the_z_is_off_before_and_right_after(folder: Path):
    (z,) = ClosedMasses.load(folder / "out/closing_files.h5").shifts
    # ln m moves by +A / 2 for each muon
    assert z.shift[0] == pytest.approx(SHIFT, abs=4 * z.error[0])
    assert z.shift[0] > 5 * z.error[0]
    assert abs(z.shift[1]) < 4 * z.total_error[1]
    assert z.table_error[0] == 0.0 < z.table_error[1]
    assert z.beside_simulation
    assert all(points.p_before < 1e-6 < 1e-3 < points.p_after for points in z.series)


def test_its_closure_is_in_the_release(folder: Path):
    calibration = load(folder / "out/calibration")
    assert calibration.closure is not None
    assert calibration.closure.resonance == "z"
    assert calibration.groups.count("zclosure_stat") == 4
    assert calibration.groups.count("zclosure_lep") == 1
    assert abs(calibration.closure.A / np.sqrt(np.diag(calibration.closure.cov)[:2])).max() < 4
    assert {Path(path).name for path in calibration.provenance.inputs} >= {"z.parquet", "z_simulation.parquet"}


def test_it_stands_on_the_page_and_in_the_result(folder: Path):
    assert "Closure: Z against J/ψ" in (folder / "out/report.html").read_text()
    assert [one.resonance for one in load_run(folder / "out").closing] == ["z"]


def test_other_bins_of_it_leave_the_table_as_it_stands(folder: Path):
    out = folder / "other"
    shutil.copytree(folder / "out", out)
    told: list[Event] = []
    (folder / "other.toml").write_text(CONFIG + CLOSING.replace("[15.0, 80.0]", "[15.0, 60.0]"))
    run(load_analysis(folder / "other.toml"), out, resume=True, tell=told.append)
    taken_up = [event.stage for event in told if "taken up" in event.text]
    assert taken_up == ["stages/simulation.h5", "stages/pass_0.h5", "stages/scale_0.h5", "stages/pass_1.h5"]
    assert np.array_equal(ScaleTable.load(out / "scale.h5").A, ScaleTable.load(folder / "out/scale.h5").A)


def test_a_run_taken_up_ends_with_the_same_bytes(folder: Path):
    out = folder / "again"
    shutil.copytree(folder / "out", out)
    (out / "stages/closing_z_after.h5").unlink()
    run(load_analysis(folder / "c.toml"), out, resume=True)
    for name in ("closing_files.h5", "scale.h5", "calibration/calibration.h5"):
        assert sha256(out / name) == sha256(folder / "out" / name), name


def test_its_simulation_may_have_another_mass_than_the_table(folder: Path):
    # the same simulation, said to be generated 1e-4 too high: data beside it are then 1e-4 too high as well
    out, mass = folder / "heavier", resonance("z").mass * (1.0 + 1e-4)
    shutil.copytree(folder / "out", out)
    text = CLOSING.replace('files = ["z_simulation.parquet"]', f'mass = {mass}\nfiles = ["z_simulation.parquet"]')
    (folder / "heavier.toml").write_text(CONFIG + text)
    run(load_analysis(folder / "heavier.toml"), out, resume=True)
    (moved,), (before,) = (ClosedMasses.load(path / "closing_files.h5").shifts for path in (out, folder / "out"))
    np.testing.assert_allclose(moved.shift - before.shift, np.log(1.0 + 1e-4), rtol=1e-9)
    closures = [load(path / "calibration").closure for path in (out, folder / "out")]
    np.testing.assert_allclose(closures[0].A - closures[1].A, 1e-4, rtol=1e-2)  # M follows, held by its prior


def test_the_mass_of_a_simulation_in_another_unit_is_refused(tmp_path: Path):
    (tmp_path / "c.toml").write_text(
        CONFIG + CLOSING.replace("[closing.simulation]", "[closing.simulation]\nmass = 91188")
    )
    with pytest.raises(ConfigError, match=r"mass = 91188 GeV, but z has 91\.1879 GeV"):
        load_analysis(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG + CLOSING + CLOSING, "each resonance once"),
        (CONFIG + CLOSING.replace('"z"', '"zz"'), "zz"),
        (CONFIG + CLOSING.replace("[closing.massfit]", "[closing.massfits]"), "massfits"),
        (CLOSING + '[generate]\nresonance = "jpsi"\n', r"reads files, and \[generate\] makes the events"),
        (CLOSING, r"reads files, and there is no \[input\]"),
        (CONFIG + '[[closing]]\nresonance = "z"\ninput = 3\n', "input = 3, expected a table"),
        (CONFIG + '[[closing]]\nresonance = "z"\nsimulation = "z.root"\n', "simulation = 'z.root', expected a table"),
        (CONFIG + CLOSING.replace("[closing.massfit]", '[closing.massfit]\nmodel = "morphing"'), "morphing"),
        (CONFIG.replace("[bins]", "[closing]\nresonance = 'z'\n[bins]"), r"expected a list of \[\[closing\]\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_analysis(tmp_path / "c.toml")
