"""How fast dimuons and muons are generated, dimuons against numpy drawing the random numbers alone."""

import time

import numpy as np
import pytest

from mucal.numerics import uniform
from mucal.simulation import DimuonSimulation, MuonGeneration, generate_dimuons, generate_muons
from mucal.simulation.production import PROCESSES

N = 1_000_000


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["jpsi", "upsilon1s", "z"])
def test_generation_speed(name):
    config = DimuonSimulation(resonance=name)
    generate_dimuons(config, 10)
    ours, keys = [], []
    for _ in range(5):
        start = time.process_time()
        sample = generate_dimuons(config, N)
        ours.append(time.process_time() - start)
        start = time.process_time()
        for purpose in range(12):  # the random numbers alone, as many as an event needs
            uniform(1, f"{purpose}", np.arange(N))
        keys.append(time.process_time() - start)
    pieces = [generate_dimuons(config, N // 4, first_event=i * (N // 4)) for i in range(4)]
    assert np.array_equal(np.concatenate([piece.dimuons.pt for piece in pieces]), sample.dimuons.pt)
    assert 0.0 < len(sample) / N < 1.0
    seconds = float(np.median(ours))
    print(
        f"\n{name}: {N / seconds / 1e6:.2f} M generated/s/core, {len(sample) / seconds / 1e6:.2f} M accepted/s/core; "
        f"numpy needs {np.median(keys) / seconds:.2f} of that time for the random numbers alone"
    )


@pytest.mark.benchmark
@pytest.mark.parametrize("name", PROCESSES)
def test_speed_of_muons_at_birth(name):
    config = MuonGeneration(process=name)
    generate_muons(config, 10)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        muons = generate_muons(config, N)
        seconds.append(time.process_time() - start)
    part = generate_muons(config, 1000, first_event=5000)
    inside = (muons.event >= 5000) & (muons.event < 6000)
    assert np.array_equal(muons.state[inside], part.state)
    rate = len(muons) / float(np.median(seconds))
    print(f"\n{name}: {N / np.median(seconds) / 1e6:.2f} M events/s/core, {rate / 1e6:.2f} M accepted muons/s/core")
