"""The command line as a script sees it: exit code, standard output, standard error."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mucal.cli import main
from mucal.io import write_dimuons
from mucal.simulation import DimuonSimulation, generate_dimuons

COLUMNS = """[input.columns]
run = "run"
lumi = "lumi"
event = "event"
pt = ["pt1", "pt2"]
eta = ["eta1", "eta2"]
phi = ["phi1", "phi2"]
charge = ["charge1", "charge2"]
"""
SMALL = """[bins]
eta_edges = [-2.4, -0.8, 0.8, 2.4]
pt_edges = [4.0, 6.0, 25.0]
mass_window = [2.9, 3.3]
mass_bins = 40
[massfit]
min_events = 200
[scale]
free = ["A"]
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def mucal(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run one command line."""

    def run(*arguments: object) -> Ended:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 000 generated J/psi in a Parquet file."""
    path = tmp_path_factory.mktemp("events") / "jpsi.parquet"
    return write_dimuons(path, generate_dimuons(DimuonSimulation(seed=5), 250_000).dimuons.select(slice(40_000)))


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that reads such files and fits few bins."""
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(COLUMNS + SMALL)
    return path


@pytest.fixture(scope="session")
def closure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small built-in closure of dimuons."""
    out = tmp_path_factory.mktemp("closure") / "run"
    assert main(["run", "--dimuons", "-o", str(out), *FEW]) == 0
    return out


EDGES = np.linspace(-2.4, 2.4, 7).round(1).tolist()
FEW = [
    word
    for setting in (
        "generate.data=300_000", "generate.simulation=300_000", f"bins.eta_edges={EDGES}",
        "bins.pt_edges=[4.0, 5.5, 8.0, 25.0]", "spectra.0.events=20_000",
    )
    for word in ("--set", setting)
]  # fmt: skip
