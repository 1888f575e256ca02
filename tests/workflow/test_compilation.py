"""Compilation ahead of a run: in a process of its own, ended with the run, and of no consequence if it fails."""

import subprocess
import sys

import pytest

from mucal.massfit import BatchConfig, fill, fit_bins
from mucal.massfit.kernels.rows import fit_rows
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow import compilation
from mucal.workflow.bins import Bins
from mucal.workflow.compilation import compile_later_stages, compiling_ahead


def test_what_is_compiled_ahead_is_what_a_run_calls():
    compile_later_stages()
    compiled = set(fit_rows.signatures)
    pairs = generate_dimuons(DimuonSimulation(resonance="jpsi", seed=5), 20_000).dimuons
    fits = fit_bins(fill(pairs, Bins(eta_edges=(-2.4, 0.0, 2.4)).binning()), BatchConfig(min_events=200))
    assert fits.good.any()
    assert set(fit_rows.signatures) == compiled


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
