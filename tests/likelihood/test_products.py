"""Products of rows made only where they are not 0, against all of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood.products import add_product, gram, parts_of


def sliced_rows(n_slices=12, n_rows=40, n_local=15, n_wide=6, seed=2):
    """Rows in slices: every one with columns of its own beside some that all share, in no order."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n_slices * n_rows, n_slices * n_local + n_wide))
    for i in range(n_slices):
        here = slice(i * n_rows, (i + 1) * n_rows)
        rows[here, i * n_local : (i + 1) * n_local] = rng.normal(size=(n_rows, n_local))
    rows[:, -n_wide:] = rng.normal(size=(rows.shape[0], n_wide))
    return rows[rng.permutation(rows.shape[0])][:, rng.permutation(rows.shape[1])]


def test_parts_hold_every_number_once():
    rows, found = sliced_rows(), np.zeros(sliced_rows().shape)
    parts = parts_of(rows)
    for part, filled in parts:
        found[np.ix_(part, filled)] += rows[np.ix_(part, filled)]
    assert len(parts) == 12
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize("rows", [sliced_rows(), np.random.default_rng(1).normal(size=(300, 40)), np.zeros((300, 40))])
def test_product_is_that_of_whole_rows(rows):
    rng, size = np.random.default_rng(3), rows.shape[1] + 7
    weight, columns = rng.normal(size=rows.shape[0]), np.sort(rng.permutation(size)[: rows.shape[1]])
    h = np.asfortranarray(rng.normal(size=(size, size)))
    expected = np.tril(h)
    expected[np.ix_(columns, columns)] += np.tril((rows.T * weight) @ rows)
    add_product(h, columns, rows, weight)
    assert_allclose(np.tril(h), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("z", [sliced_rows().T, np.random.default_rng(1).normal(size=(30, 300))])
def test_gram_is_that_of_whole_columns(z):
    assert_allclose(np.tril(gram(z)), np.tril(z @ z.T), rtol=1e-12, atol=1e-12)


def test_rows_that_are_rarely_0_or_never_alike_stay_together():
    rng = np.random.default_rng(5)
    for rows in (rng.normal(size=(300, 40)), rng.normal(size=(300, 40)) * (rng.random((300, 40)) < 0.3)):
        assert parts_of(rows) is None
