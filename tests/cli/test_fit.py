"""`mucal fit` as a script sees it."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from mucal.io import FitInput
from mucal.likelihood import from_arrays
from mucal.workflow.fit import Fitted

from ..io.workspaces import WORKSPACES, norm


@pytest.fixture
def workspace(tmp_path):
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(WORKSPACES["everything in two channels"]))
    return path


def test_the_table_names_the_largest_impact_first(mucal, workspace):
    ended = mucal("fit", workspace, "--unblind", "mu", "--top", 2)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("fit of data: converged in")
    assert any(line.strip() == "mu = 0.67 +- 0.52" for line in lines)
    assert next(line for line in lines if line.strip().startswith("1 ")).split()[1] == "k_b"
    assert "and 3 more (--top N)" in ended.out


def test_data_are_blinded_by_default(mucal, workspace):
    ended = mucal("fit", workspace)
    assert ended.code == 0
    assert "blinded by a hidden offset; --unblind mu shows it" in ended.out
    assert "mu = 0.67" not in ended.out


def test_json_is_one_object(mucal, workspace, tmp_path):
    ended = mucal("fit", workspace, "--json", "--unblind", "mu", "-o", tmp_path / "fit.h5")
    plain = json.loads(ended.out)
    assert plain["status"] == "ok"
    assert plain["written"] == [str(tmp_path / "fit.h5")]
    assert plain["pois"]["mu"]["value"] == pytest.approx(0.667, abs=1e-3)
    assert Fitted.load(tmp_path / "fit.h5").result.value("mu") == plain["pois"]["mu"]["value"]


def test_a_second_output_is_not_overwritten(mucal, workspace, tmp_path):
    arguments = ("fit", workspace, "-o", tmp_path / "fit.h5")
    assert mucal(*arguments).code == 0
    again = mucal(*arguments)
    assert again.code == 2
    assert "exists already" in again.err
    assert mucal(*arguments, "--overwrite").code == 0


def test_asimov_starts_where_it_is_told(mucal, workspace):
    ended = mucal("fit", workspace, "--asimov", "--start", "mu=2", "--json")
    assert json.loads(ended.out)["pois"]["mu"]["value"] == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("backend", ["plain", "compiled"])
def test_the_backend_is_an_option(mucal, workspace, backend):
    ended = mucal("fit", workspace, "--unblind", "mu", "--backend", backend, "--json")
    assert json.loads(ended.out)["pois"]["mu"]["value"] == pytest.approx(0.667, abs=1e-3)


@pytest.mark.skipif(find_spec("jax") is not None, reason="JAX is installed")
def test_a_backend_that_is_not_installed_names_its_extra(mucal, workspace):
    ended = mucal("fit", workspace, "--backend", "jax")
    assert ended.code == 2
    assert 'pip install "mucal[gpu]"' in ended.err


@pytest.mark.skipif(find_spec("jax") is None, reason='JAX is not installed: pip install "mucal[gpu]"')
def test_jax_is_a_backend(mucal, workspace):
    ended = mucal("fit", workspace, "--unblind", "mu", "--backend", "jax", "--json")
    assert json.loads(ended.out)["pois"]["mu"]["value"] == pytest.approx(0.667, abs=1e-3)


def test_a_fit_that_does_not_converge_ends_with_4_and_writes_nothing(mucal, tmp_path):
    # two free rates of one process: the data know their product alone
    model = from_arrays(
        np.full((2, 1), 9.0), np.full((2, 1, 1), 0.1), parameters=("n",), processes=("s",),
        rates={"a": ["s"], "b": ["s"]}, pois=("a",),
    )  # fmt: skip
    FitInput(model=model).save(tmp_path / "model.h5")
    ended = mucal("fit", tmp_path / "model.h5", "--asimov", "--json", "-o", tmp_path / "fit.h5")
    assert ended.code == 4
    assert json.loads(ended.out)["kind"] == "likelihood.not_converged"
    assert not (tmp_path / "fit.h5").exists()


def test_an_asymmetric_effect_needs_to_be_allowed(mucal, workspace):
    plain = json.loads(workspace.read_text())
    plain["channels"][0]["samples"][1]["modifiers"][1] = norm("jes", 1.1, 0.95)
    workspace.write_text(json.dumps(plain))
    refused = mucal("fit", workspace)
    assert refused.code == 3
    assert "mucal fit --inexact" in refused.err
    assert mucal("fit", workspace, "--inexact", "0.01").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--unblind", "mi"], 2, "no parameter 'mi'"),
        (["--start", "mu"], 2, "expected NAME=VALUE"),
        (["--asimov", "--scan", "mi"], 2, "no parameter 'mi'"),
        (["--asimov", "--contour", "mu", "mi"], 2, "no parameter 'mi'"),
        (["--data", "toy"], 3, "no data 'toy'"),
        (["--asimov", "--data", "x"], 2, "exclude each other"),
        (["--measurement", "other"], 3, "no measurement 'other'"),
        (["--backend", "cuda"], 2, "'cuda' is not one of 'auto', 'plain', 'compiled', 'jax'"),
    ],
)
def test_wrong_options_say_what_is_wrong(mucal, workspace, arguments, code, message):
    ended = mucal("fit", workspace, *arguments)
    assert ended.code == code
    assert message in ended.err


def test_what_looks_wrong_in_the_model_is_a_warning(mucal, tmp_path):
    plain = json.loads(json.dumps(WORKSPACES["one bin, one normalisation"]))
    plain["channels"][0]["samples"][1]["modifiers"].append(norm("huge", 3.0))
    (tmp_path / "w.json").write_text(json.dumps(plain))
    ended = mucal("fit", tmp_path / "w.json", "--inexact", "0.01")
    assert ended.code == 0, ended.err
    line = next(line for line in ended.out.splitlines() if line.startswith("warning: "))
    assert "'huge'" in line
    assert "SR" in line


@pytest.mark.parametrize("content", ["", "<html>not found</html>", "imax 1\njmax 1\nkmax 1\nnuisance edit x\n"])
def test_a_bad_file_ends_with_3(mucal, tmp_path, content):
    (tmp_path / "bad").write_text(content)
    assert mucal("fit", tmp_path / "bad").code == 3


def test_a_fit_does_not_wait_for_libraries_it_does_not_need(workspace):
    # numba brings awkward, and awkward pyarrow: an entry point of theirs, which we do not choose
    heavy = ("matplotlib", "mplhep", "uproot", "correctionlib", "pandas", "iminuit", "hist", "pydantic", "jinja2")
    program = (
        "import sys, json; from mucal.cli import main; code = main(sys.argv[1:]); "
        f"print(json.dumps([code, [m for m in {heavy} if m in sys.modules]]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "fit", str(workspace)], capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == [0, []]
