"""The passes over the bins by JAX, on a GPU if JAX has one: the effects are sent there once for each model.

JAX is imported with this module; its global precision stays as the user set it, every call here asks for float64.
"""

from collections.abc import Callable
from typing import Any, Final

import jax
import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.likelihood import jax_kernels
from mucal.likelihood.jax_kernels import Factors, Grid, Loose, Rows
from mucal.likelihood.kernels import Bins, Position, Table
from mucal.likelihood.passes import Passes
from mucal.likelihood.simulation_kernels import GAMMA, Profile
from mucal.likelihood.table import bin_of_beta

MATRICES: Final = 8
"""The largest sets of rows on the same parameters are matrices, the others lie loose: compiling one matrix into one
function takes 0.15 s, 300 of them 43 s."""
SUMS: Final = jax.jit(jax_kernels.sums)
SHAPES: Final = jax.jit(jax_kernels.shapes)
VALUE_AND_GRADIENT: Final = jax.jit(jax_kernels.value_and_gradient, static_argnames="gamma")
JACOBIAN: Final = jax.jit(jax_kernels.jacobian, static_argnames="n_parameters")
PROFILE: Final = jax.jit(jax_kernels.profile, static_argnames="gamma")


def jax_passes(table: Table, n_processes: int) -> Passes:
    """Passes for this table alone, whose effects they keep on the device; they take all bins at once."""
    with jax.enable_x64(True):
        grid: Grid = jax.device_put(lay_out(table, n_processes))
    kept = _Kept(table, grid)
    return Passes(kept.value_and_gradient, kept.shapes, kept.jacobian, kept.along, kept.profile_all, n_parts=1)


class _Kept:
    """The functions of `kernels` for a model that lies on the device; the table they are handed is that model's."""

    def __init__(self, table: Table, grid: Grid) -> None:
        self.table, self.grid = table, grid

    def value_and_gradient(
        self, table: Table, at: Position, bins: Bins, first: int, last: int
    ) -> tuple[float, FloatArray, FloatArray]:
        factors = lay_out_factors(self.table, bins, self.grid.nominal.shape)[0]
        found = _double(VALUE_AND_GRADIENT, self.grid, *at, factors, gamma=bins.kind == GAMMA)
        return float(found[0]), found[1], found[2]

    def shapes(self, table: Table, at: Position, first: int, last: int, scale: FloatArray, shape: FloatArray) -> None:
        scale[:], shape[:] = _double(SHAPES, self.grid, at.x, at.bent)

    def jacobian(
        self, table: Table, at: Position, by_log: FloatArray, by_event: FloatArray, first: int, last: int,
        out: FloatArray,
    ) -> None:  # fmt: skip
        out += _double(JACOBIAN, self.grid, at.slope, by_log, by_event, n_parameters=out.shape[1])

    def along(self, table: Table, at: Position, direction: FloatArray, out: FloatArray) -> None:
        out += _double(SUMS, self.grid, direction, at.slope * direction)

    def profile_all(
        self, events: FloatArray, cell_offsets: IntArray, process: IntArray, n: FloatArray, beta_offsets: IntArray,
        beta_of: IntArray, k: FloatArray, b0: FloatArray, kind: int,
    ) -> Profile:  # fmt: skip
        bins = Bins(n=n, beta_offsets=beta_offsets, beta_of=beta_of, k=k, b0=b0, kind=kind)
        factors, own, slot = lay_out_factors(self.table, bins, events.shape)
        found = _double(PROFILE, events, factors, gamma=kind == GAMMA)
        return Profile(*found[:4], *(of_betas[own, slot] for of_betas in found[4:]))


def _double(function: Callable[..., Any], *arguments: object, **static: object) -> Any:
    """What a compiled function gives in float64, back on the host."""
    with jax.enable_x64(True):
        return jax.device_get(function(*arguments, **static))


def lay_out(table: Table, n_processes: int) -> Grid:
    """Effects and cells as the kernels want them; of numpy arrays, views where that can be."""
    n_bins = table.cell_offsets.size - 1
    bin_of = np.repeat(np.arange(n_bins), np.diff(table.cell_offsets))
    nominal, there = np.zeros((n_bins, n_processes)), np.zeros((n_bins, n_processes), dtype=bool)
    nominal[bin_of, table.process], there[bin_of, table.process] = table.nominal, True
    cell = np.repeat(np.arange(bin_of.size), np.diff(table.segment_offsets))
    bins, process, asymmetric = bin_of[cell], table.process[cell], table.eta_at >= 0
    sets = _sets_on_the_same_columns(table)
    sets.sort(key=lambda of: -of.size * int(table.length[of[0]]))
    rows = tuple(_matrix(table, of, bins[of], process[of]) for of in sets[:MATRICES])
    left = np.concatenate([np.zeros(0, dtype=np.int64), *sets[MATRICES:]])
    kinds = [of for of in (left[~asymmetric[left]], left[asymmetric[left]]) if of.size]
    loose = tuple(_loose(table, of, bins[of], process[of]) for of in kinds)
    return Grid(rows=rows, loose=loose, nominal=nominal, there=there)


def _sets_on_the_same_columns(table: Table) -> list[IntArray]:
    """Segments with the same columns, all of them symmetric or none, in the order of their numbers in memory."""
    if not table.kappa_at.size:
        return []
    keys = np.stack([table.packed_at, table.length, table.eta_at >= 0])
    _, which = np.unique(keys, axis=1, return_inverse=True)
    order = np.lexsort((table.kappa_at, which))
    return np.split(order, np.flatnonzero(np.diff(which[order])) + 1)


def _matrix(table: Table, of: IntArray, bins: IntArray, process: IntArray) -> Rows:
    """The segments `of`, which have the same columns."""
    start, length = int(table.packed_at[of[0]]), int(table.length[of[0]])
    symmetric = table.eta_at[of[0]] < 0
    return Rows(
        start=np.int64(start),
        columns=table.columns[start : start + length],
        kappa=_rectangle(table.kappa, table.kappa_at[of], length),
        eta=None if symmetric else _rectangle(table.eta, table.eta_at[of], length),
        additive=table.additive[of].astype(np.int64),
        bins=bins,
        process=process,
    )


def _loose(table: Table, of: IntArray, bins: IntArray, process: IntArray) -> Loose:
    """The segments `of`, number by number."""
    length = table.length[of]
    row = np.repeat(np.arange(of.size), length)
    along = np.arange(row.size) - np.repeat(np.cumsum(length) - length, length)
    place = table.packed_at[of][row] + along
    symmetric = table.eta_at[of[0]] < 0
    return Loose(
        row=row.astype(np.int32),
        place=place.astype(np.int32),
        columns=table.columns[place].astype(np.int32),
        kappa=table.kappa[table.kappa_at[of][row] + along],
        eta=None if symmetric else table.eta[table.eta_at[of][row] + along],
        additive=table.additive[of].astype(np.int64),
        bins=bins,
        process=process,
    )


def _rectangle(numbers: FloatArray, at: IntArray, length: int) -> FloatArray:
    """(R, C) rows of numbers that begin at `at` (R,): a view where each begins as the one before ends."""
    runs = np.split(at, np.flatnonzero(np.diff(at) != length) + 1)
    parts = [numbers[run[0] : run[-1] + length].reshape(-1, length) for run in runs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def lay_out_factors(table: Table, bins: Bins, shape: tuple[int, ...]) -> tuple[Factors, IntArray, IntArray]:
    """Betas on a grid (B, G) for a grid (B, P) of processes, and the bin and the place of each, (betas,)."""
    bin_of = np.repeat(np.arange(bins.n.size), np.diff(table.cell_offsets))
    cells = np.flatnonzero(bins.beta_of >= 0)
    has = np.zeros(shape, dtype=bool)
    has[bin_of[cells], table.process[cells]] = True
    own, slot, width = bin_of_beta(bins), np.zeros(bins.k.size, dtype=np.int64), 1
    if np.any(np.diff(bins.beta_offsets) > 1):
        slot[bins.beta_of[cells]], width = table.process[cells], shape[1]
    k, b0 = np.ones((bins.n.size, width)), np.ones((bins.n.size, width))
    k[own, slot], b0[own, slot] = bins.k, bins.b0
    return Factors(n=bins.n, has=has, k=k, b0=b0), own, slot
