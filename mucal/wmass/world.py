"""Masses of the W from collider experiments, and what the electroweak fit expects; MeV."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMass:
    """One measurement.

    name        : as figures write it
    mass, error : MeV
    source      : where it was published
    """

    name: str
    mass: float
    error: float
    source: str


EXPECTED: Final = WorldMass(
    name="electroweak fit", mass=80353.0, error=6.0, source="Review of Particle Physics 2024, electroweak model",
)  # fmt: skip
MEASURED: Final = (
    WorldMass(name="LEP", mass=80376.0, error=33.0, source="Phys. Rept. 532 (2013) 119"),
    WorldMass(name="D0", mass=80375.0, error=23.0, source="Phys. Rev. Lett. 108 (2012) 151804"),
    WorldMass(name="CDF", mass=80433.5, error=9.4, source="Science 376 (2022) 170"),
    WorldMass(name="LHCb", mass=80354.0, error=32.0, source="JHEP 01 (2022) 036"),
    WorldMass(name="ATLAS", mass=80366.5, error=15.9, source="Eur. Phys. J. C 84 (2024) 1309"),
    WorldMass(name="CMS", mass=80360.2, error=9.9, source="Nature 652 (2026) 321, arXiv:2412.13872"),
)
