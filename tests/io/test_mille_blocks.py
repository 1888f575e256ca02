"""Fits as records: both forms profile to the same blocks, and an independent dense solve gives the same solution."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import barrel
from mucal.errors import InputError
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    GuardConfig,
    SolveConfig,
    accumulate,
    build_registry,
    divide,
    solve,
)
from mucal.io.mille import concatenate, read_mille, write_mille
from mucal.io.mille_blocks import Rows, blocks_of, record_of, records_of

LAYERS = 9


@pytest.fixture(scope="module")
def registry():
    """Alignment u and field of nine layers."""
    families = (
        Family(kind="alignment", by="layer", components=("u",), prior=(0.02,), min_entries=1),
        Family(kind="bfield", by="layer", components=("z",), passive=False, prior=(0.01,), min_entries=1),
    )
    return build_registry(barrel(), families)


class Walk:
    """A track with state (offset, slope) on each layer; scattering turns it, the field of a leg bends it.

    x_i = F x_{i-1} + bend theta_leg + noise; measured is offset - theta_u.  Priors are no part of it.
    """

    def __init__(self, registry, number: int) -> None:
        rng = np.random.default_rng([7, number])
        self.u = registry.map.alignment[:, 0]
        layers = np.unique(registry.map.alignment[:, 0])
        self.align, self.field = layers, np.unique(registry.map.bfield[:, 2])[1:]
        self.step = rng.uniform(0.8, 1.2, LAYERS)
        self.q = rng.uniform(0.5, 1.5)
        self.sigma2 = np.full(LAYERS, 1e-4)
        truth = 0.01 * np.cos(np.arange(len(registry)))
        state, self.measured = rng.normal(size=2) * [0.1, 0.01], np.empty(LAYERS)
        for i in range(LAYERS):
            state = (
                self.f(i) @ state + self.bend(i) * truth[self.field[i]] + rng.multivariate_normal([0, 0], self.noise(i))
            )
            self.measured[i] = state[0] - truth[self.align[i]] + rng.normal() * 0.01

    def f(self, i: int) -> np.ndarray:
        return np.array([[1.0, self.step[i]], [0.0, 1.0]])

    def bend(self, i: int) -> np.ndarray:
        return self.q * np.array([0.5 * self.step[i] ** 2, self.step[i]])

    def noise(self, i: int) -> np.ndarray:
        d = self.step[i]
        return 1e-4 * np.array([[d**3 / 3, d**2 / 2], [d**2 / 2, d]])

    def marginal(self) -> list[Rows]:
        """All measurements together, the noise in their covariance, the start as locals."""
        a, j, cov = np.zeros((LAYERS, 2)), np.zeros((LAYERS, 2 * LAYERS)), np.diag(self.sigma2)
        transport = [np.eye(2)]
        for i in range(LAYERS):
            transport = [self.f(i) @ t for t in transport] + [np.eye(2)]
            a[i] = transport[0][0]
            j[i, i] = -1.0
            for k in range(i + 1):
                j[i, LAYERS + k] = (transport[k + 1] @ self.bend(k))[0]
        for k in range(LAYERS):
            down = [np.eye(2)]
            for i in range(k + 1, LAYERS):
                down.append(self.f(i) @ down[-1])
            rows = np.array([d[0] for d in down])
            cov[k:, k:] += rows @ self.noise(k) @ rows.T
        label = np.concatenate([self.align, self.field])
        order = np.argsort(label)
        return [
            Rows(
                residual=self.measured,
                covariance=cov,
                local_index=np.arange(2),
                local=a,
                label=label[order],
                jacobian=j[:, order],
            )
        ]

    def sparse(self) -> list[Rows]:
        """A group for each hit and each leg, the states on all layers as locals."""
        groups = []
        for i in range(LAYERS):
            here = np.arange(2 * i + 2, 2 * i + 4)
            before = here - 2
            # 0 = x_i - F x_{i-1} - bend theta + noise: the prediction of 0 moves by the state and by -F, -bend
            groups.append(
                Rows(
                    residual=np.zeros(2), covariance=self.noise(i), local_index=np.concatenate([before, here]),
                    local=np.hstack([-self.f(i), np.eye(2)]), label=self.field[i : i + 1],
                    jacobian=-self.bend(i)[:, None],
                )
            )  # fmt: skip
            groups.append(
                Rows(
                    residual=self.measured[i : i + 1], covariance=self.sigma2[i : i + 1, None], local_index=here[:1],
                    local=np.ones((1, 1)), label=self.align[i : i + 1], jacobian=-np.ones((1, 1)),
                )
            )  # fmt: skip
        return groups


@pytest.fixture(scope="module")
def walks(registry):
    return [Walk(registry, i) for i in range(300)]


def sums_of(records, registry):
    def produce(chunk):
        return blocks_of(records, registry.digest, len(registry))

    return accumulate(produce, divide(1, 1), registry, AccumulateConfig(guards=GuardConfig(chi2_per_ndof=1e9)))


def dense_solution(records, registry):
    """Every local and global parameter in one dense least-squares fit, priors as rows."""
    n = len(registry)
    h, g = np.diag(1.0 / registry.prior**2), np.zeros(n)
    for r in range(len(records)):
        rows = range(records.offsets[r], records.offsets[r + 1])
        most = max(
            records.local_index[records.local_offsets[i] : records.local_offsets[i + 1]].max(initial=0) for i in rows
        )
        a, j = np.zeros((len(rows), most)), np.zeros((len(rows), n))
        v = records.value[rows.start : rows.stop] / records.sigma[rows.start : rows.stop]
        for k, i in enumerate(rows):
            loc, glo = (slice(o[i], o[i + 1]) for o in (records.local_offsets, records.global_offsets))
            a[k, records.local_index[loc] - 1] = records.local[loc] / records.sigma[i]
            j[k, records.label[glo] - 1] = records.derivative[glo] / records.sigma[i]
        p = np.eye(len(rows)) - a @ np.linalg.pinv(a)
        h += j.T @ p @ j
        g += j.T @ p @ v
    cov = np.linalg.inv(h)
    return cov @ g, np.sqrt(np.diag(cov))


@pytest.mark.parametrize("form", ["marginal", "sparse"])
@pytest.mark.parametrize("double", [True, False])
def test_written_read_and_solved_like_an_independent_dense_fit(registry, walks, tmp_path, form, double):
    records = [record_of(getattr(walk, form)()) for walk in walks]
    path = write_mille(tmp_path / "a.bin", records, double=double)
    found = solve(sums_of(concatenate(read_mille(path)), registry), registry, SolveConfig(method="dense"))
    theta, error = dense_solution(concatenate(records), registry)
    assert_allclose(found.theta / error, theta / error, atol=1e-6 if double else 1e-3)
    assert_allclose(found.error, error, rtol=1e-8 if double else 1e-4)


def test_both_forms_profile_to_the_same_gradient_and_hessian(registry, walks):
    for walk in walks[:20]:
        a, b = (blocks_of(record_of(getattr(walk, form)()), "", len(registry)) for form in ("marginal", "sparse"))
        assert_allclose(a.label, b.label)
        assert_allclose(a.chi2, b.chi2, rtol=1e-9)
        assert a.ndof == b.ndof == LAYERS - 2
        scale = np.abs(a.gradient).max()
        assert_allclose(a.gradient, b.gradient, atol=1e-9 * scale)
        h = a.dense_factor(0).T @ a.dense_factor(0)
        assert_allclose(b.dense_factor(0).T @ b.dense_factor(0), h, atol=1e-9 * np.abs(h).max())


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-13), (False, 1e-6)])
def test_blocks_written_and_read_back_give_the_same_sums(registry, walks, tmp_path, double, tolerance):
    blocks = blocks_of(concatenate(record_of(walk.marginal()) for walk in walks[:50]), registry.digest, len(registry))
    path = write_mille(tmp_path / "a.bin", [records_of(blocks)], double=double)
    again = blocks_of(concatenate(read_mille(path)), registry.digest, len(registry))
    for i in range(50):
        h, other = (b.dense_factor(i).T @ b.dense_factor(i) for b in (blocks, again))
        assert_allclose(other, h, atol=tolerance * np.abs(h).max())
    scale = np.abs(blocks.gradient).max()
    assert_allclose(again.gradient, blocks.gradient, atol=10 * tolerance * scale)


def test_rows_without_a_sigma_and_records_without_information(registry, walks):
    from dataclasses import replace

    one = record_of(walks[0].marginal())
    off = replace(one, sigma=np.where(np.arange(LAYERS) < 7, 0.0, 1.0))
    blocks = blocks_of(off, "", len(registry))  # two rows for two locals
    assert blocks.ndof == 0
    assert_allclose(blocks.gradient, 0.0)


def test_a_label_beyond_the_registry_is_refused(registry, walks):
    with pytest.raises(InputError, match="label 18 in the records, the registry has 5"):
        blocks_of(record_of(walks[0].marginal()), "", 5)
