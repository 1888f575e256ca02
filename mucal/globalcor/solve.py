"""One solve for all parameters: the method chosen by size and structure, the result certified or refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Protocol

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import InputError, NotCertified
from mucal.globalcor.constraints import Constraint, Measurement
from mucal.globalcor.corrections import GlobalCorrections
from mucal.globalcor.dense import DenseFactor, dense_factor
from mucal.globalcor.iterative import (
    IterativeSolver,
    conditional_errors,
    detector_parts,
    iterative_solver,
    share_of_blocks,
    sparse_factor,
)
from mucal.globalcor.normal_equations import NormalEquations
from mucal.globalcor.registry import Registry
from mucal.globalcor.system import System, build_system
from mucal.store import Provenance

METHODS: Final = ("auto", "dense", "sparse", "iterative")


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveConfig:
    """How the system is solved.

    method          :  auto, dense, sparse or iterative
    dense_limit     :  largest number of free parameters that `auto` solves densely
    sparse_share    :  beyond that, share of blocks below which `auto` takes a sparse factor, if there are neither
                       constraints nor measurements; the two tracks of pairs fill the factor (18 GB at a share of 2 %)
    fixed           :  patterns of names held fixed, as "eloss/*"
    min_entries     :  instead of those of the registry
    prior_on_step   :  the priors damp the step and do not pull the total back: what pede's pre-sigma does
    covariance      :  keep the whole covariance of a dense solve
    errors          :  patterns of names whose errors an iterative or sparse solve computes, one solve each
    n_replicas      :  deviates of a dense solve
    jackknife       :  errors from the scatter of the parts of the sample
    tolerance       :  of an iterative solve, in the A-norm
    error_tolerance :  of the iterative solves for errors and probes; a variance is good to about its square
    residual        :  largest |b - A y| / |b| of a certified solution
    most_iterations :
    n_threads       :
    """

    method: str = "auto"
    dense_limit: int = 20_000
    sparse_share: float = 1e-3
    fixed: tuple[str, ...] = ()
    min_entries: int | None = None
    prior_on_step: bool = False
    covariance: bool = True
    errors: tuple[str, ...] = ()
    n_replicas: int = 0
    jackknife: bool = False
    tolerance: float = 1e-8
    error_tolerance: float = 1e-4
    residual: float = 1e-5
    most_iterations: int = 5000
    n_threads: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"no method {self.method!r}; there are {', '.join(METHODS)}")


class Solver(Protocol):
    """Anything that solves the system inside its constraints."""

    def solve(self, right: FloatArray) -> FloatArray:
        """(F,) or (F, m)."""


def solve(
    equations: NormalEquations,
    registry: Registry,
    config: SolveConfig = SolveConfig(),
    *,
    applied: FloatArray | None = None,
    constraints: Sequence[Constraint] = (),
    measurements: Sequence[Measurement] = (),
    templates: FloatArray | None = None,
    probes: FloatArray | None = None,
    seed: int | None = None,
) -> GlobalCorrections:
    """The total corrections that minimise the summed chi2 with priors, constraints and measurements.

    applied   : (P,)    corrections that were applied in the refit; the gradients are those at this point
    templates : (P, k)  weak modes that help an iterative solve, see `weak_modes`
    probes    : (m, P)  linear functions J whose covariance J C J^T is wanted
    seed      :         of the replicas

    Raises InputError for sums of another registry or bad constraints, NotCertified for a solution not to be trusted.
    Source: docs/physics/globalcor.md.
    """
    if equations.digest != registry.digest:
        raise InputError(
            f"the sums are of registry {equations.digest[:16]}, this one is {registry.digest[:16]}",
            kind="input.different_maps",
            do="use the registry that the sums were made with",
        )
    if config.method in ("dense", "sparse") or (config.method == "auto" and len(registry) <= config.dense_limit):
        equations = equations.expanded()
    applied = np.zeros(len(registry)) if applied is None else np.asarray(applied, dtype=np.float64)
    system = build_system(
        equations, registry, applied=applied, fixed=matching(registry, config.fixed), min_entries=config.min_entries,
        prior_on_step=config.prior_on_step, constraints=constraints, measurements=measurements,
    )  # fmt: skip
    if not system.n:
        raise NotCertified(f"none of {len(registry)} parameters has enough information", kind="globalcor.empty")
    method, solver = choose(system, config, templates)
    y = system.inside.start + solver.solve(system.right)
    residual = certify(system, y, config)
    step = np.zeros(len(registry))
    step[system.free] = system.scale * y
    found = _uncertainties(system, solver, config, probes, seed)
    return GlobalCorrections(
        registry=registry, theta=applied + step, step=step, status=system.status, **found,
        jackknife=_jackknife(system, solver, config), chi2_drop=float(system.b @ y - 0.5 * y @ system.product(y)),
        chi2=system.total.chi2, ndof=system.total.ndof, n_candidates=equations.ledger.used,
        method=method, residual=residual,
        iterations=solver.log[0].iterations if isinstance(solver, IterativeSolver) else 0,
        provenance=Provenance(
            configuration={**equations.provenance.configuration, "method": method, "fixed": list(config.fixed)},
            seed=seed, inputs=equations.provenance.inputs, ledgers={"accumulate": equations.ledger},
        ),
    )  # fmt: skip


def matching(registry: Registry, patterns: Sequence[str]) -> BoolArray:
    """(P,) the names that match any pattern.  Raises ValueError for a pattern that matches none."""
    chosen = np.zeros(len(registry), dtype=bool)
    for pattern in patterns:
        found = np.array([fnmatchcase(name, pattern) for name in registry.names], dtype=bool)
        if not found.any():
            raise ValueError(f"no parameter matches {pattern!r}; names look like {registry.names[0]!r}")
        chosen |= found
    return chosen


def choose(system: System, config: SolveConfig, templates: FloatArray | None) -> tuple[str, Solver]:
    """The method for a system, and its solver."""
    kept = len(system.total.kept) > 0
    plain = system.inside.normal.shape[1] == 0 and system.rows.shape[0] == 0
    method = config.method
    if method == "auto" and kept:
        method = "iterative"
    if method == "auto":
        if plain and system.n > config.dense_limit and share_of_blocks(system) < config.sparse_share:
            method = "sparse"
        else:
            method = "dense" if system.n <= config.dense_limit else "iterative"
    if method == "dense":
        return method, dense_factor(system)
    if method == "sparse":
        if not plain:
            raise ValueError("a sparse factor takes neither constraints nor measurements; use dense or iterative")
        return method, sparse_factor(system)
    none = np.zeros((len(system.registry), 0))
    return method, iterative_solver(
        system, parts=detector_parts(system), templates=none if templates is None else templates,
        tolerance=config.tolerance, most=config.most_iterations, n_threads=config.n_threads,
    )  # fmt: skip


def certify(system: System, y: FloatArray, config: SolveConfig) -> float:
    """|b - A y| / |b| inside the constraints.  Raises NotCertified if y is not finite or this is too large."""
    if not np.all(np.isfinite(y)):
        raise NotCertified("the solution is not finite", kind="globalcor.nonfinite")
    left = system.inside.project(system.b - system.product(y, config.n_threads))
    size = float(np.linalg.norm(system.b))
    residual = float(np.linalg.norm(left)) / size if size > 0 else 0.0
    if residual > config.residual:
        raise NotCertified(
            f"the solution leaves {residual:.2g} of the right-hand side, at most {config.residual:.2g} is allowed",
            kind="globalcor.residual",
            do="look at the parameters without a prior: the system is too nearly singular",
        )
    return residual


def _uncertainties(
    system: System, solver: Solver, config: SolveConfig, probes: FloatArray | None, seed: int | None
) -> dict[str, FloatArray]:
    """Errors, covariance, replicas and the covariance of the probes."""
    registry = system.registry
    if isinstance(solver, IterativeSolver):
        solver = replace(solver, tolerance=config.error_tolerance)
    p = len(registry)
    error = np.where(np.isfinite(registry.prior), registry.prior, np.nan)
    error[system.free] = np.nan
    conditional = np.full(p, np.nan)
    conditional[system.free] = system.scale * conditional_errors(system)
    covariance, replicas = np.zeros((0, 0)), np.zeros((0, p))
    if isinstance(solver, DenseFactor) and config.covariance:
        covariance = solver.covariance()
        covariance *= system.scale
        covariance *= system.scale[:, None]
        error[system.free] = np.sqrt(np.diag(covariance))
    else:
        wanted = matching(registry, config.errors) & system.free
        error[wanted] = _selected_errors(system, solver, wanted)
    if isinstance(solver, DenseFactor) and config.n_replicas:
        normal = np.random.default_rng(seed).normal(size=(system.n, config.n_replicas))
        replicas = np.zeros((config.n_replicas, p))
        replicas[:, system.free] = (system.scale[:, None] * solver.draw(normal)).T
    propagated = np.zeros((0, 0)) if probes is None else propagate(system, solver, probes)
    return {
        "error": error, "conditional": conditional, "covariance": covariance, "factor": np.zeros((p, 0)),
        "replicas": replicas, "probes": propagated,
    }  # fmt: skip


AT_ONCE: Final = 32
"""Right-hand sides solved together."""


def _selected_errors(system: System, solver: Solver, wanted: BoolArray) -> FloatArray:
    """(w,) errors of some free parameters, one right-hand side each."""
    rows: IntArray = np.flatnonzero(wanted[system.free])
    errors = np.empty(rows.size)
    for at in range(0, rows.size, AT_ONCE):
        some = rows[at : at + AT_ONCE]
        unit = np.zeros((system.n, some.size))
        unit[some, np.arange(some.size)] = 1.0
        x = solver.solve(unit)
        errors[at : at + some.size] = system.scale[some] * np.sqrt(2.0 * x[some, np.arange(some.size)])
    return errors


def propagate(system: System, solver: Solver, probes: FloatArray) -> FloatArray:
    """J C J^T of linear functions of the free parameters: (m, P) -> (m, m)."""
    white = (probes[:, system.free] * system.scale).T
    x = np.concatenate(
        [solver.solve(np.ascontiguousarray(white[:, at : at + AT_ONCE])) for at in range(0, white.shape[1], AT_ONCE)],
        axis=1,
    )
    covariance: FloatArray = 2.0 * white.T @ x
    return 0.5 * (covariance + covariance.T)


def _jackknife(system: System, solver: Solver, config: SolveConfig) -> FloatArray:
    """(P,) errors from the scatter of the gradients of J parts, to first order in the step.

    Leaving out part j moves the solution by A^-1 (g_j - g/J) J/(J-1) in whitened units; the variance is (J-1)/J times
    the sum of the squares.  It holds where the parts' gradients are those at the solution: at the last outer iteration.
    """
    error = np.full(len(system.registry), np.nan)
    parts = system.total.jackknife[np.any(system.total.jackknife != 0, axis=1)]
    if not config.jackknife or parts.shape[0] < 2:
        return error
    j = parts.shape[0]
    deviations = (parts - parts.mean(axis=0))[:, system.free] * system.scale
    moved = solver.solve(system.inside.project(np.ascontiguousarray(deviations.T))) * (j / (j - 1))
    error[system.free] = system.scale * np.sqrt((j - 1) / j * np.sum(moved**2, axis=1))
    return error
