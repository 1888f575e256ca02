"""The magnetic field: one convention for a formula, a map, and the corrections on top of either.

A field is a `MagneticField`: a base (uniform, harmonic, finite solenoid, map in (r, z) or (x, y, z)), plus harmonic
modes, plus constant offsets in regions.  `evaluate` gives B in tesla and G_ij = dB_i/dx_j in T/cm at points in cm;
compiled code calls `kernels.evaluate` with `field.packed`, one flat array whatever the kind.  Outside its domain a
field is NaN and says so: nothing is extrapolated.  B_z > 0 along the beam; derived in docs/physics/field.md.
"""

from mucal.detector.field.magnetic_field import (
    CMS_PROFILE,
    FieldValues,
    MagneticField,
    evaluate,
    harmonic_field,
    solenoid_field,
    uniform_field,
    with_modes,
    with_regions,
)
from mucal.detector.field.maps import field_from_rows, map_field_rz, map_field_xyz
from mucal.detector.field.modes import FieldModes, harmonic_modes, whitened_modes

__all__ = [
    "CMS_PROFILE",
    "FieldModes",
    "FieldValues",
    "MagneticField",
    "evaluate",
    "field_from_rows",
    "harmonic_field",
    "harmonic_modes",
    "map_field_rz",
    "map_field_xyz",
    "solenoid_field",
    "uniform_field",
    "whitened_modes",
    "with_modes",
    "with_regions",
]
