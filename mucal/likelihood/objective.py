"""The function that is minimised, with its derivatives, for one model and one observation."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.likelihood import kernels
from mucal.likelihood.kernels import Bins, Position, Table
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation
from mucal.numerics.blocks.matrix import run

McStat = Literal["gamma", "normal", "none"]
KIND: Final = {"none": kernels.EXACT, "gamma": kernels.GAMMA, "normal": kernels.NORMAL}
PARTS: Final = 16
"""Parts in which the bins are summed, whatever the number of threads: the same bytes with any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything at one point that steps, errors and impacts need.

    nu                : (B,)    expected events, before beta
    beta              : (B,)    the factors of the finite simulation at their minimum
    slope, bend       : (B,)    first and second derivative of -ln L by nu
    expected          : (B,)    the second derivative that is expected
    shape             : (B, P)  expected events without the rates
    jacobian          : (B, S)  derivatives of nu
    """

    nu: FloatArray
    beta: FloatArray
    slope: FloatArray
    bend: FloatArray
    expected: FloatArray
    shape: FloatArray
    jacobian: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """-ln L of a model given an observation."""

    model: Model
    observation: Observation
    table: Table
    bins: Bins
    kind: int
    n_threads: int

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """-ln L, infinite outside its domain, and its derivatives (S,)."""
        at = self._position(x)
        edges = self._edges()
        parts = run(
            lambda i: kernels.value_and_gradient(self.table, at, self.bins, self.kind, edges[i], edges[i + 1]),
            PARTS,
            self.n_threads,
        )
        pull = x - self.observation.centre
        value = sum(part[0] for part in parts) + 0.5 * float(pull @ (self.model.precision * pull))
        gradient = self.model.precision * pull
        np.add.at(gradient, self.table.columns, sum(part[1] for part in parts))
        rated = self.model.rate >= 0
        np.add.at(gradient, self.model.rate[rated], sum(part[2] for part in parts)[rated])
        return value, gradient

    def expand(self, x: FloatArray) -> Expansion:
        """The expected events and their derivatives, and those of -ln L by them."""
        at, edges, model = self._position(x), self._edges(), self.model
        shape, jacobian = np.zeros_like(model.nominal), np.zeros((model.n_bins, x.size))

        def part(i: int) -> None:
            first, last = edges[i], edges[i + 1]
            kernels.shapes(self.table, at, len(model.processes), first, last, shape)
            kernels.jacobian(self.table, at, shape, first, last, jacobian)

        run(part, PARTS, self.n_threads)
        nu = shape @ at.factor
        _, beta, slope, bend, expected = kernels.profile_all(nu, self.bins, self.kind)
        return Expansion(nu=nu, beta=beta, slope=slope, bend=bend, expected=expected, shape=shape, jacobian=jacobian)

    def hessian(self, x: FloatArray, at: Expansion, bend: FloatArray | None = None) -> FloatArray:
        """The exact second derivatives (S, S); with `bend` = n / nu^2 those at fixed beta."""
        j = at.jacobian
        weight = at.bend if bend is None else bend
        h: FloatArray = j.T @ (weight[:, None] * j)
        h[np.diag_indices_from(h)] += self.model.precision
        factor = self._position(x).factor
        for p in range(len(self.model.processes)):
            self._add_process(h, x, p, at.slope * at.shape[:, p], float(factor[p]))
        return h

    def _add_process(self, h: FloatArray, x: FloatArray, p: int, pull: FloatArray, factor: float) -> None:
        """Add what the second derivatives of one process contribute; pull (B,) is slope times shape."""
        blocks = [block for block in self.model.effects.blocks() if block.process == p]
        if not blocks:
            return
        columns = np.unique(np.concatenate([block.columns for block in blocks]))
        k = np.zeros((self.model.n_bins, columns.size))
        curl = np.zeros(columns.size)
        for block in blocks:
            to = np.searchsorted(columns, block.columns)
            rows = block.kappa
            if block.eta.size:
                rows = rows + block.eta * bent_slope(x[block.columns])
                curl[to] += (pull[block.bins] @ block.eta) * bent_curvature(x[block.columns])
            k[np.ix_(block.bins, to)] += rows
        second = factor * (k.T @ (pull[:, None] * k))
        second[np.diag_indices_from(second)] += factor * curl
        h[np.ix_(columns, columns)] += second
        if self.model.rate[p] >= 0:
            mixed = pull @ k
            h[self.model.rate[p], columns] += mixed
            h[columns, self.model.rate[p]] += mixed

    def _position(self, x: FloatArray) -> Position:
        packed = x[self.table.columns]
        rate = self.model.rate
        return Position(
            x=packed,
            bent=bent(packed),
            slope=bent_slope(packed),
            factor=np.where(rate >= 0, x[rate] if x.size else 1.0, 1.0),
        )

    def _edges(self) -> list[int]:
        return [i * self.model.n_bins // PARTS for i in range(PARTS + 1)]


def objective(model: Model, observation: Observation, mc_stat: McStat, n_threads: int = 1) -> Objective:
    """-ln L of a model given an observation."""
    k = model.effective_events
    return Objective(
        model=model,
        observation=observation,
        table=_table(model),
        bins=Bins(n=observation.counts, k=k, b0=observation.beta),
        kind=KIND[mc_stat],
        n_threads=n_threads,
    )


def bent(x: FloatArray) -> FloatArray:
    """x alpha(x): |x| outside (-1/2, 1/2) and a polynomial inside, with two continuous derivatives."""
    u = 2.0 * x
    result: FloatArray = np.where(_inside(x), 0.125 * x * u * (3 * u**4 - 10 * u**2 + 15), np.abs(x))
    return result


def bent_slope(x: FloatArray) -> FloatArray:
    """The derivative of x alpha(x)."""
    u = 2.0 * x
    alpha = 0.125 * u * (3 * u**4 - 10 * u**2 + 15)
    result: FloatArray = np.where(_inside(x), alpha + 3.75 * x * (u**2 - 1) ** 2, np.sign(x))
    return result


def bent_curvature(x: FloatArray) -> FloatArray:
    """The second derivative of x alpha(x)."""
    u = 2.0 * x
    result: FloatArray = np.where(_inside(x), 7.5 * (u**2 - 1) ** 2 + 30 * x * u * (u**2 - 1), 0.0)
    return result


def _inside(x: FloatArray) -> BoolArray:
    result: BoolArray = np.abs(x) < 0.5
    return result


def _table(model: Model) -> Table:
    """Cells bin by bin, and the rows of the blocks cell by cell."""
    bin_of, process = np.nonzero(model.nominal > 0)
    cell = np.full(model.nominal.shape, -1)
    cell[bin_of, process] = np.arange(bin_of.size)
    e = model.effects
    rows, width = np.diff(e.bin_offsets), np.diff(e.column_offsets)
    block = np.repeat(np.arange(rows.size), rows)
    row = np.arange(e.bins.size) - np.repeat(e.bin_offsets[:-1], rows)
    owner = cell[e.bins, e.process[block]]
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    block, row, owner = block[order], row[order], owner[order]
    eta_at = np.where(e.eta_offsets[block] >= 0, e.eta_offsets[block] + row * width[block], -1)
    return Table(
        cell_offsets=np.searchsorted(bin_of, np.arange(model.n_bins + 1)).astype(np.int64),
        process=process.astype(np.int64),
        nominal=np.ascontiguousarray(model.nominal[bin_of, process]),
        segment_offsets=np.searchsorted(owner, np.arange(bin_of.size + 1)).astype(np.int64),
        kappa_at=e.kappa_offsets[block] + row * width[block],
        eta_at=eta_at,
        packed_at=e.column_offsets[block],
        length=width[block],
        kappa=e.kappa,
        eta=e.eta,
        columns=e.columns,
        rate=model.rate,
    )
