"""Loops over the blocks of a half-stored symmetric matrix: finding, summing and multiplying them.

The block size is a constant, so that the compiler unrolls the inner loops.  The table that finds a block is a hash set
with linear probing, of a power of two of entries, at most half full; a free entry holds -1.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray

Int32Array = npt.NDArray[np.int32]

BLOCK: Final = 8
"""Rows and columns of a block: a cache line of float64."""

COLUMNS: Final = 8
"""Right-hand sides multiplied at once."""

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_FREE: Final = -1


@njit(cache=True, nogil=True)
def find(table: IntArray, key: int) -> int:
    """Where a key stands in the table, or the free entry where it belongs."""
    size = table.size
    at = int((np.uint64(key) * _MULTIPLIER) >> np.uint64(20)) & (size - 1)
    while table[at] != key and table[at] != _FREE:
        at = (at + 1) & (size - 1)
    return at


@njit(cache=True, nogil=True)
def fill_table(table: IntArray, place: Int32Array, keys: IntArray) -> None:
    """An empty table (all -1) filled with keys (K,), which are all different; their places are 0 .. K-1."""
    for i in range(keys.size):
        at = find(table, keys[i])
        table[at] = keys[i]
        place[at] = i


@njit(cache=True, nogil=True)
def group_labels(
    label_offsets: IntArray, label: IntArray, slot: IntArray, group: Int32Array, column: Int32Array, offsets: IntArray
) -> int:
    """The blocks of rows that the sorted labels of each candidate fall into; returns the most of any candidate.

    slot    : (P,)    row of each label in the matrix, increasing
    group   : (T,)    filled with the blocks of rows of each candidate, one after the other
    column  : (T,)    filled with the place of each label among the rows of its candidate's blocks
    offsets : (C+1,)  filled with where the blocks of each candidate begin in `group`
    """
    n, most = 0, 0
    offsets[0] = 0
    for c in range(label_offsets.size - 1):
        first, last = n, -1
        for t in range(label_offsets[c], label_offsets[c + 1]):
            row = slot[label[t]]
            if row // BLOCK != last:
                last = row // BLOCK
                group[n] = last
                n += 1
            column[t] = (n - 1 - first) * BLOCK + row % BLOCK
        offsets[c + 1] = n
        most = max(most, n - first)
    return most


@njit(cache=True, nogil=True)
def place_pairs(
    offsets: IntArray, group: Int32Array, used: BoolArray, n_groups: int, table: IntArray, place: Int32Array,
    keys: IntArray, count: int, start: int, positions: Int32Array,
) -> tuple[int, int, int]:  # fmt: skip
    """The place of every pair of blocks of each candidate, from `start` on; new pairs get the next free ones.

    used      : (C,)  candidates that take part
    keys      : (K,)  row n_groups + column of the pair at each place; filled for new ones
    count     :       places given so far
    positions :       filled, for each candidate the pairs i <= j one after the other

    Returns the first candidate not done (the table is half full or the positions are), the count, and how many
    positions were filled.
    """
    filled = 0
    for c in range(start, offsets.size - 1):
        first, size = offsets[c], offsets[c + 1] - offsets[c]
        pairs = size * (size + 1) // 2
        if not used[c]:
            continue
        if 2 * (count + pairs) > table.size or count + pairs > keys.size or filled + pairs > positions.size:
            return c, count, filled
        for i in range(size):
            row = np.int64(group[first + i]) * n_groups
            for j in range(i, size):
                key = row + group[first + j]
                at = find(table, key)
                if table[at] == _FREE:
                    table[at] = key
                    place[at] = count
                    keys[count] = key
                    count += 1
                positions[filled] = place[at]
                filled += 1
    return offsets.size - 1, count, filled


@njit(cache=True, nogil=True, error_model="numpy")
def _strip(b: FloatArray, n_rows: int, first: int, n: int, strip: FloatArray) -> None:
    """BLOCK rows of B^T B from the column `first` on, n numbers each: four rows of B (R, .) at a time."""
    for a in range(BLOCK):
        out = strip[a]
        for k in range(n):
            out[k] = 0.0
        r = 0
        while r + 4 <= n_rows:
            l0, l1, l2, l3 = b[r, first + a], b[r + 1, first + a], b[r + 2, first + a], b[r + 3, first + a]
            x0, x1 = b[r, first : first + n], b[r + 1, first : first + n]
            x2, x3 = b[r + 2, first : first + n], b[r + 3, first : first + n]
            for k in range(n):
                out[k] += (l0 * x0[k] + l1 * x1[k]) + (l2 * x2[k] + l3 * x3[k])
            r += 4
        while r < n_rows:
            l0, x0 = b[r, first + a], b[r, first : first + n]
            for k in range(n):
                out[k] += l0 * x0[k]
            r += 1


@njit(cache=True, nogil=True)
def divide_rows(
    label_offsets: IntArray, n_rows: IntArray, factor_offsets: IntArray, factor: FloatArray, column: Int32Array, c: int,
    size: int, last: IntArray, place: Int32Array, touched: BoolArray,
) -> int:  # fmt: skip
    """The rows of B of candidate c in runs that touch the same blocks of rows of the matrix; returns how many runs.

    The two tracks of a pair touch different blocks, and few rows touch both.  A row that touches no other block than
    those of its run so far belongs to it.

    size    :         blocks of the candidate
    last    : (R,)    the row after the last of each run, filled
    place   : (R, m)  place of each of the m blocks among those of the run, -1 if it is not touched; filled
    touched : (m,)    scratch
    """
    t0, labels = label_offsets[c], label_offsets[c + 1] - label_offsets[c]
    runs = 0
    for r in range(n_rows[c]):
        at = factor_offsets[c] + r * labels
        for i in range(size):
            touched[i] = False
        for t in range(labels):
            if factor[at + t] != 0.0:
                touched[column[t0 + t] // BLOCK] = True
        new = runs == 0
        if not new:
            for i in range(size):
                new = new or (touched[i] and place[runs - 1, i] < 0)
        if new:
            n = 0
            for i in range(size):
                place[runs, i] = n if touched[i] else -1
                n += 1 if touched[i] else 0
            runs += 1
        last[runs - 1] = r + 1
    return runs


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(
    start: int, stop: int, offsets: IntArray, group: Int32Array, column: Int32Array, used: BoolArray,
    label_offsets: IntArray, n_rows: IntArray, factor_offsets: IntArray, factor: FloatArray, weight: FloatArray,
    positions: Int32Array, thread: int, n_threads: int, scratch: FloatArray, strip: FloatArray, values: FloatArray,
) -> None:  # fmt: skip
    """Add weight B^T B of the candidates start .. stop to the blocks of the rows that this thread owns.

    A thread owns the blocks of rows whose number leaves `thread` by division through `n_threads`: no two threads write
    to the same block, and each block is summed in the order of the candidates, whatever their number.

    scratch : (R, n)      room for the B of one candidate, its columns sorted by block, those of each run side by side
    strip   : (BLOCK, n)  room for BLOCK rows of B^T B
    values  : (K, BLOCK, BLOCK)
    """
    filled = 0
    most_rows, most = scratch.shape[0], scratch.shape[1] // BLOCK
    last, touched = np.empty(most_rows, dtype=np.int64), np.empty(most, dtype=np.bool_)
    place = np.empty((most_rows, most), dtype=np.int32)
    for c in range(start, stop):
        if not used[c]:
            continue
        first, size = offsets[c], offsets[c + 1] - offsets[c]
        t0, labels = label_offsets[c], label_offsets[c + 1] - label_offsets[c]
        runs = divide_rows(label_offsets, n_rows, factor_offsets, factor, column, c, size, last, place, touched)
        root = np.sqrt(weight[c])
        r = 0
        for k in range(runs):
            while r < last[k]:
                row, at = scratch[r], factor_offsets[c] + r * labels
                for t in range(size * BLOCK):
                    row[t] = 0.0
                for t in range(labels):
                    to = place[k, column[t0 + t] // BLOCK]
                    if to >= 0:
                        row[to * BLOCK + column[t0 + t] % BLOCK] = root * factor[at + t]
                r += 1
        for i in range(size):
            if group[first + i] % n_threads == thread:
                begin = 0
                for k in range(runs):
                    own = place[k, i]
                    if own >= 0:
                        n = 0
                        for j in range(i, size):
                            n += 1 if place[k, j] >= 0 else 0
                        rows = scratch[begin : last[k]]
                        _strip(rows, last[k] - begin, own * BLOCK, n * BLOCK, strip)
                        for j in range(i, size):
                            if place[k, j] >= 0:
                                block, at = values[positions[filled + j - i]], (place[k, j] - own) * BLOCK
                                for a in range(BLOCK):
                                    for b in range(BLOCK):
                                        block[a, b] += strip[a, at + b]
                    begin = last[k]
            filled += size - i


@njit(cache=True, nogil=True)
def reorder(values: FloatArray, source: IntArray) -> None:
    """values[i] becomes the old values[source[i]], in place, cycle by cycle; `source` (K,) becomes 0 .. K-1."""
    held = np.empty((BLOCK, BLOCK))
    for start in range(source.size):
        if source[start] == start:
            continue
        held[:] = values[start]
        at = start
        while source[at] != start:
            following = source[at]
            values[at] = values[following]
            source[at] = at
            at = following
        values[at] = held
        source[at] = at


@njit(cache=True, nogil=True, error_model="numpy")
def multiply(
    row_offsets: IntArray, col: Int32Array, values: FloatArray, x: FloatArray, first: int, stop: int, y: FloatArray
) -> None:
    """y += A x for the blocks of the rows first .. stop, each used also as its transpose: (n,), (n,).

    Numbers with names of their own, as the compiler cannot know that x, y and the blocks do not overlap.
    """
    for i in range(first, stop):
        at = i * BLOCK
        for k in range(row_offsets[i], row_offsets[i + 1]):
            to, block = col[k] * BLOCK, values[k]
            x0, x1, x2, x3 = x[to], x[to + 1], x[to + 2], x[to + 3]
            x4, x5, x6, x7 = x[to + 4], x[to + 5], x[to + 6], x[to + 7]
            y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = 0.0
            for a in range(BLOCK):
                left = x[at + a]
                v0, v1, v2, v3 = block[a, 0], block[a, 1], block[a, 2], block[a, 3]
                v4, v5, v6, v7 = block[a, 4], block[a, 5], block[a, 6], block[a, 7]
                y[at + a] += ((v0 * x0 + v1 * x1) + (v2 * x2 + v3 * x3)) + ((v4 * x4 + v5 * x5) + (v6 * x6 + v7 * x7))
                y0, y1, y2, y3 = y0 + left * v0, y1 + left * v1, y2 + left * v2, y3 + left * v3
                y4, y5, y6, y7 = y4 + left * v4, y5 + left * v5, y6 + left * v6, y7 + left * v7
            if to != at:
                y[to] += y0
                y[to + 1] += y1
                y[to + 2] += y2
                y[to + 3] += y3
                y[to + 4] += y4
                y[to + 5] += y5
                y[to + 6] += y6
                y[to + 7] += y7


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_many(
    row_offsets: IntArray, col: Int32Array, values: FloatArray, x: FloatArray, first: int, stop: int, y: FloatArray
) -> None:
    """`multiply` for COLUMNS right-hand sides at once: (n, COLUMNS), (n, COLUMNS)."""
    for i in range(first, stop):
        at = i * BLOCK
        for k in range(row_offsets[i], row_offsets[i + 1]):
            to = col[k] * BLOCK
            for a in range(BLOCK):
                xa, ya = x[at + a], y[at + a]
                a0, a1, a2, a3, a4, a5, a6, a7 = xa[0], xa[1], xa[2], xa[3], xa[4], xa[5], xa[6], xa[7]
                s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
                for b in range(BLOCK):
                    v, xb, yb = values[k, a, b], x[to + b], y[to + b]
                    s0, s1, s2, s3 = s0 + v * xb[0], s1 + v * xb[1], s2 + v * xb[2], s3 + v * xb[3]
                    s4, s5, s6, s7 = s4 + v * xb[4], s5 + v * xb[5], s6 + v * xb[6], s7 + v * xb[7]
                    if to != at:
                        yb[0] += v * a0
                        yb[1] += v * a1
                        yb[2] += v * a2
                        yb[3] += v * a3
                        yb[4] += v * a4
                        yb[5] += v * a5
                        yb[6] += v * a6
                        yb[7] += v * a7
                ya[0] += s0
                ya[1] += s1
                ya[2] += s2
                ya[3] += s3
                ya[4] += s4
                ya[5] += s5
                ya[6] += s6
                ya[7] += s7


@njit(cache=True, nogil=True, error_model="numpy")
def aggregate(
    row_offsets: IntArray, col: Int32Array, values: FloatArray, scale: FloatArray, part: IntArray, coarse: FloatArray
) -> None:
    """coarse += Z^T S A S Z, with Z the sums over the rows of each part.

    scale  : (n,)    diagonal of S
    part   : (n,)    the part that each row belongs to; -1 is none
    coarse : (m, m)
    """
    for i in range(row_offsets.size - 1):
        for k in range(row_offsets[i], row_offsets[i + 1]):
            for a in range(BLOCK):
                row = part[i * BLOCK + a]
                if row < 0:
                    continue
                left = scale[i * BLOCK + a]
                for b in range(BLOCK):
                    column = part[col[k] * BLOCK + b]
                    if column >= 0:
                        value = left * values[k, a, b] * scale[col[k] * BLOCK + b]
                        coarse[row, column] += value
                        if i != col[k]:
                            coarse[column, row] += value


@njit(cache=True, nogil=True)
def expand(row_offsets: IntArray, col: Int32Array, values: FloatArray, kept: IntArray, out: FloatArray) -> None:
    """The lower triangle of the matrix of some rows and columns.

    kept : (n,)    the number of each row in the result, increasing; -1 is left out
    out  : (m, m)  filled below and on the diagonal where there are blocks
    """
    for i in range(row_offsets.size - 1):
        for k in range(row_offsets[i], row_offsets[i + 1]):
            for b in range(BLOCK):
                row = kept[col[k] * BLOCK + b]
                if row < 0:
                    continue
                for a in range(BLOCK):
                    column = kept[i * BLOCK + a]
                    if 0 <= column <= row:
                        out[row, column] = values[k, a, b]


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_factors(
    label_offsets: IntArray, row: IntArray, n_rows: IntArray, factor_offsets: IntArray, factor: FloatArray, first: int,
    stop: int, x: FloatArray, y: FloatArray,
) -> None:  # fmt: skip
    """y += B^T B x for the candidates first .. stop: (n, m), (n, m)."""
    m = x.shape[1]
    along = np.empty(m)
    for c in range(first, stop):
        t0, labels = label_offsets[c], label_offsets[c + 1] - label_offsets[c]
        for r in range(n_rows[c]):
            at = factor_offsets[c] + r * labels
            along[:] = 0.0
            for t in range(labels):
                value, i = factor[at + t], row[t0 + t]
                for k in range(m):
                    along[k] += value * x[i, k]
            for t in range(labels):
                value, i = factor[at + t], row[t0 + t]
                for k in range(m):
                    y[i, k] += value * along[k]


@njit(cache=True, nogil=True, error_model="numpy")
def diagonal_of_factors(
    label_offsets: IntArray, row: IntArray, n_rows: IntArray, factor_offsets: IntArray, factor: FloatArray,
    blocks: FloatArray,
) -> None:  # fmt: skip
    """The blocks on the diagonal of the sum of B^T B, added to `blocks` (G, BLOCK, BLOCK)."""
    for c in range(n_rows.size):
        t0, labels = label_offsets[c], label_offsets[c + 1] - label_offsets[c]
        for t in range(labels):
            group = row[t0 + t] // BLOCK
            for s in range(labels):
                if row[t0 + s] // BLOCK == group:
                    total = 0.0
                    for r in range(n_rows[c]):
                        at = factor_offsets[c] + r * labels
                        total += factor[at + t] * factor[at + s]
                    blocks[group, row[t0 + t] % BLOCK, row[t0 + s] % BLOCK] += total
