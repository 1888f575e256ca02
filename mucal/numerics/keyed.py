"""Random numbers that are a function of their key: seed, purpose, and the run, event, muon … they belong to.

The same key gives the same number in any order, chunk, thread or process; there is no state.  A key is absorbed one
64-bit word at a time, each followed by the bijective finaliser of D. Stafford (variant 13 of his list of mixers for
MurmurHash3, the one SplitMix64 uses; G. Steele, D. Lea and C. Flood, OOPSLA 2014).
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray, IntArray

WEYL: Final = np.uint64(0x9E3779B97F4A7C15)
MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_2: Final = np.uint64(0x94D049BB133111EB)
TO_UNIT: Final = 2.0**-53


def uniform(seed: int, purpose: str, *keys: IntArray | int) -> FloatArray:
    """Uniform numbers in the open interval (0, 1), one for each row of the broadcast keys.

    seed    : of the run
    purpose : what the numbers are for; different purposes are independent
    keys    : integers that name the row, as run, lumi, event, muon; scalars only give shape (1,)
    """
    return _to_uniform(_hash(seed, purpose, keys))


def normal(seed: int, purpose: str, *keys: IntArray | int) -> FloatArray:
    """Standard normal numbers, one for each row of the broadcast keys (Box and Muller from two uniforms).

    Arguments as for `uniform`.
    """
    word = _hash(seed, purpose, keys)
    radius = np.sqrt(-2.0 * np.log(_to_uniform(word)))
    result: FloatArray = radius * np.cos(2.0 * np.pi * _to_uniform(_mix(word + WEYL)))
    return result


def start_word(seed: int, purpose: str) -> np.uint64:
    """The word that the keys of one seed and purpose are absorbed into; compiled loops start from it."""
    digest = hashlib.sha256(f"{int(seed)}/{purpose}".encode()).digest()[:8]
    return np.uint64(int.from_bytes(digest, "little"))


def _hash(seed: int, purpose: str, keys: tuple[IntArray | int, ...]) -> npt.NDArray[np.uint64]:
    shape = np.broadcast_shapes(*(np.shape(key) for key in keys))
    word = np.full(shape or (1,), start_word(seed, purpose), dtype=np.uint64)
    for key in keys:
        word = _mix((word ^ np.atleast_1d(key).astype(np.int64).astype(np.uint64)) + WEYL)
    return word


def _mix(word: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * MIX_1
    word = (word ^ (word >> np.uint64(27))) * MIX_2
    result: npt.NDArray[np.uint64] = word ^ (word >> np.uint64(31))
    return result


def _to_uniform(word: npt.NDArray[np.uint64]) -> FloatArray:
    result: FloatArray = ((word >> np.uint64(11)).astype(np.float64) + 0.5) * TO_UNIT
    return result
