"""The scale correction applied to muons, and its exact inverse."""

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.scale.table import ScaleTable


def curvature_factor(
    pt: FloatArray, charge: FloatArray | IntArray, A: FloatArray, e: FloatArray, M: FloatArray
) -> FloatArray:
    """Corrected over reconstructed curvature, k'/k = 1 + A - e/pT + q M pT: (A1), unchecked.

    pt      : (N,) GeV
    charge  : (N,)      +1 or -1
    A, e, M : (N,)      -, GeV, 1/GeV
    """
    factor: FloatArray = 1.0 + A - e / pt + charge * M * pt
    return factor


def correction_factor(table: ScaleTable, pt: FloatArray, eta: FloatArray, charge: FloatArray | IntArray) -> FloatArray:
    """`curvature_factor` of muons by the bins of a table.

    table  : A, e, M in bins of eta
    pt     : any shape, GeV, as reconstructed
    eta    : like pt, inside the table's edges
    charge : like pt, +1 or -1

    Returns an array like `pt`.  Raises ValueError for a muon outside the table, a pT that is not positive and finite,
    a charge other than +-1, or a factor that is not positive.
    """
    p, h, q = _checked(pt, eta, charge)
    j = table.bin_index(h)
    factor = curvature_factor(p, q, table.A[j], table.e[j], table.M[j])
    _require(
        factor > 0, "correction factor 1 + A - e/pT + q M pT", factor, "a positive one; the table does not fit them"
    )
    return factor


def correct_pt(table: ScaleTable, pt: FloatArray, eta: FloatArray, charge: FloatArray | IntArray) -> FloatArray:
    """Transverse momentum with the scale correction applied, pT / (1 + A - e/pT + q M pT).

    Arguments, result and errors as for `correction_factor`; GeV.
    Source: CMS-SMP-23-002, arXiv:2412.13872; derived in docs/physics/scale.md.
    """
    result: FloatArray = np.asarray(pt, dtype=float) / correction_factor(table, pt, eta, charge)
    return result


def distort_pt(table: ScaleTable, pt: FloatArray, eta: FloatArray, charge: FloatArray | IntArray) -> FloatArray:
    """The transverse momentum that `correct_pt` turns into `pt`: what a detector with these A, e, M measures.

    Its curvature is the root k -> pT -> 1 / (k' - q M) of e k^2 - (1 + A) k + k' - q M = 0 that is continuous in e.

    Arguments as for `correction_factor`, with the true pT; GeV.  Raises ValueError also where there is no such root.
    """
    p, h, q = _checked(pt, eta, charge)
    j = table.bin_index(h)
    target = 1.0 / p - q * table.M[j]
    discriminant = (1.0 + table.A[j]) ** 2 - 4.0 * table.e[j] * target
    _require((discriminant >= 0) & (target > 0), "momentum", p, "one that this distortion leaves measurable")
    result: FloatArray = (1.0 + table.A[j] + np.sqrt(discriminant)) / (2.0 * target)
    return result


def _checked(
    pt: FloatArray, eta: FloatArray, charge: FloatArray | IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    p, h, q = (np.asarray(array, dtype=float) for array in (pt, eta, charge))
    if not p.shape == h.shape == q.shape:
        raise ValueError(f"pt, eta, charge have shapes {p.shape}, {h.shape}, {q.shape}; expected equal ones")
    _require((p > 0) & np.isfinite(p), "pt", p, "a positive, finite momentum")
    _require(np.abs(q) == 1, "charge", q, "+1 or -1")
    return p, h, q


def _require(good: BoolArray, name: str, values: FloatArray, expected: str) -> None:
    if not np.all(good):
        i = int(np.argmin(good))
        bad = int(np.size(good) - np.count_nonzero(good))
        raise ValueError(f"{bad} of {np.size(good)} muons: {name}[{i}] = {np.ravel(values)[i]:g}, expected {expected}")
