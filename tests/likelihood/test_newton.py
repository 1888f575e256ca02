"""The two ways to solve for a step, against the dense matrix written out; how often a search makes one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import fit, from_arrays, newton, observe
from mucal.likelihood.normal_matrix import diagonal_prior, factorise


@pytest.mark.parametrize("n_bins", [8, 40])
@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("n_free", [0, 3])
def test_step_agrees_with_the_matrix_written_out(n_bins, damping, n_free):
    rng = np.random.default_rng(5)
    j, h, g = rng.normal(size=(n_bins, 20)), rng.uniform(0.1, 1, n_bins), rng.normal(size=20)
    c = rng.uniform(0.5, 2, 20)
    c[4 : 4 + n_free] = 0.0
    matrix = j.T @ np.diag(h) @ j
    matrix += np.diag(c) + damping * np.diag(np.where(c > 0, c, np.diag(matrix)))
    found = factorise(j, h, diagonal_prior(c), damping).solve(g)
    assert_allclose(found, np.linalg.solve(matrix, g), rtol=1e-9)


def many_events(n_bins=30, n_parameters=40, seed=3):
    """So many events that effects of some per mille, as those of the measurement, move bins by many errors."""
    rng = np.random.default_rng(seed)
    nominal = rng.uniform(2e4, 6e4, (n_bins, 2))
    kappa = 2e-3 * rng.normal(size=(n_bins, 2, n_parameters))
    model = from_arrays(nominal, kappa, parameters=tuple(f"n{j}" for j in range(n_parameters)), processes=("a", "b"))
    mean = (nominal * np.exp(kappa @ rng.normal(size=n_parameters))).sum(axis=1)
    return model, observe(model, rng.poisson(mean).astype(float))


def test_one_factor_is_enough_where_a_step_keeps_its_promise():
    model, data = many_events()
    assert fit(model, data).n_steps == 1


def test_where_kept_factors_are_not_trusted_the_minimum_is_the_same(monkeypatch):
    model, data = many_events()
    one = fit(model, data)
    monkeypatch.setattr(newton, "SURE", 1.0)
    every = fit(model, data)
    assert every.n_steps > 2
    assert_allclose(one.values, every.values, atol=1e-8)
    assert_allclose(one.cov, every.cov, rtol=1e-8, atol=1e-12)
