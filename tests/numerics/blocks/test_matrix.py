import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.numerics.blocks import BLOCK, symmetric_blocks

G = 30


@pytest.fixture(scope="module")
def sparse():
    rng = np.random.default_rng(1)
    row, col = np.triu_indices(G)
    kept = (rng.uniform(size=row.size) < 0.2) | ((row == col) & (row != 7))
    values = rng.normal(size=(kept.sum(), BLOCK, BLOCK))
    on = row[kept] == col[kept]
    values[on] += np.swapaxes(values[on], 1, 2)
    matrix = symmetric_blocks(G, row[kept] * G + col[kept], values)
    full = np.zeros((G * BLOCK, G * BLOCK))
    for k, (i, j) in enumerate(zip(row[kept], col[kept], strict=True)):
        full[i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK] = values[k]
        full[j * BLOCK : (j + 1) * BLOCK, i * BLOCK : (i + 1) * BLOCK] = values[k].T
    return matrix, full


def test_products_are_those_of_the_dense_matrix(sparse):
    matrix, full = sparse
    x = np.random.default_rng(2).normal(size=(matrix.n, 3))
    assert_allclose(matrix.product(x[:, 0]), full @ x[:, 0], rtol=1e-12, atol=1e-11)
    assert_allclose(matrix.product(x), full @ x, rtol=1e-12, atol=1e-11)


def test_products_do_not_depend_on_the_number_of_threads(sparse):
    matrix, _ = sparse
    x = np.random.default_rng(3).normal(size=matrix.n)
    assert_array_equal(matrix.product(x, n_threads=3), matrix.product(x))


def test_diagonal_and_dense_parts(sparse):
    matrix, full = sparse
    assert_array_equal(matrix.diagonal(), np.diag(full))
    kept = np.arange(matrix.n) % 3 != 1
    assert_array_equal(matrix.dense_lower(kept), np.tril(full[np.ix_(kept, kept)]))


def test_sums_over_parts(sparse):
    matrix, full = sparse
    rng = np.random.default_rng(4)
    part, scale = rng.integers(-1, 5, matrix.n), rng.uniform(size=matrix.n)
    z = (part[:, None] == np.arange(5)) * scale[:, None]
    assert_allclose(matrix.aggregate(scale, part, 5), z.T @ full @ z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keys", [[3, 1], [-1], [G * G], [G]])
def test_keys_out_of_order_or_place_are_refused(keys):
    with pytest.raises(ValueError, match="upper half"):
        symmetric_blocks(G, np.array(keys), np.zeros((len(keys), BLOCK, BLOCK)))
