"""Products of rows with themselves, on half the matrix and only where rows are not 0.

Most nuisances of a large model act in a few bins: rows that are 0 in the same columns are multiplied together without
these, which is a hundredth of the work.
"""

from typing import Final

import numpy as np
from scipy.linalg import blas

from mucal.arrays import FloatArray, IntArray

LARGE: Final = 1e9
FAINT: Final = 0.02
"""Products of more multiplications than LARGE that add less than FAINT to each diagonal element are made in float32,
twice as fast: what rounds is some 1e-9 of it.  The second derivatives of the expected events are so faint where a bin
has many, for its pull t is about n^-1/2."""
PLACING: Final = 100
"""Rows whose product takes as long as to add it to other places of a matrix."""


def add_product(h: FloatArray, columns: IntArray, rows: FloatArray, weight: FloatArray) -> None:
    """Add rows^T weight rows (C, C) to the lower triangle of h (Fortran order) at increasing columns.

    rows   : (R, C)
    weight : (R,)    of either sign
    """
    parts = parts_of(rows)
    if parts is None:
        _add_part(h, columns, rows, weight)
        return
    for part, filled in parts:
        _add_part(h, columns[filled], rows[np.ix_(part, filled)], weight[part])


def gram(columns: FloatArray) -> FloatArray:
    """(R, R) lower triangle of the sum over columns of their products with themselves.

    columns : (R, C)
    """
    parts = parts_of(columns.T)
    if parts is None:
        return np.asarray(blas.dsyrk(1.0, columns.T, trans=1, lower=1), dtype=float)
    out = np.zeros((columns.shape[0], columns.shape[0]), order="F")
    for part, filled in parts:
        _place(out, filled, blas.dsyrk(1.0, columns[np.ix_(filled, part)], lower=1))
    return out


def parts_of(rows: FloatArray) -> list[tuple[IntArray, IntArray]] | None:
    """Rows that are 0 in the same columns, with the columns where they are not; None if that saves no time."""
    if rows.shape[0] <= PLACING or 2 * np.count_nonzero(rows) > rows.size:
        return None
    alike: dict[bytes, list[int]] = {}
    for i, pattern in enumerate(np.packbits(rows != 0, axis=1)):
        alike.setdefault(pattern.tobytes(), []).append(i)
    parts = [(np.array(part), np.flatnonzero(rows[part[0]])) for part in alike.values()]
    work = sum((part.size + PLACING) * filled.size**2 for part, filled in parts)
    if work >= rows.shape[0] * rows.shape[1] ** 2:
        return None
    return [(part, filled) for part, filled in parts if filled.size]


def _add_part(h: FloatArray, columns: IntArray, rows: FloatArray, weight: FloatArray) -> None:
    """The product of rows that are not 0 anywhere, or of all."""
    single = _is_faint(h, columns, rows, weight)
    in_place = columns.size == h.shape[0] and not single
    kind, syrk = (np.float32, blas.ssyrk) if single else (np.float64, blas.dsyrk)
    out = h if in_place else np.zeros((columns.size, columns.size), dtype=kind, order="F")
    for sign in (1.0, -1.0):
        chosen = np.flatnonzero(sign * weight > 0)
        if chosen.size:
            part = rows if chosen.size == weight.size else rows[chosen]
            half = np.multiply(np.sqrt(np.abs(weight[chosen]))[:, None], part, dtype=kind, casting="same_kind")
            syrk(sign, half.T, beta=1.0, c=out, lower=1, overwrite_c=1)
    if not in_place and columns.size:
        _place(h, columns, out)


def _is_faint(h: FloatArray, columns: IntArray, rows: FloatArray, weight: FloatArray) -> bool:
    """A large product that adds little to the diagonal as it is."""
    if rows.shape[0] * columns.size**2 < LARGE:
        return False
    added = np.einsum("b,bc,bc->c", np.abs(weight), rows, rows)
    return bool(np.all(added <= FAINT * np.diagonal(h)[columns]))


def _place(h: FloatArray, columns: IntArray, part: FloatArray) -> None:
    """Add the lower triangle of a matrix to that of h at increasing columns."""
    first, last = int(columns[0]), int(columns[-1])
    if last - first + 1 == columns.size:
        h[first : last + 1, first : last + 1] += part
        return
    for j, column in enumerate(columns.tolist()):
        h[columns[j:], column] += part[j:, j]
