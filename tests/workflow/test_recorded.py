"""The analyses of docs/examples on recorded collisions: the bias is found, corrected, and gone on other events."""

import json
from pathlib import Path

import numpy as np
import pytest

from mucal.cli import main
from mucal.massfit import SpectrumFit
from mucal.scale import ScaleTable, coherent_shift
from mucal.workflow import load_run

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def jpsi(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished("cms2010_jpsi", recorded / "cms2010_dimuon_100k_rec700.h5", tmp_path_factory)


@pytest.fixture(scope="module")
def z_2010(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished("cms2010_z", recorded / "cms2010_dimuon_100k_rec700.h5", tmp_path_factory)


@pytest.fixture(scope="module")
def z(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished("cms2011_z", recorded / "cms2011_zmumu_rec5208.csv.gz", tmp_path_factory)


def finished(example: str, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(example) / "run"
    assert main(["run", "--config", str(EXAMPLES / f"{example}.toml"), str(file), "-o", str(out)]) == 0
    return out


def test_jpsi_2010_the_bias_is_there_and_grows_with_eta(jpsi: Path):
    table = ScaleTable.load(jpsi / "scale.h5")
    half = slice(table.n_bins // 2, None)
    A, error = table.A[half], np.sqrt(np.diag(table.cov))[: table.n_bins][half]
    assert np.all(A < 0)
    # outside the barrel against inside: uncorrelated to a few percent
    outer, weight = A[1:], 1 / error[1:] ** 2
    mean = np.sum(weight * outer) / weight.sum()
    assert mean < -3 * weight.sum() ** -0.5
    assert mean < A[0]


def test_jpsi_2010_is_flat_afterwards_on_events_not_used(jpsi: Path):
    (points,) = load_run(jpsi).shifts.series
    assert points.p_before < 0.01
    assert points.p_after > 0.05


def test_jpsi_2010_spectra_are_described_and_move_to_the_reference(jpsi: Path):
    before, after = (SpectrumFit.load(jpsi / f"spectra/0_{when}.h5") for when in ("before", "after"))
    for fit in (before, after):
        assert fit.good
        assert fit.quality.p_value > 0.01
    assert before.masses[0] < before.reference[0] - 2 * before.mass_errors[0]
    # the table's own error enters twice the muons' scale: 3e-4 of the mass
    table_error = 3e-4 * after.reference[0]
    assert abs(after.masses[0] - after.reference[0]) < 3 * np.hypot(after.mass_errors[0], table_error)


def test_jpsi_2010_leaves_tables_bundle_and_page(jpsi: Path):
    ended = json.loads((jpsi / "result.json").read_text())
    assert ended["status"] == "ok"
    assert all((jpsi / name).exists() for name in ended["files"])
    page = (jpsi / "report.html").read_text()
    assert "read 100 000 events = used 25 293" in page


def test_z_2011_agrees_with_zero_after_its_own_correction(z: Path):
    run = load_run(z)
    (points,) = run.shifts.series
    assert points.p_after > 0.01
    assert run.table.chi2 < run.table.ndf + 4 * np.sqrt(2 * run.table.ndf)


def test_scales_from_jpsi_2010_and_z_2011_agree(jpsi: Path, z: Path):
    # two years and two momenta: A alone stands for both, what differs beyond the errors would be e or M
    tables = [ScaleTable.load(path / "scale.h5") for path in (jpsi, z)]
    found = [coherent_shift(table, [40.0]) for table in tables]
    for name, shift in zip(("J/psi 2010", "Z 2011"), found, strict=True):
        print(f"{name}: eta average of A = {1e3 * shift.even[0]:+.3f} +- {1e3 * shift.even_error[0]:.3f} (1e-3)")
    difference = found[0].even[0] - found[1].even[0]
    assert abs(difference) < 3 * np.hypot(found[0].even_error[0], found[1].even_error[0])


def test_scales_from_jpsi_and_z_of_the_same_data_agree(jpsi: Path, z_2010: Path):
    tables = [ScaleTable.load(path / "scale.h5") for path in (jpsi, z_2010)]
    for eta in (0.5, 1.7):
        (a, b), (da, db) = zip(*(_at(table, eta) for table in tables), strict=True)
        print(f"|eta| = {eta}: A from J/psi {1e3 * a:+.2f} +- {1e3 * da:.2f}, from Z {1e3 * b:+.2f} +- {1e3 * db:.2f}")
        assert abs(a - b) < 3 * np.hypot(da, db)


def test_the_z_of_the_same_data_close_with_the_table_of_jpsi(jpsi: Path):
    (z,) = load_run(jpsi).closing
    print(f"Z with the table of J/psi: {1e3 * z.shift[1]:+.2f} +- {1e3 * z.total_error[1]:.2f} (1e-3)")
    assert z.pairs > 400
    assert abs(z.shift[1]) < 3 * z.total_error[1]
    assert z.total_error[1] < 3e-3
    assert "Closure: Z against J/ψ" in (jpsi / "report.html").read_text()


def _at(table: ScaleTable, eta: float) -> tuple[float, float]:
    i = int(table.bin_index(np.array([eta]))[0])
    return float(table.A[i]), float(np.sqrt(table.cov[i, i]))
