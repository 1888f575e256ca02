"""Whether a calibration is fit to leave the house."""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration.covariance import block_units, check_covariance
from mucal.calibration.product import Calibration
from mucal.errors import InputError, NotCertified
from mucal.scale.resolution import curvature_variance
from mucal.scale.table import ResolutionTable

LARGEST_CORRECTION: Final = 0.5
"""Of a curvature, relative.  Beyond it the table is not a calibration but a mistake of units or sign."""


def certify(calibration: Calibration) -> None:
    """Raises NotCertified with every reason why a calibration must not be exported.

    Certified means: all numbers finite, covariances positive semidefinite, validity range and momentum definition
    stated, reference mass with its uncertainty and edition, corrections small over the whole range, and a positive
    resolution there.
    """
    reasons = [*_undescribed(calibration), *_not_finite(calibration)]
    if not reasons:
        reasons = [*_bad_covariances(calibration), *_bad_corrections(calibration), *_bad_resolutions(calibration)]
    if reasons:
        raise NotCertified(
            f"the calibration is not fit for export: {'; '.join(reasons)}",
            kind="calibration.not_certified",
            do="mend what is named, or keep the result as it is: it can be saved, not released",
        )


def _undescribed(calibration: Calibration) -> list[str]:
    low, high = calibration.pt_range
    reasons = []
    if not (0 < low < high < np.inf):
        reasons.append(f"no validity range in pt is stated (pt_range = {low:g}, {high:g} GeV)")
    if not calibration.pt_definition.strip():
        reasons.append("pt_definition, which momenta it corrects, is not stated")
    if not (calibration.reference_mass > 0 and calibration.reference_mass_error >= 0):
        reasons.append("the reference mass has no value with an uncertainty")
    return reasons


def _not_finite(calibration: Calibration) -> list[str]:
    arrays: dict[str, FloatArray] = {
        "scale_variations": calibration.scale_variations,
        "resolution_variations": calibration.resolution_variations,
        "pixel_variations": calibration.pixel_variations,
    }
    arrays |= {f"scale.{name}": getattr(calibration.scale, name) for name in ("A", "e", "M", "cov")}
    for part, table in _resolutions(calibration).items():
        arrays |= {f"{part}.{name}": getattr(table, name) for name in ("a", "b", "c", "d", "cov")}
    if calibration.closure is not None:
        arrays |= {f"closure.{name}": getattr(calibration.closure, name) for name in ("A", "M", "cov", "mean_k")}
    if calibration.pixels is not None:
        arrays |= {f"pixels.{name}": getattr(calibration.pixels, name) for name in ("data", "mc")}
    return [
        f"{int((~np.isfinite(array)).sum())} of {array.size} numbers of {name} are not finite"
        for name, array in arrays.items()
        if not np.all(np.isfinite(array))
    ]


def _bad_covariances(calibration: Calibration) -> list[str]:
    reasons = []
    closure = calibration.closure
    for name, cov, n_blocks in (
        ("scale.cov", calibration.scale.cov, 3),
        *((f"{part}.cov", table.cov, 3) for part, table in _resolutions(calibration).items()),
        *(() if closure is None else (("closure.cov", closure.cov, 2),)),
    ):
        try:
            check_covariance(cov, dataset=name, units=block_units(cov, n_blocks))
        except InputError as error:
            reasons.append(f"{name}: {error.what}")
    return reasons


def _bad_corrections(calibration: Calibration) -> list[str]:
    """The change of the curvature, A - e/pt + q M pt, is largest at an end of the range, of one charge or the other.

    Where that of one charge turns inside the range, at pt = sqrt(|e/M|) and A -+ 2 sqrt(|e M|), it lies between its
    own ends and A, and the other charge is beyond A at the upper end.
    """
    scale = calibration.scale
    pt = np.asarray(calibration.pt_range)[:, None]
    change = np.stack([scale.A - scale.e / pt + charge * scale.M * pt for charge in (1.0, -1.0)])
    worst = float(np.max(np.abs(change)))
    if worst <= LARGEST_CORRECTION:
        return []
    column = int(np.argmax(np.abs(change).max(axis=(0, 1))))
    return [
        f"the correction reaches {worst:.3g} of a momentum in eta bin {column}, at most {LARGEST_CORRECTION} is let"
    ]


def _bad_resolutions(calibration: Calibration) -> list[str]:
    pt = np.geomspace(*calibration.pt_range, 50)[:, None]
    reasons = []
    for part, table in _resolutions(calibration).items():
        variance = curvature_variance(pt, table.a, table.b, table.c, table.d)
        if np.any(variance <= 0):
            row, column = np.argwhere(variance <= 0)[0]
            reasons.append(
                f"{part} gives (sigma_k/k)^2 = {variance[row, column]:.3g} at pt = {pt[row, 0]:.4g} GeV in eta bin "
                f"{column}"
            )
    return reasons


def _resolutions(calibration: Calibration) -> dict[str, ResolutionTable]:
    parts = {"resolution_data": calibration.resolution_data, "resolution_mc": calibration.resolution_mc}
    return {name: table for name, table in parts.items() if table is not None}
