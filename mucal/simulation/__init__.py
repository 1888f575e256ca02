"""Generated samples whose truth is known: muon pairs of quarkonia and of the Z, muons of the W.

Three generators.  `generate_muons` gives muons where they are born, for the simulation of hits; its kinematics and
decays are described in docs/physics/generators.md.  `fire` gives single muons, spread evenly.  `generate_dimuons` gives
pairs as a detector of known scale and resolution sees them, without hits:

What is generated.  A state with its mass, a transverse momentum and a rapidity decays isotropically; one muon may
radiate, so that the bare pair has x = m^2/M^2 distributed as beta (1-x)^(beta-1) (1+x^2)/2; each muon's k = 1/pT is
smeared by a Gaussian of relative width sqrt(a + c pT^2 + b / (1 + d/pT^2)) at its true pT.  A distortion (A, e, M) is
then put in so that the *correction* (A1) of `scale` with the same A, e, M gives back the smeared k exactly: what is
injected and what `scale.derive` returns have the same sign and size.  Cuts act on the reconstructed muons.

`simulate_hits` takes generated muons through a detector and gives what it records of them, with the truth;
docs/physics/simulation.md says how.  `distorted` makes the true detector out of the assumed one.

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
    distorted_field,
    random_misalignment,
    rigid_misalignment,
    scaled_material,
    structure_misalignment,
)
from mucal.simulation.distortions import (
    CoherentMisalignment,
    Distortion,
    RandomMisalignment,
    RigidMisalignment,
    distorted,
    misalignment,
)
from mucal.simulation.generators import BeamSpot, MuonGeneration, generate_muons, stream_muons
from mucal.simulation.gun import MuonGun, fire, stream_gun
from mucal.simulation.hits import HitSimulation, SimulatedHits, simulate_hits
from mucal.simulation.muons import GeneratedMuons
from mucal.simulation.patterns import PATTERNS, injected_table
from mucal.simulation.resonance import ParentSpectrum

__all__ = [
    "COHERENT",
    "PATTERNS",
    "BeamSpot",
    "CoherentMisalignment",
    "DimuonSimulation",
    "Distortion",
    "GeneratedMuons",
    "HitSimulation",
    "MuonGeneration",
    "MuonGun",
    "ParentSpectrum",
    "RandomMisalignment",
    "RigidMisalignment",
    "SimulatedDimuons",
    "SimulatedHits",
    "coherent_misalignment",
    "distorted",
    "distorted_field",
    "fire",
    "generate_dimuons",
    "generate_muons",
    "injected_table",
    "misalignment",
    "nominal_resolution",
    "random_misalignment",
    "rigid_misalignment",
    "scaled_material",
    "simulate_hits",
    "stream_dimuons",
    "stream_gun",
    "stream_muons",
    "structure_misalignment",
]
