import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from mucal.numerics.blocks import BLOCK, BlockSum, joined_factors, kept_factors

from .test_summing import GROUPS, SLOT, dense, factors


def test_products_and_diagonal_are_those_of_the_sum():
    f, used = factors(60, 1), np.arange(60) % 5 != 2
    kept = kept_factors(f, used, SLOT)
    full = dense(f, used)
    x = np.random.default_rng(2).normal(size=(GROUPS * BLOCK, 3))
    assert_allclose(kept.product(x), full @ x, rtol=1e-11, atol=1e-10)
    blocks = kept.diagonal_blocks(GROUPS)
    for i in range(GROUPS):
        rows = slice(i * BLOCK, (i + 1) * BLOCK)
        assert_allclose(blocks[i], full[rows, rows], rtol=1e-11, atol=1e-11)


def test_the_number_of_threads_changes_no_bit():
    kept = kept_factors(factors(60, 3), np.ones(60, dtype=bool), SLOT)
    x = np.random.default_rng(4).normal(size=(GROUPS * BLOCK, 1))
    assert_array_equal(kept.product(x, n_threads=3), kept.product(x))


def test_they_can_be_summed_after_all():
    f, used = factors(60, 5), np.ones(60, dtype=bool)
    parts = [kept_factors(f, used & (np.arange(60) % 2 == i), SLOT) for i in range(2)]
    found = BlockSum(GROUPS, np.arange(GROUPS * BLOCK))
    both = joined_factors(parts)
    found.add(both.as_factors(), np.ones(len(both), dtype=bool))
    assert_allclose(found.matrix().dense_lower(), np.tril(dense(f, used)), rtol=1e-11, atol=1e-10)


def test_nothing_kept_is_zero():
    none = joined_factors(())
    assert len(none) == 0
    assert not none.product(np.ones((GROUPS * BLOCK, 2))).any()
    assert not none.diagonal_blocks(GROUPS).any()
