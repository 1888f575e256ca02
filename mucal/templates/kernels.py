"""The pass over events: every sum of a bin in one visit to its row."""

from numba import njit

from mucal.arrays import FloatArray, IntArray


@njit(cache=True, nogil=True)
def fill(
    order: IntArray, bins: IntArray, weight: FloatArray, cell: IntArray, shares: FloatArray, extra: FloatArray,
    nominal: FloatArray, sumw2: FloatArray, cells: FloatArray, columns: FloatArray,
) -> None:  # fmt: skip
    """Add events to nominal, sumw2 (B,), cells (B, G * 9) and columns (B, D).

    order  : events in the order of their bins, so that rows stay in the cache
    bins   : flat bin, -1 outside
    weight : nominal weight
    cell   : generated cell, -1 for none
    shares : (N, 9) helicity shares
    extra  : (N, D) relative weights
    """
    for position in range(order.size):
        i = order[position]
        b = bins[i]
        if b < 0:
            continue
        w = weight[i]
        nominal[b] += w
        sumw2[b] += w * w
        if cell[i] >= 0:
            first = 9 * cell[i]
            for h in range(9):
                cells[b, first + h] += w * shares[i, h]
        row = columns[b]
        values = extra[i]
        for d in range(row.size):
            row[d] += w * values[d]
