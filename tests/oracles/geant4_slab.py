"""Muons through one slab in Geant4: prints energy losses (MeV) and projected angles (rad) as JSON.

    python geant4_slab.py MATERIAL THICKNESS_CM MOMENTUM_GEV N SEED

Only muons are followed: secondaries are killed where they are born, so no electromagnetic data libraries are needed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

# the import asks where these libraries are; muons do not need them, an empty directory does
_NOWHERE = Path(tempfile.mkdtemp())
(_NOWHERE / "ENSDFSTATE.dat").touch()
for _name in (
    "ENSDFSTATE", "LE", "LEVELGAMMA", "RADIOACTIVE", "PARTICLEXS", "PII", "REALSURFACE", "SAIDXS", "ABLA", "INCL",
    "NEUTRONHP", "CHANNELING", "URRPT", "PROTONHP", "NUDEXLIB",
):  # fmt: skip
    os.environ[f"G4{_name}DATA"] = str(_NOWHERE)

import geant4_pybind as g4  # noqa: E402


class MuonPhysics(g4.G4VPhysicsConstructor):
    """Standard electromagnetic physics for muons, transportation alone for everything else."""

    def ConstructParticle(self):
        g4.G4EmStandardPhysics_option1().ConstructParticle()
        g4.G4GenericIon.GenericIonDefinition()

    def ConstructProcess(self):
        g4.G4EmStandardPhysics_option1().ConstructProcess()
        table = g4.G4ParticleTable.GetParticleTable()
        for name in ("gamma", "e-", "e+", "pi+", "pi-", "kaon+", "kaon-", "proton", "anti_proton", "deuteron", "triton",
                     "alpha", "He3", "GenericIon"):  # fmt: skip
            particle = table.FindParticle(name)
            if particle is None:
                continue
            manager = particle.GetProcessManager()
            processes = manager.GetProcessList()
            for process in list(processes):
                if process.GetProcessName() != "Transportation":
                    manager.RemoveProcess(process)


class Slab(g4.G4VUserDetectorConstruction):
    def __init__(self, material, thickness):
        super().__init__()
        self.material, self.thickness = material, thickness

    def Construct(self):
        nist = g4.G4NistManager.Instance()
        world = g4.G4Box("world", 1 * g4.m, 1 * g4.m, 1 * g4.m)
        vacuum = nist.FindOrBuildMaterial("G4_Galactic")
        world_volume = g4.G4LogicalVolume(world, vacuum, "world")
        placed = g4.G4PVPlacement(None, g4.G4ThreeVector(), world_volume, "world", None, False, 0, False)
        box = g4.G4Box("slab", 50 * g4.cm, 50 * g4.cm, self.thickness / 2)
        volume = g4.G4LogicalVolume(box, nist.FindOrBuildMaterial(self.material), "slab")
        self.place = g4.G4PVPlacement(None, g4.G4ThreeVector(), volume, "slab", world_volume, False, 0, False)
        return placed


class Gun(g4.G4VUserPrimaryGeneratorAction):
    def __init__(self, momentum):
        super().__init__()
        self.gun = g4.G4ParticleGun(1)
        muon = g4.G4ParticleTable.GetParticleTable().FindParticle("mu-")
        self.gun.SetParticleDefinition(muon)
        self.energy = (momentum**2 + muon.GetPDGMass() ** 2) ** 0.5 - muon.GetPDGMass()
        self.gun.SetParticleEnergy(self.energy)
        self.gun.SetParticlePosition(g4.G4ThreeVector(0, 0, -90 * g4.cm))
        self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(0, 0, 1))

    def GeneratePrimaries(self, event):
        self.gun.GeneratePrimaryVertex(event)


class KillSecondaries(g4.G4UserStackingAction):
    def ClassifyNewTrack(self, track):
        return g4.G4ClassificationOfNewTrack.fKill if track.GetParentID() else g4.G4ClassificationOfNewTrack.fUrgent


class Record(g4.G4UserSteppingAction):
    def __init__(self, start, losses, angles):
        super().__init__()
        self.start, self.losses, self.angles = start, losses, angles

    def UserSteppingAction(self, step):
        if step.GetTrack().GetVolume().GetName() != "slab":
            return
        point = step.GetPostStepPoint()
        if point.GetStepStatus() == g4.G4StepStatus.fGeomBoundary:
            direction = point.GetMomentumDirection()
            self.losses.append((self.start - point.GetKineticEnergy()) / g4.MeV)
            self.angles.append([direction.x / direction.z, direction.y / direction.z])
            step.GetTrack().SetTrackStatus(g4.G4TrackStatus.fStopAndKill)


class Actions(g4.G4VUserActionInitialization):
    def __init__(self, momentum, losses, angles):
        super().__init__()
        self.momentum, self.losses, self.angles = momentum, losses, angles

    def Build(self):
        gun = Gun(self.momentum)
        self.SetUserAction(gun)
        self.SetUserAction(KillSecondaries())
        self.SetUserAction(Record(gun.energy, self.losses, self.angles))


def main(material, thickness_cm, momentum_gev, n, seed):
    losses, angles = [], []
    g4.G4Random.setTheSeed(int(seed))
    manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
    manager.SetUserInitialization(Slab(material, float(thickness_cm) * g4.cm))
    physics = g4.G4VModularPhysicsList()
    physics.RegisterPhysics(MuonPhysics())
    manager.SetUserInitialization(physics)
    manager.SetUserInitialization(Actions(float(momentum_gev) * g4.GeV, losses, angles))
    manager.Initialize()
    manager.BeamOn(int(n))
    print("RESULT" + json.dumps({"losses": losses, "angles": angles}))


if __name__ == "__main__":
    main(*sys.argv[1:])
