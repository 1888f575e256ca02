"""Candidates whose B^T B is not summed: the factors are kept, and multiplied one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics.blocks import kernels
from mucal.numerics.blocks.kernels import BLOCK
from mucal.numerics.blocks.matrix import STRIPES
from mucal.numerics.blocks.summing import Factors
from mucal.numerics.threads import run
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFactors(Result):
    """The B of C candidates, weights inside: their sum is of low rank where they are fewer than its rows.

    label_offsets  : (C+1,)
    row            : (T,)   rows of the matrix that each candidate touches, increasing
    n_rows         : (C,)
    factor_offsets : (C+1,)
    factor         : (S,)   sqrt(weight) B, row by row
    """

    label_offsets: IntArray
    row: IntArray
    n_rows: IntArray
    factor_offsets: IntArray
    factor: FloatArray

    def __len__(self) -> int:
        return int(self.n_rows.size)

    def product(self, x: FloatArray, *, n_threads: int = 1) -> FloatArray:
        """sum_c B_c^T B_c x: (n, m) -> (n, m); the same for any number of threads."""
        edges = np.unique(np.linspace(0, len(self), STRIPES + 1).astype(np.int64))

        def part(stripe: int) -> FloatArray:
            """The sum over the candidates of a stripe."""
            y = np.zeros_like(x)
            kernels.multiply_factors(
                self.label_offsets, self.row, self.n_rows, self.factor_offsets, self.factor, edges[stripe],
                edges[stripe + 1], x, y,
            )  # fmt: skip
            return y

        total = np.zeros_like(x)
        for y in run(part, edges.size - 1, n_threads):
            total += y
        return total

    def diagonal_blocks(self, n_groups: int) -> FloatArray:
        """(G, BLOCK, BLOCK) of the sum"""
        blocks = np.zeros((n_groups, BLOCK, BLOCK))
        kernels.diagonal_of_factors(self.label_offsets, self.row, self.n_rows, self.factor_offsets, self.factor, blocks)
        return blocks

    def as_factors(self) -> Factors:
        """To be summed after all; labels are rows of the matrix."""
        return Factors(
            label_offsets=self.label_offsets, label=self.row, n_rows=self.n_rows, factor_offsets=self.factor_offsets,
            factor=self.factor, weight=np.ones(len(self)),
        )  # fmt: skip


def kept_factors(factors: Factors, used: BoolArray, slot: IntArray) -> KeptFactors:
    """The candidates that are used (C,), with the rows of the matrix that their labels stand for."""
    n_labels = np.diff(factors.label_offsets)
    labels = np.repeat(used, n_labels)
    sizes = factors.n_rows * n_labels
    root = np.repeat(np.sqrt(factors.weight), sizes)
    numbers = np.repeat(used, sizes)
    return KeptFactors(
        label_offsets=_offsets(n_labels[used]), row=slot[factors.label[labels]], n_rows=factors.n_rows[used],
        factor_offsets=_offsets(sizes[used]), factor=(root * factors.factor)[numbers],
    )  # fmt: skip


def joined_factors(parts: Sequence[KeptFactors]) -> KeptFactors:
    """The candidates of several, one after the other."""
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    return KeptFactors(
        label_offsets=_offsets(np.concatenate([none, *(np.diff(p.label_offsets) for p in parts)])),
        row=np.concatenate([none, *(p.row for p in parts)]),
        n_rows=np.concatenate([none, *(p.n_rows for p in parts)]),
        factor_offsets=_offsets(np.concatenate([none, *(np.diff(p.factor_offsets) for p in parts)])),
        factor=np.concatenate([nothing, *(p.factor for p in parts)]),
    )


def _offsets(sizes: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
