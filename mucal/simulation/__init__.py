"""Generated samples whose truth is known: muon pairs of quarkonia and of the Z, muons of the W.

Two generators.  `generate_muons` gives muons where they are born, for the simulation of hits; its kinematics and decays
are described in docs/physics/generators.md.  `generate_dimuons` gives pairs as a detector of known scale and resolution
sees them, without hits:

What is generated.  A state with its mass, a transverse momentum and a rapidity decays isotropically; one muon may
radiate, so that the bare pair has x = m^2/M^2 distributed as beta (1-x)^(beta-1) (1+x^2)/2; each muon's k = 1/pT is
smeared by a Gaussian of relative width sqrt(a + c pT^2 + b / (1 + d/pT^2)) at its true pT.  A distortion (A, e, M) is
then put in so that the *correction* (A1) of `scale` with the same A, e, M gives back the smeared k exactly: what is
injected and what `scale.derive` returns have the same sign and size.  Cuts act on the reconstructed muons.

`simulate_hits` takes generated muons through a detector and gives what it records of them, with the truth;
docs/physics/simulation.md says how.

Random numbers are keyed by (seed, purpose, event, muon), never drawn in sequence.
"""

from mucal.simulation.dimuons import (
    DimuonSimulation,
    SimulatedDimuons,
    generate_dimuons,
    nominal_resolution,
    stream_dimuons,
)
from mucal.simulation.distortion import (
    COHERENT,
    coherent_misalignment,
    random_misalignment,
    rigid_misalignment,
    scaled_material,
)
from mucal.simulation.generators import BeamSpot, MuonGeneration, generate_muons, stream_muons
from mucal.simulation.hits import HitSimulation, SimulatedHits, simulate_hits
from mucal.simulation.muons import GeneratedMuons
from mucal.simulation.patterns import PATTERNS, injected_table
from mucal.simulation.resonance import ParentSpectrum

__all__ = [
    "COHERENT",
    "PATTERNS",
    "BeamSpot",
    "DimuonSimulation",
    "GeneratedMuons",
    "HitSimulation",
    "MuonGeneration",
    "ParentSpectrum",
    "SimulatedDimuons",
    "SimulatedHits",
    "coherent_misalignment",
    "generate_dimuons",
    "generate_muons",
    "injected_table",
    "nominal_resolution",
    "random_misalignment",
    "rigid_misalignment",
    "scaled_material",
    "simulate_hits",
    "stream_dimuons",
    "stream_muons",
]
