"""How fast muons are simulated to hits, navigation and file included, beside ACTS Fatras and the machine's dgemm."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mucal.detector import cms_like, cross
from mucal.propagation import free_states, terrain
from mucal.simulation import HitSimulation, MuonGeneration, MuonGun, fire, generate_muons, simulate_hits
from mucal.workflow.hits import load_hit_run, simulate_hit_files

N = 10_000
PAIRS = 50_000
ROUNDS = 5


def median_seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = clock()
        work()
        seconds.append(clock() - start)
    return float(np.median(seconds))


def dgemm_rate() -> float:
    """GFLOP/s of one core, as far as the libraries keep to one."""
    a = np.random.default_rng(1).normal(size=(1200, 1200))
    return 2 * 1200**3 / median_seconds(lambda: a @ a) / 1e9


@pytest.mark.benchmark
@pytest.mark.parametrize("process", ["jpsi", "z", "gun"])
def test_speed_of_hits(process):
    detector = cms_like()
    ground = terrain(detector)
    if process == "gun":
        muons = fire(MuonGun(pt=(10.0, 10.0)), N)
    else:
        muons = generate_muons(MuonGeneration(process=process), 160_000).select(slice(N))
    start = free_states(muons.state, muons.vertex)
    all_of_it = median_seconds(lambda: simulate_hits(muons, detector, ground=ground))
    helix = median_seconds(lambda: cross(ground.index, start[:, :3], start[:, 3:6], start[:, 6], 3.81, slack=0.1))
    simple = HitSimulation(straggling="none", scattering=False)
    walk = median_seconds(lambda: simulate_hits(muons, detector, simple, ground=ground))
    made = simulate_hits(muons, detector, ground=ground)
    half = simulate_hits(muons.select(slice(N // 2, None)), detector, ground=ground)
    later = made.hits.event >= muons.event[N // 2]
    assert np.array_equal(made.hits.select(later).u, half.hits.u)
    assert made.ledger.used == N
    gemm = dgemm_rate()
    print(
        f"\n{process}: {N / all_of_it:.3g} muons/s/core with {made.hits.module_id.size / N:.1f} hits; helix alone "
        f"{helix / all_of_it:.2f} and all without chance {walk / all_of_it:.2f} of the time; a muon takes "
        f"{all_of_it / N * gemm * 1e6:.0f} kflop of dgemm ({gemm:.1f} GFLOP/s)"
    )


@pytest.mark.benchmark
def test_hits_on_a_second_core(second_core):
    detector = cms_like()
    ground = terrain(detector)
    muons = generate_muons(MuonGeneration(process="jpsi"), 160_000).select(slice(N))
    one, two = (simulate_hits(muons, detector, ground=ground, n_threads=n).hits for n in (1, 2))
    assert np.array_equal(one.u, two.u)
    gain, limit = second_core(lambda n: simulate_hits(muons, detector, ground=ground, n_threads=n))
    print(f"\nhits of {N} muons: two threads are {gain:.2f} times as fast as one; numpy's exp {limit:.2f} times")


@pytest.mark.benchmark
def test_fatras_beside_it():
    acts = pytest.importorskip("acts", reason="pyacts is not installed: no Fatras to compare with")
    examples = pytest.importorskip("acts.examples.simulation", reason="this pyacts has no simulation")
    u = acts.UnitConstants
    detector = acts.examples.GenericDetector()
    field = acts.ConstantBField(acts.Vector3(0, 0, 3.8 * u.T))
    n = 5000

    def fatras() -> None:
        rnd = acts.examples.RandomNumbers(seed=1)
        sequencer = acts.examples.Sequencer(events=n, numThreads=1, trackFpes=False, logLevel=acts.logging.WARNING)
        examples.addParticleGun(
            sequencer, examples.MomentumConfig(10 * u.GeV, 10 * u.GeV, transverse=True),
            examples.EtaConfig(-2.4, 2.4), examples.ParticleConfig(1, acts.PdgParticle.eMuon), rnd=rnd,
        )  # fmt: skip
        examples.addFatras(sequencer, detector.trackingGeometry(), field, rnd=rnd)
        sequencer.run()

    start = time.process_time()
    fatras()
    theirs = n / (time.process_time() - start)
    ours_detector = cms_like()
    ground = terrain(ours_detector)
    muons = fire(MuonGun(pt=(10.0, 10.0)), N)
    ours = N / median_seconds(lambda: simulate_hits(muons, ours_detector, ground=ground))
    print(f"\nFatras {theirs:.3g} muons/s/core, ours {ours:.3g}: {ours / theirs:.1f} times as many")
    assert ours > theirs


@pytest.mark.benchmark
def test_pairs_to_a_file_on_two_cores(tmp_path: Path):
    run = load_hit_run(settings=(f"muons.events={PAIRS}",))
    simulate_hit_files(load_hit_run(settings=("muons.events=100",)), tmp_path / "warm.parquet")
    cpu, wall = time.process_time(), time.perf_counter()
    ledgers = simulate_hit_files(run, tmp_path / "pairs.parquet", jobs=2)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert ledgers["generate"].used == PAIRS
    size = (tmp_path / "pairs.parquet").stat().st_size / PAIRS
    print(
        f"\n{PAIRS} J/psi pairs generated, simulated, written and read back: {wall:.1f} s wall, {cpu:.1f} s of "
        f"processor time; 1e6 pairs: {wall * 1e6 / PAIRS / 60:.1f} min as it ran, "
        f"{cpu * 1e6 / PAIRS / 120:.1f} min on two free cores; "
        f"{size / 1e3:.2f} kB a pair"
    )
