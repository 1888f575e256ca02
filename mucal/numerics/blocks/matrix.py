"""A symmetric matrix of small blocks, of which the upper half is stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.numerics.blocks import kernels
from mucal.numerics.blocks.kernels import BLOCK, COLUMNS, Int32Array
from mucal.numerics.threads import run

STRIPES: Final = 16
"""Parts of a product, each summed by itself: the result does not depend on the number of threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetricBlocks:
    """A symmetric matrix of n = G x BLOCK rows; of each pair of blocks (i, j) and (j, i) the one with i <= j is stored.

    row_offsets : (G+1,)             blocks row_offsets[i] .. row_offsets[i+1] stand in row i
    col         : (K,)               column of each block, increasing in each row
    values      : (K, BLOCK, BLOCK)  blocks on the diagonal are whole
    """

    row_offsets: IntArray
    col: Int32Array
    values: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, values=(self.col.size, BLOCK, BLOCK))

    @property
    def n(self) -> int:
        """Rows of the matrix."""
        return (self.row_offsets.size - 1) * BLOCK

    @property
    def n_blocks(self) -> int:
        """K."""
        return int(self.col.size)

    def diagonal_blocks(self) -> FloatArray:
        """(G, BLOCK, BLOCK), zero where none is stored"""
        blocks = np.zeros((self.row_offsets.size - 1, BLOCK, BLOCK))
        rows = np.flatnonzero(np.diff(self.row_offsets) > 0)
        first = self.row_offsets[rows]
        on = self.col[first] == rows
        blocks[rows[on]] = self.values[first[on]]
        return blocks

    def diagonal(self) -> FloatArray:
        """(n,)"""
        return np.ascontiguousarray(np.einsum("gaa->ga", self.diagonal_blocks())).ravel()

    def product(self, x: FloatArray, *, n_threads: int = 1) -> FloatArray:
        """A x: (n,) -> (n,), or (n, m) -> (n, m)."""
        x = np.ascontiguousarray(x, dtype=np.float64)
        if x.shape[0] != self.n or x.ndim > 2:
            raise ValueError(f"x has shape {x.shape}, expected ({self.n},) or ({self.n}, m)")
        if x.ndim == 1:
            return self._multiply(kernels.multiply, x, n_threads)
        result = np.empty_like(x)
        for at in range(0, x.shape[1], COLUMNS):
            some = np.ascontiguousarray(x[:, at : at + COLUMNS])
            if some.shape[1] == 1:
                result[:, at] = self._multiply(kernels.multiply, some.ravel(), n_threads)
                continue
            padded = np.zeros((self.n, COLUMNS))
            padded[:, : some.shape[1]] = some
            y = self._multiply(kernels.multiply_many, padded, n_threads)
            result[:, at : at + COLUMNS] = y[:, : some.shape[1]]
        return result

    def _multiply(self, kernel: Callable[..., None], x: FloatArray, n_threads: int) -> FloatArray:
        edges = self._stripes()

        def part(stripe: int) -> FloatArray:
            y = np.zeros_like(x)
            kernel(self.row_offsets, self.col, self.values, x, edges[stripe], edges[stripe + 1], y)
            return y

        total = np.zeros_like(x)
        for y in run(part, edges.size - 1, n_threads):
            total += y
        return total

    def dense_lower(self, kept: BoolArray | None = None) -> FloatArray:
        """The lower triangle of the kept rows and columns: (m, m), zero above the diagonal."""
        rows = np.ones(self.n, dtype=bool) if kept is None else kept
        number = np.where(rows, np.cumsum(rows) - 1, -1)
        out = np.zeros((int(rows.sum()), int(rows.sum())))
        kernels.expand(self.row_offsets, self.col, self.values, number, out)
        return out

    def aggregate(self, scale: FloatArray, part: IntArray, n_parts: int) -> FloatArray:
        """Z^T S A S Z with Z the sums over the rows of each part: (n,), (n,) -> (n_parts, n_parts)."""
        coarse = np.zeros((n_parts, n_parts))
        kernels.aggregate(self.row_offsets, self.col, self.values, scale, part, coarse)
        return coarse

    def rows(self) -> Int32Array:
        """(K,) row of each block"""
        return np.repeat(np.arange(self.row_offsets.size - 1, dtype=np.int32), np.diff(self.row_offsets))

    def _stripes(self) -> IntArray:
        """(S+1,) rows of blocks where the stripes begin, about as many blocks in each"""
        shares = np.arange(STRIPES + 1) * (self.n_blocks / STRIPES)
        edges = np.searchsorted(self.row_offsets, shares, side="left")
        edges[0], edges[-1] = 0, self.row_offsets.size - 1
        return np.unique(edges).astype(np.int64)


def symmetric_blocks(n_groups: int, keys: IntArray, values: FloatArray) -> SymmetricBlocks:
    """The matrix of sorted keys, row x n_groups + column, and their blocks.

    Raises ValueError for keys that do not increase, or stand below the diagonal or outside the matrix.
    """
    row, col = np.divmod(keys, n_groups) if n_groups else (keys, keys)
    if keys.size and (np.any(np.diff(keys) <= 0) or keys[0] < 0 or row[-1] >= n_groups or np.any(col < row)):
        raise ValueError(f"the keys of the blocks are not those of the upper half of {n_groups} x {n_groups}, in order")
    return SymmetricBlocks(
        row_offsets=np.searchsorted(row, np.arange(n_groups + 1)).astype(np.int64),
        col=col.astype(np.int32),
        values=values,
    )
