"""Exact constraints and measurements from outside."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.globalcor import (
    Constraint,
    Measurement,
    SolveConfig,
    solve,
)

from .conftest import blocks_of, dense_sums, oracle


@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_constraints_hold_exactly_and_agree_with_multipliers(registry, truth, sums, method):
    rows = [
        Constraint(name="sum", index=np.arange(10), factor=1.0 / registry.prior[:10], value=0.7),
        Constraint(name="pair", index=np.array([12, 40]), factor=np.array([1.0, -2.0])),
    ]
    found = solve(sums, registry, SolveConfig(method=method, tolerance=1e-11, errors=("*",)), constraints=rows)
    g, h = dense_sums(blocks_of(registry, np.arange(400), truth=truth), len(registry))
    h += np.diag(2.0 / registry.prior**2)
    c = np.zeros((2, len(registry)))
    for i, row in enumerate(rows):
        c[i, row.index] = row.factor
    s = registry.prior  # multipliers in whitened units, else the matrix is badly scaled
    kkt = np.block([[h * np.outer(s, s), (c * s).T], [c * s, np.zeros((2, 2))]])
    inverse = np.linalg.inv(kkt)
    theta = s * (inverse @ np.concatenate([-g * s, [0.7, 0.0]]))[: len(registry)]
    sigma = s * np.sqrt(2.0 * np.diag(inverse)[: len(registry)])
    assert_allclose(c @ found.theta, [0.7, 0.0], atol=1e-12)
    assert_allclose(found.theta / sigma, theta / sigma, atol=1e-6)
    assert_allclose(found.error, sigma, rtol=1e-6)


def test_repeated_and_contradictory_constraints_are_named(registry, sums):
    one = Constraint(name="first", index=np.array([1, 2]), factor=np.array([1.0, 1.0]), value=0.0)
    with pytest.raises(InputError, match=r"'(again' repeats 'first|first' repeats 'again)'"):
        solve(sums, registry, constraints=[one, replace(one, name="again", factor=2.0 * one.factor)])
    with pytest.raises(InputError, match=r"contradicts"):
        solve(sums, registry, constraints=[one, replace(one, name="other", value=1e-3)])


def test_a_constraint_on_frozen_parameters_is_refused(registry, sums):
    row = Constraint(name="loss", index=np.array([registry.index("eloss/strips/sensors/scale")]), factor=np.ones(1))
    with pytest.raises(InputError, match="'loss' holds no parameter that is free"):
        solve(sums, registry, SolveConfig(fixed=("eloss/*",)), constraints=[row])


@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_measurements_from_outside_add_their_information(registry, truth, sums, method):
    at = registry.index("bfield/strips-L3/z")
    probe = Measurement(name="NMR", index=np.array([at]), factor=np.ones(1), value=2e-3, sigma=1e-5)
    h, g = np.zeros((len(registry), len(registry))), np.zeros(len(registry))
    h[at, at], g[at] = 2.0 / 1e-10, -2.0 * 2e-3 / 1e-10
    theta, cov, _ = oracle(registry, truth, extra_h=h, extra_g=g)
    found = solve(sums, registry, SolveConfig(method=method, tolerance=1e-11, errors=("*",)), measurements=[probe])
    assert_allclose(found.theta / found.error, theta / found.error, atol=1e-6)
    assert_allclose(found.error, np.sqrt(np.diag(cov)), rtol=1e-6)
