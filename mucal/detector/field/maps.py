"""Fields given as numbers on a grid: checked once, then smooth cubic splines whose gradient is exact.

Cubic B-splines interpolate the grid with continuous first and second derivatives; at the ends of an axis the third
derivative is continuous across the first inner point ("not a knot").  On an axis r that starts at 0, B_z is continued
as an even and B_r as an odd function, so that the field stays smooth on the beam line.
"""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector.field.magnetic_field import MagneticField
from mucal.errors import InputError

LARGEST_MEDIAN: Final = 10.0
"""T; no tracker magnet reaches it, and kilogauss readings of most do."""

LARGEST_EXTENT: Final = 2500.0
"""cm; half the length of the largest detector hall map.  A tracker map in mm exceeds it."""

SMALLEST_EXTENT: Final = 15.0
"""cm; a map in metres stays below it."""

MAX_DIVERGENCE: Final = 0.3
"""Largest rms of div B over the rms of its three terms.  A Maxwell field on a sensible grid stays below 0.05; a field
component of the wrong sign or on the wrong axis gives about 1."""


def map_field_rz(r: FloatArray, z: FloatArray, br: FloatArray, bz: FloatArray) -> MagneticField:
    """An axially symmetric field from a grid.

    r, z   : (nr,), (nz,) cm  equally spaced, increasing, at least 4 points each
    br, bz : (nr, nz) T

    Raises InputError for NaN or missing values, unequal steps, units that are not tesla and cm, or a field with
    divergence (a wrong sign or axis).
    """
    axes = {"r": np.asarray(r, dtype=np.float64), "z": np.asarray(z, dtype=np.float64)}
    values = np.stack([_values("br", br, axes), _values("bz", bz, axes)], axis=-1)
    steps = [_step(name, axis) for name, axis in axes.items()]
    if axes["r"][0] < 0:
        raise _refused("r starts below 0", "input.field_axis", axis=f"r[0] = {axes['r'][0]}")
    _check_units(axes, np.linalg.norm(values, axis=-1))
    _check_divergence(_terms_rz(axes, values))
    parity = (-1, 1) if axes["r"][0] == 0.0 else (0, 0)
    if axes["r"][0] == 0.0 and np.any(np.abs(values[0, :, 0]) > 1e-3 * np.abs(values).max()):
        raise _refused("br does not vanish on the axis r = 0", "input.field_axis")
    radial, axial = (_coefficients(_coefficients(values[..., k], 0, parity[k]), 1, 0) for k in range(2))
    return _map("map_rz", [axes["r"], np.zeros(1), axes["z"]], [steps[0], 1.0, steps[1]],
                np.stack([radial, axial], axis=-1)[:, None])  # fmt: skip


def map_field_xyz(x: FloatArray, y: FloatArray, z: FloatArray, bfield: FloatArray) -> MagneticField:
    """A field from a grid in space.

    x, y, z : (nx,), (ny,), (nz,) cm  equally spaced, increasing, at least 4 points each
    bfield  : (nx, ny, nz, 3) T

    Raises as `map_field_rz`.
    """
    axes = {name: np.asarray(a, dtype=np.float64) for name, a in (("x", x), ("y", y), ("z", z))}
    bfield = np.asarray(bfield, dtype=np.float64)
    components = [_values(f"bfield[..., {k}]", bfield[..., k], axes) for k in range(bfield.shape[-1])]
    if len(components) != 3:
        raise _refused(f"bfield has shape {bfield.shape}", "input.field_shape", expected="(nx, ny, nz, 3)")
    steps = [_step(name, axis) for name, axis in axes.items()]
    _check_units(axes, np.linalg.norm(bfield, axis=-1))
    _check_divergence([np.gradient(components[k], list(axes.values())[k], axis=k) for k in range(3)])
    spline = np.stack([_coefficients(_coefficients(_coefficients(c, 0, 0), 1, 0), 2, 0) for c in components], axis=-1)
    return _map("map_xyz", list(axes.values()), steps, spline)


def field_from_rows(columns: dict[str, FloatArray]) -> MagneticField:
    """A field from a table with one row a grid point, in any order.

    columns : r, z, br, bz  or  x, y, z, bx, by, bz; cm and T

    Raises InputError if the rows do not fill a grid (how many points are missing, and the first), or as `map_field_rz`.
    """
    symmetric = "br" in columns
    names, components = (("r", "z"), ("br", "bz")) if symmetric else (("x", "y", "z"), ("bx", "by", "bz"))
    missing = [name for name in (*names, *components) if name not in columns]
    if missing:
        raise _refused(f"a field table has no column {missing[0]!r}", "input.field_column", columns=", ".join(columns))
    found = [np.unique(np.asarray(columns[name], dtype=np.float64), return_inverse=True) for name in names]
    shape = tuple(axis.size for axis, _ in found)
    filled = np.zeros(shape, dtype=np.int64)
    where = tuple(inverse.ravel() for _, inverse in found)
    np.add.at(filled, where, 1)
    axes = [axis for axis, _ in found]
    if not np.all(filled == 1):
        bad = np.argwhere(filled != 1)
        at = ", ".join(f"{name} = {axis[i]:g}" for name, axis, i in zip(names, axes, bad[0], strict=True))
        what = "is missing" if filled[tuple(bad[0])] == 0 else "is given twice"
        raise _refused(
            f"the field map has gaps: {len(bad)} of {filled.size} grid points are missing or given twice",
            "input.field_gap", first=f"{at} {what}",
        )  # fmt: skip
    grids = []
    for name in components:
        grid = np.full(shape, np.nan)
        grid[where] = columns[name]
        grids.append(grid)
    if symmetric:
        return map_field_rz(axes[0], axes[1], grids[0], grids[1])
    return map_field_xyz(axes[0], axes[1], axes[2], np.stack(grids, axis=-1))


# ------------------------------------------------------------------------------------------------ checks


def _refused(what: str, kind: str, do: str = "", **where: str) -> InputError:
    return InputError(what, kind=kind, where=where, do=do)


def _values(name: str, values: FloatArray, axes: dict[str, FloatArray]) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    shape = tuple(axis.size for axis in axes.values())
    if values.shape != shape:
        raise _refused(
            f"{name} has shape {values.shape}", "input.field_shape", expected=f"{shape}, of {', '.join(axes)}"
        )
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        at = ", ".join(f"{k} = {axis[i]:g}" for (k, axis), i in zip(axes.items(), bad[0], strict=True))
        raise _refused(
            f"{len(bad)} of {values.size} values of {name} are not finite", "input.field_gap",
            do="complete the map; gaps are not filled by guessing", first=at,
        )  # fmt: skip
    return values


def _step(name: str, axis: FloatArray) -> float:
    if axis.ndim != 1 or axis.size < 4:
        raise _refused(f"axis {name} has {axis.size} points", "input.field_axis", expected="at least 4")
    step = (axis[-1] - axis[0]) / (axis.size - 1)
    off = np.abs(np.diff(axis) - step)
    if not (step > 0 and np.all(np.isfinite(axis)) and off.max() <= 1e-6 * step):
        i = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
        raise _refused(
            f"axis {name} is not equally spaced and increasing", "input.field_axis",
            at=f"{name}[{i}] = {axis[i]:g}, {name}[{i + 1}] = {axis[i + 1]:g}, mean step {step:g}",
        )  # fmt: skip
    return float(step)


def _check_units(axes: dict[str, FloatArray], magnitude: FloatArray) -> None:
    median = float(np.median(magnitude))
    if median > LARGEST_MEDIAN:
        unit, factor = ("gauss", "1e-4") if median > 1e3 else ("kilogauss", "units.kGauss = 0.1")
        raise _refused(
            f"the median |B| of the map is {median:g}, expected tesla and at most {LARGEST_MEDIAN:g}",
            "input.field_unit", do=f"the map looks like {unit}: multiply it by {factor}",
        )  # fmt: skip
    largest = max(float(np.abs(axis).max()) for axis in axes.values())
    if not SMALLEST_EXTENT <= largest <= LARGEST_EXTENT:
        unit, factor = ("millimetres", "units.mm = 0.1") if largest > LARGEST_EXTENT else ("metres", "units.m = 100")
        raise _refused(
            f"the map reaches to {largest:g}, expected cm, {SMALLEST_EXTENT:g} to {LARGEST_EXTENT:g}",
            "input.field_unit", do=f"the map looks like {unit}: multiply the axes by {factor}",
        )  # fmt: skip


def _terms_rz(axes: dict[str, FloatArray], values: FloatArray) -> list[FloatArray]:
    r = axes["r"][:, None]
    flow = np.gradient(r * values[..., 0], axes["r"], axis=0)[1:] / r[1:]
    return [flow, np.gradient(values[..., 1], axes["z"], axis=1)[1:]]


def _check_divergence(terms: list[FloatArray]) -> None:
    size = float(np.sqrt(sum(np.mean(term**2) for term in terms)))
    divergence = float(np.sqrt(np.mean(sum(terms) ** 2)))
    if divergence > MAX_DIVERGENCE * size and divergence > 1e-6:
        raise _refused(
            f"the map has divergence: rms div B = {divergence:.2g} T/cm against {size:.2g} T/cm of its terms",
            "input.field_divergence",
            do="look at the signs and the order of axes and components; a very coarse grid can do it too",
        )


# ------------------------------------------------------------------------------------------------ splines


def _coefficients(values: FloatArray, axis: int, parity: int) -> FloatArray:
    """B-spline coefficients along one axis, n values -> n + 2; parity at the lower end: +1 even, -1 odd, 0 not a knot.

    (c[i-1] + 4 c[i] + c[i+1]) / 6 = f[i], closed by one condition at each end.
    """
    n = values.shape[axis]
    matrix = np.zeros((n + 2, n + 2))
    rows = np.arange(n)
    matrix[rows + 1, rows], matrix[rows + 1, rows + 1], matrix[rows + 1, rows + 2] = 1 / 6, 4 / 6, 1 / 6
    fourth = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    if parity == 0:
        matrix[0, :5] = fourth
    else:
        matrix[0, [0, 2]] = 1.0, -parity
    matrix[-1, -5:] = fourth
    right = np.zeros((n + 2, values.size // n))
    moved = np.moveaxis(values, axis, 0)
    right[1:-1] = moved.reshape(n, -1)
    solved = np.linalg.solve(matrix, right).reshape(n + 2, *moved.shape[1:])
    return np.moveaxis(solved, 0, axis)


def _map(kind: str, axes: list[FloatArray], steps: list[float], spline: FloatArray) -> MagneticField:
    return MagneticField(
        kind=kind,
        parameters=np.zeros(0),
        lower=np.array([axis[0] for axis in axes]),
        upper=np.array([axis[-1] for axis in axes]),
        spline=np.ascontiguousarray(spline),
        step=np.array(steps),
        modes=None,
        amplitudes=np.zeros(0),
        region_r=np.zeros(0),
        region_z=np.zeros(0),
        region_offsets=np.zeros((0, 0, 0, 3)),
    )
