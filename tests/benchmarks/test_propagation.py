"""Propagation through 18 layers with 5x5 Jacobians, field columns, losses and noise: tracks per second and core.

The machine's own rate (dgemm) and, if it is installed, ACTS's plain propagation to one plane are measured in the same
run; times are processor seconds of one thread, the least of several
rounds.  Every rate checks its answer; the goals are printed, as a shared machine moves them by tens of percent.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from mucal.detector.field import MagneticField, evaluate, harmonic_field, map_field_rz, map_field_xyz, uniform_field
from mucal.propagation import StepConfig, Surfaces, cylinders, free_states, planes, propagate

pytestmark = pytest.mark.benchmark

RADII = np.array([4.42, 7.31, 10.17, 17.6, 25.6, 34, 41.8, 49.8, 55, 60.8, 69.2, 78, 86.8, 96.5, 102, 105, 108, 112])
N = 1000
FLOPS = 58e3  # of a track through 18 layers with 8 columns


def seconds(work: Callable[[], object], rounds: int = 7, repeat: int = 20) -> float:
    work()
    best = np.inf
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(repeat):
            work()
        best = min(best, (time.process_time() - start) / repeat)
    return best


def muons() -> np.ndarray:
    rng = np.random.default_rng(2)
    pt, eta = rng.uniform(3, 60, N), rng.uniform(-0.9, 0.9, N)
    lam = np.arctan(np.sinh(eta))
    charge, phi = rng.choice([-1, 1], N), rng.uniform(-np.pi, np.pi, N)
    return free_states(np.column_stack([charge * np.cos(lam) / pt, lam, phi, 0 * phi, 0 * phi]), np.zeros(3))


def maps() -> dict[str, MagneticField]:
    truth = harmonic_field(r_max=220.0)
    r, x, z = np.linspace(0, 140, 29), np.linspace(-125, 125, 26), np.linspace(-290, 290, 59)
    plane = np.stack(np.meshgrid(r, [0.0], z, indexing="ij"), axis=-1)
    space = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1)
    b_plane = evaluate(truth, plane.reshape(-1, 3)).bfield.reshape(plane.shape)[:, 0]
    b_space = evaluate(truth, space.reshape(-1, 3)).bfield.reshape(space.shape)
    return {
        "map (r, z)": map_field_rz(r, z, b_plane[..., 0], b_plane[..., 2]),
        "map (x, y, z)": map_field_xyz(x, x, z, b_space),
    }


def crossed_planes(y: np.ndarray, x_over_x0: float, xi: float) -> tuple[Surfaces, np.ndarray]:
    """18 planes for every track, tilted by 0.1 rad, where it crosses the layers; and the routes."""
    points = propagate(harmonic_field(), cylinders(RADII), y, np.arange(18)).free[..., :3].reshape(-1, 3)
    phi = np.arctan2(points[:, 1], points[:, 0]) + 0.1
    w = np.column_stack([np.cos(phi), np.sin(phi), 0 * phi])
    z = np.broadcast_to([0.0, 0, 1], w.shape)
    axes = np.stack([np.cross(z, w), z, w], axis=1)
    surfaces = planes(points - 0.3 * axes[:, 0], axes, x_over_x0=x_over_x0, xi=xi)
    return surfaces, np.arange(18 * len(y)).reshape(-1, 18)


DGEMM = """
import time, numpy as np
a = np.random.default_rng(0).normal(size=(700, 700))
best = 9e9
for _ in range(30):
    start = time.process_time()
    a @ a
    best = min(best, time.process_time() - start)
print(2 * 700**3 / best)
"""


def dgemm_rate() -> float:
    """flop per second of one core, in a process of its own, for the number of threads is fixed at its start"""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return float(subprocess.run([sys.executable, "-c", DGEMM], env=alone, capture_output=True, check=True).stdout)


def acts_seconds() -> float:
    """One plain ACTS propagation, without covariance, to a plane at 112 cm in a uniform field."""
    acts = pytest.importorskip("acts")
    u = acts.UnitConstants
    geo, mag = acts.GeometryContext.dangerouslyDefaultConstruct(), acts.MagneticFieldContext()
    field = acts.ConstantBField(acts.Vector3(0, 0, 3.8 * u.T))
    stepper = acts.EigenVoidPropagator(acts.EigenStepper(field), acts.VoidNavigator())
    start = acts.BoundTrackParameters.createCurvilinear(
        acts.Vector4(0, 0, 0, 0), 0.0, 1.2, 1 / (10 * u.GeV), None, acts.ParticleHypothesis.muon
    )
    axes = acts.RotationMatrix3(acts.Vector3(0, 1, 0), acts.Vector3(0, 0, 1), acts.Vector3(1, 0, 0))
    plane = acts.Surface.createPlane(acts.Transform3(acts.Vector3(1120, 0, 0), axes), acts.RectangleBounds(1e4, 1e4))
    options = acts.PropagatorPlainOptions(geo, mag)
    return seconds(lambda: stepper.propagateToSurface(start, plane, options), repeat=2000)


def rate(magnet: MagneticField, surfaces: Surfaces, y: np.ndarray, route: np.ndarray) -> float:
    """Tracks per processor second; every track must arrive, and as the same with half the step."""
    legs = propagate(magnet, surfaces, y, route)
    assert (legs.status == 0).all()
    fine = propagate(magnet, surfaces, y, route, config=StepConfig(longest_step=2.0))
    assert np.abs(legs.free[..., :3] - fine.free[..., :3]).max() < 1e-6
    return N / seconds(lambda: propagate(magnet, surfaces, y, route))


def report(name: str, tracks: float, goal: float, dgemm: float) -> None:
    print(
        f"{name:28s} {tracks:7.0f} tracks/s/core, {tracks / goal:4.2f} of the goal, "
        f"{tracks * FLOPS / dgemm:5.1%} of dgemm"
    )


def test_tracks_through_18_cylinders(capsys: pytest.CaptureFixture[str]) -> None:
    y, route, dgemm = muons(), np.arange(18), dgemm_rate()
    rates = {
        f"{field}, {material}": rate(magnet, surfaces, y, route)
        for field, magnet in (("uniform", uniform_field(3.8)), ("harmonic", harmonic_field()))
        for material, surfaces in (
            ("no material", cylinders(RADII)),
            ("losses and noise", cylinders(RADII, x_over_x0=0.03, xi=4e-5)),
        )
    }
    with capsys.disabled():
        print(f"\n18 cylinders; dgemm {dgemm / 1e9:.1f} GFLOP/s")
        for name, tracks in rates.items():
            report(name, tracks, 1e5, dgemm)


def test_tracks_through_18_planes_and_a_field_map(capsys: pytest.CaptureFixture[str]) -> None:
    y, dgemm = muons(), dgemm_rate()
    surfaces, route = crossed_planes(y, 0.03, 4e-5)
    rates = {name: rate(magnet, surfaces, y, route) for name, magnet in maps().items()}
    with capsys.disabled():
        print(f"\n18 planes with losses and noise; dgemm {dgemm / 1e9:.1f} GFLOP/s")
        for name, tracks in rates.items():
            report(name, tracks, 5e4, dgemm)


def test_propagation_on_a_second_core(second_core, capsys: pytest.CaptureFixture[str]) -> None:
    y, magnet, surfaces = np.tile(muons(), (10, 1)), harmonic_field(), cylinders(RADII, x_over_x0=0.03, xi=4e-5)

    def work(n: int) -> np.ndarray:
        return propagate(magnet, surfaces, y, np.arange(18), config=StepConfig(n_threads=n)).transport

    assert np.array_equal(work(1), work(2))
    gain, limit = second_core(work)
    with capsys.disabled():
        print(f"\n18 cylinders, {len(y)} tracks: two threads are {gain:.2f} times as fast as one; exp {limit:.2f}")


def test_18_layers_with_jacobians_against_one_plain_acts_propagation(capsys: pytest.CaptureFixture[str]) -> None:
    acts = acts_seconds()
    y, route = muons(), np.arange(18)
    ours = rate(uniform_field(3.8), cylinders(RADII), y, route)
    with capsys.disabled():
        print(
            f"\nACTS, one plane, no Jacobian: {1 / acts:.0f} propagations/s; ours, 18 cylinders with Jacobians: "
            f"{ours:.0f} tracks/s, or {ours * 18 * acts:.1f} layers in the time of one ACTS propagation"
        )
