"""Generated samples whose truth is known: muon pairs of J/psi, Upsilon(1S) and Z.

What is generated.  A state with its mass, a transverse momentum and a rapidity decays isotropically; one muon may
radiate, so that the bare pair has x = m^2/M^2 distributed as beta (1-x)^(beta-1) (1+x^2)/2; each muon's k = 1/pT is
smeared by a Gaussian of relative width sqrt(a + c pT^2 + b / (1 + d/pT^2)) at its true pT.  A distortion (A, e, M) is
then put in so that the *correction* (A1) of `scale` with the same A, e, M gives back the smeared k exactly: what is
injected and what `scale.derive` returns have the same sign and size.  Cuts act on the reconstructed muons.

Random numbers are keyed by (seed, purpose, event, muon), never drawn in sequence.
"""

from mucal.simulation.dimuons import (
    DimuonSimulation,
    SimulatedDimuons,
    generate_dimuons,
    nominal_resolution,
    stream_dimuons,
)
from mucal.simulation.patterns import PATTERNS, injected_table
from mucal.simulation.resonance import ParentSpectrum

__all__ = [
    "PATTERNS",
    "DimuonSimulation",
    "ParentSpectrum",
    "SimulatedDimuons",
    "generate_dimuons",
    "injected_table",
    "nominal_resolution",
    "stream_dimuons",
]
