"""The unit system: GeV, cm, tesla, radian.  A foreign quantity is converted once, in `io`, as ``value * MeV``."""

from typing import Final

GeV: Final = 1.0
MeV: Final = 1e-3
keV: Final = 1e-6
TeV: Final = 1e3

cm: Final = 1.0
mm: Final = 0.1
um: Final = 1e-4
m: Final = 100.0

T: Final = 1.0
kGauss: Final = 0.1

rad: Final = 1.0
mrad: Final = 1e-3

SPEED_OF_LIGHT: Final = 299_792_458.0
"""m/s, exact (SI)."""

CURVATURE: Final = SPEED_OF_LIGHT * 1e-9 / m
"""GeV / (T cm) per elementary charge: pT = CURVATURE * B * R, so pT [GeV] = 0.00299792458 * B [T] * R [cm]."""

MUON_MASS: Final = 0.1056583755
"""GeV, +- 2.3e-9 (PDG 2024 to 2026, CODATA 2018)."""
