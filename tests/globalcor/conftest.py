"""A small registry, and made-up candidates whose sums are known."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from mucal.detector import barrel
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    GuardConfig,
    Registry,
    accumulate,
    build_registry,
    divide,
)
from mucal.globalcor.workers import Chunk
from mucal.refit import ProfiledBlocks

OPEN = AccumulateConfig(guards=GuardConfig(chi2_per_ndof=1e9))
CHUNKS = divide(300, 30)
FEW = AccumulateConfig(every=2)


def blocks_of(registry: Registry, numbers: np.ndarray, *, truth: np.ndarray | None = None, seed: int = 1, rows: int = 7,
              labels: int = 20, dtype: type = np.float64) -> ProfiledBlocks:  # fmt: skip
    """Candidates that measure random combinations of the parameters: v = b theta + noise, chi2 = sum (v - b theta)^2.

    Every candidate is a function of its number alone.
    """
    n_labels, label, gradient, factor, chi2 = [], [], [], [], []
    sigma = np.where(np.isfinite(registry.prior), registry.prior, 1.0)
    for number in numbers.tolist():
        rng = np.random.default_rng([seed, number])
        at = np.sort(rng.choice(len(registry), min(labels, len(registry)), replace=False))
        b = rng.normal(size=(rows, at.size)) / sigma[at]
        v = rng.normal(size=rows) + (0.0 if truth is None else b @ truth[at])
        n_labels.append(at.size)
        label.append(at)
        gradient.append(-2.0 * b.T @ v)
        factor.append((np.sqrt(2.0) * b).ravel())
        chi2.append(v @ v)
    sizes = np.array(n_labels)
    return ProfiledBlocks(
        digest=registry.digest,
        candidate=numbers.astype(np.int64),
        label_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        label=np.concatenate(label).astype(np.int64),
        gradient=np.concatenate(gradient),
        n_rows=np.full(numbers.size, rows, dtype=np.int64),
        factor_offsets=np.concatenate([[0], np.cumsum(rows * sizes)]).astype(np.int64),
        factor=np.concatenate(factor).astype(dtype),
        chi2=np.array(chi2),
        weight=np.ones(numbers.size),
        ndof=np.full(numbers.size, rows, dtype=np.int64),
    )


class Sample:
    """Makes the candidates of a chunk; can be sent to a worker."""

    def __init__(self, registry: Registry, truth: np.ndarray | None = None, seed: int = 1) -> None:
        self.registry, self.truth, self.seed = registry, truth, seed

    def __call__(self, chunk: Chunk) -> ProfiledBlocks:
        return blocks_of(self.registry, np.arange(chunk.start, chunk.stop), truth=self.truth, seed=self.seed)


def dense_sums(blocks: ProfiledBlocks, n: int) -> tuple[np.ndarray, np.ndarray]:
    """g and H the slow way."""
    g, h = np.zeros(n), np.zeros((n, n))
    for i in range(len(blocks)):
        at = blocks.label[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
        b = blocks.dense_factor(i)
        g[at] += blocks.weight[i] * blocks.gradient[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
        h[np.ix_(at, at)] += blocks.weight[i] * b.T @ b
    return g, h


@pytest.fixture(scope="session")
def tracker():
    return barrel()


@pytest.fixture(scope="session")
def registry(tracker) -> Registry:
    """54 alignment, 9 field and 4 loss parameters of a small barrel."""
    return build_registry(
        tracker,
        (
            Family(kind="alignment", by="layer", measured_v=False, min_entries=5),
            Family(kind="bfield", by="layer", components=("z",), passive=False, min_entries=5),
            Family(kind="eloss", by="group", min_entries=5),
        ),
    )


@pytest.fixture(scope="session")
def truth(registry):
    return np.random.default_rng(3).normal(size=len(registry)) * registry.prior


@pytest.fixture(scope="session")
def sums(registry, truth):
    return accumulate(Sample(registry, truth), divide(400, 50), registry, OPEN)


def oracle(registry, truth, *, extra_h=0.0, extra_g=0.0, at=None):
    """Solution, covariance and chi2 drop from dense matrices, the textbook way."""
    g, h = dense_sums(blocks_of(registry, np.arange(400), truth=truth), len(registry))
    h = h + np.diag(2.0 / registry.prior**2) + extra_h
    g = g + extra_g + (0.0 if at is None else 2.0 * at / registry.prior**2)
    return -np.linalg.solve(h, g), 2.0 * np.linalg.inv(h), 0.5 * g @ np.linalg.solve(h, g)


def content(equations, folder: Path) -> str:
    """Digest of all bytes of a saved sum."""
    path = equations.save(folder / f"{time.monotonic_ns()}.h5")
    return hashlib.sha256(path.read_bytes()).hexdigest()
