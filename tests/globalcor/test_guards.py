"""Candidates that a sum must not hold."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from mucal.globalcor import AccumulateConfig, GuardConfig, accumulate

from .conftest import CHUNKS, blocks_of, dense_sums


def test_candidates_beyond_the_guards_are_named_and_counted(registry):
    blocks = blocks_of(registry, np.arange(30))
    gradient, factor, chi2 = blocks.gradient.copy(), blocks.factor.copy(), np.full(30, 7.0)
    chi2[3] = 100.0
    gradient[blocks.label_offsets[5]] = 2e9
    factor[blocks.factor_offsets[7]] = np.nan
    factor[blocks.factor_offsets[9]] = 1e6
    bad = replace(blocks, gradient=gradient, factor=factor, chi2=chi2)
    config = AccumulateConfig(guards=GuardConfig(gradient=1e9, hessian=1e11), exclude={0: (11,)})
    found = accumulate(lambda chunk: bad, CHUNKS[:1], registry, config)
    assert found.ledger.rejected == {"nonfinite": 1, "chi2": 1, "gradient": 1, "hessian": 1, "excluded": 1}
    assert found.ledger.used == 25
    assert found.ledger.examples["gradient"] == ("chunk 0 candidate 5",)
    kept = np.setdiff1d(np.arange(30), [3, 5, 7, 9, 11])
    g, _ = dense_sums(blocks_of(registry, kept), len(registry))
    part = found.total()
    assert_allclose(part.gradient + part.lost, g, rtol=1e-12, atol=1e-9)
