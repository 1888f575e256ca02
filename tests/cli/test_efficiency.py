"""`mucal efficiency` from generated probes to files of scale factors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mucal.cli import main
from mucal.efficiency import Efficiencies, EfficiencyModel, ScaleFactors
from mucal.io.correctionlib import read_corrections_json

BINS = ("--set", "efficiency.eta_edges=[-2.4, 0.0, 2.4]", "--set", "efficiency.pt_edges=[26, 32, 38, 44, 50, 60]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Probes of data and simulation with the same truth, measured and smoothed."""
    at = tmp_path_factory.mktemp("efficiency")
    for name, seed, background in (("data", 1, 0.05), ("mc", 2, 0.0)):
        assert main(["efficiency", "simulate", "--step", "idip", "-n", "150000", "--seed", str(seed), "--background",
                     str(background), "-o", str(at / f"{name}.parquet")]) == 0  # fmt: skip
    simulation = str(at / "mc.parquet")
    for out, extra in (
        ("data.h5", ["--simulation", simulation, "--figures", str(at / "figures")]),
        ("analytic.h5", ["--set", 'efficiency.fit.signal="analytic"', "--set", "efficiency.fit.min_p_value=0.0"]),
        # the line itself is not that of wide pT bins: an alternative is not asked to fit well
    ):
        command = ["efficiency", "measure", str(at / "data.parquet"), "--step", "idip", *BINS, *extra]
        assert main([*command, "-o", str(at / out)]) == 0
    assert main(["efficiency", "measure", simulation, "--step", "idip", "--count", *BINS, "-o", str(at / "mc.h5")]) == 0
    command = ["efficiency", "smooth", str(at / "data.h5"), str(at / "mc.h5"), "--signal", str(at / "analytic.h5")]
    assert main([*command, "--set", "efficiency.smooth.degree_pt=2", "--figure", str(at / "sf.png"),
                 "-o", str(at / "sf.h5")]) == 0  # fmt: skip
    return at


def test_equal_truth_gives_scale_factors_of_one(folder: Path):
    data, mc = (Efficiencies.load(folder / name) for name in ("data.h5", "mc.h5"))
    assert data.usable.all()
    pulls = (data.eff - mc.eff) / np.hypot(data.error, mc.error)
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert pulls.std() < 1.5
    factors = ScaleFactors.load(folder / "sf.h5")
    muon = np.array([-1.0, 1.0]), np.array([40.0, 40.0]), np.array([1, -1])
    assert np.all(np.abs(factors(*muon) - 1.0) < 4 * factors.nominal.error(*muon))
    assert factors.nominal.error(*muon).max() < 5e-3


def test_figures_are_drawn(folder: Path):
    assert (folder / "sf.png").stat().st_size > 10_000
    assert len(list((folder / "figures").glob("*.png"))) == 4


@pytest.mark.parametrize("ending", ["json.gz", "root", "h5"])
def test_export(folder: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / f"eff.{ending}"
    assert main(["efficiency", "export", str(folder / "sf.h5"), "--json", "-o", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["nuisances"]["muon_eff_stat"] == 2 * 2 * 3
    if ending == "json.gz":
        assert "NUM_idip_DEN_global_muon" in read_corrections_json(out).corrections
    if ending == "h5":
        assert EfficiencyModel.load(out).counts()["muon_eff_syst"] == 3


def test_wrong_use_ends_with_the_right_code(folder: Path, tmp_path: Path):
    probes, out = str(folder / "data.parquet"), str(tmp_path / "x.h5")
    assert main(["efficiency", "measure", probes, "--step", "idip", "-o", out]) == 2  # no simulation for templates
    assert main(["efficiency", "measure", probes, "--step", "idip", "--set", "efficiency.pt_edge=[1]", "-o", out]) == 2
    missing = ["--set", 'efficiency.input.columns={mass="m", pt="pt", eta="eta", charge="charge", passing="passing"}']
    assert main(["efficiency", "measure", probes, "--step", "idip", "--count", *missing, "-o", out]) == 3
    assert main(["efficiency", "export", str(folder / "sf.h5"), "-o", str(tmp_path / "x.txt")]) == 2
    smooth = ["efficiency", "smooth", str(folder / "data.h5"), str(folder / "mc.h5"), "-o", out]
    assert main([*smooth, "--alternative", "reco"]) == 2
    # five bins of pT for six coefficients: refused, not guessed
    assert main([*smooth, "--set", "efficiency.smooth.degree_pt=5"]) == 4
    assert not Path(out).exists()


def test_failed_fits_are_named_and_drawn_and_smoothing_names_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # one step of the minimiser is too few
    command = ["efficiency", "measure", str(folder / "data.parquet"), "--step", "idip", *BINS, "--simulation",
               str(folder / "mc.parquet"), "--set", "efficiency.fit.max_steps=1"]  # fmt: skip
    assert main([*command, "-o", str(tmp_path / "bad.h5")]) == 0
    out = capsys.readouterr().out
    failed = [line for line in out.splitlines() if "failed:" in line]
    found = Efficiencies.load(tmp_path / "bad.h5")
    assert len(failed) == (~found.usable).sum() > 0
    assert "EDM stayed above" in failed[0]
    assert np.isnan(found.eff[~found.usable]).all()
    assert len(list((tmp_path / "bad_failed").glob("idip_*.png"))) == len(failed)
    smooth = ["efficiency", "smooth", str(tmp_path / "bad.h5"), str(folder / "mc.h5"), "-o", str(tmp_path / "sf.h5")]
    assert main(smooth) == 4
    assert "pt 26" in capsys.readouterr().err


def test_other_alternatives_become_nuisances_of_their_name(folder: Path, tmp_path: Path):
    out = str(tmp_path / "sf.h5")
    files = [str(folder / name) for name in ("data.h5", "mc.h5")]
    settings = ["--set", "efficiency.smooth.degree_pt=2", "--alternative", f"window={folder / 'analytic.h5'}"]
    assert main(["efficiency", "smooth", *files, *settings, "-o", out]) == 0
    model = EfficiencyModel(steps=(), veto=ScaleFactors.load(out))
    assert [one.name for one in model.nuisances()][-3:] == [
        "effSyst_window_veto_idip", "effSyst_window_veto_idip_eta0", "effSyst_window_veto_idip_eta1",
    ]  # fmt: skip


def test_b17_a_probe_that_dominates_is_a_warning_and_only_zeros_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    probes = pd.read_parquet(folder / "mc.parquet").iloc[:2000]
    measure = ["efficiency", "measure", str(tmp_path / "probes.parquet"), "--step", "idip", "--count", *BINS]
    probes.assign(weight=np.where(np.arange(2000) == 5, 100.0, 1.0)).to_parquet(tmp_path / "probes.parquet")
    assert main([*measure, "-o", str(tmp_path / "eff.h5")]) == 0
    told = capsys.readouterr()
    assert "row 5 of the probes of 'idip'" in told.err
    assert "of effective number" in told.out
    probes.assign(weight=0.0).to_parquet(tmp_path / "probes.parquet")
    assert main([*measure, "-o", str(tmp_path / "none.h5")]) == 3
    assert "all 2000 weights of probes of 'idip' are zero" in capsys.readouterr().err
