"""The two ways to solve for a step, against the dense matrix written out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

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
