"""What is known besides the tracks: exact linear constraints, and measurements from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import qr

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError

DEPENDENT: Final = 1e-9
"""A row that the others span to this part of its length says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """sum_i factor_i theta_i = value, exactly, for the total correction.

    index  : (k,)  parameters
    factor : (k,)
    """

    name: str
    index: IntArray
    factor: FloatArray
    value: float = 0.0

    def __post_init__(self) -> None:
        check_shapes(self, factor=(self.index.size,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Constraint):
    """sum_i factor_i theta_i = value +- sigma, as of a survey or a field probe."""

    sigma: float

    def __post_init__(self) -> None:
        check_shapes(self, factor=(self.index.size,))
        if not self.sigma > 0:
            raise InputError(f"the measurement {self.name!r} has sigma {self.sigma}", kind="input.measurement")


def rows_of(rows: Sequence[Constraint], n: int) -> FloatArray:
    """(R, n) dense rows.  Raises InputError for parameters that do not exist or numbers that are not finite."""
    dense = np.zeros((len(rows), n))
    for i, row in enumerate(rows):
        if row.index.size and not (row.index.min() >= 0 and row.index.max() < n):
            raise InputError(
                f"{row.name!r} names parameter {row.index.max()}; there are {n}", kind="input.unknown_parameter"
            )
        if not (np.all(np.isfinite(row.factor)) and np.isfinite(row.value)):
            raise InputError(f"{row.name!r} holds numbers that are not finite", kind="input.nonfinite")
        np.add.at(dense[i], row.index, row.factor)
    return dense


@dataclass(frozen=True, slots=True, kw_only=True)
class Subspace:
    """The solutions of C y = d: start + everything orthogonal to the columns of `normal`.

    normal : (n, c)  orthonormal
    start  : (n,)
    """

    normal: FloatArray
    start: FloatArray

    def project(self, x: FloatArray) -> FloatArray:
        """The part of x (n,) or (n, m) along the constraints."""
        result: FloatArray = x - self.normal @ (self.normal.T @ x)
        return result


def eliminate(rows: FloatArray, values: FloatArray, names: Sequence[str]) -> Subspace:
    """The space that exact constraints leave.

    rows   : (c, n)  of the free parameters, in units of their scale
    values : (c,)

    Raises InputError that names rows without a free parameter, or that repeat or contradict others.
    """
    length = np.linalg.norm(rows, axis=1)
    empty = np.flatnonzero(length == 0)
    if empty.size:
        raise InputError(
            f"the constraint {names[empty[0]]!r} holds no parameter that is free",
            kind="input.constraint",
            do="leave it out, or let one of its parameters float",
        )
    if rows.shape[0] == 0:
        return Subspace(normal=np.zeros((rows.shape[1], 0)), start=np.zeros(rows.shape[1]))
    unit, value = rows / length[:, None], values / length
    q, r, order = qr(unit.T, mode="economic", pivoting=True)
    rank = int(np.sum(np.abs(np.diag(r)) > DEPENDENT))
    if rank < rows.shape[0]:
        _refuse_dependent(unit, value, names, order[:rank], order[rank])
    coefficients = np.linalg.solve(r.T, value[order])
    return Subspace(normal=q, start=q @ coefficients)


def _refuse_dependent(unit: FloatArray, value: FloatArray, names: Sequence[str], kept: IntArray, row: int) -> None:
    """Raise InputError that names a row and the others that span it."""
    mix, *_ = np.linalg.lstsq(unit[kept].T, unit[row], rcond=None)
    others = [names[kept[i]] for i in np.flatnonzero(np.abs(mix) > DEPENDENT)]
    agrees = abs(mix @ value[kept] - value[row]) <= DEPENDENT * max(1.0, abs(value[row]))
    raise InputError(
        f"the constraint {names[row]!r} {'repeats' if agrees else 'contradicts'} {', '.join(map(repr, others))}",
        kind="input.constraint",
        do="leave it out" if agrees else "correct one of them",
    )
