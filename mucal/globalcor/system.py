"""The linear system of a solve: whitened with the priors, without frozen parameters, inside the constraints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import StatusEnum
from mucal.globalcor.constraints import Constraint, Measurement, Subspace, eliminate, rows_of
from mucal.globalcor.normal_equations import NormalEquations, PartialSum
from mucal.globalcor.registry import Registry
from mucal.numerics.blocks import SymmetricBlocks


class ParameterStatus(StatusEnum):
    """Whether a parameter was fitted; every member carries a sentence."""

    FREE = 0, "fitted"
    NO_INFORMATION = 1, "no candidate says anything of it"
    FEW_ENTRIES = 2, "fewer candidates than asked for"
    FIXED = 3, "held fixed on request"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A y = b for y = (theta - applied) / scale of the F free parameters, with C y = d.

    A = S H S + diag(ridge) + M^T M, rows of frozen parameters and unused rows left out.

    registry :
    total    :         the sums
    matrix   :         H without the kept factors, in the rows of the registry's slots
    free     : (P,)    which parameters are free
    status   : (P,)    `ParameterStatus`
    scale    : (F,)
    ridge    : (F,)    2 (scale / prior)^2
    rows     : (R, F)  of measurements, times sqrt(2) scale / sigma
    b        : (F,)
    inside   :         the space that exact constraints leave
    """

    registry: Registry
    total: PartialSum
    matrix: SymmetricBlocks
    free: BoolArray
    status: IntArray
    scale: FloatArray
    ridge: FloatArray
    rows: FloatArray
    b: FloatArray
    inside: Subspace

    @property
    def n(self) -> int:
        """F."""
        return int(self.scale.size)

    @property
    def slot(self) -> IntArray:
        """(F,) row of each free parameter in the matrix"""
        return self.registry.slot[self.free]

    def product(self, y: FloatArray, n_threads: int = 1) -> FloatArray:
        """A y, without constraints: (F,) or (F, m)."""
        scale, ridge = (self.scale, self.ridge) if y.ndim == 1 else (self.scale[:, None], self.ridge[:, None])
        whole = np.zeros((self.matrix.n, *y.shape[1:]))
        whole[self.slot] = scale * y
        image = self.matrix.product(whole, n_threads=n_threads)
        if len(self.total.kept):
            image += self.total.kept.product(whole.reshape(whole.shape[0], -1), n_threads=n_threads).reshape(
                image.shape
            )
        result: FloatArray = scale * image[self.slot] + ridge * y
        if self.rows.size:
            result += self.rows.T @ (self.rows @ y)
        return result

    def inner(self, y: FloatArray, n_threads: int = 1) -> FloatArray:
        """A y projected into the constraints; y is inside them."""
        if self.inside.normal.shape[1] == 0:
            return self.product(y, n_threads)
        return self.inside.project(self.product(y, n_threads))

    @property
    def right(self) -> FloatArray:
        """(F,) the right-hand side of the solve inside the constraints, for y - start"""
        start = self.inside.start
        return self.inside.project(self.b - self.product(start) if np.any(start) else self.b)

    @property
    def names(self) -> list[str]:
        """F names."""
        return [self.registry.names[i] for i in np.flatnonzero(self.free)]


def build_system(
    equations: NormalEquations, registry: Registry, *, applied: FloatArray, fixed: BoolArray, min_entries: int | None,
    prior_on_step: bool, constraints: Sequence[Constraint], measurements: Sequence[Measurement],
) -> System:  # fmt: skip
    """The system of a solve; its arguments are those of `solve`."""
    total = equations.total()
    whole = replace(equations, partials=(total,))  # merged once
    matrix, diagonal = whole.matrix(), whole.diagonal()
    outside = rows_of(measurements, len(registry))
    needed = registry.min_entries if min_entries is None else np.full(len(registry), min_entries)
    status = np.zeros(len(registry), dtype=np.int64)
    status[total.entries < needed] = ParameterStatus.FEW_ENTRIES
    status[~(diagonal > 0)] = ParameterStatus.NO_INFORMATION
    status[np.any(outside != 0, axis=0)] = ParameterStatus.FREE  # a measurement is information
    status[fixed] = ParameterStatus.FIXED
    free = status == ParameterStatus.FREE
    scale = whitening(registry.prior, diagonal, outside, measurements)[free]
    # infinite priors add nothing
    precision = np.where(np.isfinite(registry.prior), 1.0 / registry.prior**2, 0.0)
    ridge = 2.0 * scale**2 * precision[free]
    weight = np.array([np.sqrt(2.0) / m.sigma for m in measurements])
    rows = weight[:, None] * outside[:, free] * scale
    gradient = total.gradient + total.lost
    b = -scale * gradient[free]
    if not prior_on_step:
        b -= 2.0 * scale * (precision * applied)[free]
    if measurements:
        missing = np.array([m.value for m in measurements]) - outside @ applied
        b += rows.T @ (weight * missing)
    dense = rows_of(constraints, len(registry))
    targets = np.array([c.value for c in constraints]) - dense @ applied
    inside = eliminate(dense[:, free] * scale, targets, [c.name for c in constraints])
    return System(
        registry=registry, total=total, matrix=matrix, free=free, status=status, scale=scale, ridge=ridge, rows=rows,
        b=b, inside=inside,
    )  # fmt: skip


def whitening(
    prior: FloatArray, diagonal: FloatArray, rows: FloatArray, measurements: Sequence[Measurement]
) -> FloatArray:
    """(P,) the unit of each parameter: its prior width; without one, its error if nothing else floated."""
    information = diagonal.copy()
    for row, m in zip(rows, measurements, strict=True):
        information += 2.0 * (row / m.sigma) ** 2
    alone = np.sqrt(2.0 / np.where(information > 0, information, 2.0))
    result: FloatArray = np.where(np.isfinite(prior), prior, alone)
    return result
