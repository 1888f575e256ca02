"""Which candidates weigh too much."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.globalcor import (
    AccumulateConfig,
    GuardConfig,
    accumulate,
    divide,
    influences,
    to_exclude,
)

from .conftest import Sample, blocks_of


def test_the_candidate_that_dominates_is_named_and_can_be_left_out(registry):
    class Heavy(Sample):
        def __call__(self, chunk):
            blocks = super().__call__(chunk)
            weight = blocks.weight.copy()
            weight[blocks.candidate == 137] = 1000.0
            return replace(blocks, weight=weight)

    open_ = AccumulateConfig(guards=GuardConfig(chi2_per_ndof=1e9))
    sums = accumulate(Heavy(registry), divide(400, 100), registry, open_)
    top = influences(sums, registry)
    assert (top[0].chunk, top[0].candidate) == (1, 137)
    assert top[0].share > 0.5
    assert len({(one.chunk, one.candidate) for one in top}) == len(top) <= 10
    exclude = to_exclude(sums, registry, 0.5)
    assert exclude == {1: (137,)}
    again = accumulate(Heavy(registry), divide(400, 100), registry, replace(open_, exclude=exclude))
    assert again.ledger.rejected == {"excluded": 1}
    assert influences(again, registry)[0].share < 0.5


def test_shares_are_those_of_the_diagonal(registry):
    sums = accumulate(Sample(registry), divide(100, 50), registry)
    blocks = blocks_of(registry, np.arange(100))
    diagonal = np.zeros((100, len(registry)))
    for i in range(100):
        at = blocks.label[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
        diagonal[i, at] = (blocks.dense_factor(i) ** 2).sum(axis=0)
    shares = diagonal.max(axis=0) / diagonal.sum(axis=0)
    assert influences(sums, registry, 1)[0].share == pytest.approx(shares.max())
