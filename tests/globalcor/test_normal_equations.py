"""Sums that are added."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.globalcor import AccumulateConfig, accumulate, solve

from .conftest import CHUNKS, Sample, blocks_of, dense_sums


def test_leaves_made_apart_and_added_in_any_order_give_the_same_bytes(registry, tmp_path):
    config = AccumulateConfig(chunks_per_leaf=2)
    sample = Sample(registry)
    whole = accumulate(sample, CHUNKS, registry, config)
    a, b, c = (accumulate(sample, CHUNKS[i:j], registry, config) for i, j in ((0, 4), (4, 6), (6, 10)))
    plain = {**whole.provenance.configuration, "chunks": ()}
    assert plain["sample"] == ""
    for added in ((a + b) + c, a + (b + c), (c + a) + b, c + (b + a)):
        for name in ("gradient", "values", "keys", "jackknife", "largest_chunk"):
            assert getattr(added.total(), name).tobytes() == getattr(whole.total(), name).tobytes()


def test_a_chunk_in_both_sums_is_refused(registry):
    a = accumulate(Sample(registry), CHUNKS[:3], registry)
    with pytest.raises(InputError, match=r"chunk 2 of sample '' is in both sums"):
        a + accumulate(Sample(registry), CHUNKS[2:4], registry)


def test_sums_of_different_maps_are_refused(registry, tracker):
    from mucal.globalcor import Family, build_registry

    other = build_registry(tracker, (Family(kind="alignment", by="layer"),))
    with pytest.raises(InputError, match="different parameters"):
        accumulate(Sample(registry), CHUNKS[:1], registry) + accumulate(Sample(other), CHUNKS[1:2], other)
    with pytest.raises(InputError, match="derivatives by the parameters of registry"):
        accumulate(Sample(other), CHUNKS[:1], registry)


def test_samples_add(registry):
    a = accumulate(Sample(registry, seed=1), CHUNKS, registry, sample="jpsi")
    b = accumulate(Sample(registry, seed=2), CHUNKS, registry, sample="z")
    both = (a + b).total()
    assert both.entries.sum() == a.total().entries.sum() + b.total().entries.sum()
    assert (b + a).total().gradient.tobytes() == both.gradient.tobytes()
    # channels together: their H and g add, the priors of the registry come once
    found = solve(a + b, registry)
    parts = [dense_sums(blocks_of(registry, np.arange(300), seed=seed), len(registry)) for seed in (1, 2)]
    g, h = sum(g for g, _ in parts), sum(h for _, h in parts) + np.diag(2.0 / registry.prior**2)
    assert_allclose(found.theta, -np.linalg.solve(h, g), atol=1e-7 * found.error.max())
    assert_allclose(found.error, np.sqrt(2.0 * np.diag(np.linalg.inv(h))), rtol=1e-7)


def test_samples_of_the_same_file_add_only_if_they_were_selected_differently(registry):
    def made(sample, **inputs):
        return accumulate(Sample(registry), CHUNKS[:2], registry, sample=sample, inputs=inputs)

    with pytest.raises(InputError, match="went into both sums"):
        made("a", hits="12") + made("b", copy="12")
    with pytest.raises(InputError, match="went into both sums"):
        made("a", hits="12", refit="r") + made("b", hits="12", refit="r")
    jpsi, upsilon, other = made("a", hits="12", refit="r"), made("b", hits="12", refit="s"), made("c", more="13")
    both = (jpsi + upsilon) + other
    assert both.provenance.inputs == (other + (upsilon + jpsi)).provenance.inputs
    assert both.provenance.inputs == {"hits": "12", "more": "13", "refit": "r+s"}
