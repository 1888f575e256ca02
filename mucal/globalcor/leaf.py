"""The sum of one leaf: chunks added one after the other, in the order of their numbers."""

from collections.abc import Sequence

import numpy as np

from mucal.arrays import IntArray
from mucal.errors import InputError
from mucal.globalcor import kernels
from mucal.globalcor.guards import REASONS, GuardConfig, judge
from mucal.globalcor.normal_equations import NOBODY, PartialSum, first_examples
from mucal.globalcor.registry import Registry
from mucal.ledger import EXAMPLES_KEPT
from mucal.numerics.blocks import BLOCK, BlockSum, Factors, joined_factors, kept_factors
from mucal.refit import ProfiledBlocks


class Leaf:
    """A growing partial sum.

    number       : of the leaf in its sample
    n_parts      : parts of the jackknife
    keep         : keep the factors instead of summing them into blocks
    started_from : a partial sum to go on from; its blocks are taken over, not copied
    """

    def __init__(
        self, registry: Registry, sample: str, number: int, *, n_parts: int, guards: GuardConfig,
        keep: bool = False, started_from: PartialSum | None = None,
    ) -> None:  # fmt: skip
        p = len(registry)
        self.registry, self.sample, self.number, self.guards = registry, sample, number, guards
        self.sums = _empty(sample, number, p, n_parts) if started_from is None else started_from
        self.blocks = BlockSum.of(registry.n_groups, registry.slot, self.sums.keys, self.sums.values)
        self.keep, self.kept = keep, [self.sums.kept]
        self.chunks, self.failed = list(self.sums.chunks), list(self.sums.failed)
        self.chi2, self.ndof, self.read = self.sums.chi2, self.sums.ndof, self.sums.read

    def fail(self, chunk: int) -> None:
        """Note a chunk that could not be made."""
        self._next(chunk)
        self.failed.append(chunk)

    def add(self, chunk: int, blocks: ProfiledBlocks, excluded: Sequence[int] = (), *, n_threads: int = 1) -> None:
        """Add the candidates of a chunk that pass the guards.

        excluded : numbers of candidates to leave out

        Raises InputError for derivatives of other parameters, or a chunk out of order.
        """
        if blocks.digest != self.registry.digest:
            raise InputError(
                f"chunk {chunk} has derivatives by the parameters of registry {blocks.digest[:16]}, the sum is of "
                f"{self.registry.digest[:16]}",
                kind="input.different_maps",
                do="refit with the parameter map of this registry",
            )
        self._next(chunk)
        used, reason, diagonal = judge(blocks, self.guards, np.asarray(excluded, dtype=np.int64))
        s, weight = self.sums, np.where(used, blocks.weight, 0.0)
        kernels.collect(
            used, blocks.label_offsets, blocks.label, blocks.gradient, diagonal, weight, chunk, blocks.candidate,
            s.gradient, s.lost, s.jackknife[chunk % s.jackknife.shape[0]], s.entries, s.largest, s.largest_chunk,
            s.largest_candidate,
        )  # fmt: skip
        factors = Factors(
            label_offsets=blocks.label_offsets, label=blocks.label, n_rows=blocks.n_rows,
            factor_offsets=blocks.factor_offsets, factor=blocks.factor, weight=weight,
        )  # fmt: skip
        if self.keep:
            self.kept.append(kept_factors(factors, used, self.registry.slot))
        else:
            self.blocks.add(factors, used, n_threads=n_threads)
        self.chi2 += float(weight[used] @ blocks.chi2[used])
        self.ndof += float(weight[used] @ blocks.ndof[used])
        self._count(chunk, reason, blocks.candidate)
        self.chunks.append(chunk)

    def finish(self) -> PartialSum:
        """The partial sum so far; its arrays are those of the leaf, so save or use it before more is added."""
        keys, values = self.blocks.finish()
        self.kept = [joined_factors(self.kept)]
        s = self.sums
        return PartialSum(
            sample=self.sample, level=0, number=self.number, chunks=np.array(self.chunks, dtype=np.int64),
            failed=np.array(self.failed, dtype=np.int64), gradient=s.gradient, lost=s.lost, jackknife=s.jackknife,
            entries=s.entries, largest=s.largest, largest_chunk=s.largest_chunk,
            largest_candidate=s.largest_candidate, kept=self.kept[0], keys=keys, values=values,
            chi2=self.chi2, ndof=self.ndof, read=self.read, rejected=s.rejected, examples=s.examples,
        )  # fmt: skip

    def _next(self, chunk: int) -> None:
        last = max([*self.chunks[-1:], *self.failed[-1:]], default=-1)
        if chunk <= last:
            raise InputError(f"chunk {chunk} comes after chunk {last}", kind="input.counted_twice")

    def _count(self, chunk: int, reason: IntArray, candidate: IntArray) -> None:
        self.read += int(reason.size)
        for i in range(len(REASONS)):
            rows = np.flatnonzero(reason == i)
            self.sums.rejected[i] += rows.size
            if rows.size:
                new = np.full((1, EXAMPLES_KEPT, 2), NOBODY, dtype=np.int64)
                some = np.sort(candidate[rows])[:EXAMPLES_KEPT]
                new[0, : some.size] = np.stack([np.full(some.size, chunk), some], axis=1)
                kept = np.concatenate([self.sums.examples[i : i + 1], new], axis=1)
                self.sums.examples[i] = first_examples(kept)[0]


def _empty(sample: str, number: int, p: int, n_parts: int) -> PartialSum:
    zero, nobody, none = np.zeros(p), np.full(p, NOBODY, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return PartialSum(
        sample=sample, level=0, number=number, chunks=none, failed=none, gradient=zero.copy(), lost=zero.copy(),
        jackknife=np.zeros((n_parts, p)), entries=np.zeros(p, dtype=np.int64), largest=zero.copy(),
        largest_chunk=nobody.copy(), largest_candidate=nobody.copy(), kept=joined_factors(()), keys=none,
        values=np.zeros((0, BLOCK, BLOCK)), chi2=0.0, ndof=0.0, read=0, rejected=np.zeros(len(REASONS), dtype=np.int64),
        examples=np.full((len(REASONS), EXAMPLES_KEPT, 2), NOBODY, dtype=np.int64),
    )  # fmt: skip
