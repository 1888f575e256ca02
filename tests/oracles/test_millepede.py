"""The same records solved by Millepede-II, with a prior, with a pre-sigma from a start value, and without few entries.

Runs where a program `pede` is on the path; built from https://github.com/alisw/MillepedeII (2021) when it was written.
`millepede.res` prints five digits.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.globalcor import SolveConfig, injected, solve
from mucal.io.mille import write_mille
from mucal.io.mille_blocks import record_of
from mucal.io.mille_text import (
    MilleText,
    Steering,
    priors_as_measurements,
    read_result,
    write_steering,
    write_text,
)

PEDE = shutil.which("pede")
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(PEDE is None, reason="there is no program pede")]

SPEC = importlib.util.spec_from_file_location("walks", Path(__file__).parents[1] / "io" / "test_mille_blocks.py")
walks_module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(walks_module)
Walk, sums_of, registry = walks_module.Walk, walks_module.sums_of, walks_module.registry

DIGITS = 5e-5
"""Half a unit of the last printed digit of a number that begins with 1."""


@pytest.fixture(scope="module")
def walks(registry):
    return [Walk(registry, i) for i in range(300)]


def pede(folder, records, text, *options, flavour="c", double=True):
    """Values and errors of a run, NaN where a parameter was fixed."""
    write_mille(folder / "a.bin", records, flavour=flavour, double=double)
    write_text(folder / "par.txt", text)
    steering = Steering(binaries=(("a.bin", flavour, 1.0),), texts=("par.txt",), options=options)
    write_steering(folder / "steer.txt", steering)
    done = subprocess.run([PEDE, "steer.txt"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2, 3, 4), done.stdout[-2000:]
    found = read_result(folder / "millepede.res")
    order = np.argsort(found.index)
    return np.where(found.fixed, np.nan, found.value)[order], found.error[order]


@pytest.mark.parametrize("form", ["marginal", "sparse"])
@pytest.mark.parametrize(("flavour", "double"), [("c", True), ("c", False), ("fortran", False)])
def test_a_prior_as_a_measurement_gives_the_same_solution_and_errors(registry, walks, tmp_path, form, flavour, double):
    records = [record_of(getattr(walk, form)()) for walk in walks]
    text = MilleText(measurements=priors_as_measurements(registry))
    value, error = pede(tmp_path, records, text, "method inversion 3 0.001", "entries 1", flavour=flavour,
                        double=double)  # fmt: skip
    found = solve(sums_of(walks_module.concatenate(records), registry), registry, SolveConfig(method="dense"))
    assert_allclose(value, found.theta, rtol=DIGITS, atol=1e-3 * found.error.min())
    assert_allclose(error, found.error, rtol=DIGITS + 1e-4)


def test_a_presigma_damps_a_step_from_a_start_value(registry, walks, tmp_path):
    records = [record_of(walk.marginal()) for walk in walks[:20]]
    start = 0.005 * np.cos(np.arange(len(registry)))
    text = MilleText(initial=dict(enumerate(start)), presigma=dict(enumerate(registry.prior)))
    value, _ = pede(tmp_path, records, text, "method inversion 1 0.001", "entries 1")
    sums = injected(sums_of(walks_module.concatenate(records), registry), registry, -start)
    damped = solve(sums, registry, SolveConfig(method="dense", prior_on_step=True), applied=start)
    pulled = solve(sums, registry, SolveConfig(method="dense"), applied=start)
    assert_allclose(value, damped.theta, rtol=DIGITS, atol=1e-3 * damped.error.min())
    assert np.abs(pulled.theta - damped.theta).max() > 0.05 * damped.error.max()


def test_parameters_with_few_equations_are_fixed(registry, walks, tmp_path):
    # Millepede counts equations, the sums candidates: a walk has one of each alignment and two of each field
    records = [record_of(walk.sparse()) for walk in walks[:30]]
    text = MilleText(measurements=priors_as_measurements(registry))
    value, error = pede(tmp_path, records, text, "method inversion 3 0.001", "entries 40", "printcounts")
    aligned = registry.of_kind("alignment")
    assert np.array_equal(np.isnan(value), aligned)
    sums = sums_of(walks_module.concatenate(records), registry)
    found = solve(sums, registry, SolveConfig(method="dense", fixed=("alignment/*",)))
    assert_allclose(value[~aligned], found.theta[~aligned], rtol=DIGITS, atol=1e-3 * found.error[~aligned].min())
    assert_allclose(error[~aligned], found.error[~aligned], rtol=DIGITS + 1e-4)
    none = solve(sums, registry, SolveConfig(method="dense", min_entries=30))
    assert none.free.all()
