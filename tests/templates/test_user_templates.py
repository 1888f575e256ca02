"""Own events become templates: the same as generated ones for the same muons, and by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mucal.cli import main
from mucal.errors import ConfigError, InputError
from mucal.simulation.recoil import BUILT_IN, generate_z_recoil
from mucal.simulation.uncertainties import published_efficiencies
from mucal.templates import Ingredients, Templates
from mucal.templates.recoil import RecoilConfig, calibrate
from mucal.templates.user_templates import MUONS, MassWeight, TableConfig, fill_process, user_templates
from mucal.theory.weight_columns import WeightFamily

N = 24_000
MASS = (MassWeight(shift=-0.1, column="mass_weights", index=0), MassWeight(shift=0.1, column="mass_weights", index=1))
CONFIG = TableConfig(
    weights=(WeightFamily(name="shower", column="shower"), WeightFamily(name="z_only", column="z", processes=("Z",))),
    mass=MASS, measured=("W",), scale={"W": 2.0},
)  # fmt: skip


def rows(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pt, phi, q, q_phi = rng.uniform(25, 57, N), rng.uniform(-3, 3, N), rng.uniform(0, 40, N), rng.uniform(-3, 3, N)
    # a recoil that balances the boson, and so the missing momentum
    ux, uy = (-0.97 * q * f(q_phi) + rng.normal(0, 11, N) for f in (np.cos, np.sin))
    mx, my = -ux - pt * np.cos(phi), -uy - pt * np.sin(phi)
    return {
        "charge": rng.choice([-1.0, 1.0], N), "eta": rng.uniform(-2.4, 2.4, N), "pt": pt, "phi": phi,
        "weight": rng.uniform(0.5, 1.5, N), "met": np.hypot(mx, my), "met_phi": np.arctan2(my, mx), "boson_pt": q,
        "boson_phi": q_phi, "mass_weights": rng.uniform(0.98, 1.02, (N, 2)), "shower": rng.uniform(0.9, 1.1, N),
        "z": rng.uniform(0.9, 1.1, N), "pt_gen": pt * rng.normal(1, 0.012, N), "ut": rng.normal(0, 10, N),
    }  # fmt: skip


def filled(given: Ingredients, calibration=None, config: TableConfig = CONFIG) -> Templates:
    sums = {name: fill_process(name, [rows(i)], config, calibration, given) for i, name in enumerate(("W", "Z"))}
    return user_templates(sums, config, calibration, given)


def test_processes_carry_their_own_weights_by_hand():
    found, w, z = filled(Ingredients()), rows(0), rows(1)
    assert found.processes == ("W", "Z")
    inside = (w["pt"] >= 26) & (w["pt"] < 56)
    assert_allclose(found.nominal[0].sum(), 2 * w["weight"][inside].sum(), rtol=1e-12)
    shifted = (w["weight"] * w["mass_weights"][:, 1])[inside].sum()
    assert_allclose(found.at_mass(0.1)[0].sum(), 2 * shifted, rtol=1e-12)
    assert_allclose(found.at_mass(0.1)[1], found.nominal[1])
    assert found.nuisances == ("shower", "z_only")
    assert np.abs(found.kappa[0, 1]).max() == 0.0
    at = found.binning.index([z["charge"], z["eta"], z["pt"]])
    b = np.bincount(at[at >= 0]).argmax()
    own = at == b
    assert_allclose(
        found.kappa[1, 1, b], np.log((z["weight"] * z["z"])[own].sum() / z["weight"][own].sum()), rtol=1e-12
    )


def test_chunks_of_own_events_add_up():
    whole = fill_process("W", [rows(0)], CONFIG, None, Ingredients())
    parts = [{k: v[s] for k, v in rows(0).items()} for s in (slice(0, 700), slice(700, N))]
    again = fill_process("W", parts, CONFIG, None, Ingredients())
    assert_allclose(again.columns, whole.columns, rtol=1e-12)
    assert again.n_events == N


def test_efficiencies_and_calibration_act_by_columns(calibration):
    model = published_efficiencies()
    given = Ingredients(efficiencies=replace(model, steps=model.steps[3:4], veto=None))  # the trigger, in u_T
    found = filled(given, calibration)
    plain = filled(Ingredients())
    w = rows(0)
    inside = (w["pt"] >= 26) & (w["pt"] < 56)
    factor = model.steps[3](w["eta"][inside], w["pt"][inside], w["charge"][inside].astype(int), w["ut"][inside])
    assert_allclose(found.nominal[0].sum(), 2 * (w["weight"][inside] * factor).sum(), rtol=1e-12)
    assert found.groups.count("muon_eff_stat") == 48 * 2 * 12
    assert set(calibration.names) < set(found.nuisances)
    assert len(plain.nuisances) == 2


def test_recoil_of_own_events_selects_after_the_correction():
    sample = generate_z_recoil(BUILT_IN, 40_000, 1)
    config = RecoilConfig(pt_edges=(0.0, 10.0, 20.0, 115.0))
    same = calibrate(sample, sample, config)
    found = filled(Ingredients(recoil=same))
    w = rows(0)
    mt = np.sqrt(2 * w["pt"] * w["met"] * (1 - np.cos(w["phi"] - w["met_phi"])))
    keep = (mt > 40) & (w["pt"] >= 26) & (w["pt"] < 56)
    assert_allclose(found.nominal[0].sum(), 2 * w["weight"][keep].sum(), rtol=1e-12)
    # quantiles of data higher by 2 GeV along the boson: less missing momentum along it
    moved = calibrate(replace(sample, u_par=sample.u_par + 2.0), sample, config)
    assert abs(filled(Ingredients(recoil=moved)).nominal[0].sum() / found.nominal[0].sum() - 1.0) > 1e-4
    assert found.groups.count("recoil") == 36


def test_what_is_missing_or_wrong_is_named():
    sample = generate_z_recoil(BUILT_IN, 10_000, 1)
    recoil = Ingredients(recoil=calibrate(sample, sample, RecoilConfig(pt_edges=(0.0, 115.0))))
    less = {k: v for k, v in rows(0).items() if k != "met_phi"}
    with pytest.raises(InputError, match="recoil corrections need the column 'met_phi'"):
        fill_process("W", [less], CONFIG, None, recoil)
    bad = rows(0) | {"met": np.where(np.arange(N) == 5, np.nan, 30.0)}
    with pytest.raises(InputError, match="first in row 5"):
        fill_process("W", [bad], CONFIG, None, recoil)
    weights = rows(0)["mass_weights"].copy()
    weights[9, 1] = np.inf
    with pytest.raises(InputError, match="'mass_weights' are not finite, the first in row 9"):
        fill_process("W", [rows(0) | {"mass_weights": weights}], CONFIG, None, Ingredients())
    with pytest.raises(InputError, match=r"holds 1 weights, table\.mass asks for number 1"):
        fill_process("W", [rows(0) | {"mass_weights": weights[:, 0]}], CONFIG, None, Ingredients())
    with pytest.raises(InputError, match="depend on u_T"):
        fill_process(
            "W", [{k: v for k, v in rows(0).items() if k != "ut"}], CONFIG, None,
            Ingredients(efficiencies=published_efficiencies()),
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"-0\.1 and"):
        TableConfig(mass=MASS[:1])
    with pytest.raises(ConfigError, match="met_phi"):
        TableConfig(columns={"metphi": "x"})
    with pytest.raises(InputError, match="no events of process 'W'"):
        fill_process("W", [], CONFIG, None, Ingredients())


def pairs(channel: str, seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    bins = {"mass": rng.normal(91.2, 3.0, N), "max_eta": rng.uniform(-2.4, 2.4, N)}
    if channel == "kinematics":
        bins = {"pair_pt": rng.gamma(2.0, 6.0, N), "pair_y": rng.uniform(-2.4, 2.4, N)}
    return {**bins, "weight": rng.uniform(0.5, 1.5, N), "mass_weights": rng.uniform(0.98, 1.02, (N, 2)),
            "shower": rng.uniform(0.9, 1.1, N)}  # fmt: skip


@pytest.mark.parametrize(("channel", "boson"), [("dilepton", "z"), ("kinematics", "w")])
def test_rows_of_pairs_by_hand(channel, boson):
    measured = ("Z",) if boson == "z" else ()
    config = TableConfig(channel=channel, weights=CONFIG.weights[:1], mass=MASS if measured else (), measured=measured)
    rows_of = pairs(channel)
    sums = fill_process("Z", [rows_of], config, None, Ingredients())
    found = user_templates({"Z": sums}, config)
    assert found.boson == boson
    at = found.binning.index([rows_of[axis] for axis in found.axes])
    expected = np.bincount(at[at >= 0], rows_of["weight"][at >= 0], minlength=found.binning.n_bins)
    assert_allclose(found.nominal[0], expected, rtol=1e-12)
    shifted = rows_of["weight"] * (rows_of["mass_weights"][:, 1] if measured else 1.0)
    assert_allclose(found.at_mass(0.1)[0].sum(), shifted[at >= 0].sum(), rtol=1e-12)
    b = expected.argmax()
    up = np.average(rows_of["shower"][at == b], weights=rows_of["weight"][at == b])
    assert_allclose(found.kappa[0, 0, b], np.log(up), rtol=1e-9)


def test_what_acts_on_muons_is_refused_for_rows_of_pairs(calibration):
    config = TableConfig(channel="dilepton")
    with pytest.raises(ConfigError, match="hold no muons"):
        config.check(calibration, Ingredients())
    with pytest.raises(ConfigError, match="efficiencies cannot be used"):
        config.check(None, Ingredients(efficiencies=published_efficiencies()))
    with pytest.raises(ConfigError, match=r"table\.columns\.pt is not known in the channel 'dilepton'"):
        TableConfig(channel="dilepton", columns={"pt": "Muon_pt"})


def test_own_files_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for seed, name in enumerate(("w", "z")):
        columns = rows(seed)
        frame = pd.DataFrame({k: v for k, v in columns.items() if v.ndim == 1}).rename(columns={"pt": "Muon_pt"})
        frame["mass_weights"] = list(columns["mass_weights"])
        frame["n_true"] = np.arange(N) % 40
        frame.to_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "own.toml").write_text("""
[table]
columns = { pt = "Muon_pt" }
measured = ["W"]
scale = { W = 2.0 }
weights = [{ name = "shower", column = "shower" }]
mass = [{ shift = -0.1, column = "mass_weights" }, { shift = 0.1, column = "mass_weights", index = 1 }]
[weights.pileup]
column = "n_true"
edges = [0.0, 20.0, 40.0]
data = [1.0, 2.0]
mc = [1.0, 1.0]
""")
    files = ["--process", f"W={tmp_path / 'w.parquet'}", "--process", f"Z={tmp_path / 'z.parquet'}"]
    command = ["templates", *files, "--config", str(tmp_path / "own.toml"), "--weights", "config", "--json"]
    assert main([*command, "-o", str(tmp_path / "t.h5"), "--model", str(tmp_path / "m.h5")]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["nuisances"] == {"shower": 1, "luminosity": 1, "prefiring": 13, "pileup": 1}
    made = Templates.load(tmp_path / "t.h5")
    w = rows(0)
    inside = (w["pt"] >= 26) & (w["pt"] < 56)
    ratio = np.where(np.arange(N) % 40 < 20, 2 / 3, 4 / 3)
    weighed = 2 * (w["weight"] * ratio)[inside].sum()
    assert 0.98 * weighed < made.nominal[0].sum() < 0.998 * weighed  # prefiring takes 0.2 to 2 %
    assert made.provenance.ledgers["templates W"].read == N
    assert main([*command, "-n", "5", "-o", str(tmp_path / "x.h5")]) == 2
    assert main(["templates", "--process", "W", "-o", str(tmp_path / "x.h5")]) == 2


@pytest.mark.parametrize(("weight", "code", "words"), [
    (100.0, 0, "row 77 of process 'W' has"), (np.nan, 3, "not finite"), (0.0, 3, "all 400 weights of the process 'W'"),
])  # fmt: skip
def test_b17_a_weight_that_dominates_is_a_warning_and_nan_or_only_zeros_are_refused(
    weight: float, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    columns = {name: rows(3)[name][:400] for name in (*MUONS, "weight")}
    columns["weight"] = np.ones(400) if weight else np.zeros(400)
    columns["weight"][77] = weight
    pd.DataFrame(columns).to_parquet(tmp_path / "w.parquet")
    command = ["templates", "--process", f"W={tmp_path / 'w.parquet'}", "-o", str(tmp_path / "t.h5")]
    assert main(command) == code
    told = capsys.readouterr().err
    assert words in told
    # (399 + 100)^2 / (399 + 100^2) of rows that count
    assert ("effective number of rows 23.9 of 400" in told) == (code == 0)
