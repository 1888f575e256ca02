"""One pass over the effects: the row of a bin is read from memory once, for the yields and for their derivatives."""

from typing import Final, NamedTuple

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.likelihood.simulation_kernels import profiled

CHUNK: Final = 1024
"""Columns whose derivatives are summed over the cells of a bin before the next ones: 8 kB."""


class Table(NamedTuple):
    """Where everything about a bin stands.  A cell is a bin of a process that is there; a segment its row in a block.

    cell_offsets             : (B+1,)  cells of each bin
    process, nominal         : (cells,)
    segment_offsets          : (cells+1,)
    kappa_at, eta_at         : (segments,)  first number of the row; eta_at is -1 if it is symmetric
    packed_at, length        : (segments,)  the columns of the row in arrays packed block by block
    additive                 : (segments,)  the row adds events
    kappa, eta               : log-ratios or events
    columns                  : (packed,)    parameter of each packed place
    """

    cell_offsets: IntArray
    process: IntArray
    nominal: FloatArray
    segment_offsets: IntArray
    kappa_at: IntArray
    eta_at: IntArray
    packed_at: IntArray
    length: IntArray
    additive: BoolArray
    kappa: FloatArray
    eta: FloatArray
    columns: IntArray


class Position(NamedTuple):
    """A point x, packed as the blocks want it.

    x      : (packed,)
    bent   : (packed,)  x alpha(x)
    slope  : (packed,)  its derivative
    factor : (P,)       product of the rates of each process
    """

    x: FloatArray
    bent: FloatArray
    slope: FloatArray
    factor: FloatArray


class Bins(NamedTuple):
    """What was observed, and the finite simulation.

    n            : (B,)    counts
    beta_offsets : (B+1,)  betas of each bin
    beta_of      : (cells,)  beta that multiplies each cell, or -1
    k, b0        : (betas,)  effective events; centre
    kind         :         constraint of beta: GAMMA or NORMAL
    """

    n: FloatArray
    beta_offsets: IntArray
    beta_of: IntArray
    k: FloatArray
    b0: FloatArray
    kind: int


def exponent(table: Table, at: Position, cell: int) -> tuple[float, float]:
    """Sum over parameters of kappa x + eta x alpha(x) for one cell: of log-ratios, and of events added."""
    total, added = 0.0, 0.0
    for s in range(table.segment_offsets[cell], table.segment_offsets[cell + 1]):
        k, p, size = table.kappa_at[s], table.packed_at[s], table.length[s]
        here = np.dot(table.kappa[k : k + size], at.x[p : p + size])
        if table.eta_at[s] >= 0:
            e = table.eta_at[s]
            here += np.dot(table.eta[e : e + size], at.bent[p : p + size])
        if table.additive[s]:
            added += here
        else:
            total += here
    return total, added


def add_row(table: Table, at: Position, cell: int, by_log: float, by_event: float, out: FloatArray) -> None:
    """The derivatives of the exponent times by_log and of the events added times by_event, added to a packed array."""
    for s in range(table.segment_offsets[cell], table.segment_offsets[cell + 1]):
        k, p, size = table.kappa_at[s], table.packed_at[s], table.length[s]
        weight = by_event if table.additive[s] else by_log
        row, to = table.kappa[k : k + size], out[p : p + size]
        for i in range(size):
            to[i] += weight * row[i]
        if table.eta_at[s] >= 0:
            e = table.eta_at[s]
            row, slope = table.eta[e : e + size], at.slope[p : p + size]
            for i in range(size):
                to[i] += weight * row[i] * slope[i]


def add_rows(
    table: Table, at: Position, start: int, stop: int, by_log: FloatArray, by_event: FloatArray, out: FloatArray
) -> None:
    """`add_row` for the cells of a bin.  Where they are alike, a few columns at a time: those of `out` stay in L1."""
    if not alike(table, start, stop):
        for cell in range(start, stop):
            add_row(table, at, cell, by_log[cell - start], by_event[cell - start], out)
        return
    s = table.segment_offsets[start]
    p, size = table.packed_at[s], table.length[s]
    for first in range(0, size, CHUNK):
        last = min(first + CHUNK, size)
        to = out[p + first : p + last]
        for cell in range(start, stop):
            k, weight = table.kappa_at[table.segment_offsets[cell]], by_log[cell - start]
            row = table.kappa[k + first : k + last]
            for i in range(row.size):
                to[i] += weight * row[i]


def alike(table: Table, start: int, stop: int) -> bool:
    """Every cell has one row of symmetric log-ratios, and all have the same columns."""
    first = table.segment_offsets[start]
    for cell in range(start, stop):
        s = table.segment_offsets[cell]
        if table.segment_offsets[cell + 1] != s + 1 or table.eta_at[s] >= 0 or table.additive[s]:
            return False
        if table.packed_at[s] != table.packed_at[first]:
            return False
    return True


def value_and_gradient(
    table: Table, at: Position, bins: Bins, first: int, last: int
) -> tuple[float, FloatArray, FloatArray]:
    """Of bins first to last: -ln L, its derivatives by packed parameters and by the factors of the processes (P,)."""
    value = 0.0
    by_packed, by_factor = np.zeros(at.x.size), np.zeros(at.factor.size)
    scale, shape = np.empty(at.factor.size), np.empty(at.factor.size)
    nu, beta, give = np.empty(at.factor.size), np.empty(at.factor.size), np.empty(at.factor.size)
    for b in range(first, last):
        start, stop = table.cell_offsets[b], table.cell_offsets[b + 1]
        g, size = bins.beta_offsets[b], bins.beta_offsets[b + 1] - bins.beta_offsets[b]
        nu[:size] = 0.0
        rest = 0.0
        for cell in range(start, stop):
            i = cell - start
            log, added = exponent(table, at, cell)
            scale[i] = np.exp(log)
            shape[i] = scale[i] * (table.nominal[cell] + added)
            events = at.factor[table.process[cell]] * shape[i]
            if bins.beta_of[cell] >= 0:
                nu[bins.beta_of[cell] - g] += events
            else:
                rest += events
        k, b0 = bins.k[g : g + size], bins.b0[g : g + size]
        here, pull, _, _ = profiled(nu[:size], rest, bins.n[b], k, b0, bins.kind, beta, give)
        if not here < np.inf:
            return np.inf, by_packed, by_factor
        value += here
        for cell in range(start, stop):
            i = cell - start
            slope = pull * beta[bins.beta_of[cell] - g] if bins.beta_of[cell] >= 0 else pull
            by_factor[table.process[cell]] += slope * shape[i]
            slope *= at.factor[table.process[cell]]
            scale[i] *= slope
            shape[i] *= slope
        add_rows(table, at, start, stop, shape, scale, by_packed)
    return value, by_packed, by_factor


def shapes(table: Table, at: Position, first: int, last: int, scale: FloatArray, shape: FloatArray) -> None:
    """Exponentials and expected events without the factors, into arrays (B, P)."""
    for b in range(first, last):
        for cell in range(table.cell_offsets[b], table.cell_offsets[b + 1]):
            log, added = exponent(table, at, cell)
            scale[b, table.process[cell]] = np.exp(log)
            shape[b, table.process[cell]] = np.exp(log) * (table.nominal[cell] + added)


def jacobian(
    table: Table, at: Position, by_log: FloatArray, by_event: FloatArray, first: int, last: int, out: FloatArray
) -> None:
    """Derivatives of the exponents times by_log (B, P) and of events added times by_event, added to out (B, S)."""
    packed = np.zeros(at.x.size)
    for b in range(first, last):
        packed[:] = 0.0
        for cell in range(table.cell_offsets[b], table.cell_offsets[b + 1]):
            p = table.process[cell]
            add_row(table, at, cell, by_log[b, p], by_event[b, p], packed)
        for i in range(packed.size):
            out[b, table.columns[i]] += packed[i]


def along(table: Table, at: Position, direction: FloatArray, out: FloatArray) -> None:
    """Derivatives of exponents and events added along a packed direction, into out (2, B, P)."""
    for b in range(table.cell_offsets.size - 1):
        for cell in range(table.cell_offsets[b], table.cell_offsets[b + 1]):
            for s in range(table.segment_offsets[cell], table.segment_offsets[cell + 1]):
                k, p, size = table.kappa_at[s], table.packed_at[s], table.length[s]
                here = np.dot(table.kappa[k : k + size], direction[p : p + size])
                if table.eta_at[s] >= 0:
                    row = table.eta[table.eta_at[s] : table.eta_at[s] + size]
                    for i in range(size):
                        here += row[i] * at.slope[p + i] * direction[p + i]
                out[1 if table.additive[s] else 0, b, table.process[cell]] += here
