"""Muons through a telescope of silicon planes across x in a field along z, in Geant4.

    python geant4_telescope.py OUT.npz PLANES SPACING_CM THICKNESS_CM MOMENTUM_GEV TESLA N SEED

OUT holds `truth` (N, 2), lambda and phi of mu- that start at the origin, and `crossings` (N, PLANES, 2) cm: y and z
half-way through each plane, NaN for a plane that was not crossed.
"""

import sys

import numpy as np
from geant4_slab import KillSecondaries, MuonPhysics, g4


class Telescope(g4.G4VUserDetectorConstruction):
    def __init__(self, positions, thickness, tesla):
        super().__init__()
        self.positions, self.thickness, self.tesla = positions, thickness, tesla

    def Construct(self):
        nist = g4.G4NistManager.Instance()
        vacuum = nist.FindOrBuildMaterial("G4_Galactic")
        world = g4.G4LogicalVolume(g4.G4Box("world", 3 * g4.m, 1 * g4.m, 1 * g4.m), vacuum, "world")
        self.world = g4.G4PVPlacement(None, g4.G4ThreeVector(), world, "world", None, False, 0, False)
        box = g4.G4Box("plane", 0.5 * self.thickness * g4.cm, 90 * g4.cm, 90 * g4.cm)
        silicon = g4.G4LogicalVolume(box, nist.FindOrBuildMaterial("G4_Si"), "plane")
        self.planes = [
            g4.G4PVPlacement(None, g4.G4ThreeVector(x * g4.cm, 0, 0), silicon, "plane", world, False, i, False)
            for i, x in enumerate(self.positions)
        ]
        return self.world

    def ConstructSDandField(self):
        self.field = g4.G4UniformMagField(g4.G4ThreeVector(0, 0, self.tesla * g4.tesla))
        manager = g4.G4TransportationManager.GetTransportationManager().GetFieldManager()
        manager.SetDetectorField(self.field)
        manager.CreateChordFinder(self.field)
        manager.SetDeltaOneStep(1e-4 * g4.mm)
        manager.SetDeltaIntersection(1e-5 * g4.mm)


class Gun(g4.G4VUserPrimaryGeneratorAction):
    def __init__(self, momentum, truth):
        super().__init__()
        self.gun, self.truth, self.n = g4.G4ParticleGun(1), truth, 0
        muon = g4.G4ParticleTable.GetParticleTable().FindParticle("mu-")
        self.gun.SetParticleDefinition(muon)
        mass = muon.GetPDGMass()
        self.gun.SetParticleEnergy((momentum**2 + mass**2) ** 0.5 - mass)

    def GeneratePrimaries(self, event):
        lam, phi = self.truth[self.n]
        self.n += 1
        direction = (np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam))
        self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(*map(float, direction)))
        self.gun.GeneratePrimaryVertex(event)


class Record(g4.G4UserSteppingAction):
    def __init__(self, gun, crossings):
        super().__init__()
        self.gun, self.crossings = gun, crossings

    def UserSteppingAction(self, step):
        volume = step.GetTrack().GetVolume()
        if volume.GetName() != "plane":
            return
        cell = self.crossings[self.gun.n - 1, volume.GetCopyNo()]
        for point in (step.GetPreStepPoint(), step.GetPostStepPoint()):
            if point.GetStepStatus() == g4.G4StepStatus.fGeomBoundary:
                place = point.GetPosition()
                half = np.array([place.y, place.z]) / (2 * g4.cm)
                cell[:] = half if np.isnan(cell[0]) else cell + half
        leaves = step.GetPostStepPoint().GetStepStatus() == g4.G4StepStatus.fGeomBoundary
        if leaves and volume.GetCopyNo() == self.crossings.shape[1] - 1:
            step.GetTrack().SetTrackStatus(g4.G4TrackStatus.fStopAndKill)


class Actions(g4.G4VUserActionInitialization):
    def __init__(self, momentum, truth, crossings):
        super().__init__()
        self.momentum, self.truth, self.crossings = momentum, truth, crossings

    def Build(self):
        gun = Gun(self.momentum, self.truth)
        self.SetUserAction(gun)
        self.SetUserAction(KillSecondaries())
        self.SetUserAction(Record(gun, self.crossings))


def main(out, planes, spacing, thickness, momentum, tesla, n, seed):
    rng = np.random.default_rng(int(seed))
    truth = np.column_stack([rng.uniform(-0.2, 0.2, int(n)), rng.uniform(-0.1, 0.3, int(n))])
    crossings = np.full((int(n), int(planes), 2), np.nan)
    g4.G4Random.setTheSeed(int(seed))
    manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
    positions = float(spacing) * (np.arange(int(planes)) + 0.5)
    manager.SetUserInitialization(Telescope(positions.tolist(), float(thickness), float(tesla)))
    physics = g4.G4VModularPhysicsList()
    physics.RegisterPhysics(MuonPhysics())
    manager.SetUserInitialization(physics)
    manager.SetUserInitialization(Actions(float(momentum) * g4.GeV, truth, crossings))
    manager.Initialize()
    manager.BeamOn(int(n))
    np.savez(out, truth=truth, crossings=crossings)


if __name__ == "__main__":
    main(*sys.argv[1:])
