"""The function that is minimised, with its derivatives, for one model and one observation."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.likelihood import kernels
from mucal.likelihood.kernels import Bins, Position, Table
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation
from mucal.likelihood.simulation_kernels import Profile, profile_all
from mucal.likelihood.table import beta_centres, bin_of_beta, lay_out_bins, tabulate
from mucal.numerics.blocks.matrix import run

McStat = Literal["gamma", "normal", "none"]
McStatPer = Literal["bin", "process"]
PARTS: Final = 16
BINS_OF_A_PART: Final = 64
"""The bins are summed in up to 16 parts of at least 64, whatever the number of threads: the same bytes with any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything at one point that steps, errors and impacts need.

    nu        : (B,)    expected events, before beta
    slope     : (B, P)  derivative of -ln L by the expected events of each process
    expected  : (B,)    the second derivative by nu that is expected
    profile   :         of the factors of the finite simulation
    scale     : (B, P)  exponential of the log-ratios
    shape     : (B, P)  expected events without the rates
    jacobian  : (B, S)  derivatives of nu
    """

    nu: FloatArray
    slope: FloatArray
    expected: FloatArray
    profile: Profile
    scale: FloatArray
    shape: FloatArray
    jacobian: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """-ln L of a model given an observation."""

    model: Model
    observation: Observation
    table: Table
    bins: Bins
    n_threads: int

    def observe(self, observation: Observation) -> "Objective":
        """The same model with other data."""
        bins = self.bins._replace(n=observation.counts, b0=beta_centres(self.table, self.bins, observation))
        return replace(self, observation=observation, bins=bins)

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """-ln L, infinite outside its domain, and its derivatives (S,)."""
        at = self._position(x)
        edges = self._edges()
        parts = run(
            lambda i: kernels.value_and_gradient(self.table, at, self.bins, edges[i], edges[i + 1]),
            len(edges) - 1,
            self.n_threads,
        )
        pull = x - self.observation.centre
        value = sum(part[0] for part in parts) + 0.5 * float(pull @ (self.model.precision * pull))
        gradient = self.model.precision * pull
        np.add.at(gradient, self.table.columns, sum(part[1] for part in parts))
        gradient += sum(part[2] for part in parts) @ self._factor_slopes(x)
        for term in self.model.external:
            index = self.model.index(term.parameters)
            bent_by = term.hessian @ x[index]
            value += float(x[index] @ (term.gradient + 0.5 * bent_by))
            gradient[index] += term.gradient + bent_by
        return value, gradient

    def expand(self, x: FloatArray) -> Expansion:
        """The expected events and their derivatives, and those of -ln L by them."""
        at, edges, model = self._position(x), self._edges(), self.model
        scale, shape = np.zeros_like(model.nominal), np.zeros_like(model.nominal)
        run(
            lambda i: kernels.shapes(self.table, at, edges[i], edges[i + 1], scale, shape),
            len(edges) - 1,
            self.n_threads,
        )
        profile = self._profile(shape * at.factor)
        nu = shape @ at.factor
        return Expansion(
            nu=nu,
            slope=profile.pull[:, None] * self.of_cells(profile.beta, 1.0),
            expected=1.0 / (nu + self.of_bins(profile.nu**2 / self.bins.k)),
            profile=profile,
            scale=scale,
            shape=shape,
            jacobian=self._jacobian(x, scale, shape, np.ones_like(shape)),
        )

    def hessian(self, x: FloatArray, at: Expansion, fixed_beta: bool = False) -> FloatArray:
        """The exact second derivatives (S, S), with beta at its minimum everywhere or fixed where it is."""
        model, profile = self.model, at.profile
        h = np.diag(model.precision)
        for term in model.external:
            index = model.index(term.parameters)
            h[np.ix_(index, index)] += term.hessian
        by_process = np.zeros_like(at.shape)
        if fixed_beta:
            weight = self.observation.counts / profile.events**2
            self._add_rows(h, x, at, self.of_cells(profile.beta, 1.0), weight)
        else:
            moving = self.moving(at)
            softening = -self.of_cells(profile.give, 0.0) * profile.pull[:, None] ** 2
            if self._is_shared():
                self._add_shared(h, x, at, moving, softening)
            else:
                self._add_rows(h, x, at, moving, profile.stiffness)
                by_process = softening
        factor = self._position(x).factor
        for p in range(len(model.processes)):
            self._add_process(h, x, at, p, float(factor[p]), by_process[:, p])
        return h

    def along(self, x: FloatArray, at: Expansion, direction: FloatArray) -> FloatArray:
        """(B, P) change of the expected events of each process along a direction (S,)."""
        position = self._position(x)
        by = np.zeros((2, *at.shape.shape))
        kernels.along(self.table, position, direction[self.table.columns], by)
        change: FloatArray = (at.shape * by[0] + at.scale * by[1]) * position.factor
        return change + at.shape * (self._factor_slopes(x) @ direction)

    def moving(self, at: Expansion) -> FloatArray:
        """(B, P) u: by how much m_b follows the expected events of a process at given pull t."""
        p = at.profile
        return self.of_cells(p.beta - p.nu * p.pull[bin_of_beta(self.bins)] * p.give, 1.0)

    def rows(self, x: FloatArray, at: Expansion, weight: FloatArray) -> FloatArray:
        """(B, S) sum over processes of weight (B, P) times the derivatives of their expected events."""
        if np.all(weight == 1.0):
            return at.jacobian
        return self._jacobian(x, at.scale, at.shape, weight)

    def of_cells(self, of_betas: FloatArray, otherwise: float) -> FloatArray:
        """(B, P) what belongs to the beta of each cell, from (betas,)."""
        out = np.full(self.model.nominal.shape, otherwise)
        bins = np.repeat(np.arange(self.model.n_bins), np.diff(self.table.cell_offsets))
        has = self.bins.beta_of >= 0
        out[bins[has], self.table.process[has]] = of_betas[self.bins.beta_of[has]]
        return out

    def of_betas(self, of_cells: FloatArray) -> FloatArray:
        """(betas,) sums over the cells (B, P) that each beta multiplies."""
        bins = np.repeat(np.arange(self.model.n_bins), np.diff(self.table.cell_offsets))
        has = self.bins.beta_of >= 0
        values = of_cells[bins[has], self.table.process[has]]
        sums: FloatArray = np.bincount(self.bins.beta_of[has], values, self.bins.k.size).astype(float)
        return sums

    def of_bins(self, of_betas: FloatArray, otherwise: float = 0.0) -> FloatArray:
        """(B,) sums over the betas of each bin, or `otherwise` where it has none."""
        own = bin_of_beta(self.bins)
        has = np.bincount(own, minlength=self.model.n_bins) > 0
        return np.where(has, np.bincount(own, of_betas, self.model.n_bins), otherwise)

    def _is_shared(self) -> bool:
        """One beta a bin at most."""
        return bool(np.all(np.diff(self.bins.beta_offsets) <= 1))

    def _profile(self, events: FloatArray) -> Profile:
        table, bins = self.table, self.bins
        where = (table.cell_offsets, table.process, bins.n, bins.beta_offsets, bins.beta_of)
        return profile_all(events, *where, bins.k, bins.b0, bins.kind)

    def _jacobian(self, x: FloatArray, scale: FloatArray, shape: FloatArray, weight: FloatArray) -> FloatArray:
        """(B, S) sum over processes of weight (B, P) times the derivatives of their expected events."""
        at, edges = self._position(x), self._edges()
        out = np.zeros((self.model.n_bins, x.size))
        by_log, by_event = weight * shape * at.factor, weight * scale * at.factor
        run(
            lambda i: kernels.jacobian(self.table, at, by_log, by_event, edges[i], edges[i + 1], out),
            len(edges) - 1,
            self.n_threads,
        )
        rates = np.unique(self.model.rates[self.model.rates >= 0])
        out[:, rates] += (weight * shape) @ self._factor_slopes(x)[:, rates]
        return out

    def _add_rows(self, h: FloatArray, x: FloatArray, at: Expansion, of_cell: FloatArray, weight: FloatArray) -> None:
        """Add J^T weight J with J the derivatives of the sum over processes of of_cell (B, P) times their events."""
        j = self.rows(x, at, of_cell)
        h += j.T @ (weight[:, None] * j)

    def _add_shared(self, h: FloatArray, x: FloatArray, at: Expansion, u: FloatArray, softening: FloatArray) -> None:
        """Add the curvature of bins with one beta: one row a bin if it multiplies all processes there, else two."""
        there = at.shape != 0
        has = there & (self.of_cells(np.ones(self.bins.k.size), 0.0) > 0)
        mixed = has.any(axis=1) & (has != there).any(axis=1)
        alike = np.where(has, u, 0.0).max(axis=1, where=has, initial=-np.inf)
        alike = np.where(has.any(axis=1), alike, 1.0)
        soft = softening.min(axis=1)
        stiffness = at.profile.stiffness
        self._add_rows(h, x, at, np.ones_like(u), np.where(mixed, 0.0, alike**2 * stiffness + soft))
        if mixed.any():
            self._add_rows(h, x, at, u, np.where(mixed, stiffness, 0.0))
            self._add_rows(h, x, at, has.astype(float), np.where(mixed, soft, 0.0))

    def _add_process(
        self, h: FloatArray, x: FloatArray, at: Expansion, p: int, factor: float, softening: FloatArray
    ) -> None:
        """Add what the second derivatives of one process contribute, and the softening (B,) by betas of its own."""
        columns, log, event, curl = self._effects_of(x, at, p, factor)
        slope, shape, scale = at.slope[:, p], at.shape[:, p], at.scale[:, p]
        rates = [int(j) for j in self.model.rates[p] if j >= 0]
        slopes = self._factor_slopes(x)[p]
        if columns.size:
            weight = slope * factor * shape + softening * (factor * shape) ** 2
            second = log.T @ (weight[:, None] * log)
            if event is not None:
                cross = log.T @ ((slope + softening * factor * shape)[:, None] * factor * scale[:, None] * event)
                second += cross + cross.T
                second += event.T @ ((softening * (factor * scale) ** 2)[:, None] * event)
            second[np.diag_indices_from(second)] += curl
            h[np.ix_(columns, columns)] += second
        for j in rates:
            pull = slopes[j] * (slope + softening * factor * shape)
            mixed = (pull * shape) @ log
            if event is not None:
                mixed += (pull * scale) @ event
            h[j, columns] += mixed
            h[columns, j] += mixed
            for i in rates:
                h[i, j] += slopes[i] * slopes[j] * float(softening @ shape**2)
                if i != j:
                    others = [r for r in rates if r not in (i, j)]
                    h[i, j] += float(np.prod(x[others])) * float(slope @ shape)

    def _effects_of(
        self, x: FloatArray, at: Expansion, p: int, factor: float
    ) -> tuple[IntArray, FloatArray, FloatArray | None, FloatArray]:
        """Columns (C,) of a process; derivatives (B, C) of its log-ratios and, if any, events added; its curls (C,)."""
        blocks = [block for block in self.model.effects.blocks() if block.process == p]
        none = np.zeros(0, dtype=np.int64)
        columns = np.unique(np.concatenate([none, *(block.columns for block in blocks)]))
        log, curl = np.zeros((self.model.n_bins, columns.size)), np.zeros(columns.size)
        event = np.zeros_like(log) if any(block.additive for block in blocks) else None
        slope = factor * at.slope[:, p]
        for block in blocks:
            to = np.searchsorted(columns, block.columns)
            rows = block.kappa
            if block.eta.size:
                rows = rows + block.eta * bent_slope(x[block.columns])
                pull = (slope * (at.scale[:, p] if block.additive else at.shape[:, p]))[block.bins]
                curl[to] += (pull @ block.eta) * bent_curvature(x[block.columns])
            out = log if event is None or not block.additive else event
            out[np.ix_(block.bins, to)] += rows
        return columns, log, event, curl

    def _position(self, x: FloatArray) -> Position:
        packed = x[self.table.columns]
        return Position(x=packed, bent=bent(packed), slope=bent_slope(packed), factor=self.rates(x).prod(axis=1))

    def rates(self, x: FloatArray) -> FloatArray:
        """(P, R) value of every rate, 1 for none."""
        return np.append(x, 1.0)[self.model.rates]

    def _factor_slopes(self, x: FloatArray) -> FloatArray:
        """(P, S) derivatives of the products of the rates."""
        out, values = np.zeros((len(self.model.processes), x.size)), self.rates(x)
        for r in range(values.shape[1]):
            has = np.flatnonzero(self.model.rates[:, r] >= 0)
            out[has, self.model.rates[has, r]] += np.delete(values, r, axis=1).prod(axis=1)[has]
        return out

    def _edges(self) -> list[int]:
        n = min(PARTS, -(-self.model.n_bins // BINS_OF_A_PART))
        return [i * self.model.n_bins // n for i in range(n + 1)]


def objective(
    model: Model, observation: Observation, mc_stat: McStat, n_threads: int = 1, per: McStatPer = "bin"
) -> Objective:
    """-ln L of a model given an observation, with one factor of the finite simulation for each bin or each process."""
    table = tabulate(model)
    bins = lay_out_bins(model, table, observation, mc_stat, per)
    return Objective(model=model, observation=observation, table=table, bins=bins, n_threads=n_threads)


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
