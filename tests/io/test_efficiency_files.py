"""Scale factors in correctionlib and ROOT give what the model gives; probes come back from files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import uproot
from numpy.testing import assert_allclose, assert_array_equal

from mucal.efficiency import EfficiencyModel, Probes, ScaleFactors, Surface
from mucal.errors import InputError, NotCertified
from mucal.io.correctionlib import read_corrections_json
from mucal.io.efficiency_json import correction_name, write_efficiency_json
from mucal.io.efficiency_root import write_efficiency_root
from mucal.io.probe_files import ProbeInput, stream_probes, write_probes


def surface(seed: int, n_charge: int, degree_ut: int) -> Surface:
    rng = np.random.default_rng(seed)
    p = 4 * (degree_ut + 1)
    c = rng.normal(0, 0.01, (3, n_charge, p))
    c[..., 0] += 0.95
    mix = rng.normal(0, 1e-3, (3, n_charge, p, p))
    return Surface(
        eta_edges=np.array([-2.4, -1.0, 1.0, 2.4]), by_charge=n_charge == 2, pt_range=(26.0, 56.0),
        ut_range=(-30.0, 100.0) if degree_ut else (-np.inf, np.inf), degree_pt=3, degree_ut=degree_ut, coefficients=c,
        cov=mix @ np.swapaxes(mix, -1, -2), chi2=np.zeros((3, n_charge)), ndf=np.zeros((3, n_charge)),
    )  # fmt: skip


def factors(step: str, n_charge: int, degree_ut: int) -> ScaleFactors:
    made = [surface(seed, n_charge, degree_ut) for seed in range(4)]
    return ScaleFactors(step=step, nominal=made[0], eff_data=made[1], eff_mc=made[2], alternatives=("signal",),
                        alternative=(made[3],))  # fmt: skip


@pytest.fixture(scope="module")
def model() -> EfficiencyModel:
    return EfficiencyModel(steps=(factors("idip", 2, 0), factors("iso", 1, 2)))


def muons() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    n = 50
    return rng.uniform(-2.4, 2.4, n), rng.uniform(20, 70, n), rng.choice([-1, 1], n), rng.uniform(-60, 150, n)


def test_correctionlib_gives_what_the_model_gives(model: EfficiencyModel, tmp_path: Path):
    file = read_corrections_json(write_efficiency_json(model, tmp_path / "eff.json.gz"))
    eta, pt, charge, ut = muons()
    for step, extra in (("idip", ()), ("iso", (ut,))):
        one = model.step(step)
        name, inputs = correction_name(step), (eta, pt, charge, *extra)
        assert_allclose(file.evaluate(name, *inputs, "nominal"), one(*inputs), rtol=1e-12)
        assert_allclose(file.evaluate(name, *inputs, "stat"), one.nominal.error(*inputs), rtol=1e-8)
        syst = np.abs(one.alternative[0](*inputs) - one(*inputs))
        assert_allclose(file.evaluate(name, *inputs, "syst"), syst, rtol=1e-5, atol=1e-9)
        assert_allclose(file.evaluate(name, *inputs, "systdown"), one(*inputs) - syst, atol=1e-9)
        assert_allclose(file.evaluate(f"{name}_eff_mc", *inputs), one.eff_mc(*inputs), rtol=1e-12)


def test_correctionlib_holds_every_statistical_nuisance(model: EfficiencyModel, tmp_path: Path):
    file = read_corrections_json(write_efficiency_json(model, tmp_path / "eff.json"))
    eta, pt, charge, ut = muons()
    for nuisance in model.nuisances():
        if nuisance.group != "muon_eff_stat" or nuisance.eta != 1:
            continue
        one = model.step(nuisance.step)
        inputs = (eta, pt, charge, ut) if nuisance.step == "iso" else (eta, pt, charge)
        expected = one(*inputs) * (1 + nuisance.change(one, *inputs))
        # the key is known in the slices where it acts, and nominal elsewhere
        assert_allclose(
            file.evaluate(correction_name(nuisance.step), *inputs, f"{nuisance.name}_up"), expected, rtol=1e-10
        )


def test_correctionlib_raises_outside(model: EfficiencyModel, tmp_path: Path):
    file = read_corrections_json(write_efficiency_json(model, tmp_path / "eff.json"))
    with pytest.raises(ValueError, match="NUM_idip"):
        file.evaluate("NUM_idip_DEN_global_muon", np.array([2.5]), np.array([40.0]), np.array([1]), "nominal")


def test_root_histograms_hold_nominal_variations_alternatives(model: EfficiencyModel, tmp_path: Path):
    path = write_efficiency_root(model, tmp_path / "eff.root")
    with uproot.open(path) as file:
        values, edges = file["SF_idip_plus"].values(), file["SF_idip_plus"].axis(1).edges()
        recoil = file["SF_iso_both_ut"]
        found, errors = recoil.values(), recoil.errors()
    assert values.shape == (3, 150, 10)  # nominal, 4 up, 4 down, 1 alternative
    pt = 0.5 * (edges[1:] + edges[:-1])
    one = model.step("idip")
    muon = np.zeros(150), pt, np.ones(150, int)
    assert_allclose(values[1, :, 0], one(*muon), rtol=1e-12)
    assert_allclose(values[1, :, 9], one.alternative[0](*muon), rtol=1e-12)
    spread = 0.5 * (values[1, :, 1:5] - values[1, :, 5:9])
    assert_allclose(np.sqrt((spread**2).sum(axis=1)), one.nominal.error(*muon), rtol=1e-9)
    iso, at = model.step("iso"), (np.zeros(1), np.array([26.5]), np.ones(1, int), np.array([-27.5]))
    assert_allclose(found[1, 0, 0], iso(*at)[0], rtol=1e-12)
    assert_allclose(errors[1, 0, 0], iso.nominal.error(*at)[0], rtol=1e-12)


def test_equal_models_give_equal_bytes(model: EfficiencyModel, tmp_path: Path):
    for write, ending in ((write_efficiency_root, "root"), (write_efficiency_json, "json.gz")):
        paths = [write(model, tmp_path / f"{name}.{ending}") for name in "ab"]
        assert paths[0].read_bytes() == paths[1].read_bytes()


# ------------------------------------------------------------------------------------------------ probes


def probes() -> Probes:
    return Probes(
        mass=np.array([91.0, 85.0]), pt=np.array([40.0, 30.0]), eta=np.array([0.1, -2.0]), charge=np.array([1, -1]),
        ut=np.array([1.0, -3.0]), passing=np.array([True, False]), weight=np.array([1.0, 0.5]),
    )  # fmt: skip


def test_probes_come_back_from_parquet_and_csv(tmp_path: Path):
    write_probes(probes(), tmp_path / "p.parquet")
    frame = pd.DataFrame({name: getattr(probes(), name) for name in Probes.__slots__})
    frame.assign(passing=frame.passing.astype(int)).rename(columns={"mass": "m"}).to_csv(
        tmp_path / "p.csv", index=False
    )
    names = {name: name for name in Probes.__slots__}
    for path, columns in ((tmp_path / "p.parquet", names), (tmp_path / "p.csv", names | {"mass": "m"})):
        (found,) = stream_probes([path], ProbeInput(columns=columns))
        for name in Probes.__slots__:
            assert_array_equal(getattr(found, name), getattr(probes(), name))


def test_missing_and_bad_columns_are_named(tmp_path: Path):
    frame = pd.DataFrame({name: getattr(probes(), name) for name in Probes.__slots__}).assign(passing=[1.0, 0.5])
    frame.to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="neither 0 nor 1"):
        list(stream_probes([tmp_path / "bad.parquet"], ProbeInput()))
    frame.drop(columns="mass").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(InputError, match="column 'mass' is missing"):
        list(stream_probes([tmp_path / "less.parquet"], ProbeInput()))
    with pytest.raises(ValueError, match="passing"):
        ProbeInput(columns={"passed": "x"})


def with_surface(model: EfficiencyModel, name: str, **changes: Any) -> EfficiencyModel:
    """The model with one surface of its first step changed."""
    first = model.steps[0]
    old = getattr(first, name)
    new = (replace(old[0], **changes),) if isinstance(old, tuple) else replace(old, **changes)
    return replace(model, steps=(replace(first, **{name: new}), *model.steps[1:]))


@pytest.mark.parametrize(("write", "ending"), [(write_efficiency_json, "json.gz"), (write_efficiency_root, "root")])
@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("nominal", "coefficients", "the scale factor of step 'idip' has 1 of 120 numbers that are not finite"),
        ("eff_mc", "coefficients", "eff_mc of step 'idip' has 1 of 120 numbers"),
        ("alternative", "coefficients", "alternative 'signal' of step 'idip' has 1 of 120"),
        (
            "nominal",
            "cov",
            r"the scale factor of step 'idip' has a covariance with the eigenvalue -0\.0001 in eta bin 1",
        ),
    ],
)
def test_what_is_not_certified_is_not_written(
    model: EfficiencyModel, tmp_path: Path, write: Callable[..., Path], ending: str, name: str, of: str, said: str
):
    old = getattr(model.steps[0], name)
    numbers = getattr(old[0] if isinstance(old, tuple) else old, of).copy()
    if of == "cov":
        numbers[1, 0] = np.diag([1e-4, 1e-4, 1e-4, -1e-4])
    else:
        numbers[2, 1, 0] = np.nan
    with pytest.raises(NotCertified, match=said):
        write(with_surface(model, name, **{of: numbers}), tmp_path / f"eff.{ending}")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_no_step_is_not_written(tmp_path: Path):
    with pytest.raises(NotCertified, match="holds no step"):
        write_efficiency_json(EfficiencyModel(steps=()), tmp_path / "eff.json")
