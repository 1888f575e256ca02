"""The template fit against rabbit, the fit of the measurement of m_W, number by number.

rabbit needs versions of its own (TensorFlow).  MUCAL_RABBIT_PYTHON names a Python that has `rabbit-fit` and `tf_keras`;
without it this one is tried.  Run with `pytest -m oracle tests/oracles/test_likelihood_rabbit.py`.  Checked with
rabbit-fit 0.2.5.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.io import FitInput, write_rabbit
from mucal.io.rabbit import partly_exact, shared_variances
from mucal.likelihood import FitConfig, Model, fit, from_arrays, global_impacts, nominal_impacts, observe
from mucal.likelihood.objective import objective

pytestmark = pytest.mark.oracle

DRIVER = Path(__file__).with_name("rabbit_driver.py")
CASES = {  # symmetric, per, mc_stat, rabbit's names of these
    "asymmetric gamma": (False, "bin", "gamma", "lite", "gamma"),
    "symmetric gamma": (True, "bin", "gamma", "lite", "gamma"),
    "asymmetric normal": (False, "bin", "normal", "lite", "normal-multiplicative"),
    "asymmetric full": (False, "process", "normal", "full", "normal-multiplicative"),
    "exactly known gamma": (False, "bin", "gamma", "lite", "gamma"),
}


def rabbit_python() -> str:
    """A Python with rabbit, or skip."""
    found = os.environ.get("MUCAL_RABBIT_PYTHON")
    if found:
        return found
    if importlib.util.find_spec("rabbit") is None:
        pytest.skip("rabbit-fit is not installed and MUCAL_RABBIT_PYTHON names no Python that has it")
    return sys.executable


def arrays(symmetric, mode, kind, seed=1):
    """40 bins, 3 processes, 12 parameters of which the first is free."""
    rng = np.random.default_rng(seed)
    nominal = rng.uniform(50, 900, (40, 3))
    kappa = rng.normal(0, 0.03, (40, 3, 12))
    kappa[:, 1:, 0] = 0.0
    eta = np.zeros_like(kappa) if symmetric else 0.3 * rng.normal(0, 0.03, kappa.shape)
    eta[:, :, 0] = 0.0
    truth = rng.normal(size=12)
    counts = rng.poisson((nominal * np.exp(kappa @ truth)).sum(axis=1)).astype(float)
    member = np.array(["mass", *["first"] * 5, *["second"] * 6])
    return {
        "nominal": nominal, "sumw2": rng.uniform(0.1, 0.6, nominal.shape) * nominal, "kappa": kappa, "eta": eta,
        "counts": counts, "points": rng.normal(size=(20, 12)), "symmetric": symmetric, "mode": mode, "kind": kind,
        "member": member,
    }  # fmt: skip


def model_of(a) -> Model:
    """Our model of the same arrays."""
    names = tuple(f"p{j:05d}" for j in range(12))
    groups = {g: tuple(n for n, m in zip(names, a["member"], strict=True) if m == g) for g in ("first", "second")}
    return from_arrays(
        a["nominal"], a["kappa"], eta=a["eta"], sumw2=a["sumw2"], parameters=names, processes=("a", "b", "c"),
        free=names[:1], pois=names[:1], groups=groups,
    )  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory):
    """What mucal and rabbit make of the same tensor."""
    symmetric, per, mc_stat, mode, kind = CASES[request.param]
    python, folder = rabbit_python(), tmp_path_factory.mktemp("rabbit")
    a = arrays(symmetric, mode, kind)
    if request.param.startswith("exactly known"):
        a["sumw2"][:, 2] = 0.0
    np.savez(folder / "model.npz", **a)
    subprocess.run([python, str(DRIVER), str(folder / "model.npz"), str(folder / "answers.npz")], check=True)
    model = model_of(a)
    if per == "bin" and partly_exact(model).any():  # as `read_rabbit` does
        model = replace(model, sumw2=shared_variances(model))
    config = FitConfig(mc_stat=mc_stat, per=per)
    result = fit(model, a["counts"], config)
    return a, model, config, result, dict(np.load(folder / "answers.npz"))


def test_h11_likelihood_at_twenty_points(both):
    a, model, config, _, rabbit = both
    function = objective(model, observe(model, a["counts"]), config.mc_stat, per=config.per)
    ours = np.array([function.value_and_gradient(x)[0] for x in a["points"]])
    theirs = rabbit["nll_at_points"]
    assert_allclose(2 * (ours - ours[0]), 2 * (theirs - theirs[0]), rtol=1e-10, atol=1e-8)
    assert_allclose(2 * ours, 2 * theirs, rtol=1e-10, atol=1e-8)


def test_h11_values_errors_and_goodness(both):
    _, _, _, result, rabbit = both
    errors = np.sqrt(np.diag(result.cov))
    assert_allclose(result.values / errors, rabbit["values"] / errors, atol=1e-6)
    assert_allclose(errors, rabbit["errors"], rtol=1e-6)
    assert_allclose(result.saturated, 2 * rabbit["nll"], rtol=1e-9)


def test_h11_global_impacts(both):
    a, model, _, result, rabbit = both
    found = global_impacts(model, a["counts"], result, "p00000")
    assert_allclose(found.single, rabbit["global_single"], atol=1e-6 * found.total)
    groups = dict(zip(rabbit["groups"].tolist(), rabbit["global_grouped"], strict=False))
    data, simulation = rabbit["global_grouped"][len(groups) :][:2]
    assert_allclose([found.data_stat, found.mc_stat], [data, simulation], atol=1e-6 * found.total)
    for name, impact in found.groups.items():
        assert_allclose(impact, groups[name], atol=1e-6 * found.total)


def test_h11_nominal_impacts(both):
    a, model, _, result, rabbit = both
    found = nominal_impacts(model, a["counts"], result, "p00000")
    assert_allclose(found.single, rabbit["nominal"], atol=1e-6 * found.total)
    groups = dict(zip(rabbit["groups"].tolist(), rabbit["nominal_grouped"], strict=False))
    data, simulation = rabbit["nominal_grouped"][len(groups) :][:2]
    assert_allclose([found.data_stat, found.mc_stat], [data, simulation], atol=1e-6 * found.total)
    for name, impact in found.groups.items():
        assert_allclose(impact, groups[name], atol=1e-6 * found.total)


@pytest.mark.parametrize(
    ("symmetric", "layout", "sparse"),
    [(False, "asymmetric", False), (False, "asymmetric", True), (True, "symmetric", False), (True, "symmetric", True)],
)
def test_h11_rabbit_reads_every_layout_of_tensor_written_here(symmetric, layout, sparse, tmp_path):
    a = arrays(symmetric, "lite", "gamma")
    model, data = model_of(a), a["counts"]
    np.savez(tmp_path / "model.npz", points=a["points"], mode="lite", kind="gamma")
    given = FitInput(model=model, observation=observe(model, data))
    tensor = write_rabbit(tmp_path / "tensor.hdf5", given, layout=layout, sparse=sparse)
    files = [str(tmp_path / "model.npz"), str(tmp_path / "answers.npz"), str(tensor)]
    subprocess.run([rabbit_python(), str(DRIVER), *files], check=True)
    rabbit, result = dict(np.load(tmp_path / "answers.npz")), fit(model, data)
    function = objective(model, observe(model, data), "gamma")
    ours = np.array([function.value_and_gradient(x)[0] for x in a["points"]])
    assert_allclose(2 * ours, 2 * rabbit["nll_at_points"], rtol=1e-10, atol=1e-8)
    errors = np.sqrt(np.diag(result.cov))
    assert_allclose(result.values / errors, rabbit["values"] / errors, atol=1e-6)
    assert_allclose(errors, rabbit["errors"], rtol=1e-6)
    total = global_impacts(model, data, result, "p00000")
    assert_allclose(total.single, rabbit["global_single"], atol=1e-6 * total.total)
