"""Symmetric matrices of small blocks: sums of B^T B over many candidates, and their products with vectors.

Of a symmetric matrix the blocks (i, j) with i <= j are stored, found by the number row x G + column.  Blocks of a
fixed size are what makes both loops fast: the compiler unrolls them, and no index is stored per number.
"""

from mucal.numerics.blocks.kept import KeptFactors, joined_factors, kept_factors
from mucal.numerics.blocks.kernels import BLOCK
from mucal.numerics.blocks.matrix import SymmetricBlocks, symmetric_blocks
from mucal.numerics.blocks.summing import BlockSum, Factors

__all__ = [
    "BLOCK", "BlockSum", "Factors", "KeptFactors", "SymmetricBlocks", "joined_factors", "kept_factors",
    "symmetric_blocks",
]  # fmt: skip
