"""Sums of profiled blocks over many candidates: a commutative monoid, the same bytes in any order."""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, Self

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError
from mucal.globalcor.guards import REASONS
from mucal.ledger import EXAMPLES_KEPT, Ledger
from mucal.numerics.blocks import BLOCK, BlockSum, KeptFactors, SymmetricBlocks, joined_factors, symmetric_blocks
from mucal.store import Provenance, Result

NOBODY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSum(Result):
    """The sum over the chunks of one node of the tree, of one sample.

    sample            :        name of the sample
    level, number     :        node of the tree: level 0 are the leaves, and node n of a level holds 2n and 2n+1 below
    chunks, failed    : (c,)   numbers of the chunks summed, and of those that could not be made
    gradient, lost    : (P,)   sum of w g, and what rounding took from it
    jackknife         : (J, P) the gradient of the chunks with number modulo J
    entries           : (P,)   candidates that say anything of a parameter
    largest           : (P,)   largest contribution of one candidate to the diagonal of H, and whose it is
    kept              :        candidates whose factors are kept instead of being summed into blocks
    keys              : (K,)   row x G + column of the blocks of H, sorted
    values            : (K, BLOCK, BLOCK)
    chi2, ndof        :        sums of w chi2 and w ndof
    read              :        candidates seen
    rejected          : (R,)   candidates left out, for each of `REASONS`
    examples          : (R, 5, 2)  chunk and number of the first of them, -1 for none
    """

    sample: str
    level: int
    number: int
    chunks: IntArray
    failed: IntArray
    gradient: FloatArray
    lost: FloatArray
    jackknife: FloatArray
    entries: IntArray
    largest: FloatArray
    largest_chunk: IntArray
    largest_candidate: IntArray
    kept: KeptFactors
    keys: IntArray
    values: FloatArray
    chi2: float
    ndof: float
    read: int
    rejected: IntArray
    examples: IntArray

    def __post_init__(self) -> None:
        p, r = self.gradient.size, len(REASONS)
        each = ("lost", "entries", "largest", "largest_chunk", "largest_candidate")
        check_shapes(self, **dict.fromkeys(each, (p,)), values=(self.keys.size, BLOCK, BLOCK))
        check_shapes(self, jackknife=(self.jackknife.shape[0], p), rejected=(r,), examples=(r, EXAMPLES_KEPT, 2))

    @property
    def span(self) -> tuple[str, int, int]:
        """Sample, first leaf, and the leaf after the last."""
        return self.sample, self.number << self.level, (self.number + 1) << self.level


def merged(a: PartialSum, b: PartialSum) -> PartialSum:
    """The sum of two; the same bytes in either order.  It is called as the node above `a` and `b`."""
    a, b = sorted((a, b), key=lambda part: part.span)
    keys = np.union1d(a.keys, b.keys)
    values = np.zeros((keys.size, BLOCK, BLOCK))
    values[np.searchsorted(keys, a.keys)] = a.values
    values[np.searchsorted(keys, b.keys)] += b.values
    both_largest = np.stack([a.largest, b.largest])
    whose = np.stack([a.largest_chunk, b.largest_chunk]), np.stack([a.largest_candidate, b.largest_candidate])
    b_first = (b.largest > a.largest) | ((b.largest == a.largest) & (b.largest_chunk < a.largest_chunk))
    pick = b_first.astype(np.int64)[None]
    return PartialSum(
        sample=min(a.sample, b.sample),
        level=a.level + 1,
        number=min(a.number, b.number) // 2,
        chunks=np.sort(np.concatenate([a.chunks, b.chunks])),
        failed=np.sort(np.concatenate([a.failed, b.failed])),
        gradient=a.gradient + b.gradient,
        lost=a.lost + b.lost,
        jackknife=a.jackknife + b.jackknife,
        entries=a.entries + b.entries,
        largest=np.take_along_axis(both_largest, pick, 0)[0],
        largest_chunk=np.take_along_axis(whose[0], pick, 0)[0],
        largest_candidate=np.take_along_axis(whose[1], pick, 0)[0],
        kept=joined_factors((a.kept, b.kept)),
        keys=keys,
        values=values,
        chi2=a.chi2 + b.chi2,
        ndof=a.ndof + b.ndof,
        read=a.read + b.read,
        rejected=a.rejected + b.rejected,
        examples=first_examples(np.concatenate([a.examples, b.examples], axis=1)),
    )


def first_examples(examples: IntArray) -> IntArray:
    """(R, n, 2) -> (R, 5, 2): the lowest chunks and candidates, -1 last."""
    order = np.lexsort((examples[..., 1], examples[..., 0], examples[..., 0] < 0))
    return np.take_along_axis(examples, order[..., None], axis=1)[:, :EXAMPLES_KEPT]


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalEquations(Result):
    """Gradient and Hessian of a sum of chi2, as partial sums of a tree that the numbers of the chunks fix.

    Chunks are summed in their order within a leaf of `chunks_per_leaf`; leaves are merged as soon as both of a node are
    there.  So `a + b` is exactly commutative and associative, for any division into sums of whole leaves.

    digest          :      of the registry
    slot            : (P,) row of each parameter in the matrix
    chunks_per_leaf :
    partials        :      sorted by sample and place
    """

    digest: str
    slot: IntArray
    chunks_per_leaf: int
    partials: tuple[PartialSum, ...]

    @property
    def n_groups(self) -> int:
        """Blocks of rows of the matrix."""
        return int(self.slot[-1]) // BLOCK + 1 if self.slot.size else 0

    def __add__(self, other: "NormalEquations") -> Self:
        """The sum of both.

        Raises InputError for sums of different parameters, chunks that are in both, or samples made alike of the same
        files: they are not statistically independent.
        """
        if self.digest != other.digest:
            raise InputError(
                f"these sums are of different parameters: registry {self.digest[:16]} and {other.digest[:16]}",
                kind="input.different_maps",
                do="accumulate both with one registry: the same detector and the same families",
            )
        if self.partials and other.partials and self.chunks_per_leaf != other.chunks_per_leaf:
            raise InputError(
                f"one sum has {self.chunks_per_leaf} chunks a leaf, the other {other.chunks_per_leaf}",
                kind="input.different_leaves",
            )
        _refuse_overlap(self.partials, other.partials)
        _refuse_same_inputs(self, other)
        return replace(
            self,
            chunks_per_leaf=self.chunks_per_leaf if self.partials else other.chunks_per_leaf,
            partials=_canonical([*self.partials, *other.partials]),
            provenance=_both(self.provenance, other.provenance),
        )

    def total(self) -> PartialSum:
        """One sum over everything, folded in the order of samples and leaves."""
        if not self.partials:
            raise InputError("no chunk was summed", kind="input.empty")
        return reduce(merged, self.partials)

    def matrix(self) -> SymmetricBlocks:
        """H without the factors that are kept; without a copy if there is one partial sum."""
        total = self.total()
        return symmetric_blocks(self.n_groups, total.keys, total.values)

    def diagonal(self) -> FloatArray:
        """(P,) the diagonal of H"""
        kept = self.total().kept.diagonal_blocks(self.n_groups)
        diagonal: FloatArray = (self.matrix().diagonal() + np.einsum("gaa->ga", kept).ravel())[self.slot]
        return diagonal

    def expanded(self) -> Self:
        """The same sum in one part, with all factors summed into blocks."""
        total = self.total()
        if len(total.kept) == 0:
            return self
        rows = np.arange(self.n_groups * BLOCK)
        blocks = BlockSum.of(self.n_groups, rows, total.keys, total.values.copy())
        blocks.add(total.kept.as_factors(), np.ones(len(total.kept), dtype=bool))
        keys, values = blocks.finish()
        return replace(self, partials=(replace(total, keys=keys, values=values, kept=joined_factors(())),))

    @property
    def ledger(self) -> Ledger:
        """Candidates read, used, and left out by reason."""
        ledger = Ledger(unit="candidates")
        for part in self.partials:
            ledger = ledger + _ledger(part)
        return ledger

    @property
    def failed(self) -> tuple[str, ...]:
        """Chunks that could not be made, as "jpsi/17"."""
        return tuple(f"{p.sample or 'chunk'}/{c}" for p in self.partials for c in p.failed.tolist())


def _ledger(part: PartialSum) -> Ledger:
    rejected = dict(zip(REASONS, part.rejected.tolist(), strict=True))
    where = {
        reason: tuple(f"{part.sample}chunk {c} candidate {n}" for c, n in part.examples[i].tolist() if c >= 0)
        for i, reason in enumerate(REASONS)
    }
    used = part.read - sum(rejected.values())
    return Ledger(unit="candidates", read=part.read, used=used, rejected=rejected, examples=where)


def _refuse_overlap(mine: tuple[PartialSum, ...], others: tuple[PartialSum, ...]) -> None:
    for a in mine:
        for b in others:
            same = np.intersect1d(np.concatenate([a.chunks, a.failed]), np.concatenate([b.chunks, b.failed]))
            if a.sample == b.sample and same.size:
                raise InputError(
                    f"chunk {same[0]} of sample {a.sample!r} is in both sums, {same.size} chunks in all",
                    kind="input.counted_twice",
                    do="add sums of different chunks, or name the samples",
                )
            if a.sample == b.sample and a.span[1] < b.span[2] and b.span[1] < a.span[2]:
                raise InputError(
                    f"sample {a.sample!r}: both sums hold a part of the leaves {a.span[1]} to {a.span[2] - 1}",
                    kind="input.split_leaf",
                    do="divide the chunks at multiples of chunks_per_leaf, or name the samples differently",
                )


def _canonical(partials: list[PartialSum]) -> tuple[PartialSum, ...]:
    """Sorted, with the two halves of a node merged wherever both are there."""
    partials = sorted(partials, key=lambda p: p.span)
    i = 0
    while i + 1 < len(partials):
        a, b = partials[i], partials[i + 1]
        if a.sample == b.sample and a.level == b.level and a.number % 2 == 0 and b.number == a.number + 1:
            partials[i : i + 2] = [merged(a, b)]
            i = max(i - 1, 0)
        else:
            i += 1
    return tuple(partials)


REFIT: Final = "refit"
"""Name under which a sum from hits keeps the digest of its refit among its inputs."""


def _refuse_same_inputs(a: NormalEquations, b: NormalEquations) -> None:
    """Two samples of one file are independent only if their selections differ: the digest of the refit holds these."""
    mine, others = {p.sample for p in a.partials}, {p.sample for p in b.partials}
    if not mine or not others or mine & others:
        return  # nothing yet, or parts of one sample, told apart by their chunks
    ours, theirs = a.provenance.inputs, b.provenance.inputs
    shared = sorted(name for name, digest in ours.items() if name != REFIT and digest in set(theirs.values()))
    if shared and ours.get(REFIT) == theirs.get(REFIT):
        raise InputError(
            f"{shared[0]} went into both sums, {len(shared)} files in all",
            kind="input.counted_twice",
            where={"file": shared[0]},
            do="sum every file once",
        )


def _both(a: Provenance, b: Provenance) -> Provenance:
    """What both configurations say alike, and the inputs of either; the refits of both if they differ."""
    shared = {k: a.configuration[k] for k in sorted(a.configuration) if b.configuration.get(k) == a.configuration[k]}
    inputs = {**a.inputs, **b.inputs}
    refits = {refit for p in (a, b) for refit in p.inputs.get(REFIT, "").split("+") if refit}
    if refits:
        inputs[REFIT] = "+".join(sorted(refits))
    return Provenance(configuration=shared, inputs=dict(sorted(inputs.items())))
