"""Muons through field and material, with the derivatives of where they arrive.

The equations of motion (lengths in cm, fields in T, momenta in GeV, kappa = `units.CURVATURE`):

    dr/ds = t,   dt/ds = kappa (q/p) t x B(r),   d(q/p)/ds = (q/p) E (S_ion e^k + S_rad) / p^2

so that a positive muon in B_z > 0 turns towards decreasing phi.  `propagate` takes muons along known routes of
surfaces; each leg leaves a surface through its thin material and ends on the next one, before that one's material.  It
returns the states, the 5x5 Jacobian of every leg, its derivatives by field offsets, loss scales and field modes, and
its process noise; `compose` puts legs together; `surfaces_of` and `routes_of` bring detectors
and their crossings here.  Coordinates and frames: `propagation.states`.  Derived and tested in
docs/physics/propagation.md.
"""

from mucal.propagation.legs import Composed, Legs, StepConfig, compose, propagate
from mucal.propagation.routes import routes_of, surfaces_of
from mucal.propagation.states import (
    U_LOCAL,
    U_SLOPE,
    V_LOCAL,
    V_SLOPE,
    curvilinear_axes,
    curvilinear_states,
    free_states,
    local_by_curvilinear,
)
from mucal.propagation.status import TrackStatus
from mucal.propagation.surfaces import Surfaces, cylinders, join, planes, with_gaps
from mucal.propagation.walk import Routes, Terrain, find_routes, terrain

__all__ = [
    "U_LOCAL",
    "U_SLOPE",
    "V_LOCAL",
    "V_SLOPE",
    "Composed",
    "Legs",
    "Routes",
    "StepConfig",
    "Surfaces",
    "Terrain",
    "TrackStatus",
    "compose",
    "curvilinear_axes",
    "curvilinear_states",
    "cylinders",
    "find_routes",
    "free_states",
    "join",
    "local_by_curvilinear",
    "planes",
    "propagate",
    "routes_of",
    "surfaces_of",
    "terrain",
    "with_gaps",
]
