"""Hits looked at before any fit: on which element of the route each lies, which tracks and pairs cannot be fitted."""

import numpy as np
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray


@njit(cache=True, nogil=True)
def place_hits(
    routes: IntArray, rows: IntArray, offsets: IntArray, module_id: IntArray, places: IntArray
) -> None:  # fmt: skip
    """The hit on each element of the routes of some tracks, into places (N, L), which is -1 elsewhere.

    routes  : (N, L)  elements, -1 after a track's last
    rows    : (R,)    tracks that are looked at
    offsets : (N+1,)  hits of each track

    Hits mostly stand in the order of the route: each is looked for behind the last one found, then from the first on.
    """
    for i in rows:
        first, n = offsets[i], offsets[i + 1] - offsets[i]
        at = 0
        for leg in range(routes.shape[1]):
            element = routes[i, leg]
            if element < 0:
                break
            for k in range(n):
                j = at + k if at + k < n else at + k - n
                if module_id[first + j] == element:
                    places[i, leg] = first + j
                    at = j + 1 if j + 1 < n else 0
                    break


@njit(cache=True, nogil=True)
def judge_tracks(
    offsets: IntArray, module_id: IntArray, good: BoolArray, rows_of: IntArray, few: int, statuses: IntArray,
    status: IntArray,
) -> None:  # fmt: skip
    """Tracks of too few measurements, with two hits on one module, or with a bad hit, in that order of precedence.

    good     : (K,)  whether each hit can be fitted
    rows_of  : (K,)  measurements of each hit, 1 or 2
    few      :       the fewest measurements of a track
    statuses : (3,)  what is written for each reason
    status   : (N,)  changed where there is one
    """
    for i in range(offsets.size - 1):
        n, twice, bad = 0, False, False
        for j in range(offsets[i], offsets[i + 1]):
            n += rows_of[j]
            bad |= not good[j]
            for k in range(offsets[i], j):
                twice |= module_id[k] == module_id[j]
        if bad:
            status[i] = statuses[2]
        elif twice:
            status[i] = statuses[1]
        elif n < few:
            status[i] = statuses[0]


@njit(cache=True, nogil=True)
def share_hits(
    tracks: IntArray, rows: IntArray, offsets: IntArray, module_id: IntArray, u: FloatArray
) -> BoolArray:  # fmt: skip
    """(R,) whether both tracks of each of the pairs `rows` hold one hit: the same module and the same u."""
    shared = np.zeros(rows.size, dtype=np.bool_)
    for r in range(rows.size):
        one, two = tracks[rows[r], 0], tracks[rows[r], 1]
        for i in range(offsets[one], offsets[one + 1]):
            for j in range(offsets[two], offsets[two + 1]):
                shared[r] |= module_id[i] == module_id[j] and u[i] == u[j]
    return shared
