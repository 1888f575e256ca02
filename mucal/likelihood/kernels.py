"""One pass over the effects: the row of a bin is read from memory once, for the yields and for their derivatives."""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray

EXACT: Final = 0  # values of MC_STAT in `bins`
GAMMA: Final = 1
NORMAL: Final = 2


class Table(NamedTuple):
    """Where everything about a bin stands.  A cell is a bin of a process that is there; a segment its row in a block.

    cell_offsets             : (B+1,)  cells of each bin
    process, nominal         : (cells,)
    segment_offsets          : (cells+1,)
    kappa_at, eta_at         : (segments,)  first number of the row; eta_at is -1 if it is symmetric
    packed_at, length        : (segments,)  the columns of the row in arrays packed block by block
    kappa, eta               : log-ratios
    columns                  : (packed,)    parameter of each packed place
    rate                     : (P,)         parameter that multiplies a process, or -1
    """

    cell_offsets: IntArray
    process: IntArray
    nominal: FloatArray
    segment_offsets: IntArray
    kappa_at: IntArray
    eta_at: IntArray
    packed_at: IntArray
    length: IntArray
    kappa: FloatArray
    eta: FloatArray
    columns: IntArray
    rate: IntArray


class Position(NamedTuple):
    """A point x, packed as the blocks want it.

    x      : (packed,)
    bent   : (packed,)  x alpha(x)
    slope  : (packed,)  its derivative
    factor : (P,)       rate of each process
    """

    x: FloatArray
    bent: FloatArray
    slope: FloatArray
    factor: FloatArray


class Bins(NamedTuple):
    """What was observed: counts n, effective events k (infinite: exact), centres b0 of beta, all (B,)."""

    n: FloatArray
    k: FloatArray
    b0: FloatArray


@njit(cache=True, nogil=True, error_model="numpy")
def profiled(nu: float, n: float, k: float, b0: float, kind: int) -> tuple[float, float, float, float, float]:
    """-ln L of one bin minimal over beta, beta, and by nu the derivative, the second, and what to expect of that."""
    beta, bend, penalty, expected = 1.0, 0.0, 0.0, 1.0 / nu
    if kind != EXACT and k < np.inf:
        expected = k / (nu * (nu + k))
        if kind == GAMMA:
            beta = (n + k * b0) / (nu + k)
            bend = -beta / (nu + k)
            penalty = k * b0 * excess(beta / b0)
        else:
            b = nu - k * b0
            root = math.sqrt(b * b + 4.0 * k * n)
            beta = (root - b) / (2.0 * k) if b < 0 else 2.0 * n / (root + b)
            bend = -beta / root if root > 0 else -1.0 / k
            penalty = 0.5 * k * (beta - b0) ** 2
    mean = beta * nu
    value = penalty + (mean if n == 0 else n * excess(mean / n))
    return value, beta, beta - n / nu, n / (nu * nu) + bend, expected


@njit(cache=True, nogil=True, error_model="numpy")
def excess(ratio: float) -> float:
    """t - 1 - ln t, without cancellation near 1."""
    d = ratio - 1.0
    if abs(d) < 1e-2:
        return d * d * (0.5 + d * (-1.0 / 3 + d * (0.25 + d * (-0.2 + d * (1.0 / 6 - d / 7 + d * d / 8)))))
    return d - math.log(ratio)


@njit(cache=True, nogil=True, error_model="numpy")
def exponent(table: Table, at: Position, cell: int) -> float:
    """Sum over parameters of kappa x + eta x alpha(x) for one cell."""
    total = 0.0
    for s in range(table.segment_offsets[cell], table.segment_offsets[cell + 1]):
        k, p, size = table.kappa_at[s], table.packed_at[s], table.length[s]
        total += np.dot(table.kappa[k : k + size], at.x[p : p + size])
        if table.eta_at[s] >= 0:
            e = table.eta_at[s]
            total += np.dot(table.eta[e : e + size], at.bent[p : p + size])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def add_row(table: Table, at: Position, cell: int, weight: float, out: FloatArray) -> None:
    """weight times the derivatives of the exponent, added to a packed array."""
    for s in range(table.segment_offsets[cell], table.segment_offsets[cell + 1]):
        k, p, size = table.kappa_at[s], table.packed_at[s], table.length[s]
        row, to = table.kappa[k : k + size], out[p : p + size]
        for i in range(size):
            to[i] += weight * row[i]
        if table.eta_at[s] >= 0:
            e = table.eta_at[s]
            row, slope = table.eta[e : e + size], at.slope[p : p + size]
            for i in range(size):
                to[i] += weight * row[i] * slope[i]


@njit(cache=True, nogil=True, error_model="numpy")
def value_and_gradient(
    table: Table, at: Position, bins: Bins, kind: int, first: int, last: int
) -> tuple[float, FloatArray, FloatArray]:
    """Of bins first to last: -ln L, its derivatives by packed parameters and by the factors of the processes (P,)."""
    value = 0.0
    by_packed, by_factor = np.zeros(at.x.size), np.zeros(at.factor.size)
    shape = np.empty(at.factor.size)
    for b in range(first, last):
        start, stop = table.cell_offsets[b], table.cell_offsets[b + 1]
        nu = 0.0
        for cell in range(start, stop):
            shape[cell - start] = table.nominal[cell] * math.exp(exponent(table, at, cell))
            nu += at.factor[table.process[cell]] * shape[cell - start]
        if not (nu > 0 and nu < np.inf):
            return np.inf, by_packed, by_factor
        here, _, slope, _, _ = profiled(nu, bins.n[b], bins.k[b], bins.b0[b], kind)
        value += here
        for cell in range(start, stop):
            p = table.process[cell]
            by_factor[p] += slope * shape[cell - start]
            add_row(table, at, cell, slope * at.factor[p] * shape[cell - start], by_packed)
    return value, by_packed, by_factor


@njit(cache=True, nogil=True, error_model="numpy")
def shapes(table: Table, at: Position, n_processes: int, first: int, last: int, out: FloatArray) -> None:
    """Expected events without the factors, into out (B, P)."""
    for b in range(first, last):
        for cell in range(table.cell_offsets[b], table.cell_offsets[b + 1]):
            out[b, table.process[cell]] = table.nominal[cell] * math.exp(exponent(table, at, cell))


@njit(cache=True, nogil=True, error_model="numpy")
def jacobian(table: Table, at: Position, shape: FloatArray, first: int, last: int, out: FloatArray) -> None:
    """Derivatives of the expected events of bins first to last by all parameters, into out (B, S)."""
    packed = np.zeros(at.x.size)
    for b in range(first, last):
        packed[:] = 0.0
        for cell in range(table.cell_offsets[b], table.cell_offsets[b + 1]):
            p = table.process[cell]
            add_row(table, at, cell, at.factor[p] * shape[b, p], packed)
            if table.rate[p] >= 0:
                out[b, table.rate[p]] += shape[b, p]
        for i in range(packed.size):
            out[b, table.columns[i]] += packed[i]


@njit(cache=True, nogil=True, error_model="numpy")
def profile_all(nu: FloatArray, bins: Bins, kind: int) -> FloatArray:
    """The five numbers of `profiled` for every bin: (5, B)."""
    out = np.empty((5, nu.size))
    for b in range(nu.size):
        out[0, b], out[1, b], out[2, b], out[3, b], out[4, b] = profiled(nu[b], bins.n[b], bins.k[b], bins.b0[b], kind)
    return out
