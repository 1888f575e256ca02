"""The model laid out as the compiled passes want it: bin by bin, and every bin cell by cell."""

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.likelihood.kernels import Bins, Table
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation
from mucal.likelihood.simulation_kernels import GAMMA, NORMAL


def tabulate(model: Model) -> Table:
    """Cells bin by bin, and the rows of the blocks cell by cell."""
    there = model.nominal > 0
    for block in model.effects.blocks():
        if block.additive:
            there[block.bins, block.process] = True
    bin_of, process = np.nonzero(there)
    cell = np.full(model.nominal.shape, -1)
    cell[bin_of, process] = np.arange(bin_of.size)
    e = model.effects
    rows, width = np.diff(e.bin_offsets), np.diff(e.column_offsets)
    block_of = np.repeat(np.arange(rows.size), rows)
    row = np.arange(e.bins.size) - np.repeat(e.bin_offsets[:-1], rows)
    owner = cell[e.bins, e.process[block_of]]
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    block_of, row, owner = block_of[order], row[order], owner[order]
    columns, packed_at = _pack_columns(model)
    eta_at = np.where(e.eta_offsets[block_of] >= 0, e.eta_offsets[block_of] + row * width[block_of], -1)
    return Table(
        cell_offsets=np.searchsorted(bin_of, np.arange(model.n_bins + 1)).astype(np.int64),
        process=process.astype(np.int64),
        nominal=np.ascontiguousarray(model.nominal[bin_of, process]),
        segment_offsets=np.searchsorted(owner, np.arange(bin_of.size + 1)).astype(np.int64),
        kappa_at=e.kappa_offsets[block_of] + row * width[block_of],
        eta_at=eta_at,
        packed_at=packed_at[block_of],
        length=width[block_of],
        additive=e.additive[block_of],
        kappa=e.kappa,
        eta=e.eta,
        columns=columns,
    )


def _pack_columns(model: Model) -> tuple[IntArray, IntArray]:
    """Columns of the blocks end to end, blocks with the same ones sharing them: few places stay in the cache.

    Returns (packed,) parameter of each place, and (K,) where the places of each block begin.
    """
    place: dict[bytes, int] = {}
    packed, starts, size = [np.zeros(0, dtype=np.int64)], [], 0
    for block in model.effects.blocks():
        key = block.columns.tobytes()
        if key not in place:
            place[key] = size
            packed.append(block.columns)
            size += block.columns.size
        starts.append(place[key])
    return np.concatenate(packed), np.array(starts, dtype=np.int64)


def lay_out_bins(model: Model, table: Table, observation: Observation, mc_stat: str, per: str) -> Bins:
    """The counts, and the factors of the finite simulation: one a bin, one a process of a bin, or none."""
    bin_of = np.repeat(np.arange(model.n_bins), np.diff(table.cell_offsets))
    known = (table.nominal > 0) & (model.sumw2[bin_of, table.process] > 0)
    uncertain = np.flatnonzero(known & (mc_stat != "none"))
    own = bin_of[uncertain]
    if per == "process":
        which = np.arange(uncertain.size)
        k = table.nominal[uncertain] ** 2 / model.sumw2[own, table.process[uncertain]]
    else:
        own, which = np.unique(own, return_inverse=True)
        k = model.effective_events[own]
    beta_of = np.full(table.process.size, -1, dtype=np.int64)
    beta_of[uncertain] = which
    bins = Bins(
        n=observation.counts,
        beta_offsets=np.searchsorted(own, np.arange(model.n_bins + 1)).astype(np.int64),
        beta_of=beta_of,
        k=k,
        b0=np.ones(k.size),
        kind=GAMMA if mc_stat == "gamma" else NORMAL,
    )
    return bins._replace(b0=beta_centres(table, bins, observation))


def beta_centres(table: Table, bins: Bins, observation: Observation) -> FloatArray:
    """(betas,) centres; those of an observation stand for bins (B,), or for processes of bins (B, P).

    Raises ValueError for centres of processes where one factor multiplies several.
    """
    own = bin_of_beta(bins)
    if observation.beta.ndim == 1:
        return np.ascontiguousarray(observation.beta[own])
    has = np.flatnonzero(bins.beta_of >= 0)
    if has.size != bins.k.size:
        raise ValueError("the centres of beta have shape (bins, processes), expected (bins,) where bins share a beta")
    return np.ascontiguousarray(observation.beta[own, table.process[has]])


def bin_of_beta(bins: Bins) -> IntArray:
    """(betas,) bin in which each factor stands."""
    return np.repeat(np.arange(bins.n.size), np.diff(bins.beta_offsets))
