"""Ten workspaces fitted by mucal and by pyhf: values, errors and differences of twice -ln L.

pyhf may live in an environment of its own: MUCAL_PYHF_PYTHON names its interpreter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.io import read_pyhf, write_pyhf
from mucal.likelihood import FitConfig, fit

from ..io.workspaces import WORKSPACES

pytestmark = pytest.mark.oracle
TOLERANCE = 1e-5
BOTH = "statistical errors of both kinds"
"""Read exactly, but not written: our constrained rates have no modifier."""
CASES = [(name, which) for name in WORKSPACES for which in ("", ", written") if (name, which) != (BOTH, ", written")]


def by_pyhf(tasks):
    """What pyhf makes of workspaces; skips where there is no pyhf."""
    python = os.environ.get("MUCAL_PYHF_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import pyhf"], capture_output=True, check=False).returncode:
        pytest.skip("pyhf is not installed; MUCAL_PYHF_PYTHON may name an interpreter that has it")
    script = Path(__file__).with_name("pyhf_fit.py")
    ended = subprocess.run([python, script], input=json.dumps(tasks), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def fitted(found, frozen=None):
    held = {**found.start, **(frozen or {})}
    config = FitConfig(mc_stat=found.mc_stat, per=found.per, start=held, frozen=tuple(frozen or ()), tolerance=1e-12)
    return fit(found.model, found.data(), config)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """name -> workspace, points at which some parameters are held, and what mucal finds; written ones too."""
    folder = tmp_path_factory.mktemp("workspaces")
    rng = np.random.default_rng(7)
    tasks, ours = {}, {}
    for i, (name, plain) in enumerate(WORKSPACES.items()):
        path = folder / f"{i}.json"
        path.write_text(json.dumps(plain))
        found = read_pyhf(path)
        result = fitted(found)
        names = [n for n, frozen in zip(result.parameters, result.frozen, strict=True) if not frozen]
        points = [{n: result.value(n) + rng.normal(0, 1.5) * result.error(n) for n in names[:-1][:2]} for _ in range(2)]
        tasks[name] = {"workspace": plain, "points": points}
        if name != BOTH:
            written = json.loads(write_pyhf(folder / f"written{i}.json", found).read_text())
            tasks[f"{name}, written"] = {"workspace": written, "points": []}
        ours[name] = (result, [2 * (fitted(found, point).nll - result.nll) for point in points])
    return ours, by_pyhf(tasks)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_h11_values_and_errors_are_those_of_pyhf(tasks, name, which):
    (result, _), theirs = tasks[0][name], tasks[1][name + which]
    for parameter, frozen in zip(result.parameters, result.frozen, strict=True):
        if not frozen:
            error = result.error(parameter)
            assert_allclose(result.value(parameter), theirs["values"][parameter], atol=TOLERANCE * error)
            assert_allclose(error, theirs["errors"][parameter], rtol=TOLERANCE)


@pytest.mark.parametrize("name", WORKSPACES)
def test_twice_the_rise_of_the_likelihood_is_that_of_pyhf(tasks, name):
    assert_allclose(tasks[0][name][1], tasks[1][name]["rise"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["statistical error of two samples, luminosity", "uncorrelated background"])
def test_factors_of_the_simulation_are_those_of_pyhf(tasks, name):
    (result, _), theirs = tasks[0][name], tasks[1][name]["values"]
    gamma = [value for parameter, value in theirs.items() if parameter not in result.parameters]
    beta = result.beta if result.beta.ndim == 1 else result.beta[:, 1]
    assert_allclose(beta, gamma, atol=TOLERANCE)
