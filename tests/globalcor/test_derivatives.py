from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.globalcor import (
    ReferenceDerivatives,
    SolveConfig,
    accumulate,
    apply,
    beyond_linear,
    divide,
    solve,
    uncertainty,
)
from mucal.globalcor.derivatives import relative_curvature

from .conftest import Sample


@pytest.fixture(scope="module")
def found(registry):
    sums = accumulate(Sample(registry), divide(400, 100), registry)
    return solve(sums, registry, SolveConfig(n_replicas=5000), seed=3)


@pytest.fixture(scope="module")
def derivatives(registry):
    """Twenty tracks with 12 parameters each, one without any."""
    rng = np.random.default_rng(5)
    sizes = np.where(np.arange(20) == 7, 0, 12)
    label = np.concatenate([np.sort(rng.choice(len(registry), n, replace=False)) for n in sizes]).astype(np.int64)
    return ReferenceDerivatives(
        digest=registry.digest, offsets=np.concatenate([[0], np.cumsum(sizes)]), label=label,
        values=(rng.normal(size=(label.size, 3)) / registry.prior[label][:, None]).astype(np.float32),
    )  # fmt: skip


def dense(derivatives, n):
    j = np.zeros((derivatives.n_tracks, 3, n))
    for i in range(derivatives.n_tracks):
        for t in range(derivatives.offsets[i], derivatives.offsets[i + 1]):
            j[i, :, derivatives.label[t]] = derivatives.values[t]
    return j


def test_corrections_are_added_to_first_order(found, derivatives, registry):
    state = np.random.default_rng(6).normal(size=(20, 5))
    corrected = apply(found, derivatives, state)
    expected = state.copy()
    expected[:, :3] += dense(derivatives, len(registry)) @ found.theta
    assert_allclose(corrected, expected, rtol=1e-12)
    assert_array_equal(corrected[7], state[7])


def test_uncertainty_is_j_c_jt(found, derivatives, registry):
    j = dense(derivatives, len(registry))
    expected = np.einsum("naf,fg,nbg->nab", j[:, :, found.free], found.covariance, j[:, :, found.free])
    assert_allclose(uncertainty(found, derivatives), expected, rtol=1e-9, atol=1e-12)


def test_replicas_and_factors_stand_in_for_the_covariance(found, derivatives):
    whole = uncertainty(found, derivatives)
    scale = np.sqrt(np.einsum("naa->na", whole))[np.arange(20) != 7]
    less = replace(found, covariance=np.zeros((0, 0)))
    ratio = np.sqrt(np.einsum("naa->na", uncertainty(less, derivatives)))[np.arange(20) != 7] / scale
    assert np.abs(ratio - 1.0).max() < 5.0 / np.sqrt(2 * 5000)
    factor = np.zeros((len(found.registry), found.covariance.shape[0]))
    factor[found.free] = np.linalg.cholesky(found.covariance)
    by_factor = replace(less, replicas=found.replicas[:0], factor=factor)
    assert_allclose(uncertainty(by_factor, derivatives), whole, rtol=1e-7, atol=1e-12)
    with pytest.raises(InputError, match="neither a covariance nor replicas nor a factor"):
        uncertainty(replace(less, replicas=found.replicas[:0]), derivatives)


def test_derivatives_of_another_registry_are_refused(found, derivatives):
    with pytest.raises(InputError, match="the derivatives of other"):
        apply(found, replace(derivatives, digest="other"), np.zeros((20, 5)))


def test_shifts_beyond_a_tenth_of_the_error_are_named():
    shift = np.array([[0.05, 0.0], [0.2, 0.0], [0.0, -0.11]])
    assert_array_equal(beyond_linear(shift, np.ones((3, 2))), [1, 2])


def test_relative_curvature_is_that_of_the_transverse_momentum():
    qop, lam = np.array([-0.1]), np.array([0.7])
    step = np.array([[1e-6, 2e-6, 5.0]])
    k = np.abs(qop) / np.cos(lam)
    moved = np.abs(qop + step[:, 0]) / np.cos(lam + step[:, 1])
    assert_allclose(relative_curvature(step, qop, lam), moved / k - 1.0, rtol=1e-4)
