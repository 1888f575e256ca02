"""What the track meets: sensitive modules, passive material, and the magnetic field.

Conventions.  Global frame right-handed, z along the beam; cm, T, GeV, rad.  A module is a plane with the local axes
u (the precise coordinate), v, and w = u x v, the normal; `rotation` holds them as rows in the global frame, so that
local = rotation (global - centre).  The thickness of material is stated at normal incidence.
"""

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

__all__ = [
    "CARBON", "SILICON", "Medium", "additive_scattering_variance", "mean_loss", "most_probable_loss",
    "radiative_loss", "scattering_variance", "stopping_power", "straggling",
]  # fmt: skip
