"""From a parameter covariance to independent nuisances."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError

SYMMETRY: Final = 1e-12
"""Largest asymmetry of a covariance, in units of its largest (scaled) element."""
NULL: Final = 1e-12
"""Eigenvalues below this fraction of the largest are zero: rounding, fixed or duplicated parameters."""
SCALE_PARAMETERS: Final = ("A", "e", "M")
RESOLUTION_PARAMETERS: Final = ("a", "b", "c")


def parameter_names(n_bins: int, symbols: Sequence[str] = SCALE_PARAMETERS) -> tuple[str, ...]:
    """Names of the rows of a covariance: "A_00", "A_01", … "e_00", …, each parameter over all eta bins."""
    digits = max(2, len(str(n_bins - 1)))
    return tuple(f"{symbol}_{i:0{digits}d}" for symbol in symbols for i in range(n_bins))


def check_names(found: Sequence[str], expected: Sequence[str], *, dataset: str, file: str = "") -> None:
    """The rows of a covariance are the parameters in the order of the table.

    Raises InputError with the first name that differs.
    """
    if tuple(found) == tuple(expected):
        return
    pairs = zip(found, expected, strict=False)
    i = next((i for i, (f, x) in enumerate(pairs) if f != x), min(len(found), len(expected)))
    have, want = (names[i] if i < len(names) else "(nothing)" for names in (found, expected))
    raise InputError(
        f"the covariance is ordered differently from the table: row {i} is '{have}', expected '{want}'",
        kind="input.covariance_order",
        where={"file": file, "dataset": dataset},
        do="bring the covariance into the order of the table",
    )


def check_covariance(cov: FloatArray, *, dataset: str, file: str = "", units: FloatArray | None = None) -> None:
    """A covariance is finite, symmetric to 1e-12 and has no eigenvalue below -1e-12 of its largest.

    cov   : (P, P)
    units : (P,)     what each parameter is divided by first; the typical sizes of very different parameters

    Raises InputError with the smallest eigenvalue.
    """
    _eigen(cov, np.ones(cov.shape[0]) if units is None else units, dataset, file)


def block_units(cov: FloatArray, n_blocks: int = 3) -> FloatArray:
    """(P,) the median standard error of each block of parameters (of those that are not fixed), repeated over it."""
    error = np.sqrt(np.clip(np.diag(cov), 0.0, None)).reshape(n_blocks, -1)
    median = [np.median(row[row > 0]) if np.any(row > 0) else 1.0 for row in error]
    return np.repeat(np.asarray(median, dtype=np.float64), error.shape[1])


def modes(cov: FloatArray, *, dataset: str, file: str = "", scaled: bool = True, n_blocks: int = 3) -> FloatArray:
    """Independent variations v_i with sum_i v_i v_i^T = cov, the largest first; null modes are left out.

    With D = diag(1 / median error of each block of parameters), D C D = U diag(lambda) U^T and
    v_i = sqrt(lambda_i) D^-1 u_i, so that units do not choose the basis.  The largest component (in units of D) of each
    is positive.

    cov      : (K B, K B)   K blocks of B parameters
    scaled   : False takes D = 1, as the reference does; the sum is the same
    n_blocks : K

    Returns (n, K, B).  Raises InputError if `cov` is not a covariance.
    Source: docs/physics/calibration.md.
    """
    units = block_units(cov, n_blocks) if scaled else np.ones(cov.shape[0])
    values, vectors = _eigen(cov, units, dataset, file)
    kept = np.flatnonzero(values > NULL * max(values.max(initial=0.0), 0.0))[::-1]
    found = vectors[:, kept].T
    # The first of the components that are largest up to rounding: mirrored bins hold equal ones.
    size = np.abs(found)
    leading = np.argmax(size >= size.max(axis=1, keepdims=True) * (1.0 - 1e-6), axis=1)
    sign = np.sign(found[np.arange(kept.size), leading])
    variations: FloatArray = found * (sign * np.sqrt(values[kept]))[:, None] * units
    variations[:, np.diag(cov) == 0.0] = 0.0  # a fixed parameter: what stands there is rounding
    return variations.reshape(kept.size, n_blocks, cov.shape[0] // n_blocks)


def _eigen(cov: FloatArray, units: FloatArray, dataset: str, file: str) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (ascending) and vectors of the covariance in the given units, after the checks."""
    where = {"file": file, "dataset": dataset}
    do = "fix the fit it comes from, or symmetrise and clip it knowingly before it is given here"
    if not np.all(np.isfinite(cov)):
        row, column = np.argwhere(~np.isfinite(cov))[0]
        raise InputError(
            f"the covariance is not finite: element [{row}, {column}] is {cov[row, column]}",
            kind="input.covariance",
            where=where,
            do=do,
        )
    scaled = cov / np.outer(units, units)
    asymmetry = np.abs(scaled - scaled.T)
    values, vectors = np.linalg.eigh(0.5 * (scaled + scaled.T))
    smallest, largest = float(values[0]), float(max(values[-1], 0.0))
    if asymmetry.max() > SYMMETRY * np.abs(scaled).max():
        row, column = np.unravel_index(int(np.argmax(asymmetry)), cov.shape)
        raise InputError(
            f"the covariance is not symmetric: [{row}, {column}] is {cov[row, column]:.6g}, [{column}, {row}] is "
            f"{cov[column, row]:.6g} (smallest eigenvalue {smallest:.3g})",
            kind="input.covariance",
            where=where,
            do=do,
        )
    if smallest < -NULL * largest:
        raise InputError(
            f"the covariance is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}, the largest "
            f"{largest:.3g} (parameters in units of their median error)",
            kind="input.covariance",
            where=where,
            do=do,
        )
    return values, vectors
