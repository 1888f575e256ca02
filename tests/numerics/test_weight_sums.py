"""Effective numbers of entries and the one that dominates."""

import numpy as np
import pytest

from mucal.numerics.weight_sums import WeightSums


def test_effective_number_by_hand():
    # (1 + 2 + 3)^2 / (1 + 4 + 9)
    assert WeightSums.of(np.array([1.0, 2.0, 3.0])).effective == pytest.approx(36 / 14, rel=1e-15)
    assert WeightSums.of(np.full(40, 0.3)).effective == pytest.approx(40.0, rel=1e-12)
    assert WeightSums.of(np.zeros(5)).effective == WeightSums().effective == 0.0


def test_parts_add_up_to_the_whole_and_keep_the_place():
    weights = np.random.default_rng(1).normal(1.0, 0.5, 1000)
    weights[700] = -30.0
    whole, parts = WeightSums.of(weights), WeightSums()
    for part in np.split(weights, [100, 450, 900]):
        parts += WeightSums.of(part)
    assert (parts.n, parts.row, parts.largest) == (whole.n, whole.row, whole.largest) == (1000, 700, 30.0)
    assert parts.effective == pytest.approx(whole.effective, rel=1e-12)


def test_b17_a_dominating_weight_is_named_with_its_share():
    weights = np.ones(1000)
    weights[321] = 20.0  # 20 of 1019; 1019^2 / 1399
    found = WeightSums.of(weights)
    assert found.warning("w.root").startswith("row 321 of w.root has 2.0 % of all weight: 742 of 1000 rows count")


def test_equal_weights_never_dominate_however_few():
    assert WeightSums.of(np.ones(20)).warning("w.root") == ""
    assert WeightSums().warning("w.root") == ""
