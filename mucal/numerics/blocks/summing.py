"""B^T B of many candidates, summed into a symmetric matrix of blocks."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics.blocks import kernels
from mucal.numerics.blocks.kernels import BLOCK
from mucal.numerics.blocks.matrix import SymmetricBlocks, symmetric_blocks
from mucal.numerics.threads import run

POSITIONS: Final = 4_000_000
"""Pairs of blocks whose places are held at a time."""

GROWTH: Final = 1.1
FEWEST: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """The B of C candidates: each touches some rows of the matrix, and adds weight B^T B.

    label_offsets  : (C+1,)
    label          : (T,)   sorted and unique in each candidate
    n_rows         : (C,)   rows of each B
    factor_offsets : (C+1,)
    factor         : (S,)   row by row
    weight         : (C,)   not negative
    """

    label_offsets: IntArray
    label: IntArray
    n_rows: IntArray
    factor_offsets: IntArray
    factor: FloatArray
    weight: FloatArray


class BlockSum:
    """A growing sum.  The order of the candidates decides its last bits; the number of threads does not.

    slot : (P,)  the row of the matrix that each label stands for, increasing
    """

    def __init__(self, n_groups: int, slot: IntArray) -> None:
        self.n_groups = n_groups
        self.slot = slot
        self.count = 0
        self.keys = np.zeros(FEWEST, dtype=np.int64)
        self.values = np.zeros((FEWEST, BLOCK, BLOCK))
        self._new_table(4 * FEWEST)

    @classmethod
    def of(cls, n_groups: int, slot: IntArray, keys: IntArray, values: FloatArray) -> "BlockSum":
        """The sum that goes on from sorted keys and their blocks, which it takes over."""
        found = cls(n_groups, slot)
        if keys.size:
            found.count, found.keys, found.values = int(keys.size), keys.copy(), values
            found._new_table(found.table.size)
            found._reserve(2 * keys.size)
        return found

    def add(self, factors: Factors, used: BoolArray, *, n_threads: int = 1) -> None:
        """Add the candidates that are used (C,)."""
        n = used.size
        group = np.empty(factors.label.size, dtype=np.int32)
        column = np.empty(factors.label.size, dtype=np.int32)
        offsets = np.empty(n + 1, dtype=np.int64)
        most = kernels.group_labels(factors.label_offsets, factors.label, self.slot, group, column, offsets)
        size = np.diff(offsets)
        positions = np.empty(
            max(1, min(POSITIONS, int((used * size * (size + 1) // 2).sum())), most * (most + 1) // 2), dtype=np.int32
        )
        rows = int(factors.n_rows.max(initial=0))
        scratch = [np.empty((rows + BLOCK, most * BLOCK)) for _ in range(n_threads)]
        start = 0
        while start < n:
            stop, self.count, filled = kernels.place_pairs(
                offsets, group, used, self.n_groups, self.table, self.place, self.keys, self.count, start, positions
            )
            self._grow_values()

            def work(thread: int, start: int = start, stop: int = stop) -> None:
                kernels.scatter(
                    start, stop, offsets, group, column, used, factors.label_offsets, factors.n_rows,
                    factors.factor_offsets, factors.factor, factors.weight, positions, thread, n_threads,
                    scratch[thread][BLOCK:], scratch[thread][:BLOCK], self.values,
                )  # fmt: skip

            run(work, n_threads, n_threads)
            if stop < n and filled + most * (most + 1) // 2 <= positions.size:  # the table or the keys were too small
                self._reserve(self.count + max(self.count // 2, most * most))
            start = stop

    def finish(self) -> tuple[IntArray, FloatArray]:
        """Sorted keys (K,) and their blocks (K, BLOCK, BLOCK); the sum can go on afterwards."""
        keys = self.keys[: self.count]
        order = np.argsort(keys, kind="stable")
        keys[:] = keys[order]
        kernels.reorder(self.values, order.astype(np.int64))
        self._new_table(self.table.size)
        return keys, self.values[: self.count]

    def matrix(self) -> SymmetricBlocks:
        """The sum so far, without a copy."""
        keys, values = self.finish()
        return symmetric_blocks(self.n_groups, keys, values)

    def _reserve(self, count: int) -> None:
        """Room for `count` keys, and a table that they fill by half at most."""
        if count > self.keys.size:
            self.keys = np.concatenate([self.keys, np.zeros(count - self.keys.size, dtype=np.int64)])
        size = self.table.size
        while size < 2 * count:
            size *= 2
        if size > self.table.size:
            self._new_table(size)

    def _new_table(self, size: int) -> None:
        self.table = np.full(size, -1, dtype=np.int64)
        self.place = np.empty(size, dtype=np.int32)
        kernels.fill_table(self.table, self.place, self.keys[: self.count])

    def _grow_values(self) -> None:
        """Room for the blocks; memory of this size grows by remapping, not by copying."""
        if self.count > self.values.shape[0]:
            if not self.values.flags.owndata:
                self.values = self.values.copy()
            self.values.resize((int(GROWTH * self.count) + 1, BLOCK, BLOCK), refcheck=False)
