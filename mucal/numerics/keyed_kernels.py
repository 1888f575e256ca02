"""The keyed random numbers of `numerics.keyed`, one at a time: for use inside kernels.

A loop takes the word of its seed and purpose (`keyed.start_word`), absorbs the keys and turns the word into a number.
"""

import math

import numpy as np
from numba import njit

from mucal.numerics.keyed import MIX_1, MIX_2, TO_UNIT, WEYL

_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)


@njit(cache=True)
def mix(word: np.uint64) -> np.uint64:
    """The finaliser."""
    word = (word ^ (word >> _S30)) * MIX_1
    word = (word ^ (word >> _S27)) * MIX_2
    return word ^ (word >> _S31)


@njit(cache=True)
def absorb(word: np.uint64, key: int) -> np.uint64:
    """The word after one more key."""
    return mix((word ^ np.uint64(key)) + WEYL)


@njit(cache=True)
def to_uniform(word: np.uint64) -> float:
    """A number in (0, 1)."""
    return (np.float64(word >> _S11) + 0.5) * TO_UNIT


@njit(cache=True)
def to_normal(word: np.uint64) -> float:
    """A standard normal number (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(to_uniform(word)))
    return float(radius * math.cos(2.0 * math.pi * to_uniform(mix(word + WEYL))))
