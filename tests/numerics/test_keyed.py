import hashlib

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import chdtrc, ndtr

from mucal.numerics.keyed import normal, uniform

N = 200_000
EVENT = np.arange(N)


def chi2_probability(uniforms: np.ndarray, bins: int = 1000) -> float:
    counts, _ = np.histogram(uniforms, bins=bins, range=(0, 1))
    expected = uniforms.size / bins
    return float(chdtrc(bins - 1, np.sum((counts - expected) ** 2) / expected))


def reference(word: int, keys: list[int]) -> int:
    """The same hash in plain integers."""
    mask = 2**64 - 1
    for key in keys:
        word = ((word ^ (key & mask)) + 0x9E3779B97F4A7C15) & mask
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        word ^= word >> 31
    return word


def test_the_hash_is_the_documented_one():
    start = int.from_bytes(hashlib.sha256(b"7/smear").digest()[:8], "little")
    for keys in ([1, 2, 3], [0], [-5, 2**62], [2**63 - 1, -(2**63)]):
        expected = ((reference(start, keys) >> 11) + 0.5) * 2.0**-53
        assert uniform(7, "smear", *keys)[0] == expected


@pytest.mark.parametrize(
    "keys",
    [(EVENT,), (EVENT * 2**32,), (1, EVENT), (EVENT, 0), (EVENT[::-1] - N, 3), (EVENT % 2, EVENT // 2)],
    ids=["counts", "high bits", "after a constant", "before a constant", "negative", "pairs"],
)
def test_numbers_of_consecutive_keys_are_uniform_and_uncorrelated(keys):
    found = uniform(0, "test", *keys)
    assert 0 < found.min() <= found.max() < 1
    assert chi2_probability(found) > 1e-4
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) < 4.5 / np.sqrt(N)


def test_normal_numbers_are_normal():
    found = normal(0, "test", 1, EVENT)
    assert chi2_probability(ndtr(found)) > 1e-4
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(found**power) - moment) < 4.5 * np.sqrt(variance / N)


@pytest.mark.parametrize("other", [(1, "test", (1, EVENT)), (0, "text", (1, EVENT)), (0, "test", (2, EVENT))])
def test_another_seed_purpose_or_key_is_independent(other):
    seed, purpose, keys = other
    one, two = normal(0, "test", 1, EVENT), normal(seed, purpose, *keys)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4.5 / np.sqrt(N)
    assert abs(np.corrcoef(one**2, two**2)[0, 1]) < 4.5 / np.sqrt(N)


def test_the_order_of_keys_matters():
    assert uniform(0, "test", 1, 2)[0] != uniform(0, "test", 2, 1)[0]


def test_any_chunk_or_order_gives_the_same_numbers():
    whole = normal(0, "test", 5, EVENT, 1)
    assert_array_equal(np.concatenate([normal(0, "test", 5, part, 1) for part in np.split(EVENT, [1, 1000])]), whole)
    order = np.random.default_rng(0).permutation(N)
    assert_array_equal(normal(0, "test", 5, EVENT[order], 1), whole[order])


def test_keys_broadcast():
    found = uniform(0, "test", EVENT[:3, None], np.arange(2)[None, :])
    assert found.shape == (3, 2)
    assert found[2, 1] == uniform(0, "test", 2, 1)[0]


def test_one_flipped_bit_of_a_key_changes_half_the_bits():
    base = uniform(0, "test", EVENT[:2000])
    bits = (base * 2**53).astype(np.uint64)
    for bit in (0, 17, 40, 62):
        other = (uniform(0, "test", EVENT[:2000] ^ (1 << bit)) * 2**53).astype(np.uint64)
        flipped = np.bitwise_count(bits ^ other).mean()
        # 53 bits, each flips with probability one half: 26.5, standard error sqrt(53)/2/sqrt(2000)
        assert_allclose(flipped, 26.5, atol=4.5 * np.sqrt(53) / 2 / np.sqrt(2000))
