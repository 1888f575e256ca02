"""Loops over candidates: their diagonals and their sums."""

import numpy as np
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics.kernels import add_compensated


@njit(cache=True, nogil=True, error_model="numpy")
def diagonals(
    label_offsets: IntArray, n_rows: IntArray, factor_offsets: IntArray, factor: FloatArray, diagonal: FloatArray
) -> None:
    """The diagonal of B^T B of each candidate: filled into (T,)."""
    for c in range(n_rows.size):
        t0, labels, at = label_offsets[c], label_offsets[c + 1] - label_offsets[c], factor_offsets[c]
        for t in range(labels):
            diagonal[t0 + t] = 0.0
        for r in range(n_rows[c]):
            for t in range(labels):
                value = np.float64(factor[at + r * labels + t])
                diagonal[t0 + t] += value * value


@njit(cache=True, nogil=True, error_model="numpy")
def collect(
    used: BoolArray, label_offsets: IntArray, label: IntArray, gradient: FloatArray, diagonal: FloatArray,
    weight: FloatArray, chunk: int, candidate: IntArray, total: FloatArray, lost: FloatArray, part: FloatArray,
    entries: IntArray, largest: FloatArray, largest_chunk: IntArray, largest_candidate: IntArray,
) -> None:  # fmt: skip
    """Sums over the used candidates of a chunk.

    total, lost : (P,)  gradient, compensated
    part        : (P,)  gradient of the jackknife part that the chunk belongs to
    entries     : (P,)  candidates that touch a parameter with a derivative that is not 0
    largest     : (P,)  largest contribution of one candidate to the diagonal, and whose it is
    """
    for c in range(used.size):
        if not used[c]:
            continue
        for t in range(label_offsets[c], label_offsets[c + 1]):
            p = label[t]
            add_compensated(total, lost, p, weight[c] * gradient[t])
            part[p] += weight[c] * gradient[t]
            information = weight[c] * diagonal[t]
            if information > 0.0:
                entries[p] += 1
            if information > largest[p]:
                largest[p] = information
                largest_chunk[p] = chunk
                largest_candidate[p] = candidate[c]
