"""The passes of JAX give the numbers of the plain ones; without JAX, asking for them says what to install."""

import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.likelihood import Channel, FitConfig, Model, fit, observe
from mucal.likelihood.blocks import Block, join
from mucal.likelihood.objective import objective
from mucal.likelihood.passes import passes_for, passes_of
from mucal.likelihood.table import tabulate

from .models import rich_model, small_model

POINT = np.array([1.1, 0.9, 0.4, -0.3, 0.2, 1.7, -0.6])
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason='JAX is not installed: pip install "mucal[gpu]"')


def ragged_model(n_blocks=30, n_bins=40, n_parameters=60) -> Model:
    """More blocks on parameters of their own than become matrices, some asymmetric, some adding events."""
    rng = np.random.default_rng(7)
    nominal = rng.uniform(50, 200, (n_bins, 4))
    nominal[:, 3] = 0.0  # a process that is nowhere
    blocks = []
    for i in range(n_blocks):
        bins, columns = (np.sort(rng.choice(n, 7 + i % 3, replace=False)) for n in (n_bins, n_parameters))
        kappa = rng.normal(0, 0.02, (bins.size, columns.size)) * (20 if i % 5 == 0 else 1)
        eta = 0.3 * np.abs(kappa) if i % 2 else np.zeros((0, 0))
        blocks.append(Block(process=i % 3, bins=bins, columns=columns, kappa=kappa, eta=eta, additive=i % 5 == 0))
    return Model(
        channels=(Channel(name="bins", axes=("bin",), edges=(tuple(float(i) for i in range(n_bins + 1)),)),),
        processes=("a", "b", "c", "nowhere"),
        parameters=tuple(f"p{j}" for j in range(n_parameters)),
        nominal=nominal,
        sumw2=0.3 * nominal,
        effects=join(blocks),
        rate=np.full(4, -1),
        centre=np.zeros(n_parameters),
        precision=np.ones(n_parameters),
    )


def assert_same(one, other, terms=1e4):
    """To the rounding of sums of so many terms, relative to the largest number: 2e-12."""
    assert_allclose(other, one, rtol=0, atol=terms * np.finfo(float).eps * max(np.abs(one).max(initial=0.0), 1e-300))


def assert_same_passes(model, counts, x, mc_stat, per):
    data = observe(model, counts)
    plain, jax = (objective(model, data, mc_stat, per=per, backend=backend) for backend in ("plain", "jax"))
    (value, gradient), (same, also) = plain.value_and_gradient(x), jax.value_and_gradient(x)
    assert_allclose(same, value, rtol=1e-12)
    assert_same(gradient, also)
    at, there = plain.expand(x), jax.expand(x)
    for name in ("nu", "slope", "scale", "shape", "jacobian"):
        assert_same(getattr(at, name), getattr(there, name))
    for one, other in zip(at.profile, there.profile, strict=True):
        assert_same(one, other)
    direction = np.linspace(-1, 1, x.size)
    assert_same(plain.along(x, at, direction), jax.along(x, there, direction))


@needs_jax
@pytest.mark.parametrize(
    ("mc_stat", "per"),
    [("gamma", "bin"), ("gamma", "process"), ("normal", "bin"), ("normal", "process"), ("none", "bin")],
)
def test_everything_at_once(mc_stat, per):
    model = rich_model(exact=True)
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    counts[4] = 0.0
    for x in (model.centre, POINT):
        assert_same_passes(model, counts, x, mc_stat, per)


@needs_jax
def test_many_blocks_on_parameters_of_their_own(monkeypatch):
    from mucal.likelihood import jax_passes

    monkeypatch.setattr(jax_passes, "MATRICES", 3)
    model = ragged_model()
    grid = jax_passes.lay_out(tabulate(model), len(model.processes))
    assert len(grid.rows) == 3
    assert [loose.eta is None for loose in grid.loose] == [True, False]
    rng = np.random.default_rng(3)
    counts = rng.poisson(model.nominal.sum(axis=1)).astype(float)
    assert_same_passes(model, counts, 0.4 * rng.normal(size=60), "gamma", "bin")


@needs_jax
@pytest.mark.parametrize("mc_stat", ["gamma", "normal"])
def test_outside_the_domain_the_value_is_infinite_and_the_gradient_is_finite(mc_stat):
    model = small_model()
    x = model.centre.copy()
    x[model.index(("mu",))] = -50.0  # a rate, so that expected events are negative
    function = objective(model, observe(model, np.ones(model.n_bins)), mc_stat, backend="jax")
    value, gradient = function.value_and_gradient(x)
    assert value == np.inf
    assert np.all(np.isfinite(gradient))
    found = function.expand(x).profile
    for one, other in zip(replace(function, passes=passes_of("plain", function.table, 3)).expand(x).profile, found,
                          strict=True):  # fmt: skip
        finite = np.isfinite(one)
        assert np.array_equal(finite, np.isfinite(other))
        assert_same(one[finite], other[finite])


@needs_jax
@pytest.mark.parametrize("per", ["bin", "process"])
def test_a_fit_is_the_same(per):
    model = small_model()
    counts = np.random.default_rng(3).poisson(model.nominal.sum(axis=1)).astype(float)
    plain, jax = (fit(model, counts, FitConfig(backend=backend, per=per)) for backend in ("plain", "jax"))
    jax.require_converged()
    assert np.abs((jax.values - plain.values) / np.sqrt(np.diag(plain.cov))).max() < 1e-8
    assert_same(plain.cov, jax.cov, terms=1e6)  # an inverse: rounding times the condition of the Hessian
    assert plain.n_steps == jax.n_steps


@needs_jax
def test_the_effects_stay_on_the_device_for_other_data():
    model = small_model()
    function = objective(model, observe(model, np.ones(model.n_bins)), "gamma", backend="jax")
    other = function.observe(observe(model, np.full(model.n_bins, 400.0)))
    assert other.passes is function.passes
    fresh = objective(model, other.observation, "gamma", backend="plain")
    assert_allclose(
        other.value_and_gradient(model.centre)[0], fresh.value_and_gradient(model.centre)[0], rtol=1e-12
    )  # fmt: skip


@needs_jax
def test_the_precision_of_the_user_is_left_alone():
    import jax.numpy as jnp

    before, model = jnp.zeros(1).dtype, small_model()
    function = objective(model, observe(model, model.nominal.sum(axis=1)), "gamma", backend="jax")
    assert function.expand(model.centre).nu.dtype == np.float64
    assert jnp.zeros(1).dtype == before == np.float32


def test_nothing_but_asking_chooses_jax():
    for model in (small_model(n_bins=10), small_model(n_bins=200, n_shapes=30)):
        table = tabulate(model)
        assert passes_of("auto", table, 3) is passes_for(table)
        assert passes_for(table).n_parts > 1


@pytest.mark.parametrize("backend", ["plain", "compiled", "auto"])
def test_the_backend_asked_for_is_taken(backend):
    table = tabulate(small_model(n_bins=10))
    name = {"plain": "PLAIN", "auto": "PLAIN", "compiled": "COMPILED"}[backend]
    module = import_module("mucal.likelihood.compiled" if backend == "compiled" else "mucal.likelihood.passes")
    assert passes_of(backend, table, 3) is getattr(module, name)


def test_without_jax_a_fit_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    for name in ("mucal.likelihood.jax_passes", "mucal.likelihood.jax_kernels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    model = small_model(n_bins=10)
    with pytest.raises(ConfigError, match=r"mucal\[gpu\]") as caught:
        fit(model, model.nominal.sum(axis=1), FitConfig(backend="jax"))
    assert caught.value.kind == "config.missing_extra"


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match="expected auto, plain, compiled, jax"):
        FitConfig(backend="numpy")
