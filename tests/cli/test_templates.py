"""`mucal templates`: filled, reproducible, and fitted by `mucal fit`."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.cli.program import main
from mucal.efficiency import EfficiencyModel
from mucal.io.lhapdf import write_member
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.simulation.recoil import BUILT_IN, generate_z_recoil
from mucal.simulation.uncertainties import published_efficiencies
from mucal.templates import Templates
from mucal.templates.nonprompt import NonpromptConfig, estimate
from mucal.templates.recoil import RecoilConfig, calibrate
from mucal.theory.partons import momentum_density
from mucal.theory.pdf_grid import FLAVOURS, PdfGrid, Subgrid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("templates")


def test_templates_are_filled_and_fitted(folder, capsys):
    out, model = folder / "z.h5", folder / "model.h5"
    arguments = ["templates", "--channel", "dilepton", "-n", "131072", "--seed", "3", "--set", "templates.theory=false"]
    assert main([*arguments, "-o", str(out), "--model", str(model), "--flat", "0.01", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["channel"] == "dilepton"
    assert Templates.load(out).boson == "z"
    assert main(["fit", str(model), "--asimov", "--json"]) == 0
    assert "mass" in capsys.readouterr().out


def test_same_seed_same_bytes(folder, capsys):
    arguments = ["templates", "--channel", "dilepton", "-n", "4096", "--set", "templates.theory=false"]
    paths = [folder / name for name in ("a.h5", "b.h5")]
    for path, jobs in zip(paths, ("1", "2"), strict=True):
        assert main([*arguments, "--jobs", jobs, "-o", str(path)]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert main([*arguments, "-o", str(paths[0])]) == 2  # it exists


def test_events_of_pythia_take_the_place_of_the_built_in_ones(folder, capsys):
    sample = ["templates", "--channel", "dilepton", "-n", "512", "--set", "templates.theory=false", "--json"]
    arguments = [*sample, "--generator", "pythia8"]
    if find_spec("pythia8mc") is None:
        assert main([*arguments, "-o", str(folder / "pythia.h5")]) == 2
        assert "pip install pythia8mc" in capsys.readouterr().out
        return
    events = []
    for given, name in ((arguments, "pythia"), (sample, "own")):
        assert main([*given, "-o", str(folder / f"{name}.h5")]) == 0
        events.append(json.loads(capsys.readouterr().out)["events"]["Zmumu"])
    assert abs(events[0] / events[1] - 1) < 0.6  # some 100 of 512 are selected: 4 errors of their ratio
    assert main([*arguments, "--set", "templates.reuse=2", "-o", str(folder / "reused.h5")]) == 2


def test_unknown_key_names_its_neighbour(folder, capsys):
    assert main(["templates", "--set", "templates.event=5", "-o", str(folder / "c.h5")]) == 2
    assert "events" in capsys.readouterr().err


def test_calibration_adds_its_nuisances(folder, calibration, capsys):
    bundle = folder / "calibration.h5"
    calibration.save(bundle)
    out = folder / "wlike.h5"
    arguments = ["templates", "--channel", "wlike", "-n", "2048", "--set", "templates.theory=false", "-o", str(out)]
    assert main([*arguments, "--calibration", str(bundle)]) == 0
    assert Templates.load(out).nuisances == calibration.names


def test_partons_of_a_set_take_the_place_of_the_built_in_ones(folder, capsys):
    # seven members of a set: a central one and three pairs
    x, q = np.geomspace(1e-6, 1.0, 40), np.array([50.0, 100.0, 200.0])
    numbers = np.array(list(FLAVOURS.values()))
    made = folder / "set"
    made.mkdir()
    (made / "set.info").write_text("NumMembers: 7\nErrorType: hessian\nErrorConfLevel: 90\n")
    for i in range(7):
        columns = [momentum_density(name, x) * (1 + 0.01 * i * ("bar" in name)) for name in FLAVOURS]
        values = np.repeat(np.stack(columns, axis=-1)[:, None], q.size, axis=1)
        write_member(made / f"set_{i:04d}.dat", PdfGrid(subgrids=(Subgrid(x=x, q=q, flavours=numbers, values=values),)))
    out = folder / "grid.h5"
    assert main(["templates", "--channel", "boson_z", "-n", "4096", "--pdf", str(made), "-o", str(out)]) == 0
    found = Templates.load(out)
    assert found.groups.count("pdf") == 6
    assert str(made / "set.info") in found.provenance.inputs


@pytest.fixture(scope="module")
def measured(folder):
    """Files of the other commands: one step of the efficiencies, nonprompt muons, recoil."""
    steps = published_efficiencies().steps
    EfficiencyModel(steps=(steps[2],)).save(folder / "efficiencies.h5")
    steps[1].save(folder / "tracking.h5")
    estimate(generate_nonprompt(NonpromptSimulation(), None)[0], NonpromptConfig()).save(folder / "nonprompt.h5")
    config = RecoilConfig(pt_edges=(0.0, 10.0, 20.0, 115.0))
    calibrate(generate_z_recoil(BUILT_IN, 30_000, 1), generate_z_recoil(BUILT_IN, 30_000, 2), config).save(
        folder / "recoil.h5"
    )
    return folder


FILL = ["templates", "-n", "2048", "--set", "templates.theory=false"]


def test_all_ingredients_come_from_their_files(measured, calibration, capsys):
    calibration.save(measured / "all_calibration.h5")
    out = measured / "all.h5"
    names = {
        "efficiency": "efficiencies",
        "nonprompt": "nonprompt",
        "recoil": "recoil",
        "calibration": "all_calibration",
    }
    given = [word for option, name in names.items() for word in (f"--{option}", str(measured / f"{name}.h5"))]
    assert main([*FILL, *given, "--weights", "config", "--simulation-size", "4", "--json", "-o", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)["nuisances"]
    assert found["muon_eff_stat"] == 48 * 4 * 2
    assert found["muon_eff_syst"] == 49
    assert found["nonprompt_smoothing"] + found["nonprompt_common"] == 387
    assert found["recoil"] == 2 * 3 * 6
    assert (found["luminosity"], found["prefiring"]) == (1, 13)
    made = Templates.load(out)
    assert set(calibration.names) < set(made.nuisances)
    filled = made.nominal[0] > 0
    assert_allclose(made.sumw2[0][filled], made.nominal[0][filled] / 4)
    assert made.sumw2[2].max() == 0.0  # nonprompt muons are no simulation
    assert {str(measured / f"{name}.h5") for name in names.values()} == set(made.provenance.inputs)


def test_single_steps_and_settings_of_the_weights(measured, capsys):
    files = ["--efficiency", str(measured / "tracking.h5"), "--set", "weights.luminosity=0.025", "--weights", "config"]
    assert main([*FILL, *files, "-o", str(measured / "steps.h5"), "--set", "weights.prefiring.stat=[0.1]"]) == 2
    assert "1 errors for 11 bins" in capsys.readouterr().err
    assert main([*FILL, *files, "-o", str(measured / "steps.h5")]) == 0
    made = Templates.load(measured / "steps.h5")
    assert made.groups.count("muon_eff_stat") == 48 * 3 * 2
    row = made.kappa[0, made.nuisances.index("luminosity")]
    assert np.abs(row - np.log(1.025)).max() < 1e-12


def test_another_result_in_the_place_of_an_ingredient_is_refused(measured, capsys):
    wrong = str(measured / "recoil.h5")
    for option in ("--nonprompt", "--efficiency"):
        assert main([*FILL, option, wrong, "-o", str(measured / "x.h5")]) == 2
        assert "holds RecoilCalibration, expected" in capsys.readouterr().err
    assert main([*FILL, "--channel", "dilepton", "--recoil", wrong, "-o", str(measured / "x.h5")]) == 2
    assert "holds no transverse mass" in capsys.readouterr().err


@pytest.mark.slow
def test_an_ansatz_has_the_published_numbers_of_nuisances(folder, capsys):
    names = ("--calibration", "--efficiency", "--nonprompt", "--weights")
    given = [word for name in names for word in (name, "ansatz")]
    assert main(["templates", "-n", "65536", *given, "--json", "-o", str(folder / "ansatz.h5")]) == 0
    found = json.loads(capsys.readouterr().out)["nuisances"]
    efficiency = sum(n for group, n in found.items() if group.startswith("muon_eff"))
    nonprompt = sum(n for group, n in found.items() if group.startswith("nonprompt"))
    assert (efficiency, nonprompt, found["prefiring"], found["luminosity"]) == (3658, 387, 14, 1)
    assert sum(found.values()) == 456 + 314 + 3658 + 387 + 15
