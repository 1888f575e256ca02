"""`mucal templates`: filled, reproducible, and fitted by `mucal fit`."""

import json

import numpy as np
import pytest

from mucal.cli.program import main
from mucal.io.lhapdf import write_member
from mucal.templates import Templates
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
