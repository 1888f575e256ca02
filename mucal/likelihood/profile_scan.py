"""The profile likelihood drawn out: scans, intervals and contours."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtri

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import NotCertified
from mucal.likelihood.conditional import profiler
from mucal.likelihood.model import Model
from mucal.likelihood.observation import Observation
from mucal.likelihood.profile_fit import FitResult
from mucal.store import Result

REACHED: Final = 1e-6
TRIES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Result):
    """The profile likelihood along one parameter.

    parameter : name
    best      : its estimate
    points    : (N,)
    q         : (N,)    2 (NLL - least NLL)
    values    : (N, S)  all parameters at the minimum given the point
    """

    parameter: str
    best: float
    points: FloatArray
    q: FloatArray
    values: FloatArray

    def __post_init__(self) -> None:
        n = self.points.size
        check_shapes(self, points=(n,), q=(n,), values=(n, self.values.shape[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Result):
    """Where the profile likelihood has risen by z^2 / 2 on both sides of the estimate.

    down, up : distances to the ends, both positive
    """

    parameter: str
    best: float
    down: float
    up: float
    z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contour(Result):
    """Where the profile likelihood of two parameters has risen as a chi2 of two degrees of freedom says.

    parameters : names of the two
    best       : (2,)        estimates
    levels     : (L,)        confidence levels
    points     : (L, N, 2)   around the estimate, counter-clockwise
    """

    parameters: tuple[str, ...]
    best: FloatArray
    levels: FloatArray
    points: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, best=(2,), points=(self.levels.size, self.points.shape[1], 2))


def scan(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    parameter: str,
    points: FloatArray,
    n_threads: int = 1,
) -> Scan:
    """The profile likelihood at points of one parameter.

    points : (N,)  in the parameter's unit

    Raises NotCertified where no minimum is found.
    """
    profile = profiler(model, data, result, n_threads)
    index = model.index([parameter])
    found = [profile.at(index, np.array([float(point)])) for point in points]
    return Scan(
        parameter=parameter,
        best=result.value(parameter),
        points=np.asarray(points, dtype=float),
        q=np.array([2 * (nearby.value - result.nll) for nearby in found]),
        values=np.array([nearby.x for nearby in found]).reshape(len(found), -1),
    )


def interval(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    parameter: str,
    z: float = 1.0,
    n_threads: int = 1,
) -> Interval:
    """The likelihood interval of one parameter: z = 1 for 68 %, 2 for 95 %.

    Raises NotCertified if an end cannot be reached.
    """
    profile, index = profiler(model, data, result, n_threads), model.index([parameter])
    best, error = result.value(parameter), result.error(parameter)

    def height(sign: float) -> Callable[[float], float]:
        return lambda r: profile.at(index, np.array([best + sign * r * error])).value - result.nll

    down, up = (_reach(height(sign), z, z, f"{parameter} from {best:.6g}") for sign in (-1.0, 1.0))
    return Interval(parameter=parameter, best=best, down=down * error, up=up * error, z=z)


def contour(
    model: Model,
    data: Observation | FloatArray,
    result: FitResult,
    parameters: tuple[str, str],
    levels: tuple[float, ...] = (0.6827, 0.9545),
    n_points: int = 40,
    n_threads: int = 1,
) -> Contour:
    """Contours of two parameters, each point found along its ray from the estimate.

    levels : confidence levels between 0 and 1

    Raises NotCertified if a point cannot be reached.
    """
    profile, index = profiler(model, data, result, n_threads), model.index(parameters)
    best, root = result.values[index], np.linalg.cholesky(result.cov[np.ix_(index, index)])
    angles = 2 * np.pi * np.arange(n_points) / n_points
    points = np.empty((len(levels), n_points, 2))
    for i, level in enumerate(levels):
        z = math.sqrt(float(chdtri(2, 1.0 - level)))
        radius = z
        for j, angle in enumerate(angles):
            ray = root @ np.array([math.cos(angle), math.sin(angle)])
            radius = _reach(
                lambda r, ray=ray: profile.at(index, best + r * ray).value - result.nll,  # type: ignore[misc]
                z,
                radius,
                f"{' and '.join(parameters)} at {math.degrees(angle):.0f} degrees",
            )
            points[i, j] = best + radius * ray
    return Contour(parameters=tuple(parameters), best=best, levels=np.array(levels), points=points)


def _reach(height: Callable[[float], float], z: float, start: float, what: str) -> float:
    """The distance at which sqrt(2 height) = z, by the secant method; both are equal where errors are Gaussian."""
    r0, f0, r1 = 0.0, -z, start
    low, high = 0.0, math.inf
    for _ in range(TRIES):
        f1 = math.sqrt(max(0.0, 2 * height(r1))) - z
        if abs(f1) < REACHED * z:
            return r1
        low, high = (r1, high) if f1 < 0 else (low, r1)
        r0, f0, r1 = r1, f1, r1 - f1 * (r1 - r0) / (f1 - f0) if f1 != f0 else 2 * r1
        if not low < r1 < high:
            r1 = 0.5 * (low + high) if high < math.inf else 2 * max(low, start)
    raise NotCertified(
        f"the likelihood does not rise by {0.5 * z * z:.3g} along {what}: {0.5 * (f0 + z) ** 2:.3g} at {r0:.3g} errors",
        kind="likelihood.interval",
        do="the parameter may be at a boundary; quote a scan instead",
    )
