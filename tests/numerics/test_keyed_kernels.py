import numpy as np
from numpy.testing import assert_allclose

from mucal.numerics import keyed_kernels, normal, start_word, uniform

EVENTS = (0, 1, 2, 10**9, 2**40, -1)


def word_of(purpose: str, *keys: int) -> np.uint64:
    word = start_word(7, purpose)
    for key in keys:
        word = np.uint64(keyed_kernels.absorb(word, key))
    return word


def test_compiled_uniform_numbers_are_those_of_numerics_keyed():
    for event in EVENTS:
        assert keyed_kernels.to_uniform(word_of("mass", event)) == uniform(7, "mass", np.array([event]))[0]


def test_compiled_normal_numbers_are_those_of_numerics_keyed():
    # up to the rounding of logarithm and cosine, which numpy and the compiled loop take from different libraries
    for event in EVENTS:
        expected = normal(7, "smearing", np.array([event]), 1)[0]
        assert_allclose(keyed_kernels.to_normal(word_of("smearing", event, 1)), expected, rtol=1e-14)
