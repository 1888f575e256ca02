"""Muons through a telescope of silicon planes, simulated and fitted by ACTS (pyacts): Fatras, Kalman, global chi2.

    python acts_telescope.py OUT.npz PLANES SPACING_CM THICKNESS_CM MOMENTUM_GEV TESLA N SEED [FITS]

FITS is a list of kalman and global_chi2, by default both; processor seconds of the sequence go to standard output.

OUT holds `kalman` and `global_chi2` (N, 13): event, (loc0, loc1, phi, theta, q/p) at the origin in mm and 1/GeV, their
variances, chi2, degrees of freedom; and `measured` (K, 4): event, x of the plane, loc0 and loc1 there, in mm.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import acts
import acts.examples
import numpy as np
from acts.examples.reconstruction import (
    SeedingAlgorithm,
    TrackSmearingSigmas,
    addGx2fTracks,
    addKalmanTracks,
    addSeeding,
)
from acts.examples.simulation import (
    EtaConfig,
    MomentumConfig,
    ParticleConfig,
    ParticleSelectorConfig,
    PhiConfig,
    addDigiParticleSelection,
    addDigitization,
    addFatras,
    addParticleGun,
)

u = acts.UnitConstants
SIGMAS = (0.01, 0.02)
"""mm, of loc0 (along -z) and loc1 (along y)."""


def digitisation(path):
    smearing = [{"index": i, "mean": 0.0, "stddev": s, "type": "Gauss"} for i, s in enumerate(SIGMAS)]
    header = {"format-version": 0, "value-identifier": "digitization-configuration"}
    entries = [{"volume": 0, "value": {"smearing": smearing}}]
    path.write_text(json.dumps({"acts-geometry-hierarchy-map": header, "entries": entries}))
    return path


FITS = {"kalman": "kf_tracks", "global_chi2": "gx2f_tracks"}


class Reader(acts.examples.IAlgorithm):
    """Keeps the tracks of the fits that have every measurement, and the measurements of the Kalman filter."""

    def __init__(self, planes, fits):
        acts.examples.IAlgorithm.__init__(self, "reader", acts.logging.WARNING)
        self.planes, self.geometry = planes, acts.GeometryContext.dangerouslyDefaultConstruct()
        self.tracks = {FITS[name]: [] for name in fits}
        self.measured, self.handles = [], {}
        for name in self.tracks:
            handle = acts.examples.ReadDataHandle(self, acts.examples.ConstTrackContainer, name)
            handle.initialize(name)
            self.handles[name] = handle

    def execute(self, context):
        for name, handle in self.handles.items():
            for track in handle(context.eventStore):
                if track.nMeasurements == self.planes:
                    self.keep(context.eventNumber, name, track)
        return acts.examples.ProcessCode.SUCCESS

    def keep(self, event, name, track):
        x, c = track.parameters, track.covariance
        self.tracks[name].append(
            [event, *(x[i] for i in range(5)), *(c[i, i] for i in range(5)), track.chi2, track.nDoF]
        )
        if name == "kf_tracks":
            for state in track.trackStatesReversed:
                if state.hasCalibrated:
                    place = state.referenceSurface.center(self.geometry)[0]
                    self.measured.append([event, place, *state.effectiveCalibrated])


def main(out, planes, spacing, thickness, momentum, tesla, n, seed, fits="kalman,global_chi2"):
    fits = [name for name in fits.split(",") if name]
    planes, p, mm = int(planes), float(momentum) * u.GeV, 10.0
    positions = [mm * float(spacing) * (i + 0.5) for i in range(planes)]
    detector = acts.examples.TelescopeDetector(
        bounds=[900, 900], positions=positions, stereos=[0] * planes, thickness=mm * float(thickness),
        rotDirection=acts.AxisDirection.AxisX,
    )  # fmt: skip
    geometry = detector.trackingGeometry()
    field = acts.ConstantBField(acts.Vector3(0, 0, float(tesla) * u.T))
    rnd = acts.examples.RandomNumbers(seed=int(seed))
    s = acts.examples.Sequencer(events=int(n), numThreads=1, trackFpes=False, logLevel=acts.logging.WARNING)
    addParticleGun(
        s, MomentumConfig(p, p, transverse=False), EtaConfig(-0.2, 0.2, uniform=True), PhiConfig(-0.1, 0.3),
        ParticleConfig(1, acts.PdgParticle.eMuon, randomizeCharge=False), rnd=rnd,
    )  # fmt: skip
    addFatras(s, geometry, field, rnd=rnd)
    with tempfile.TemporaryDirectory() as folder:
        addDigitization(s, geometry, field, digiConfigFile=digitisation(Path(folder) / "digi.json"), rnd=rnd)
    addDigiParticleSelection(s, ParticleSelectorConfig(measurements=(planes, None), removeNeutral=True))
    addSeeding(
        s, geometry, field, rnd=rnd, inputParticles="particles_generated",
        seedingAlgorithm=SeedingAlgorithm.TruthSmeared, particleHypothesis=acts.ParticleHypothesis.muon,
        initialSigmas=[u.mm, u.mm, 0.02, 0.02, 0.02 / u.GeV, u.ns], initialSigmaQoverPt=0.02 / u.GeV,
        initialVarInflation=[1e2] * 6,
        trackSmearingSigmas=TrackSmearingSigmas(*(0,) * len(TrackSmearingSigmas._fields)),
    )  # fmt: skip
    if "kalman" in fits:
        addKalmanTracks(s, geometry, field)
    if "global_chi2" in fits:
        addGx2fTracks(s, geometry, field, multipleScattering=True, energyLoss=True)
    reader = Reader(planes, fits)
    s.addAlgorithm(reader)
    start = time.process_time()
    s.run()
    print(f"seconds {time.process_time() - start}")
    np.savez(out, measured=np.array(reader.measured), **{name: np.array(reader.tracks[FITS[name]]) for name in fits})


if __name__ == "__main__":
    main(*sys.argv[1:])
