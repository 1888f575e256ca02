"""The passes over the bins are one source, compiled or not: both give the same numbers."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import FitConfig, fit, observe
from mucal.likelihood.objective import objective
from mucal.likelihood.passes import PLAIN, compiled_passes, passes_for
from mucal.likelihood.table import tabulate

from .models import rich_model, small_model

POINT = np.array([1.1, 0.9, 0.4, -0.3, 0.2, 1.7, -0.6])


@pytest.mark.parametrize("mc_stat", ["gamma", "normal", "none"])
@pytest.mark.parametrize("per", ["bin", "process"])
def test_both_agree_on_everything_at_once(mc_stat, per):
    model = rich_model()
    data = observe(model, np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float))
    one = objective(model, data, mc_stat, per=per)
    plain, compiled = (replace(one, passes=passes) for passes in (PLAIN, compiled_passes()))
    for x in (model.centre, POINT):
        (value, gradient), (same, also) = plain.value_and_gradient(x), compiled.value_and_gradient(x)
        assert_allclose(value, same, rtol=1e-12)
        assert_allclose(gradient, also, rtol=1e-10, atol=1e-10)
        at, there = plain.expand(x), compiled.expand(x)
        assert_allclose(at.jacobian, there.jacobian, rtol=1e-12, atol=1e-12)
        assert_allclose(at.profile.beta, there.profile.beta, rtol=1e-12)
        direction = np.linspace(-1, 1, x.size)
        assert_allclose(plain.along(x, at, direction), compiled.along(x, there, direction), rtol=1e-12, atol=1e-12)


def test_outside_the_domain_both_say_infinite():
    model = small_model()
    x = model.centre.copy()
    x[0] = -50.0
    values = [
        replace(objective(model, observe(model, np.ones(model.n_bins)), "gamma"), passes=p).value_and_gradient(x)[0]
        for p in (PLAIN, compiled_passes())
    ]
    assert values == [np.inf, np.inf]


def test_small_models_are_not_compiled_and_large_ones_are():
    assert passes_for(tabulate(small_model(n_bins=10))) is PLAIN
    assert passes_for(tabulate(small_model(n_bins=200, n_shapes=30))) is compiled_passes()


def test_a_fit_is_the_same_either_way(monkeypatch):
    model = small_model(n_bins=10)
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    plain = fit(model, counts, FitConfig())
    monkeypatch.setattr("mucal.likelihood.passes.SMALL", 0)
    compiled = fit(model, counts, FitConfig())
    assert_allclose(plain.values, compiled.values, atol=1e-9)
    assert_allclose(plain.cov, compiled.cov, rtol=1e-9, atol=1e-12)


def test_a_fit_of_ten_bins_brings_in_no_compiler(tmp_path):
    path = small_model(n_bins=10).save(tmp_path / "model.h5")
    code = (
        "import sys; from mucal.cli import main; "
        f"code = main(['fit', {str(path)!r}, '--asimov']); "
        "heavy = ('numba', 'awkward', 'matplotlib', 'scipy.stats', 'pandas', 'hist'); "
        "print(code, [name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "0 []"
