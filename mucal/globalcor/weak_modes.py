"""The softest directions of a solve: which they are, how well they are known, and what they do to momenta."""

import warnings
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.errors import InputError, NotCertified
from mucal.globalcor.corrections import GlobalCorrections
from mucal.globalcor.derivatives import ReferenceDerivatives, relative_curvature
from mucal.globalcor.iterative import IterativeSolver
from mucal.globalcor.normal_equations import NormalEquations
from mucal.globalcor.registry import Registry
from mucal.globalcor.solve import AT_ONCE, SolveConfig, Solver, choose, matching
from mucal.globalcor.system import System, build_system
from mucal.globalcor.templates import Templates
from mucal.store import Result

PRIOR_ONLY: Final = 2.0
"""Eigenvalue, in the whitened metric, of a direction of which only priors speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakModes(Result):
    """The k softest eigenmodes of the prior-whitened system, and how the templates fare in it.

    digest      :        of the registry
    eigenvalues : (k,)   increasing; a direction of which only priors speak has 2
    modes       : (P, k) one standard deviation along each mode, in the units of the parameters
    accuracy    : (k,)   |A v - lambda v| / lambda of the computed modes
    templates   : T names
    overlaps    : (k, T) cosine between mode and template in the whitened metric
    explained   : (T,)   length of the part of each template that the k modes span
    alone       : (T,)   error of the template's amplitude if nothing else floated, priors left out: sqrt(2 / v.H v)
    error       : (T,)   error of its amplitude with everything else floating
    prior_error : (T,)   that error before any track: from the priors alone, inf without priors
    leading     : k      the three largest parameters of each mode
    """

    digest: str
    eigenvalues: FloatArray
    modes: FloatArray
    accuracy: FloatArray
    templates: tuple[str, ...]
    overlaps: FloatArray
    explained: FloatArray
    alone: FloatArray
    error: FloatArray
    prior_error: FloatArray
    leading: tuple[str, ...]

    def __post_init__(self) -> None:
        k, t = self.eigenvalues.size, len(self.templates)
        check_shapes(self, modes=(self.modes.shape[0], k), accuracy=(k,), overlaps=(k, t), explained=(t,), alone=(t,))
        check_shapes(self, error=(t,), prior_error=(t,))

    @property
    def prior_share(self) -> FloatArray:
        """(k,) part of each mode's information that comes from priors: 1 where no track speaks"""
        share: FloatArray = np.minimum(1.0, PRIOR_ONLY / self.eigenvalues)
        return share

    def names(self) -> list[str]:
        """What each mode is mostly like: the template of the largest overlap, or its leading parameters."""
        found = []
        for i in range(self.eigenvalues.size):
            best = int(np.argmax(np.abs(self.overlaps[i]))) if self.templates else -1
            alike = best >= 0 and abs(self.overlaps[i, best]) > 0.5
            found.append(self.templates[best] if alike else self.leading[i])
        return found


def weak_modes(
    equations: NormalEquations, registry: Registry, patterns: Templates, n_modes: int = 50,
    config: SolveConfig | None = None, *, seed: int = 1,
) -> WeakModes:  # fmt: skip
    """The softest modes of a system with the priors of its registry, and the fate of the templates.

    patterns : see `templates.templates`
    n_modes  : k
    seed     : of the start vectors

    Raises InputError for sums or templates of another registry, NotCertified if the modes do not converge.
    """
    if not equations.digest == registry.digest == patterns.digest:
        raise InputError("sums, registry and templates are not of the same parameters", kind="input.different_maps")
    config = config or SolveConfig()
    if config.method != "iterative" and len(registry) <= config.dense_limit:
        equations = equations.expanded()
    system = build_system(
        equations, registry, applied=np.zeros(len(registry)), fixed=matching(registry, config.fixed),
        min_entries=config.min_entries, prior_on_step=False, constraints=(), measurements=(),
    )  # fmt: skip
    _, solver = choose(system, config, patterns.vectors)
    white = patterns.vectors[system.free] / system.scale[:, None]
    used = np.linalg.norm(white, axis=0) > 0
    white = white[:, used]
    values, vectors = soft_modes(system, solver, min(n_modes, system.n - 1), white, seed)
    length = np.linalg.norm(white, axis=0)
    unit = white / length
    overlaps = vectors.T @ unit
    accuracy = np.linalg.norm(system.product(vectors) - vectors * values, axis=0) / values
    modes = np.zeros((len(registry), values.size))
    modes[system.free] = system.scale[:, None] * vectors * np.sqrt(2.0 / values)
    information = np.einsum("ft,ft->t", white, system.product(white) - system.ridge[:, None] * white)
    x = np.concatenate([solver.solve(np.ascontiguousarray(unit[:, i : i + AT_ONCE])) for i in _starts(unit)], axis=1)
    with np.errstate(divide="ignore"):
        alone = np.sqrt(2.0 / np.maximum(information, 0.0))
        prior_only = np.sqrt(2.0 / np.einsum("ft,f,ft->t", white, system.ridge, white))
    return WeakModes(
        digest=registry.map.digest, eigenvalues=values, modes=modes, accuracy=accuracy,
        templates=tuple(n for n, u in zip(patterns.names, used, strict=True) if u), overlaps=overlaps,
        explained=np.linalg.norm(overlaps, axis=0), alone=alone,
        error=np.sqrt(2.0 * np.einsum("ft,ft->t", unit, x)) / length, prior_error=prior_only,
        leading=_leading(system, vectors),
    )  # fmt: skip


def _starts(columns: FloatArray) -> range:
    return range(0, columns.shape[1], AT_ONCE)


def soft_modes(system: System, solver: Solver, k: int, start: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """The k smallest eigenvalues of A and their eigenvectors (F, k), each with its largest component positive.

    With a direct solver Lanczos iterations on A^-1; with an iterative one preconditioned block iterations on A, from
    the templates and random vectors.
    """
    rng = np.random.default_rng(seed)
    if isinstance(solver, IterativeSolver):
        values, vectors = _by_blocks(system, solver, k, start, rng)
    else:
        inverse = LinearOperator((system.n, system.n), matvec=solver.solve, dtype=np.float64)
        found, vectors = eigsh(inverse, k, which="LM", v0=rng.normal(size=system.n))
        values = 1.0 / found
    order = np.argsort(values)
    values, vectors = values[order], vectors[:, order]
    largest = np.argmax(np.abs(vectors), axis=0)
    return values, vectors * np.sign(vectors[largest, np.arange(values.size)])


MORE: Final = 8
"""Vectors iterated beyond those wanted: the last ones converge slowly."""

BLOCK_ITERATIONS: Final = 200
ACCURATE: Final = 1e-3


def _by_blocks(
    system: System, solver: IterativeSolver, k: int, start: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    n = k + MORE
    first = np.concatenate([start[:, :n], rng.normal(size=(system.n, max(0, n - start.shape[1])))], axis=1)

    def precondition(r: FloatArray) -> FloatArray:
        whole = np.zeros((system.matrix.n, r.shape[1]))
        whole[system.slot] = r
        result: FloatArray = solver.precondition(whole)[system.slot]
        return result

    shape = (system.n, system.n)
    a = LinearOperator(
        shape, matvec=system.product, matmat=lambda x: system.product(x, solver.n_threads), dtype=np.float64
    )
    m = LinearOperator(
        shape, matvec=lambda r: precondition(r.reshape(-1, 1))[:, 0], matmat=precondition, dtype=np.float64
    )
    with warnings.catch_warnings():  # it warns when it stops early; the accuracy is checked below
        warnings.simplefilter("ignore")
        found = lobpcg(a, first, M=m, tol=ACCURATE, maxiter=BLOCK_ITERATIONS, largest=False)
    order = np.argsort(found[0])[:k]
    values: FloatArray = np.asarray(found[0], dtype=np.float64)[order]
    vectors: FloatArray = np.asarray(found[1], dtype=np.float64)[:, order]
    accuracy = np.linalg.norm(system.product(vectors) - vectors * values, axis=0) / values
    if not np.all(accuracy < 0.1):
        raise NotCertified(
            f"{int(np.sum(~(accuracy < 0.1)))} of {k} soft modes did not converge, worst {accuracy.max():.2g}",
            kind="globalcor.modes",
            do="ask for fewer modes",
        )
    return values, vectors


def _leading(system: System, vectors: FloatArray) -> tuple[str, ...]:
    names = system.names
    order = np.argsort(-np.abs(vectors), axis=0)[:3]
    return tuple(", ".join(f"{vectors[i, k]:+.2f} {names[i]}" for i in order[:, k]) for k in range(vectors.shape[1]))


def with_factor(corrections: GlobalCorrections, modes: WeakModes) -> GlobalCorrections:
    """The corrections with the soft modes as a low-rank factor of their covariance."""
    if corrections.digest != modes.digest:
        raise InputError("these modes are of another registry", kind="input.different_maps")
    return replace(corrections, factor=modes.modes)


# ------------------------------------------------------------------------------------------------ bias of momenta


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTracks(Result):
    """N tracks on which biases are looked at, and their derivatives.

    pt, eta, phi, charge : (N,)  GeV, -, rad, e
    derivatives          :       J_ref
    """

    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: FloatArray
    derivatives: ReferenceDerivatives

    def __post_init__(self) -> None:
        n = self.derivatives.n_tracks
        check_shapes(self, pt=(n,), eta=(n,), phi=(n,), charge=(n,))


def induced_bias(vectors: FloatArray, probes: ProbeTracks) -> FloatArray:
    """delta k / k that patterns of the parameters give to tracks: (P, k) -> (N, k)."""
    qop = probes.charge / (probes.pt * np.cosh(probes.eta))
    moved = probes.derivatives.shift(vectors)
    return relative_curvature(moved, qop, np.arctan(np.sinh(probes.eta)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasMap(Result):
    """Mean delta k / k of k patterns in bins of eta, phi, charge and pt; NaN where there is no probe.

    names                         : k
    eta_edges, phi_edges, pt_edges :                    -, rad, GeV
    bias                          : (k, E, F, 2, T)     the charges are -1, +1
    count                         : (E, F, 2, T)        probes
    """

    names: tuple[str, ...]
    eta_edges: FloatArray
    phi_edges: FloatArray
    pt_edges: FloatArray
    bias: FloatArray
    count: IntArray


def bias_map(
    names: tuple[str, ...], vectors: FloatArray, probes: ProbeTracks, *, eta_edges: FloatArray, phi_edges: FloatArray,
    pt_edges: FloatArray,
) -> BiasMap:  # fmt: skip
    """Means of `induced_bias` in bins; tracks outside all bins are left out."""
    for name, edges in (("eta_edges", eta_edges), ("phi_edges", phi_edges), ("pt_edges", pt_edges)):
        check_edges(name, edges)
    bias = induced_bias(vectors, probes)
    shape = (eta_edges.size - 1, phi_edges.size - 1, 2, pt_edges.size - 1)
    axes = [
        np.searchsorted(edges, x, side="right") - 1
        for edges, x in ((eta_edges, probes.eta), (phi_edges, probes.phi), (pt_edges, probes.pt))
    ]
    at = [axes[0], axes[1], (probes.charge > 0).astype(np.int64), axes[2]]
    inside = np.all([(a >= 0) & (a < n) for a, n in zip(at, shape, strict=True)], axis=0)
    cell = np.ravel_multi_index([a[inside] for a in at], shape)
    count = np.bincount(cell, minlength=int(np.prod(shape)))
    sums = [np.bincount(cell, weights=column, minlength=count.size) for column in bias[inside].T]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.stack(sums) / count
    return BiasMap(
        names=names, eta_edges=eta_edges, phi_edges=phi_edges, pt_edges=pt_edges,
        bias=mean.reshape(-1, *shape), count=count.reshape(shape),
    )  # fmt: skip
