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
from mucal.efficiency import EfficiencyModel, ScaleFactors, Surface
from mucal.io import write_bundle
from mucal.ledger import Ledger
from mucal.massfit import BatchConfig, Binning, MassFits, Status, fill, fit_bins, merge_thin
from mucal.scale import add_fitted_background, inflation_of
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.store import Provenance, sha256
from mucal.workflow.description import describe
from mucal.workflow.release import dropped_bins, efficiency_files, evidence_for, files_beside


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
    # simulation: the events of data with the background of their fits on top
    simulation = replace(fits, histograms=add_fitted_background(fits.histograms, fits))
    return SimpleNamespace(
        fits=fits, widths=fits, simulation=simulation, merging=merge_thin(fits.histograms, min_data=0.0),
        table=SimpleNamespace(provenance=Provenance(configuration={"analysis": {"seed": 3}})),
        residuals=SimpleNamespace(index=fits.histograms.index[used]),
    )  # fmt: skip


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
    np.testing.assert_allclose(table["n_mc"], table["n_events"], rtol=1e-12)


def test_the_table_counts_all_simulated_events_where_no_background_was_added(chain: Any, tmp_path: Path):
    report = tmp_path / "report.html"
    report.write_text("<html>")
    chain.table.provenance = Provenance(configuration={"analysis": {"add_background": False}})
    table = pq.read_table(io.BytesIO(files_beside(chain, None, report)["fits.parquet"]))
    np.testing.assert_array_equal(table["n_mc"], chain.simulation.histograms.n_events)


def test_the_table_of_a_run_knows_which_bins_were_merged(chain: Any, fits: MassFits, tmp_path: Path):
    report = tmp_path / "report.html"
    report.write_text("<html>")
    chain.merging = merge_thin(fits.histograms, min_data=1e9)
    table = pq.read_table(io.BytesIO(files_beside(chain, None, report)["fits.parquet"]))
    assert set(table["n_cells"].to_pylist()) > {1}


def test_attached_efficiencies_keep_where_they_come_from(tmp_path: Path):
    surface = Surface(
        eta_edges=np.array([-2.4, 2.4]), by_charge=False, pt_range=(26.0, 60.0), ut_range=(-np.inf, np.inf),
        degree_pt=1, degree_ut=0, coefficients=np.array([[[0.98, 0.0]]]), cov=1e-6 * np.eye(2)[None, None],
        chi2=np.zeros((1, 1)), ndf=np.zeros((1, 1)),
    )  # fmt: skip
    origin = Provenance(
        mucal="0.1", configuration={"smooth": {"degree_pt": 1}}, seed=5, inputs={"efficiencies.h5": "0" * 64},
        ledgers={"read": Ledger(read=3, used=2, rejected={"empty": 1})},
    )  # fmt: skip
    factors = ScaleFactors(step="idip", nominal=surface, eff_data=surface, eff_mc=surface).with_provenance(origin)
    model = EfficiencyModel(steps=(factors,)).with_provenance(origin)
    for result, name in ((factors, "idip.h5"), (model, "all.h5")):
        path = result.save(tmp_path / name)
        attached = tmp_path / f"attached_{name}"
        attached.write_bytes(efficiency_files(path)["efficiencies.h5"])
        found = EfficiencyModel.load(attached).provenance
        assert found == replace(origin, inputs={"efficiencies.h5": "0" * 64, str(path): sha256(path)})


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
