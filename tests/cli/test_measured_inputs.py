"""`mucal nonprompt` and `mucal recoil` on files of known truth."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.cli import main
from mucal.errors import InputError
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.simulation.recoil import RecoilTruth, generate_z_recoil
from mucal.templates.nonprompt import Nonprompt, NonpromptConfig, estimate
from mucal.templates.nonprompt_regions import RegionConfig, empty_regions, fill_regions
from mucal.templates.recoil import RecoilCalibration
from mucal.templates.recoil_vectors import unproject

ETA = "nonprompt.regions.eta_edges=[-2.4, 0.0, 2.4]"


def muons_of(counts: np.ndarray) -> pd.DataFrame:
    """One row a muon in the middle of its bin, for counts (6, 2, 2, 30)."""
    region, q, eta, pt = (np.repeat(x.ravel(), counts.ravel().astype(int)) for x in np.indices(counts.shape))
    return pd.DataFrame({
        "pt": 26.5 + pt, "eta": np.where(eta == 0, -1.2, 1.2), "charge": 2 * q - 1,
        "mt": np.array([10.0, 30.0, 70.0])[region // 2], "isolation": np.where(region % 2, 0.05, 0.5),
    })  # fmt: skip


def test_nonprompt_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    regions, _ = generate_nonprompt(NonpromptSimulation(n=2000, n_eta=2), np.random.default_rng(1))
    muons_of(regions.data).rename(columns={"mt": "mass_t"}).to_parquet(tmp_path / "data.parquet")
    prompt = muons_of(np.full((6, 2, 2, 30), 2.0)).assign(weight=regions.prompt.ravel().repeat(2) / 2)
    prompt.rename(columns={"mt": "mass_t"}).to_parquet(tmp_path / "prompt.parquet")
    names = ", ".join(f'{n}="{n}"' for n in ("pt", "eta", "charge", "isolation", "weight"))
    mapped = f'nonprompt.columns={{mt="mass_t", {names}}}'
    files = [str(tmp_path / "data.parquet"), "--prompt", str(tmp_path / "prompt.parquet")]
    command = ["nonprompt", *files, "--set", ETA, "--set", mapped, "--figure", str(tmp_path / "n.png"), "--json"]
    assert main([*command, "-o", str(tmp_path / "n.h5")]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["nuisances"] == 2 * 2 * 4 + 3
    assert plain["rejected"] == {"data": {}, "prompt": {}}
    found = Nonprompt.load(tmp_path / "n.h5")
    # the same counts; the variance of the prompt simulation is another: two events a bin
    assert_allclose(found.nominal.sum(), estimate(regions, NonpromptConfig()).nominal.sum(), rtol=0.1)
    assert (tmp_path / "n.png").stat().st_size > 20_000
    # 1.2 % more of what is subtracted, in the regions that pass isolation ten times as much: less in D
    assert found.carried == ("luminosity",)
    assert -0.1 < found.carried_kappa.mean() < -1e-3


def test_control_region_of_secondary_vertices_closes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # displaced muons of a log-linear truth, and prompt ones that no vertex shows: five times as many, all in D
    regions, truth = generate_nonprompt(NonpromptSimulation(n=3000, n_eta=2, prompt=0.0), np.random.default_rng(5))
    displaced = muons_of(regions.data).assign(sip3d=9.0, flight_significance=6.0)
    prompt = np.zeros((6, 2, 2, 30))
    prompt[5] = np.round(5 * truth)
    near = muons_of(prompt).assign(sip3d=1.0, flight_significance=np.nan)
    pd.concat([displaced, near]).to_parquet(tmp_path / "data.parquet")
    muons_of(np.full((6, 2, 2, 30), 1.0)).assign(weight=1e-6, sip3d=9.0, flight_significance=6.0).to_parquet(
        tmp_path / "prompt.parquet"
    )
    files = [str(tmp_path / "data.parquet"), "--prompt", str(tmp_path / "prompt.parquet")]
    columns = ("pt", "eta", "charge", "mt", "isolation", "weight", "sip3d", "flight_significance")
    mapped = "nonprompt.columns={" + ", ".join(f'{n}="{n}"' for n in columns) + "}"
    command = ["nonprompt", *files, "--set", ETA, "--set", mapped, "--control"]
    assert main([*command, "-o", str(tmp_path / "c.h5")]) == 0
    out = capsys.readouterr().out
    line = next(one for one in out.splitlines() if one.startswith("closure in D"))
    ratio, error = (float(word) for word in line.split("= ")[1].split(",")[0].split(" +- "))
    assert abs(ratio) < 4 * error < 0.2
    assert "no secondary vertex" in out
    # without the selection prompt muons in D are five times what is predicted; nothing is compared then
    assert main([*[c for c in command if c != "--control"], "-o", str(tmp_path / "d.h5")]) == 0
    assert "closure in D" not in capsys.readouterr().out


def test_rejected_muons_are_counted_and_the_rest_is_where_it_belongs():
    config = RegionConfig(eta_edges=(-2.4, 2.4), pt_edges=(26.0, 56.0))
    columns = {"pt": [30, 30, 20, 30, 30], "eta": [0, 0, 0, 9, 0], "charge": [1, -1, 1, 1, 0],
               "mt": [50, 5, 5, 5, 5], "isolation": [0.1, 0.2, 0.1, 0.1, 0.1]}  # fmt: skip
    counts, rejected = fill_regions(
        empty_regions(config), {k: np.array(v, dtype=float) for k, v in columns.items()}, config, prompt=False
    )
    assert counts.data.sum() == 2
    assert counts.data[5, 1, 0, 0] == 1  # D, positive
    assert counts.data[0, 0, 0, 0] == 1  # Ax, negative
    assert {k: n for k, n in rejected.items() if n} == {"charge": 1, "range:pt": 1, "range:eta": 1}
    weighted = {k: np.array(v, dtype=float) for k, v in columns.items()} | {"weight": np.full(5, 0.5)}
    with pytest.raises(InputError, match="weights other than 1"):
        fill_regions(empty_regions(config), weighted, config, prompt=False)


def test_an_empty_region_ends_with_code_3(tmp_path: Path):
    regions, _ = generate_nonprompt(NonpromptSimulation(n=2000, n_eta=2, prompt=0.0), np.random.default_rng(1))
    data = regions.data.copy()
    data[1] = 0.0
    muons_of(data).to_parquet(tmp_path / "data.parquet")
    assert main(["nonprompt", str(tmp_path / "data.parquet"), "--set", ETA, "-o", str(tmp_path / "n.h5")]) == 3


def pairs(truth: RecoilTruth, seed: int) -> pd.DataFrame:
    """Pairs along random directions; the missing momentum is what the recoil leaves."""
    sample = generate_z_recoil(truth, 40_000, seed)
    rng = np.random.default_rng(seed)
    phi = rng.uniform(-np.pi, np.pi, 40_000)
    qx, qy = sample.pt * np.cos(phi), sample.pt * np.sin(phi)
    pt1, phi1 = rng.uniform(30, 50, 40_000), rng.uniform(-np.pi, np.pi, 40_000)
    x2, y2 = qx - pt1 * np.cos(phi1), qy - pt1 * np.sin(phi1)
    ux, uy = unproject(sample.u_par, sample.u_perp, qx, qy)
    return pd.DataFrame({
        "met": np.hypot(ux + qx, uy + qy), "met_phi": np.arctan2(-uy - qy, -ux - qx), "pt1": pt1, "phi1": phi1,
        "pt2": np.hypot(x2, y2), "phi2": np.arctan2(y2, x2),
    })  # fmt: skip


def test_recoil_from_files(tmp_path: Path):
    for name, truth, seed in (("data", RecoilTruth(response=0.8), 1), ("mc", RecoilTruth(), 2)):
        pairs(truth, seed).to_parquet(tmp_path / f"{name}.parquet")
    command = ["recoil", str(tmp_path / "data.parquet"), "--simulation", str(tmp_path / "mc.parquet"), "--set",
               "recoil.calibrate.pt_edges=[0, 5, 10, 20, 40, 115]", "--figure", str(tmp_path / "r.png")]  # fmt: skip
    assert main([*command, "-o", str(tmp_path / "r.h5")]) == 0
    found = RecoilCalibration.load(tmp_path / "r.h5")
    ratio = found.response[0] / found.response[1]
    error = ratio * np.hypot(found.response_error[0] / found.response[0], found.response_error[1] / found.response[1])
    assert np.all(np.abs(ratio - 0.8 / 0.85) < 4 * error)
    assert_array_equal(found.pt_edges, [0, 5, 10, 20, 40, 115])
    assert (tmp_path / "r.png").stat().st_size > 20_000
    assert main([*command, "-o", str(tmp_path / "r.h5")]) == 2  # exists
    assert main([*command[:4], "--set", "recoil.calibrate.min_events=1e6", "-o", str(tmp_path / "x.h5")]) == 3


def test_generated_regions_say_how_far_the_estimate_is_from_the_truth(tmp_path: Path, capsys):
    command = ["nonprompt", "--generate", "--seed", "4", "--set", "nonprompt.generate.curvature=0.05"]
    assert main([*command, "--set", "nonprompt.generate.n_eta=8", "-o", str(tmp_path / "n.h5")]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("truth"))
    seen, error, expected = (float(word) for word in re.findall(r"[+-]?\d\.\d{4}", line))
    assert expected == -0.1  # -2 c
    assert abs(seen - expected) < 4 * error < 0.04
    assert main(["nonprompt", "-o", str(tmp_path / "x.h5")]) == 2
    assert main([*command, "some.parquet", "-o", str(tmp_path / "x.h5")]) == 2


def test_generated_recoil_is_that_of_its_truth(tmp_path: Path):
    command = ["recoil", "--generate", "60000", "--set", "recoil.calibrate.pt_edges=[0, 10, 20, 115]"]
    assert main([*command, "-o", str(tmp_path / "r.h5")]) == 0
    found = RecoilCalibration.load(tmp_path / "r.h5")
    for s, true in enumerate((0.92, 0.97)):
        assert np.all(np.abs(found.response[s] - true) < 4 * found.response_error[s])
    assert found.provenance.seed == 1
    assert main([*command, "--simulation", "z.root", "data.root", "-o", str(tmp_path / "x.h5")]) == 2
