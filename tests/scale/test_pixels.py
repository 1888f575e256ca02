"""Counting muons without pixel hits, and the weight that comes of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.scale import PixelMultiplicity, count_pixels

EDGES = np.array([-2.4, 0.0, 2.4])


def test_counts_go_by_trigger_charge_and_bin():
    every, zero = count_pixels(
        EDGES, np.array([-1.0, -1.0, 1.0, 3.0]), np.array([1, 1, -1, 1]), np.array([True, True, False, True]),
        np.array([0, 3, 0, 0]),
    )  # fmt: skip
    assert every[1, 1].tolist() == [2.0, 0.0]  # triggering mu+ in the first bin
    assert zero[1, 1].tolist() == [1.0, 0.0]
    assert every[0, 0].tolist() == [0.0, 1.0]
    assert every.sum() == 3.0  # eta = 3 lies outside


def table(p_data: float, p_mc: float) -> PixelMultiplicity:
    n = np.full((2, 2, 2), 1000.0)
    return PixelMultiplicity(eta_edges=EDGES, data=n, data_zero=p_data * n, mc=n, mc_zero=p_mc * n)


def test_weights_bring_the_share_of_simulation_to_that_of_data():
    zero, some = np.exp(table(0.03, 0.02).ln_weights)
    assert_allclose(zero, 1.5)
    assert_allclose(0.02 * zero + 0.98 * some, 1.0, rtol=1e-15)
    assert_allclose(0.02 * zero, 0.03, rtol=1e-15)


def test_a_bin_without_such_muons_is_refused():
    with pytest.raises(ValueError, match=r"mc_zero\[0, 0, 0\] = 0 of 1000 muons"):
        table(0.03, 0.0)


def test_a_weighted_sample_counts_its_weights():
    every, zero = count_pixels(
        EDGES, np.full(3, 1.0), np.ones(3, dtype=int), np.ones(3, dtype=bool), np.array([0, 2, 2]),
        np.array([0.5, 2.0, 1.0]),
    )  # fmt: skip
    assert every[1, 1, 1] == 3.5
    assert zero[1, 1, 1] == 0.5
