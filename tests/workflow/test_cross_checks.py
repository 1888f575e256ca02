"""The model "morphing" in a run, the one-step table and the watch over directions: beside the table, never in it."""

from pathlib import Path

import numpy as np
import pytest

from mucal.cli.program import main
from mucal.errors import ConfigError
from mucal.massfit import MassFits
from mucal.scale import AngularBiases, ScaleTable
from mucal.scale.angles import PARAMETERS, PRIORS
from mucal.workflow import load_analysis, load_run, run
from mucal.workflow.bins import Bins
from mucal.workflow.config import Analysis
from mucal.workflow.simulated_spectra import FINER, fine_binning

SETTINGS = (
    "generate.data=100_000", "generate.simulation=200_000", "bins.eta_edges=[-2.4, -0.8, 0.8, 2.4]",
    "bins.pt_edges=[4.0, 6.5, 25.0]", "spectra.0.events=5_000", "massfit.min_events=200", "analysis.passes=1",
    "analysis.derive_fraction=1.0", "bins.min_data=300", "bins.min_simulation=300",
)  # fmt: skip


def analysis(*settings: str) -> Analysis:
    return load_analysis(settings=(*SETTINGS, *settings), preset="dimuons")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checked") / "out"
    run(analysis("cross_checks.one_step=true", "cross_checks.angles=true"), out)
    return out


@pytest.fixture(scope="module")
def by_spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("morphing") / "out"
    run(analysis("massfit.model='morphing'"), out)
    return out


def apart(one: ScaleTable, other: ScaleTable) -> float:
    """rms difference in units of the errors of the second."""
    return float(np.sqrt(np.mean((one.parameters - other.parameters) ** 2 / np.diag(other.cov))))


def test_the_one_step_table_agrees_with_that_of_the_bins(checked: Path):
    # the same events; 0.11 of an error on 4e5 pairs (docs/physics/scale.md), more where bins hold fewer
    one_step, table = ScaleTable.load(checked / "one_step.h5"), ScaleTable.load(checked / "scale.h5")
    assert 0.0 < apart(one_step, table) < 0.3
    np.testing.assert_allclose(np.sqrt(np.diag(one_step.cov) / np.diag(table.cov)), 1.0, atol=0.15)


def test_another_reference_mass_moves_the_tables_of_simulated_spectra_too(
    checked: Path, by_spectra: Path, tmp_path: Path
):
    mass = float(3.0969 * np.exp(1e-4))
    reference = (f"reference.jpsi.mass={mass!r}", "reference.jpsi.uncertainty=6e-6", "reference.jpsi.unit='GeV'",
                 "reference.jpsi.edition=2026")  # fmt: skip
    run(analysis("massfit.model='morphing'", "cross_checks.one_step=true", *reference), tmp_path / "out")
    for name, plain in (("scale.h5", by_spectra), ("one_step.h5", checked)):
        moved, before = ScaleTable.load(tmp_path / "out" / name), ScaleTable.load(plain / name)
        np.testing.assert_allclose(moved.A - before.A, -1e-4 / 0.995, atol=3e-6)
        assert moved.chi2 == pytest.approx(before.chi2, rel=1e-3)
    assert MassFits.load(tmp_path / "out/massfit.h5").reference_mass == mass


def test_unbiased_directions_ask_for_nothing(checked: Path):
    angles = AngularBiases.load(checked / "angles.h5")
    assert angles.p_value > 1e-3
    assert angles.n_angular > 3
    shown = angles.error[3:] < 0.5 * np.array([PRIORS[name] for name in PARAMETERS[3:]])[:, None]
    assert np.max(np.abs(angles.values[3:] / angles.error[3:])[shown]) < 4.5
    # momenta were corrected with the table before: A, e and M are zero within their errors
    assert np.max(np.abs(angles.plain / angles.error[:3])) < 4.0


def test_the_checks_stand_on_the_page_and_in_the_summary(checked: Path):
    page = (checked / "report.html").read_text(encoding="utf-8")
    assert "Cross-checks" in page
    assert "no scale of a bin in between" in page
    assert "split by the sign of φ⁺ − φ⁻" in page
    assert not load_run(checked).notes


def test_the_checks_change_nothing_of_the_calibration(checked: Path, tmp_path: Path):
    run(analysis(), tmp_path / "out")
    for name in ("A", "e", "M", "cov"):
        plain, beside = (getattr(ScaleTable.load(out / "scale.h5"), name) for out in (tmp_path / "out", checked))
        np.testing.assert_array_equal(plain, beside)
    assert not (tmp_path / "out/one_step.h5").exists()
    assert "Cross-checks" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_a_run_with_simulated_spectra_recovers_what_was_injected(by_spectra: Path, checked: Path):
    found = load_run(by_spectra)
    assert found.recovery is not None
    assert found.recovery.p_value > 0.01
    assert found.fits.model == "morphing"
    assert found.simulation is None
    assert 0.0 < apart(found.table, ScaleTable.load(checked / "scale.h5")) < 0.3


def test_its_resolution_is_that_of_the_formula(by_spectra: Path, checked: Path):
    mine, theirs = load_run(by_spectra).resolution, load_run(checked).resolution
    assert mine is not None
    assert theirs is not None
    np.testing.assert_array_equal(mine.a, theirs.a)


@pytest.mark.parametrize("setting", ["massfit.model='morphing'", "cross_checks.one_step=true"])
def test_without_simulation_there_are_no_spectra(setting: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="compares data with simulated spectra") as error:
        run(analysis(setting, "generate.simulation=0"), tmp_path / "out")
    assert error.value.kind == "config.no_simulation"


def test_spectra_are_finer_and_wider_than_the_window():
    bins = Bins(mass_window=(2.9, 3.3), mass_bins=80)
    fine = fine_binning(bins)
    assert fine.mass_edges[0] == pytest.approx(2.75)
    assert fine.mass_edges[-1] == pytest.approx(3.45)
    inside = fine.mass_edges[(fine.mass_edges > 2.9 - 1e-9) & (fine.mass_edges < 3.3 + 1e-9)]
    np.testing.assert_allclose(inside[::FINER], bins.binning().mass_edges, rtol=1e-14)
    assert fine_binning(Bins(mass_window=(1.0, 20.0), mass_bins=20)).mass_edges[0] >= 0.5


def command(*arguments: str) -> int:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return main([*arguments, *settings, "--set", "massfit.model='morphing'"])


def test_massfit_and_scale_take_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    masses, table = str(tmp_path / "massfit.h5"), str(tmp_path / "scale.h5")
    assert command("massfit", "-o", masses) == 0
    assert "relative to simulation" in capsys.readouterr().out
    assert MassFits.load(masses).model == "morphing"
    assert command("massfit", "--sample", "simulation", "-o", str(tmp_path / "no.h5")) == 2
    assert "no fits of its own" in capsys.readouterr().err
    assert command("scale", masses, "-o", table) == 0
    assert command("scale", masses, "--simulation", masses, "-o", str(tmp_path / "no.h5")) == 2
    assert "relative to simulation already" in capsys.readouterr().err
    found = ScaleTable.load(table)
    assert abs(found.chi2 - found.ndf) < 4 * np.sqrt(2 * found.ndf)
