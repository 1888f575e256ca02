"""Compilation ahead of a run: in a process of its own, ended with the run, and of no consequence if it fails."""

import subprocess
import sys

import numpy as np
import pytest

from mucal.detector import barrel
from mucal.globalcor import Family, Refit, accumulate, build_registry, solve
from mucal.globalcor.workers import divide
from mucal.massfit import BatchConfig, fill, fit_bins
from mucal.massfit.kernels.rows import fit_rows
from mucal.numerics.blocks.kernels import scatter
from mucal.refit import MassReference
from mucal.refit.kernels import pair
from mucal.simulation import DimuonSimulation, MuonGeneration, generate_dimuons, generate_muons, simulate_hits
from mucal.workflow import compilation
from mucal.workflow.bins import Bins
from mucal.workflow.compilation import compile_later_stages, compiling_ahead, made_up_pairs


def test_what_is_compiled_ahead_is_what_a_run_calls():
    compile_later_stages()
    compiled = {kernel: set(kernel.signatures) for kernel in (fit_rows, pair.fit_pairs, scatter)}
    assert all(compiled.values())
    pairs = generate_dimuons(DimuonSimulation(resonance="jpsi", seed=5), 20_000).dimuons
    fits = fit_bins(fill(pairs, Bins(eta_edges=(-2.4, 0.0, 2.4)).binning()), BatchConfig(min_events=200))
    assert fits.good.any()
    detector = barrel()
    registry = build_registry(detector, (Family(kind="eloss", by="group", min_entries=1),))
    refit = Refit(detector=detector, registry=registry, mass=MassReference.constant(3.09, 0.02))
    muons = generate_muons(MuonGeneration(process="jpsi", eta_max=0.8), 400)
    found, blocks = refit.pairs(simulate_hits(muons, detector).hits)
    assert found.vertex.ok.any()
    assert blocks is not None
    sums = accumulate(lambda chunk: blocks, divide(800, 800), registry)
    assert np.isfinite(solve(sums, registry).theta).all()
    assert {kernel: set(kernel.signatures) for kernel in compiled} == compiled


def test_made_up_hits_lie_on_the_modules_in_the_order_of_crossing():
    detector = barrel()
    hits, routes = made_up_pairs(detector)
    modules = detector.modules
    assert np.all(hits.n_hits > 5)
    assert np.array_equal(routes[routes >= 0], hits.module_id)
    assert np.all(np.abs(hits.u) < modules.half_u[hits.module_id].max(axis=1))
    radius = np.hypot(*modules.centre[hits.module_id, :2].T)
    apart = np.diff(radius)[np.diff(hits.track) == 0]
    assert np.all(apart > -2.0)  # sensors of one layer overlap


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes started in place of the compiling one: asleep."""
    found: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def asleep(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        assert command[1:] == ["-m", "mucal.workflow.compilation"]
        found.append(real([sys.executable, "-c", "import time; time.sleep(60)"]))
        return found[-1]

    monkeypatch.setattr(compilation.subprocess, "Popen", asleep)
    monkeypatch.setattr(compilation.os, "cpu_count", lambda: 2)
    return found


def test_the_process_ends_with_the_block_also_after_an_error(started):
    def fails() -> None:
        with compiling_ahead(wanted=True):
            assert started[0].poll() is None
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert started[0].poll() is not None


def test_no_process_is_started_where_none_is_wanted_or_there_is_one_core(started, monkeypatch):
    with compiling_ahead(wanted=False):
        pass
    monkeypatch.setattr(compilation.os, "cpu_count", lambda: 1)
    with compiling_ahead(wanted=True):
        pass
    assert not started
