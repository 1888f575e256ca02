"""Track parameters by name, and the kinematics of a muon pair.

A track state is (QOP, LAM, PHI, DXY, DSZ): signed inverse momentum in 1/GeV, dip angle and azimuth in rad, transverse
and longitudinal impact parameters in cm.  A pair holds its muons in the order PLUS, MINUS; everything per muon has
shape (N, 2).  Transverse curvature is k = 1/pT > 0 in 1/GeV, the signed one is q k.
"""

from mucal.track.dimuon import (
    MINUS,
    PLUS,
    Dimuons,
    angular_response,
    curvature_weights,
    invariant_mass,
    pair_kinematics,
)
from mucal.track.hits import Hits, HitsTruth
from mucal.track.parameters import DSZ, DXY, LAM, PHI, QOP

__all__ = [
    "DSZ",
    "DXY",
    "LAM",
    "MINUS",
    "PHI",
    "PLUS",
    "QOP",
    "Dimuons",
    "Hits",
    "HitsTruth",
    "angular_response",
    "curvature_weights",
    "invariant_mass",
    "pair_kinematics",
]
