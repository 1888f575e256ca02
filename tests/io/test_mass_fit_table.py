"""Mass fits as a Parquet table."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mucal.io import write_mass_fits
from mucal.massfit import BatchConfig, Binning, MassFits, fill, fit_bins
from mucal.simulation import DimuonSimulation, generate_dimuons


@pytest.fixture(scope="module")
def fits() -> MassFits:
    binning = Binning(
        eta_edges=np.linspace(-2.4, 2.4, 5), pt_edges=np.array([4.0, 6.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 81)
    )
    return fit_bins(fill(generate_dimuons(DimuonSimulation(seed=6), 60_000).dimuons, binning), BatchConfig())


def test_every_bin_is_a_row_with_its_numbers(tmp_path: Path, fits: MassFits):
    table = pq.read_table(write_mass_fits(fits, tmp_path / "fits.parquet")).to_pandas()
    assert len(table) == fits.histograms.n_bins
    good = fits.good
    assert table["in_fit"].tolist() == good.tolist()
    np.testing.assert_array_equal(table["ln_s"], fits.value("ln_s"))
    np.testing.assert_allclose(np.log(table["scale"][good]), fits.value("ln_s")[good], atol=1e-15)
    np.testing.assert_array_equal(table["mean_wpt_minus"], fits.histograms.mean("wpt")[:, 1])
    assert table["pt_plus_low"].between(4.0, 6.0).all()
    assert (table["eta_minus_high"] - table["eta_minus_low"]).round(6).eq(1.2).all()


def test_failed_fits_say_why(tmp_path: Path, fits: MassFits):
    table = pq.read_table(write_mass_fits(fits, tmp_path / "fits.parquet")).to_pandas()
    thin = table[table["n_events"] < 500]
    assert len(thin) > 0
    assert set(thin["status"]) <= {"LOW_STATS", "EMPTY"}
    assert thin["scale"].isna().all()
    assert not np.any(thin["in_fit"])


def test_scale_and_width_are_hardly_correlated_without_background(tmp_path: Path, fits: MassFits):
    table = pq.read_table(write_mass_fits(fits, tmp_path / "fits.parquet")).to_pandas()
    assert table.loc[table["in_fit"], "rho"].abs().max() < 0.5
