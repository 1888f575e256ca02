"""The components of a track state, by name: ``state[:, QOP]``, never ``state[:, 0]``."""

from typing import Final

QOP: Final = 0
"""Charge over momentum, 1/GeV."""
LAM: Final = 1
"""Dip angle, pi/2 - theta, rad."""
PHI: Final = 2
"""Azimuth of the momentum, rad."""
DXY: Final = 3
"""Transverse impact parameter, cm."""
DSZ: Final = 4
"""Longitudinal impact parameter in the track's s-z plane, cm."""
