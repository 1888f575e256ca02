"""The magnetic field as data: what kind it is, where it is known, and what has been added to it."""

from dataclasses import dataclass, replace
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyder

from mucal.arrays import BoolArray, FloatArray, check_edges, check_shapes
from mucal.detector.field import kernels
from mucal.detector.field.modes import FieldModes
from mucal.store import Result

KINDS: Final = {
    "uniform": kernels.UNIFORM,
    "harmonic": kernels.HARMONIC,
    "solenoid": kernels.SOLENOID,
    "map_rz": kernels.MAP_RZ,
    "map_xyz": kernels.MAP_XYZ,
}

CMS_PROFILE: Final = (3.8112, 2.23265e-3, -0.187377, -2.76157e-4, 1.14843e-2, 6.43465e-4, -1.78117e-2, -1.75944e-4,
                      3.58047e-3)  # fmt: skip
"""T, coefficients of B_z on the axis in powers of z / 300 cm: the CMS solenoid at 3.8 T, good to 1.4e-6 T for
|z| < 285 cm.  Derived in docs/physics/field.md."""


class FieldValues(NamedTuple):
    """The field at N points.

    bfield   : (N, 3) T
    gradient : (N, 3, 3) T/cm  dB_i / dx_j
    inside   : (N,)            False where the field is not known; bfield and gradient are NaN there
    """

    bfield: FloatArray
    gradient: FloatArray
    inside: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MagneticField(Result):
    """A field with its corrections.  Made by `uniform_field`, `harmonic_field`, `solenoid_field`, `read_map_...`.

    kind           : "uniform", "harmonic", "solenoid", "map_rz" or "map_xyz"
    parameters     : (P,)  "uniform" B (3,); "harmonic" 1/R, a_0, 1, a_1, 1/2, ...; "solenoid" h, a, L/2, z_0
    lower, upper   : (3,) cm  domain: (r, -, z), for "map_xyz" (x, y, z)
    spline         : (n0+2, n1+2, n2+2, C)  coefficients of a map, empty otherwise
    step           : (3,) cm  of the map's grid
    modes          : harmonic corrections, or None
    amplitudes     : (M,) T   rms over the tracker volume that each mode adds
    region_r, region_z : cm   edges of regions of constant added field; empty without regions
    region_offsets : (nr, nz, nphi, 3) T
    """

    SCHEMA: ClassVar[int] = 1

    kind: str
    parameters: FloatArray
    lower: FloatArray
    upper: FloatArray
    spline: FloatArray
    step: FloatArray
    modes: FieldModes | None
    amplitudes: FloatArray
    region_r: FloatArray
    region_z: FloatArray
    region_offsets: FloatArray

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no field of kind {self.kind!r}; there are {', '.join(KINDS)}")
        check_shapes(self, lower=(3,), upper=(3,), step=(3,))
        check_shapes(self, amplitudes=(0 if self.modes is None else self.modes.index.shape[0],))
        cells = (self.region_r.size - 1, self.region_z.size - 1)
        if self.region_r.size and self.region_offsets.shape[:2] != cells:
            raise ValueError(
                f"MagneticField.region_offsets has shape {self.region_offsets.shape}, expected {(*cells, -1, 3)}"
            )
        for name in ("parameters", "spline", "amplitudes", "region_offsets"):
            if not np.all(np.isfinite(getattr(self, name))):
                raise ValueError(f"MagneticField.{name} holds numbers that are not finite")

    @property
    def packed(self) -> FloatArray:
        """The flat array that the kernels read; its layout is in `field.kernels`."""
        header = np.zeros(kernels.HEADER)
        header[kernels.KIND] = KINDS[self.kind]
        header[kernels.CORRECTED] = bool(np.any(self.amplitudes != 0.0))
        header[kernels.LOWER_0 : kernels.LOWER_2 + 1] = self.lower
        header[kernels.UPPER_0 : kernels.UPPER_2 + 1] = self.upper
        header[kernels.PER_STEP_0 : kernels.PER_STEP_2 + 1] = 1.0 / self.step
        header[kernels.N_0 : kernels.N_2 + 1] = self.spline.shape[:3]
        header[kernels.N_PARAMETERS] = self.parameters.size
        header[kernels.N_R : kernels.N_PHI + 1] = self.region_offsets.shape[:3]
        expansion = _expansion(self)
        header[kernels.EXPANDS] = expansion.size > 0
        header[kernels.EXPANSION : kernels.EXPANSION + expansion.size] = expansion.ravel()
        modes = np.zeros((0, kernels.MODE_WIDTH))
        if self.modes is not None:
            header[kernels.DEGREE] = self.modes.degree
            header[kernels.N_MODES] = self.modes.index.shape[0]
            modes = np.column_stack([self.modes.index, self.modes.scale, self.amplitudes])
        blocks = [header]
        for place, block in (
            (kernels.PARAMETERS, self.parameters),
            (kernels.SPLINE, self.spline),
            (kernels.MODES, modes),
            (kernels.REGIONS, np.concatenate([self.region_r, self.region_z, self.region_offsets.ravel()])),
        ):
            header[place] = sum(b.size for b in blocks)
            blocks.append(np.ravel(block))
        return np.concatenate(blocks)


def _expansion(field: MagneticField) -> FloatArray:
    """The rows that `field.kernels` wants of a harmonic field of few coefficients, else nothing; see `_expanded`."""
    profile = field.parameters[1::2]
    if field.kind != "harmonic" or profile.size > kernels.EXPANDED:
        return np.zeros(0)
    rows, factor = np.zeros((kernels.EXPANDED, 9)), 1.0
    for n in range(5):
        derivative = polyder(profile, 2 * n)
        rows[: derivative.size, n] = factor * derivative
        if n < 4:
            derivative = polyder(profile, 2 * n + 1)
            rows[: derivative.size, 5 + n] = -0.5 * factor / (n + 1) * derivative
        factor *= -0.25 / (n + 1) ** 2
    return rows[::-1].copy()


def evaluate(field: MagneticField, points: FloatArray) -> FieldValues:
    """The field, with its corrections, at points in space.

    field  : any field
    points : (N, 3) cm

    Returns B, its gradient and whether the point is inside the field's domain; outside both are NaN.
    The gradient leaves out the steps between regions of constant added field.
    """
    points = np.ascontiguousarray(np.atleast_2d(points), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {points.shape}, expected (N, 3)")
    n = points.shape[0]
    values, status = np.empty((n, 12)), np.empty(n, dtype=np.int64)
    kernels.evaluate_all(field.packed, points, values, status)
    return FieldValues(values[:, :3], values[:, 3:].reshape(n, 3, 3), status == kernels.INSIDE)


def _analytic(kind: str, parameters: FloatArray, r_max: float, z_max: float) -> MagneticField:
    if not (r_max > 0 and z_max > 0):
        raise ValueError(f"a field's domain has r_max = {r_max} cm, z_max = {z_max} cm; both must be positive")
    return MagneticField(
        kind=kind,
        parameters=parameters,
        lower=np.array([0.0, 0.0, -z_max]),
        upper=np.array([r_max, 0.0, z_max]),
        spline=np.zeros((0, 0, 0, 0)),
        step=np.ones(3),
        modes=None,
        amplitudes=np.zeros(0),
        region_r=np.zeros(0),
        region_z=np.zeros(0),
        region_offsets=np.zeros((0, 0, 0, 3)),
    )


def uniform_field(
    bfield: float | FloatArray = 3.8, *, r_max: float = float("inf"), z_max: float = float("inf")
) -> MagneticField:
    """The same field everywhere.

    bfield : T   B_z, or (3,) the vector
    r_max, z_max : cm  domain, by default all of space
    """
    vector = np.array([0.0, 0.0, bfield]) if np.ndim(bfield) == 0 else np.asarray(bfield, dtype=np.float64)
    if vector.shape != (3,):
        raise ValueError(f"bfield has shape {vector.shape}, expected one number (B_z) or (3,)")
    return _analytic("uniform", vector, r_max, z_max)


def harmonic_field(
    coefficients: FloatArray | tuple[float, ...] = CMS_PROFILE,
    *,
    radius: float = 300.0,
    r_max: float = 150.0,
    z_max: float = 300.0,
) -> MagneticField:
    """The axially symmetric solution of Maxwell's equations with a given profile on the axis.

    B_z(0, 0, z) = sum_k a_k (z/R)^k continues to Phi = sum_k a_k/(k+1) R (r/R)^{k+1} P_{k+1}(cos theta), B = grad Phi.

    coefficients : (K,) T   a_k; by default those of the CMS solenoid at 3.8 T
    radius       : cm       R
    r_max, z_max : cm       domain

    Source: docs/physics/field.md.
    """
    a = np.asarray(coefficients, dtype=np.float64)
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"coefficients has shape {a.shape}, expected (K,)")
    orders = 1.0 / np.arange(1, a.size + 1)
    return _analytic("harmonic", np.append(1.0 / radius, np.column_stack([a, orders])), r_max, z_max)


def solenoid_field(
    central: float = 3.81492,
    *,
    effective_radius: float = 424.326,
    length: float = 1502.01,
    centre: float = 1.79,
    r_max: float = 130.0,
    z_max: float = 300.0,
) -> MagneticField:
    """A solenoid of finite length, to third order in r; by default the CMS one.

    f(u) = u/sqrt(1+u^2), u, v = (L/2 -+ (z-z0))/a, h = (B0/2) sqrt(1 + 4 a^2/L^2):
        B_z = h {f(u) + f(v) - [f''(u) + f''(v)] r^2 / (4 a^2)},
        B_r = h r/(2a) {f'(u) - f'(v) - [f'''(u) - f'''(v)] r^2 / (8 a^2)}
    Free of divergence; its curl is of order r^3 (1e-5 T/cm at r = 1 m).

    central          : T   B0
    effective_radius : cm  a
    length           : cm  L
    centre           : cm  z0
    r_max, z_max     : cm  domain
    """
    if effective_radius <= 0 or length <= 0:
        raise ValueError(f"a solenoid of radius {effective_radius} cm and length {length} cm; both must be positive")
    height = 0.5 * central * np.sqrt(1.0 + 4.0 * effective_radius**2 / length**2)
    return _analytic("solenoid", np.array([height, effective_radius, length / 2, centre]), r_max, z_max)


def with_modes(field: MagneticField, modes: FieldModes, amplitudes: FloatArray | None = None) -> MagneticField:
    """The field with harmonic modes added to it; they replace modes added before.

    modes      : see `harmonic_modes`
    amplitudes : (M,) T, by default 0: the field is unchanged, and propagation gives derivatives for every mode
    """
    values = np.zeros(modes.index.shape[0]) if amplitudes is None else np.asarray(amplitudes, dtype=np.float64)
    return replace(field, modes=modes, amplitudes=values)


def with_regions(
    field: MagneticField, region_r: FloatArray, region_z: FloatArray, offsets: FloatArray
) -> MagneticField:
    """The field with a constant vector added in each region of r, z and phi; such regions replace earlier ones.

    region_r, region_z : cm  edges
    offsets            : (nr, nz, nphi, 3) T  equal slices of phi from -pi to pi; beyond the edges nothing is added

    The steps between regions violate Maxwell's equations and are not in the gradient: for distortions, not for truth.
    Raises ValueError for edges that do not increase or offsets of another shape.
    """
    check_edges("region_r", region_r)
    check_edges("region_z", region_z)
    offsets = np.asarray(offsets, dtype=np.float64)
    shape = (np.size(region_r) - 1, np.size(region_z) - 1)
    if offsets.ndim != 4 or offsets.shape[:2] != shape or offsets.shape[2] < 1 or offsets.shape[3] != 3:
        raise ValueError(f"offsets has shape {offsets.shape}, expected ({shape[0]}, {shape[1]}, nphi, 3)")
    return replace(
        field, region_r=np.asarray(region_r, float), region_z=np.asarray(region_z, float), region_offsets=offsets
    )
