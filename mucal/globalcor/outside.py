"""What other instruments know: field probes in the magnet, and surveys of the detector, as measurements for a solve."""

from collections.abc import Sequence

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import Detector
from mucal.detector.field import evaluate, uniform_field, with_modes
from mucal.errors import InputError
from mucal.globalcor.constraints import Measurement
from mucal.globalcor.registry import Registry


def field_probes(
    registry: Registry, detector: Detector, points: FloatArray, bfield: FloatArray, sigma: FloatArray
) -> list[Measurement]:
    """|B| measured at points, as NMR probes do it: one measurement of the field modes for each.

    To first order in the amplitudes theta of the modes b_m, with B_0 the assumed field, |B_0 + sum theta_m b_m| =
    |B_0| + (B_0/|B_0|) . sum theta_m b_m; the next order is (theta b / B_0)^2 / 2 of it, 5e-7 where modes add 1e-3
    across the field.

    points : (N, 3) cm
    bfield : (N,) T
    sigma  : (N,) T

    Raises InputError if no mode floats, for a point outside the field, or numbers that are not finite.
    """
    points = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if registry.modes is None or detector.field is None:
        raise InputError(
            "a field probe says something of the modes of the field, and none floats in this registry",
            kind="input.measurement",
            do="add a family of kind 'modes'; an offset on legs has no place in space",
        )
    field = evaluate(detector.field, points)
    good = field.inside & np.isfinite(bfield) & np.isfinite(points).all(axis=1)
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(
            f"field probe {i} at {points[i].tolist()} cm with {bfield[i]} T is not finite, or outside the field",
            kind="input.measurement",
        )
    size = np.linalg.norm(field.bfield, axis=1)
    along = field.bfield / size[:, None]
    slopes = np.zeros((points.shape[0], registry.map.modes.size))
    for m in range(slopes.shape[1]):
        amplitudes = np.zeros(slopes.shape[1])
        amplitudes[m] = 1.0
        one = evaluate(with_modes(uniform_field(0.0), registry.modes, amplitudes), points).bfield
        slopes[:, m] = np.einsum("ni,ni->n", along, one)
    floats = registry.map.modes >= 0
    return [
        Measurement(
            name=f"field probe {i}", index=registry.map.modes[floats], factor=slopes[i, floats],
            value=float(bfield[i] - size[i]), sigma=float(sigma[i]),
        )
        for i in range(points.shape[0])
    ]  # fmt: skip


def survey(
    registry: Registry, names: Sequence[str], value: FloatArray, sigma: FloatArray
) -> list[Measurement]:  # fmt: skip
    """Single parameters measured otherwise, as positions by a survey: total corrections in the parameters' units.

    Raises ValueError for an unknown name, with the nearest.
    """
    return [
        Measurement(
            name=f"survey of {name}", index=np.array([registry.index(name)], dtype=np.int64), factor=np.ones(1),
            value=float(v), sigma=float(s),
        )
        for name, v, s in zip(names, value, sigma, strict=True)
    ]  # fmt: skip
