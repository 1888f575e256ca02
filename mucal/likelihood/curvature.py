"""The exact second derivatives of -ln L, as products of weighted rows on half the matrix."""

from typing import Final, NamedTuple

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.likelihood.interpolation import bent_curvature, bent_slope
from mucal.likelihood.objective import Expansion, Objective
from mucal.likelihood.products import add_product

STRIPE: Final = 256


class Rows(NamedTuple):
    """Derivatives of one process.

    columns : (C,)    parameters that shape it, as places in the matrix
    bins    : (R,)    bins in which they do, or all
    log     : (R, C)  of its log-ratios
    event   : (R, C)  of the events added, or None if there are none
    curl    : (C,)    sum over bins of slope times the second derivatives of its interpolation
    """

    columns: IntArray
    bins: IntArray | slice
    log: FloatArray
    event: FloatArray | None
    curl: FloatArray


def hessian(
    function: Objective, x: FloatArray, at: Expansion, keep: BoolArray | None = None, fixed_beta: bool = False
) -> FloatArray:
    """Second derivatives by the parameters kept (F, F), with beta at its minimum everywhere or fixed where it is.

    x    : (S,)
    keep : (S,)  all by default

    Derived in docs/physics/likelihood.md.
    """
    model, profile = function.model, at.profile
    keep = np.ones(x.size, dtype=bool) if keep is None else keep
    place = np.where(keep, np.cumsum(keep) - 1, -1)
    h = np.zeros((keep.sum(), keep.sum()), order="F")
    h[np.diag_indices_from(h)] = model.precision[keep]
    for term in model.external:
        index = model.index(term.parameters)
        inside = keep[index]
        h[np.ix_(place[index[inside]], place[index[inside]])] += term.hessian[np.ix_(inside, inside)]
    by_process = np.zeros_like(at.shape)
    if fixed_beta:
        weight = function.observation.counts / profile.events**2
        _add_rows(h, function, x, at, keep, function.of_cells(profile.beta, 1.0), weight)
    else:
        softening = -function.of_cells(profile.give, 0.0) * profile.pull[:, None] ** 2
        if function.shares_beta():
            _add_shared(h, function, x, at, keep, softening)
        else:
            _add_rows(h, function, x, at, keep, function.moving(at), profile.stiffness)
            by_process = softening
    for p in range(len(model.processes)):
        _add_process(h, function, x, at, p, place, by_process[:, p])
    mirror(h)
    return h


def mirror(matrix: FloatArray) -> None:
    """Copy the lower triangle to the upper, some columns at a time."""
    for i in range(0, matrix.shape[0], STRIPE):
        stripe = slice(i, i + STRIPE)
        corner = matrix[stripe, stripe]
        matrix[stripe, stripe] = np.tril(corner) + np.tril(corner, -1).T
        matrix[stripe, i + STRIPE :] = matrix[i + STRIPE :, stripe].T


def _add_rows(
    h: FloatArray,
    function: Objective,
    x: FloatArray,
    at: Expansion,
    keep: BoolArray,
    of_cell: FloatArray,
    weight: FloatArray,
) -> None:
    """Add J^T weight J with J the derivatives of the sum over processes of of_cell (B, P) times their events."""
    j = function.rows(x, at, of_cell)
    add_product(h, np.arange(h.shape[0]), j if keep.all() else j[:, keep], weight)


def _add_shared(
    h: FloatArray, function: Objective, x: FloatArray, at: Expansion, keep: BoolArray, softening: FloatArray
) -> None:
    """Add the curvature of bins with one beta: one row a bin if it multiplies all processes there, else two."""
    there, u = function.there(), function.moving(at)
    has = there & (function.of_cells(np.ones(function.bins.k.size), 0.0) > 0)
    some = has.any(axis=1)
    mixed = some & (has != there).any(axis=1)
    alike = np.where(some, u.max(axis=1, where=has, initial=-np.inf), 1.0)
    soft, stiffness = softening.min(axis=1), at.profile.stiffness
    ones = np.ones_like(u)
    _add_rows(h, function, x, at, keep, ones, np.where(mixed, 0.0, alike**2 * stiffness + soft))
    if mixed.any():
        _add_rows(h, function, x, at, keep, u, np.where(mixed, stiffness, 0.0))
        _add_rows(h, function, x, at, keep, has.astype(float), np.where(mixed, soft, 0.0))


def _add_process(
    h: FloatArray,
    function: Objective,
    x: FloatArray,
    at: Expansion,
    p: int,
    place: IntArray,
    softening: FloatArray,
) -> None:
    """Add what the second derivatives of one process contribute, and the softening (B,) by betas of its own."""
    factor = float(function.rates(x)[p].prod())
    rows = _rows(function, x, at, p, factor, place)
    slope, shape, scale = at.slope[rows.bins, p], at.shape[rows.bins, p], at.scale[rows.bins, p]
    soft, columns = softening[rows.bins], rows.columns
    if columns.size:
        add_product(h, columns, rows.log, slope * factor * shape + soft * (factor * shape) ** 2)
        h[columns, columns] += rows.curl
        if rows.event is not None:
            weight = (slope + soft * factor * shape) * factor * scale
            cross = rows.log.T @ (weight[:, None] * rows.event)
            h[np.ix_(columns, columns)] += cross + cross.T
            add_product(h, columns, rows.event, soft * (factor * scale) ** 2)
    rates = [int(j) for j in function.model.rates[p] if j >= 0 and place[j] >= 0]
    slopes = function.factor_slopes(x)[p]
    for j in rates:
        pull = slopes[j] * (slope + soft * factor * shape)
        mixed = (pull * shape) @ rows.log
        if rows.event is not None:
            mixed += (pull * scale) @ rows.event
        h[place[j], columns] += mixed
        h[columns, place[j]] += mixed
        for i in rates:
            h[place[i], place[j]] += slopes[i] * slopes[j] * float(softening @ at.shape[:, p] ** 2)
            if i != j:
                others = [r for r in function.model.rates[p] if r >= 0 and r not in (i, j)]
                h[place[i], place[j]] += float(np.prod(x[others])) * float(at.slope[:, p] @ at.shape[:, p])


def _rows(function: Objective, x: FloatArray, at: Expansion, p: int, factor: float, place: IntArray) -> Rows:
    """The derivatives of a process by the parameters kept; a view of its block if it has but one."""
    blocks = [block for block in function.model.effects.blocks() if block.process == p]
    none = np.zeros(0, dtype=np.int64)
    columns = np.unique(np.concatenate([none, *(block.columns for block in blocks)]))
    columns = columns[place[columns] >= 0]
    if len(blocks) == 1 and blocks[0].columns.size == columns.size and not (blocks[0].eta.size or blocks[0].additive):
        (block,) = blocks
        bins = slice(None) if block.bins.size == at.nu.size else block.bins
        return Rows(place[columns], bins, block.kappa, None, np.zeros(columns.size))
    log, curl = np.zeros((at.nu.size, columns.size)), np.zeros(columns.size)
    event = np.zeros_like(log) if any(block.additive for block in blocks) else None
    slope = factor * at.slope[:, p]
    for block in blocks:
        kept = place[block.columns] >= 0
        chosen = block.columns[kept]
        to = np.searchsorted(columns, chosen)
        rows = block.kappa if kept.all() else block.kappa[:, kept]
        if block.eta.size:
            eta = block.eta[:, kept]
            rows = rows + eta * bent_slope(x[chosen])
            pull = (slope * (at.scale[:, p] if block.additive else at.shape[:, p]))[block.bins]
            curl[to] += (pull @ eta) * bent_curvature(x[chosen])
        out = event if event is not None and block.additive else log
        out[np.ix_(block.bins, to)] += rows
    return Rows(place[columns], slice(None), log, event, curl)
