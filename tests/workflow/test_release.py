"""What a run puts beside its calibration: attachments and evidence."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2

from mucal.calibration import Calibration
from mucal.io import write_bundle
from mucal.massfit import BatchConfig, Binning, MassFits, Status, fill, fit_bins
from mucal.scale import inflation_of
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow.description import describe
from mucal.workflow.release import dropped_bins, evidence_for, files_beside


@pytest.fixture(scope="module")
def fits() -> MassFits:
    """J/psi in bins of which some are too thin to be fitted."""
    binning = Binning(
        eta_edges=np.linspace(-2.4, 2.4, 5), pt_edges=np.array([4.0, 6.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 81)
    )
    return fit_bins(fill(generate_dimuons(DimuonSimulation(seed=6), 60_000).dimuons, binning), BatchConfig())


@pytest.fixture(scope="module")
def used(fits: MassFits) -> np.ndarray:
    """All good fits but the first one."""
    rows = np.flatnonzero(fits.good)[1:]
    return np.isin(np.arange(fits.histograms.n_bins), rows)


@pytest.fixture
def chain(fits: MassFits, used: np.ndarray) -> Any:
    """As much of a finished chain as a release looks at."""
    return SimpleNamespace(fits=fits, simulation=fits, residuals=SimpleNamespace(index=fits.histograms.index[used]))


def test_every_fit_is_used_or_dropped_under_its_status(fits: MassFits, used: np.ndarray):
    found = dropped_bins(fits, None, used)
    assert found["used"] == used.sum()
    assert sum(found["data"].values()) == fits.histograms.n_bins
    assert found["data"]["LOW_STATS"] > 0
    dropped = {tuple(index) for indices in found["dropped"].values() for index in indices}
    assert dropped == set(map(tuple, fits.histograms.index[~used].tolist()))
    assert found["dropped"]["OK"] == [fits.histograms.index[np.flatnonzero(fits.good)[0]].tolist()]
    for name, indices in found["dropped"].items():
        for index in indices:
            row = int(np.flatnonzero((fits.histograms.index == index).all(axis=1))[0])
            assert Status(int(fits.status[row])).name == name
    assert "simulation" not in found


def test_the_attachments_of_a_run(chain: Any, used: np.ndarray, tmp_path: Path):
    report = tmp_path / "report.html"
    report.write_text("<html>")
    found = files_beside(chain, None, report)
    assert set(found) == {"report.html", "fits.parquet"}
    table = pq.read_table(io.BytesIO(found["fits.parquet"]))
    assert table["in_fit"].to_pylist() == used.tolist()
    assert table["n_mc"].to_pylist() == table["n_events"].to_pylist()


def test_closures_state_their_equations_and_their_residual(cms_like: Calibration, chain: Any):
    assert cms_like.closure is not None
    # the fixture's table was not derived from its own masses: the closure finds whatever its random numbers are
    closure = replace(cms_like.closure, chi2=50.0, ndf=40)
    found = evidence_for(cms_like, chain, [closure])["closures"]
    against = inflation_of(cms_like.scale, [closure]).together
    assert set(found) == {"z"}
    assert found["z"]["equations"] == {"chi2": 50.0, "ndf": 40, "p_value": pytest.approx(chi2.sf(50.0, 40), rel=1e-10)}
    assert found["z"]["residual"]["ndf"] == 48
    assert found["z"]["residual"]["p_value"] == pytest.approx(against.p_value, rel=1e-12)
    assert found["z"]["factor"] == against.factor


def test_a_closure_without_errors_says_nothing_of_the_table(cms_like: Calibration, chain: Any, tmp_path: Path):
    assert cms_like.closure is not None
    closure = replace(cms_like.closure, cov=np.zeros_like(cms_like.closure.cov))
    evidence = evidence_for(cms_like, chain, [closure])
    assert evidence["closures"]["z"] == {
        "equations": {"chi2": 0.0, "ndf": 0, "p_value": None}, "residual": None, "factor": None,
    }  # fmt: skip
    lines = describe(write_bundle(cms_like, tmp_path / "release", evidence=evidence))[1]
    assert not any("closure with" in line for line in lines)


def test_a_closure_that_no_factor_explains_has_none(cms_like: Calibration, chain: Any, tmp_path: Path):
    assert cms_like.closure is not None
    # eta of the closure is that of the table; 50 of its errors off in a direction that the table is sure of
    sure = replace(cms_like, scale=replace(cms_like.scale, cov=np.zeros_like(cms_like.scale.cov)))
    closure = replace(cms_like.closure, A=cms_like.closure.A + 50 * 3e-5)
    evidence = evidence_for(sure, chain, [closure])
    assert evidence["closures"]["z"]["residual"]["p_value"] < 1e-10
    assert evidence["closures"]["z"]["factor"] is None
    lines = describe(write_bundle(cms_like, tmp_path / "release", evidence=evidence))[1]
    assert any("no factor on them explains it" in line for line in lines)
