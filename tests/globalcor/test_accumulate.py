from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.globalcor import AccumulateConfig, accumulate

from .conftest import CHUNKS, Sample, blocks_of, content, dense_sums


def test_the_sum_is_that_of_a_loop_over_dense_matrices(registry):
    total = accumulate(Sample(registry), CHUNKS, registry)
    g, h = dense_sums(blocks_of(registry, np.arange(300)), len(registry))
    found = total.matrix().dense_lower()[np.ix_(registry.slot, registry.slot)]
    assert_allclose(found, np.tril(h), rtol=1e-12, atol=1e-12 * np.abs(h).max())
    part = total.total()
    assert_allclose(part.gradient + part.lost, g, rtol=1e-12, atol=1e-10)
    assert_allclose(part.jackknife.sum(axis=0), g, rtol=1e-12, atol=1e-10)
    assert total.ledger.used == 300


def test_entries_count_candidates_with_information(registry):
    blocks = blocks_of(registry, np.arange(300))
    part = accumulate(Sample(registry), CHUNKS, registry).total()
    assert np.array_equal(part.entries, np.bincount(blocks.label, minlength=len(registry)))


@pytest.mark.parametrize("workers", [None, 1, 2, 8])
def test_any_number_of_workers_and_order_of_chunks_gives_the_same_bytes(registry, tmp_path, workers):
    plain = content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)
    shuffled = [CHUNKS[i] for i in np.random.default_rng(3).permutation(len(CHUNKS))]
    make = None if workers is None else partial(ProcessPoolExecutor, workers)
    config = AccumulateConfig(n_threads=2 if workers else 1)
    assert content(accumulate(Sample(registry), shuffled, registry, config, workers=make), tmp_path) == plain


def test_dask_gives_the_same_bytes(registry, tmp_path):
    distributed = pytest.importorskip("distributed")
    plain = content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        found = accumulate(Sample(registry), CHUNKS, registry, workers=client.get_executor)
    assert content(found, tmp_path) == plain
