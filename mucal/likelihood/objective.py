"""The function that is minimised, with its derivatives, for one model and one observation."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.likelihood.interpolation import bent, bent_slope
from mucal.likelihood.kernels import Bins, Position, Table
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation
from mucal.likelihood.passes import Backend, Passes, passes_of
from mucal.likelihood.simulation_kernels import Profile
from mucal.likelihood.table import beta_centres, bin_of_beta, lay_out_bins, tabulate
from mucal.numerics.threads import run

McStat = Literal["gamma", "normal", "none"]
McStatPer = Literal["bin", "process"]
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
    passes: Passes

    def observe(self, observation: Observation) -> "Objective":
        """The same model with other data."""
        observation = _with_frozen_centres(self.model, observation)
        bins = self.bins._replace(n=observation.counts, b0=beta_centres(self.table, self.bins, observation))
        return replace(self, observation=observation, bins=bins)

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """-ln L, infinite outside its domain, and its derivatives (S,)."""
        at = self._position(x)
        edges = self._edges()
        parts = run(
            lambda i: self.passes.value_and_gradient(self.table, at, self.bins, edges[i], edges[i + 1]),
            len(edges) - 1,
            self.n_threads,
        )
        pull = x - self.observation.centre
        value = sum(part[0] for part in parts) + 0.5 * float(pull @ (self.model.precision * pull))
        gradient = self.model.precision * pull
        np.add.at(gradient, self.table.columns, sum(part[1] for part in parts))
        gradient += sum(part[2] for part in parts) @ self.factor_slopes(x)
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
            lambda i: self.passes.shapes(self.table, at, edges[i], edges[i + 1], scale, shape),
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

    def along(self, x: FloatArray, at: Expansion, direction: FloatArray) -> FloatArray:
        """(B, P) change of the expected events of each process along a direction (S,)."""
        position = self._position(x)
        by = np.zeros((2, *at.shape.shape))
        self.passes.along(self.table, position, direction[self.table.columns], by)
        change: FloatArray = (at.shape * by[0] + at.scale * by[1]) * position.factor
        return change + at.shape * (self.factor_slopes(x) @ direction)

    def moving(self, at: Expansion) -> FloatArray:
        """(B, P) u: by how much m_b follows the expected events of a process at given pull t."""
        p = at.profile
        return self.of_cells(p.beta - p.nu * p.pull[bin_of_beta(self.bins)] * p.give, 1.0)

    def rows(self, x: FloatArray, at: Expansion, weight: FloatArray) -> FloatArray:
        """(B, S) sum over processes of weight (B, P) times the derivatives of their expected events."""
        alike = self.alike(weight)
        if alike is None:
            return self._jacobian(x, at.scale, at.shape, weight)
        return at.jacobian if np.all(alike == 1.0) else alike[:, None] * at.jacobian

    def there(self) -> BoolArray:
        """(B, P) where a process is"""
        mask = np.zeros(self.model.nominal.shape, dtype=bool)
        mask[self._bin_of_cell(), self.table.process] = True
        return mask

    def alike(self, weight: FloatArray) -> FloatArray | None:
        """(B,) the weight (B, P) of every process of a bin, if they all have the same."""
        there = self.there()
        low, high = (f(weight, axis=1, where=there, initial=i) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
        return np.where(there.any(axis=1), high, 1.0) if np.all(low >= high) else None

    def of_cells(self, of_betas: FloatArray, otherwise: float) -> FloatArray:
        """(B, P) what belongs to the beta of each cell, from (betas,)."""
        out = np.full(self.model.nominal.shape, otherwise)
        bins = self._bin_of_cell()
        has = self.bins.beta_of >= 0
        out[bins[has], self.table.process[has]] = of_betas[self.bins.beta_of[has]]
        return out

    def of_betas(self, of_cells: FloatArray) -> FloatArray:
        """(betas,) sums over the cells (B, P) that each beta multiplies."""
        bins = self._bin_of_cell()
        has = self.bins.beta_of >= 0
        values = of_cells[bins[has], self.table.process[has]]
        sums: FloatArray = np.bincount(self.bins.beta_of[has], values, self.bins.k.size).astype(float)
        return sums

    def of_bins(self, of_betas: FloatArray, otherwise: float = 0.0) -> FloatArray:
        """(B,) sums over the betas of each bin, or `otherwise` where it has none."""
        own = bin_of_beta(self.bins)
        has = np.bincount(own, minlength=self.model.n_bins) > 0
        return np.where(has, np.bincount(own, of_betas, self.model.n_bins), otherwise)

    def shares_beta(self) -> bool:
        """One beta a bin at most."""
        return bool(np.all(np.diff(self.bins.beta_offsets) <= 1))

    def _profile(self, events: FloatArray) -> Profile:
        table, bins = self.table, self.bins
        where = (table.cell_offsets, table.process, bins.n, bins.beta_offsets, bins.beta_of)
        found: Profile = self.passes.profile_all(events, *where, bins.k, bins.b0, bins.kind)
        return found

    def _jacobian(self, x: FloatArray, scale: FloatArray, shape: FloatArray, weight: FloatArray) -> FloatArray:
        """(B, S) sum over processes of weight (B, P) times the derivatives of their expected events."""
        at, edges = self._position(x), self._edges()
        out = np.zeros((self.model.n_bins, x.size))
        by_log, by_event = weight * shape * at.factor, weight * scale * at.factor
        run(
            lambda i: self.passes.jacobian(self.table, at, by_log, by_event, edges[i], edges[i + 1], out),
            len(edges) - 1,
            self.n_threads,
        )
        rates = np.unique(self.model.rates[self.model.rates >= 0])
        out[:, rates] += (weight * shape) @ self.factor_slopes(x)[:, rates]
        return out

    def _position(self, x: FloatArray) -> Position:
        packed = x[self.table.columns]
        return Position(x=packed, bent=bent(packed), slope=bent_slope(packed), factor=self.rates(x).prod(axis=1))

    def rates(self, x: FloatArray) -> FloatArray:
        """(P, R) value of every rate, 1 for none."""
        return np.append(x, 1.0)[self.model.rates]

    def factor_slopes(self, x: FloatArray) -> FloatArray:
        """(P, S) derivatives of the products of the rates."""
        out, values = np.zeros((len(self.model.processes), x.size)), self.rates(x)
        for r in range(values.shape[1]):
            has = np.flatnonzero(self.model.rates[:, r] >= 0)
            out[has, self.model.rates[has, r]] += np.delete(values, r, axis=1).prod(axis=1)[has]
        return out

    def _bin_of_cell(self) -> IntArray:
        return np.repeat(np.arange(self.model.n_bins), np.diff(self.table.cell_offsets))

    def _edges(self) -> list[int]:
        n = min(self.passes.n_parts, -(-self.model.n_bins // BINS_OF_A_PART))
        return [i * self.model.n_bins // n for i in range(n + 1)]


def objective(
    model: Model,
    observation: Observation,
    mc_stat: McStat,
    n_threads: int = 1,
    per: McStatPer = "bin",
    backend: Backend = "auto",
) -> Objective:
    """-ln L of a model given an observation, with one factor of the finite simulation for each bin or each process."""
    observation = _with_frozen_centres(model, observation)
    table = tabulate(model)
    bins = lay_out_bins(model, table, observation, mc_stat, per)
    passes = passes_of(backend, table, len(model.processes))
    return Objective(
        model=model, observation=observation, table=table, bins=bins, n_threads=n_threads, passes=passes
    )  # fmt: skip


def _with_frozen_centres(model: Model, observation: Observation) -> Observation:
    """What the model freezes is known: no measured centre of it, as that of a toy, counts."""
    if not model.frozen:
        return observation
    return replace(observation, centre=np.where(model.is_free, observation.centre, model.centre))
