from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError, NotCertified
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    ParameterStatus,
    SolveConfig,
    accumulate,
    build_registry,
    divide,
    gauges,
    injected,
    solve,
)

from .conftest import OPEN, Sample, oracle

METHODS = ("dense", "sparse", "iterative")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_textbook_solution_and_errors(registry, truth, sums, method):
    theta, cov, drop = oracle(registry, truth)
    found = solve(sums, registry, SolveConfig(method=method, errors=("*",)))
    sigma = np.sqrt(np.diag(cov))
    assert_allclose(found.theta / sigma, theta / sigma, atol=1e-6)
    assert_allclose(found.error, sigma, rtol=1e-7)
    assert found.chi2_drop == pytest.approx(drop, rel=1e-10)
    assert found.method == method


def test_full_covariance_and_propagation_agree(registry, truth, sums):
    _, cov, _ = oracle(registry, truth)
    probes = np.random.default_rng(1).normal(size=(5, len(registry))) / registry.prior
    dense = solve(sums, registry, SolveConfig(method="dense"), probes=probes)
    iterative = solve(sums, registry, SolveConfig(method="iterative", error_tolerance=1e-10), probes=probes)
    assert_allclose(dense.covariance, cov, rtol=1e-8, atol=1e-10 * np.abs(cov).max())
    expected = probes @ cov @ probes.T
    assert_allclose(dense.probes, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    assert_allclose(iterative.probes, expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())


def test_conditional_errors_are_lower_bounds(registry, sums):
    found = solve(sums, registry)
    assert np.all(found.conditional <= found.error * (1 + 1e-12))


def test_pulls_of_injected_corrections_are_standard_normal(registry, truth, sums):
    found = solve(sums, registry)
    away = (found.theta - truth)[found.free]
    per_parameter = away @ np.linalg.solve(found.covariance, away) / away.size
    assert abs(per_parameter - 1.0) < 3.0 * np.sqrt(2.0 / away.size)


def test_without_a_distortion_there_is_no_correction(registry):
    found = solve(accumulate(Sample(registry, seed=9), divide(400, 50), registry), registry)
    assert np.abs(found.theta / found.error).max() < 4.0


def test_an_injected_correction_moves_the_solution_by_itself(registry, truth, sums):
    # without priors the shift is exact: (H)^-1 H d
    free = registry.with_prior(np.full(len(registry), np.inf))
    d = 0.3 * registry.prior
    before = solve(sums, free)
    after = solve(injected(sums, free, d), free)
    assert_allclose((after.theta - before.theta) / d, 1.0, rtol=1e-10)


def test_the_prior_pulls_the_total_correction(registry, truth, sums):
    at = 0.5 * registry.prior
    theta, _, _ = oracle(registry, truth, at=at)
    found = solve(sums, registry, applied=at)
    assert_allclose(found.step / found.error, theta / found.error, atol=1e-8)
    assert_allclose(found.theta, at + found.step)


def test_a_second_iteration_at_the_solution_does_not_move(registry, sums):
    first = solve(sums, registry)
    assert not first.outer_converged()
    # what a refit with theta applied would sum, if chi2 were exactly quadratic: the truth stands nearer by theta
    there = injected(sums, registry, -first.theta)
    again = solve(there, registry, applied=first.theta)
    assert_allclose(again.theta / first.error, first.theta / first.error, atol=1e-7)
    assert again.outer_converged()
    assert again.chi2_drop == pytest.approx(0.0, abs=1e-6)


def test_presigma_damps_the_step_only(registry, truth, sums):
    theta, _, _ = oracle(registry, truth)
    found = solve(sums, registry, SolveConfig(prior_on_step=True), applied=0.5 * registry.prior)
    assert_allclose(found.step / found.error, theta / found.error, atol=1e-8)


def test_profiling_a_parameter_is_leaving_out_its_rows_of_the_covariance(registry, sums):
    # Schur complement: solution and covariance of the rest do not change when the others are profiled instead
    found = solve(sums, registry)
    a, b = np.arange(20), np.arange(20, len(registry))
    h = 2.0 * np.linalg.inv(found.covariance)
    schur = h[np.ix_(a, a)] - h[np.ix_(a, b)] @ np.linalg.solve(h[np.ix_(b, b)], h[np.ix_(b, a)])
    assert_allclose(2.0 * np.linalg.inv(schur), found.covariance[:20, :20], rtol=1e-7, atol=1e-16)


@pytest.mark.parametrize("method", METHODS)
def test_kept_factors_give_the_solution_of_blocks(registry, truth, sums, method):
    keep = replace(OPEN, keep_factors=True, chunks_per_leaf=2)
    half = accumulate(Sample(registry, truth), divide(400, 50)[:4], registry, replace(OPEN, chunks_per_leaf=2))
    kept = accumulate(Sample(registry, truth), divide(400, 50)[4:], registry, keep)
    both = half + kept
    assert len(both.total().kept) == 200
    automatic = solve(both, registry, SolveConfig(dense_limit=10))
    assert automatic.method == "iterative"
    assert_allclose(
        automatic.theta / automatic.conditional, solve(sums, registry).theta / automatic.conditional, atol=1e-5
    )
    a, b = (solve(s, registry, SolveConfig(method=method, errors=("*",))) for s in (sums, both))
    assert_allclose(b.theta / a.error, a.theta / a.error, atol=1e-6)
    assert_allclose(b.error, a.error, rtol=1e-6)
    d = 0.1 * registry.prior
    assert_allclose(
        injected(both, registry, d).total().gradient, injected(sums, registry, d).total().gradient, rtol=1e-9
    )


@pytest.fixture(scope="module")
def partly(tracker):
    """A registry of which the last layer is never hit, and one parameter rarely."""
    return build_registry(tracker, (Family(kind="alignment", by="layer", measured_v=False, min_entries=25),))


class Partly(Sample):
    def __call__(self, chunk):
        blocks = super().__call__(chunk)
        rare = self.registry.index("alignment/pixel-L1/u")
        keep = (blocks.label < len(self.registry) - 6) & ((blocks.label != rare) | (np.arange(blocks.label.size) < 300))
        sizes = np.diff(blocks.label_offsets)
        columns = np.split(keep, np.cumsum(sizes)[:-1])
        factor = [blocks.dense_factor(i)[:, columns[i]] for i in range(len(blocks))]
        kept = np.array([c.sum() for c in columns])
        return replace(
            blocks, label=blocks.label[keep], gradient=blocks.gradient[keep],
            factor=np.concatenate([f.ravel() for f in factor]),
            label_offsets=np.concatenate([[0], np.cumsum(kept)]),
            factor_offsets=np.concatenate([[0], np.cumsum(kept * blocks.n_rows)]),
        )  # fmt: skip


def test_what_no_track_determines_is_frozen_and_named(partly):
    found = solve(accumulate(Partly(partly), divide(200, 200), partly), partly)
    names = found.frozen(ParameterStatus.NO_INFORMATION)
    assert names == partly.names[-6:]
    assert found.frozen(ParameterStatus.FEW_ENTRIES) == ("alignment/pixel-L1/u",)
    assert_array_equal(found.theta[-6:], 0.0)
    assert_array_equal(found.error[-6:], partly.prior[-6:])
    assert "6 frozen, no candidate says anything" in "\n".join(found.summary())


def test_a_free_mode_without_prior_is_refused_and_named(registry, truth):
    class OneMode(Sample):
        """Two parameters that only appear as their sum."""

        def __call__(self, chunk):
            blocks = super().__call__(chunk)
            factor = blocks.factor.copy()
            for i in range(len(blocks)):
                at = blocks.label[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
                b = factor[blocks.factor_offsets[i] : blocks.factor_offsets[i + 1]].reshape(blocks.n_rows[i], -1)
                both = np.flatnonzero((at == 3) | (at == 4))
                b[:, both] = b[:, both[:1]] if both.size == 2 else 0.0
            return replace(blocks, factor=factor, gradient=np.zeros_like(blocks.gradient))

    free = registry.with_prior(np.full(len(registry), np.inf))
    sums = accumulate(OneMode(free), divide(400, 100), free)
    for method in ("dense", "sparse"):
        with pytest.raises(NotCertified, match=r"not positive definite") as error:
            solve(sums, free, SolveConfig(method=method))
        assert any(free.names[i] in str(error.value) for i in (3, 4))
    solve(sums, registry)  # with priors there is a solution


def test_fixed_parameters_keep_what_was_applied(registry, sums):
    at = np.full(len(registry), 1e-4)
    found = solve(sums, registry, SolveConfig(fixed=("eloss/*",)), applied=at)
    fixed = registry.of_kind("eloss")
    assert_array_equal(found.theta[fixed], 1e-4)
    assert not found.free[fixed].any()
    with pytest.raises(ValueError, match="no parameter matches 'elos/\\*'"):
        solve(sums, registry, SolveConfig(fixed=("elos/*",)))


def test_sums_of_another_registry_are_refused(partly, sums):
    with pytest.raises(InputError, match="the sums are of registry"):
        solve(sums, partly)


def test_jackknife_errors_agree_with_the_hessian(registry):
    null = accumulate(Sample(registry, seed=4), divide(4000, 50), registry, AccumulateConfig(jackknife_parts=40))
    found = solve(null, registry, SolveConfig(jackknife=True))
    ratio = found.jackknife / found.error
    # 40 parts know a variance to sqrt(2/39); priors are no part of the scatter but hardly matter here
    assert np.mean(ratio**2) == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / 39.0 / 20.0))


def test_replicas_scatter_with_the_covariance(registry, sums):
    found = solve(sums, registry, SolveConfig(n_replicas=4000), seed=2)
    cov = found.replicas.T @ found.replicas / 4000
    scale = np.outer(found.error, found.error)
    assert np.abs((cov - found.covariance) / scale).max() < 5.0 / np.sqrt(4000)


def test_gauges_take_rigid_motions_out(tracker, registry, sums):
    rows = gauges(registry, tracker)
    assert [row.name for row in rows] == ["translation z", "rotation z"]  # layers that close follow no other
    found = solve(sums, registry, constraints=rows)
    for row in rows:
        assert abs(row.factor @ found.theta[row.index]) < 1e-12


def test_the_method_follows_size_and_structure(registry, sums):
    small = solve(sums, registry)
    large = solve(sums, registry, SolveConfig(dense_limit=10))
    few_blocks = solve(sums, registry, SolveConfig(dense_limit=10, sparse_share=2.0))
    assert (small.method, large.method, few_blocks.method) == ("dense", "iterative", "sparse")
    # a small system is never given to the sparse factor, however few its blocks
    assert solve(sums, registry, SolveConfig(sparse_share=2.0)).method == "dense"
