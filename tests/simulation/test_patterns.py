"""Distortions to inject."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.simulation import PATTERNS, injected_table

EDGES = np.linspace(-2.4, 2.4, 25)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_sizes_multiply_the_shape(pattern):
    one, two = (injected_table(pattern, EDGES, A=s * 1e-3, e=s * 4e-3, M=s * 5e-5) for s in (1.0, 2.0))
    assert_allclose(two.parameters, 2.0 * one.parameters, rtol=1e-15)
    assert (np.abs(one.A).max() == 0) == (pattern == "none")


def test_odd_shapes_are_odd():
    for pattern in ("odd", "sine"):
        table = injected_table(pattern, EDGES)
        assert_allclose(table.M, -table.M[::-1], atol=1e-20)


def test_random_parameters_are_independent_and_keyed_by_the_seed():
    first, again, other = (injected_table("random", EDGES, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.A, again.A)
    assert not np.any(first.A == other.A)
    assert abs(np.corrcoef(first.A, first.M)[0, 1]) < 4 / np.sqrt(24)


def test_an_unknown_pattern_names_the_nearest():
    with pytest.raises(ConfigError, match="the nearest are uniform"):
        injected_table("unifrom", EDGES)
