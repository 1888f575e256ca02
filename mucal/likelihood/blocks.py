"""Effects of nuisances on processes, stored in blocks: only the processes, bins and columns on which they act."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A dense rectangle of effects on one process.

    process  : index
    bins     : (R,)    flat bins, increasing
    columns  : (C,)    parameters, increasing
    kappa    : (R, C)  half the difference of the log-ratios up and down; if additive, of the events up and down
    eta      : (R, C)  half their sum (if additive, less the nominal), or (0, 0) if all are symmetric
    additive : effects add events to the template instead of multiplying it
    """

    process: int
    bins: IntArray
    columns: IntArray
    kappa: FloatArray
    eta: FloatArray
    additive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects(Result):
    """K blocks, joined end to end so that one pass reads each number once; where blocks share a place, they add up.

    process        : (K,)    process of each block
    bin_offsets    : (K+1,)  its bins are bins[bin_offsets[k]:bin_offsets[k + 1]]
    column_offsets : (K+1,)  its columns likewise
    kappa_offsets  : (K+1,)  its rectangle, bins by columns, in kappa
    eta_offsets    : (K,)    the same in eta, or -1 for a block without
    bins, columns  : flat bins and parameter indices
    kappa, eta     : log-ratios, or events
    additive       : (K,)    the block adds events to the template instead of multiplying it
    """

    process: IntArray
    bin_offsets: IntArray
    column_offsets: IntArray
    kappa_offsets: IntArray
    eta_offsets: IntArray
    bins: IntArray
    columns: IntArray
    kappa: FloatArray
    eta: FloatArray
    additive: BoolArray

    def __post_init__(self) -> None:
        k = self.process.size
        check_shapes(self, additive=(k,))
        check_shapes(self, bin_offsets=(k + 1,), column_offsets=(k + 1,), kappa_offsets=(k + 1,), eta_offsets=(k,))
        check_shapes(self, bins=(int(self.bin_offsets[-1]),), columns=(int(self.column_offsets[-1]),))
        check_shapes(self, kappa=(int(self.kappa_offsets[-1]),))
        sizes = np.diff(self.bin_offsets) * np.diff(self.column_offsets)
        if not np.array_equal(sizes, np.diff(self.kappa_offsets)):
            raise ValueError("Effects.kappa_offsets do not follow from the bins and columns of the blocks")
        asymmetric = self.eta_offsets >= 0
        check_shapes(self, eta=(int(sizes[asymmetric].sum()),))
        for what, index, offsets in (
            ("bins", self.bins, self.bin_offsets),
            ("columns", self.columns, self.column_offsets),
        ):
            falls = np.flatnonzero(np.diff(index) <= 0) + 1
            if np.setdiff1d(falls, offsets).size:
                raise ValueError(f"Effects.{what} do not increase within a block; join the effects of equal {what}")

    def blocks(self) -> Iterator[Block]:
        """The blocks, as views."""
        for k, process in enumerate(self.process.tolist()):
            bins = self.bins[self.bin_offsets[k] : self.bin_offsets[k + 1]]
            columns = self.columns[self.column_offsets[k] : self.column_offsets[k + 1]]
            shape = (bins.size, columns.size)
            kappa = self.kappa[self.kappa_offsets[k] : self.kappa_offsets[k + 1]].reshape(shape)
            at = int(self.eta_offsets[k])
            eta = self.eta[at : at + kappa.size].reshape(shape) if at >= 0 else np.zeros((0, 0))
            additive = bool(self.additive[k])
            yield Block(process=process, bins=bins, columns=columns, kappa=kappa, eta=eta, additive=additive)


def join(blocks: Iterable[Block]) -> Effects:
    """Blocks end to end, in the order given."""
    kept = [block for block in blocks if block.kappa.size]
    sizes = np.array([block.kappa.size for block in kept], dtype=np.int64)
    eta_sizes = np.array([block.eta.size for block in kept], dtype=np.int64)
    return Effects(
        process=np.array([block.process for block in kept], dtype=np.int64),
        bin_offsets=_offsets([block.bins.size for block in kept]),
        column_offsets=_offsets([block.columns.size for block in kept]),
        kappa_offsets=_offsets(sizes.tolist()),
        eta_offsets=np.where(eta_sizes > 0, _offsets(eta_sizes.tolist())[:-1], -1),
        bins=_joined([block.bins for block in kept], np.int64),
        columns=_joined([block.columns for block in kept], np.int64),
        kappa=_joined([block.kappa.ravel() for block in kept], np.float64),
        eta=_joined([block.eta.ravel() for block in kept], np.float64),
        additive=np.array([block.additive for block in kept], dtype=bool),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One nuisance on one process: its log-ratios (or events) in the bins where it acts; eta None if symmetric."""

    process: int
    column: int
    bins: IntArray
    kappa: FloatArray
    eta: FloatArray | None
    additive: bool = False


def effect(
    process: int, column: int, kappa: FloatArray, eta: FloatArray | None, filled: BoolArray, additive: bool = False
) -> Effect | None:
    """The effect with the bins where it does nothing left out, unless most of the process's bins remain.

    kappa, eta : (B,)  log-ratios, or events if additive
    filled     : (B,)  where the process is
    """
    if eta is not None and not eta[filled].any():
        eta = None
    acts = filled & ((kappa != 0) | (eta != 0 if eta is not None else False))
    if not acts.any():
        return None
    bins = np.flatnonzero(filled if 2 * acts.sum() > filled.sum() else acts)
    eta = None if eta is None else eta[bins]
    return Effect(process=process, column=column, bins=bins, kappa=kappa[bins], eta=eta, additive=additive)


def gather(effects: Iterable[Effect]) -> Effects:
    """Effects on the same process and bins become one block."""
    alike: dict[tuple[int, bytes, bool, bool], list[Effect]] = {}
    for one in effects:
        alike.setdefault((one.process, one.bins.tobytes(), one.eta is None, one.additive), []).append(one)
    return join(_block(members) for members in alike.values())


def _block(members: list[Effect]) -> Block:
    members = sorted(members, key=lambda one: one.column)
    return Block(
        process=members[0].process,
        bins=members[0].bins,
        columns=np.array([one.column for one in members], dtype=np.int64),
        kappa=np.stack([one.kappa for one in members], axis=1),
        eta=np.stack([one.eta for one in members if one.eta is not None], axis=1)
        if members[0].eta is not None
        else np.zeros((0, 0)),
        additive=members[0].additive,
    )


def _offsets(sizes: list[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))]).astype(np.int64)


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)
