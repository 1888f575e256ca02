"""A calibration applied: simulation is varied about its smeared momenta, and no nuisance is dropped without a word."""

from pathlib import Path

import numpy as np
import pytest

from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.errors import ConfigError
from mucal.scale import ResolutionTable, ScaleTable
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow import Event, apply, load_analysis
from mucal.workflow.application import columns, expand

EDGES = np.array([-2.4, 0.0, 2.4])


def resolution(a: float, error: float) -> ResolutionTable:
    zero = np.zeros(2)
    cov = np.zeros((6, 6))
    cov[[0, 1], [0, 1]] = error**2
    return ResolutionTable(eta_edges=EDGES, a=np.full(2, a), b=zero, c=zero, d=np.full(2, 100.0), cov=cov)


@pytest.fixture
def calibration() -> Calibration:
    """Data resolve 2 percent, simulation 1 percent; the scale is known to 1e-4."""
    table = ScaleTable(
        eta_edges=EDGES, A=np.full(2, 1e-3), e=np.zeros(2), M=np.zeros(2), cov=np.diag([1e-8, 1e-8, 0, 0, 0, 0]),
        pt_range=(4.0, 25.0), resonance="jpsi",
    )  # fmt: skip
    config = CalibrationConfig(pt_definition="generated")
    return assemble(table, resolution(4e-4, 1e-5), resolution(1e-4, 1e-5), config)


def simulated():
    return generate_dimuons(DimuonSimulation(seed=5), 20_000).dimuons


def test_scale_variations_of_smeared_simulation_are_as_large_as_the_variation(calibration):
    names = calibration.nuisances("scale")
    table = columns(calibration, simulated(), "mc", names)
    assert np.nanstd(table["ptcorr1"] / table["pt1"]) > 0.01
    for name in names:
        A, e, M = np.abs(calibration.variation(name)).max(axis=1)
        largest = A + e / 3.0 + 30.0 * M  # smeared momenta lie inside the range of 4 to 25 GeV
        for i in (1, 2):
            shift = table[f"ptcorr{i}_{name}_up"] / table[f"ptcorr{i}"] - 1.0
            assert np.isfinite(shift).any()
            assert np.nanmax(np.abs(shift)) < 1.01 * largest


def test_scale_variations_are_nan_where_smearing_left_the_range(calibration):
    name = calibration.nuisances("scale")[0]
    table = columns(calibration, simulated(), "mc", (name,))
    nominal = table["ptcorr1"]
    outside = ~((nominal >= calibration.pt_range[0]) & (nominal < calibration.pt_range[1]))
    assert (np.isfinite(nominal) & outside).any()
    np.testing.assert_array_equal(np.isnan(table[f"ptcorr1_{name}_up"]), outside)


SMALL = load_analysis(settings=("generate.data=2000",), preset="dimuons")


def test_a_resolution_nuisance_named_for_data_is_refused(calibration, tmp_path: Path):
    name = calibration.nuisances("resolution")[0]
    with pytest.raises(ConfigError, match="data are not smeared") as error:
        apply(calibration, SMALL, tmp_path / "x.parquet", nuisances=(name,))
    assert error.value.kind == "usage.not_smeared"
    assert not (tmp_path / "x.parquet").exists()


def test_resolution_nuisances_of_a_group_are_left_out_for_data_and_told(calibration, tmp_path: Path):
    told: list[Event] = []
    n = len(calibration.nuisances("resolution"))
    apply(calibration, SMALL, tmp_path / "x.parquet", nuisances=("resolution",), tell=told.append)
    assert any(f"{n} nuisances of the resolution are left out" in event.text for event in told)


def test_a_weight_is_no_momentum(cms_like):
    with pytest.raises(ConfigError, match="is a weight by pixel hits"):
        expand(cms_like, ("pixel_mult",))
    assert len(expand(cms_like, ("scale",))) == 193
