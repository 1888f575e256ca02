"""What the track meets: sensitive modules, passive material, and the magnetic field.

Conventions.  Global frame right-handed, z along the beam; cm, T, GeV, rad.  A module is a plane with the local axes
u (the precise coordinate), v, and w = u x v, the normal; `rotation` holds them as rows in the global frame, so that
local = rotation (global - centre).  The thickness of material is stated at normal incidence.  Modules and passive
surfaces together are *elements*: numbers 0 .. M-1 are the modules, M .. M+P-1 the passive surfaces.
"""

from mucal.detector.alignment import displaced
from mucal.detector.barrel import barrel
from mucal.detector.built_in import BUILT_IN
from mucal.detector.cms_like import cms_like
from mucal.detector.material import (
    CARBON,
    SILICON,
    Medium,
    additive_scattering_variance,
    mean_loss,
    most_probable_loss,
    radiative_loss,
    scattering_variance,
    stopping_power,
    straggling,
)
from mucal.detector.measurement import (
    ALIGNMENT,
    alignment_derivatives,
    local_slopes,
    predict,
    to_global,
    to_local,
)
from mucal.detector.navigation import Crossings, NavigationIndex, NavigationStatus, cross, navigation_index
from mucal.detector.overlaps import find_overlaps, require_no_overlaps, unhit_modules
from mucal.detector.survey import Survey, survey
from mucal.detector.table import CYLINDER, DISC, PIXEL, STRIP, Detector, Modules, Passive

__all__ = [
    "ALIGNMENT", "BUILT_IN", "CARBON", "CYLINDER", "DISC", "PIXEL", "SILICON", "STRIP", "Crossings", "Detector",
    "Medium", "Modules", "NavigationIndex", "NavigationStatus", "Passive", "Survey", "additive_scattering_variance",
    "alignment_derivatives", "barrel", "cms_like", "cross", "displaced", "find_overlaps", "local_slopes", "mean_loss",
    "most_probable_loss", "navigation_index", "predict", "radiative_loss", "require_no_overlaps",
    "scattering_variance", "stopping_power", "straggling", "survey", "to_global", "to_local", "unhit_modules",
]  # fmt: skip
