import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.numerics.blocks import BLOCK, BlockSum, Factors

P = 203
SLOT = np.arange(P) + 5 * (np.arange(P) > 100)
GROUPS = int(SLOT[-1]) // BLOCK + 1


def factors(n: int, seed: int, labels: int = 30, rows: int = 7, dtype: type = np.float64) -> Factors:
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.sort(rng.choice(P, labels, replace=False)) for _ in range(n)])
    return Factors(
        label_offsets=np.arange(n + 1) * labels, label=label, n_rows=np.full(n, rows),
        factor_offsets=np.arange(n + 1) * labels * rows, factor=rng.normal(size=n * labels * rows).astype(dtype),
        weight=rng.choice([1.0, 0.5], n),
    )  # fmt: skip


def dense(f: Factors, used: np.ndarray) -> np.ndarray:
    h = np.zeros((GROUPS * BLOCK, GROUPS * BLOCK))
    for c in np.flatnonzero(used):
        at = SLOT[f.label[f.label_offsets[c] : f.label_offsets[c + 1]]]
        b = f.factor[f.factor_offsets[c] : f.factor_offsets[c + 1]].reshape(f.n_rows[c], -1).astype(np.float64)
        h[np.ix_(at, at)] += f.weight[c] * b.T @ b
    return h


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_the_sum_is_that_of_dense_products(rows):
    f, used = factors(60, 1, rows=rows), np.arange(60) % 7 != 3
    found = BlockSum(GROUPS, SLOT)
    found.add(f, used)
    assert_allclose(found.matrix().dense_lower(), np.tril(dense(f, used)), rtol=1e-12, atol=1e-12)


def test_factors_in_single_precision_are_summed_in_double():
    f, used = factors(40, 2, dtype=np.float32), np.ones(40, dtype=bool)
    found = BlockSum(GROUPS, SLOT)
    found.add(f, used)
    assert_allclose(found.matrix().dense_lower(), np.tril(dense(f, used)), rtol=1e-12, atol=1e-12)


def test_the_number_of_threads_and_the_division_into_calls_change_no_bit():
    f, used = factors(60, 3), np.ones(60, dtype=bool)
    first = BlockSum(GROUPS, SLOT)
    first.add(f, used)
    for threads in (2, 3):
        other = BlockSum(GROUPS, SLOT)
        for part in (np.arange(60) < 25, np.arange(60) >= 25):
            other.add(f, part, n_threads=threads)
            other.finish()
        for mine, theirs in zip(first.finish(), other.finish(), strict=True):
            assert_array_equal(mine, theirs)


def test_a_sum_taken_up_again_changes_no_bit():
    f, g, used = factors(60, 4), factors(60, 5), np.ones(60, dtype=bool)
    whole, half = BlockSum(GROUPS, SLOT), BlockSum(GROUPS, SLOT)
    whole.add(f, used)
    whole.add(g, used)
    half.add(f, used)
    again = BlockSum.of(GROUPS, SLOT, *(a.copy() for a in half.finish()))
    again.add(g, used)
    for mine, theirs in zip(whole.finish(), again.finish(), strict=True):
        assert_array_equal(mine, theirs)


def test_many_blocks_outgrow_the_first_table(monkeypatch):
    from mucal.numerics.blocks import summing

    monkeypatch.setattr(summing, "FEWEST", 16)
    monkeypatch.setattr(summing, "POSITIONS", 500)
    f, used = factors(60, 6), np.ones(60, dtype=bool)
    found = BlockSum(GROUPS, SLOT)
    found.add(f, used)
    assert_allclose(found.matrix().dense_lower(), np.tril(dense(f, used)), rtol=1e-12, atol=1e-12)
