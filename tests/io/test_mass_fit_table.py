"""Mass fits as a Parquet table."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mucal.io import write_mass_fits
from mucal.io.mass_fit_table import mass_fit_bytes, mass_fit_columns
from mucal.massfit import (
    BatchConfig,
    Binning,
    MassFits,
    MassHistograms,
    Merging,
    Remedy,
    Status,
    fill,
    fit_bins,
    merge_thin,
)
from mucal.scale import add_fitted_background
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


def test_rho_is_the_correlation_of_scale_and_width(tmp_path: Path, fits: MassFits):
    rho = pq.read_table(write_mass_fits(fits, tmp_path / "fits.parquet"))["rho"].to_numpy()
    i, j = fits.parameters.index("ln_s"), fits.parameters.index("ln_sigma")
    known = np.flatnonzero(fits.good)
    expected = [fits.cov[b, i, j] / (fits.error("ln_s")[b] * fits.error("ln_sigma")[b]) for b in known]
    np.testing.assert_allclose(rho[known], expected, rtol=1e-12)
    assert np.all(rho[known] != 0.0)
    assert np.isnan(rho[fits.status == Status.LOW_STATS]).all()


def test_a_fixed_width_has_no_correlation(fits: MassFits):
    fixed = fit_bins(fits.histograms, BatchConfig(fixed={"ln_sigma": np.log(0.012)}))
    assert fixed.good.any()
    assert np.isnan(mass_fit_columns(fixed)["rho"]).all()


def test_the_fraction_of_background_stands_beside_its_logit(fits: MassFits):
    columns = mass_fit_columns(fits)
    good = fits.good
    np.testing.assert_allclose(columns["f"][good], 1 / (1 + np.exp(-columns["logit_f"][good])), rtol=1e-14)


@pytest.fixture(scope="module")
def simulation(fits: MassFits) -> MassFits:
    """Fits of every other bin with twice its events."""
    h = fits.histograms
    half = replace(h, index=h.index[::2], counts=2 * h.counts[::2], sums=2 * h.sums[::2])
    return fit_bins(half, BatchConfig())


def test_simulation_stands_in_the_bin_of_its_indices(fits: MassFits, simulation: MassFits):
    columns = mass_fit_columns(fits, simulation)
    for row, index in enumerate(fits.histograms.index.tolist()):
        there = np.flatnonzero((simulation.histograms.index == index).all(axis=1))
        if there.size:
            assert columns["n_mc"][row] == simulation.histograms.n_events[there[0]] == 2 * columns["n_events"][row]
            np.testing.assert_equal(columns["ln_s_mc"][row], simulation.value("ln_s")[there[0]])
            np.testing.assert_equal(columns["ln_s_mc_error"][row], simulation.error("ln_s")[there[0]])
        else:
            assert columns["n_mc"][row] == 0
            assert np.isnan(columns["ln_s_mc"][row])


def test_without_simulation_its_columns_are_there_and_unknown(fits: MassFits, simulation: MassFits):
    alone, both = mass_fit_columns(fits), mass_fit_columns(fits, simulation)
    assert list(alone) == list(both)
    assert all(np.isnan(alone[name]).all() for name in ("n_mc", "ln_s_mc", "ln_s_mc_error"))


def test_bins_that_the_table_leaves_out_are_marked(tmp_path: Path, fits: MassFits):
    used = fits.good.copy()
    used[np.flatnonzero(used)[0]] = False
    table = pq.read_table(write_mass_fits(fits, tmp_path / "fits.parquet", in_fit=used))
    assert table["in_fit"].to_pylist() == used.tolist() != fits.good.tolist()


def test_the_bytes_are_those_of_the_file_each_time(tmp_path: Path, fits: MassFits, simulation: MassFits):
    content = mass_fit_bytes(fits, simulation)
    path = write_mass_fits(fits, tmp_path / "fits.parquet", simulation=simulation)
    assert content == path.read_bytes() == mass_fit_bytes(fits, simulation)
    assert pq.read_table(io.BytesIO(content)).num_rows == fits.histograms.n_bins


def test_simulation_in_other_bins_is_refused(fits: MassFits, simulation: MassFits):
    h = simulation.histograms
    other = replace(simulation, histograms=replace(h, pt_edges=h.pt_edges + 0.5))
    with pytest.raises(ValueError, match="different pt_edges"):
        mass_fit_columns(fits, other)


def test_the_background_added_to_simulation_is_not_counted_in_it(fits: MassFits, simulation: MassFits):
    values = fits.values.copy()
    values[:, fits.parameters.index("logit_f")] = np.log(0.1 / 0.9)
    tenth, plain = replace(fits, values=values), simulation.histograms
    with_background = replace(simulation, histograms=add_fitted_background(plain, tenth))
    columns = mass_fit_columns(tenth, with_background, background=tenth)
    row_of = {tuple(index): row for row, index in enumerate(fits.histograms.index.tolist())}
    rows = [row_of[tuple(index)] for index in plain.index.tolist()]
    assert 0 < fits.good[rows].sum() < len(rows)
    np.testing.assert_allclose(columns["n_mc"][rows], plain.n_events, rtol=1e-12)
    # what was fitted holds more: where the fit of data is good, a tenth is background
    more = with_background.histograms.n_events / plain.n_events
    np.testing.assert_allclose(more, np.where(fits.good[rows], 1 / 0.9, 1.0), rtol=1e-12)


def pt_histograms(n_pt: int, events: dict[tuple[int, int], int]) -> MassHistograms:
    """(pT of the positive muon, of the negative one) -> events, in one bin of eta; pT edges 4, 5, 6, ... GeV."""
    index = np.array([(0, plus, 0, minus) for plus, minus in sorted(events)])
    counts = np.array([[float(events[key])] for key in sorted(events)])
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]), pt_edges=4.0 + np.arange(n_pt + 1), mass_edges=np.array([2.9, 3.3]),
        abs_eta=False, index=index, counts=counts, sums=np.ones((len(events), 2, 5)),
    )  # fmt: skip


def test_a_merged_bin_has_the_edges_of_all_its_cells():
    # three thin cells of pT+ beside each other, the middle one the fullest; one cell far away with events enough
    cells = pt_histograms(5, {(0, 0): 100, (1, 0): 250, (2, 0): 200, (4, 4): 900})
    merging = merge_thin(cells)
    merged = merging.apply(cells)
    columns = mass_fit_columns(fit_bins(merged, BatchConfig(min_events=1e9)), merging=merging)
    assert merged.index.tolist() == [[0, 1, 0, 0], [0, 4, 0, 4]]
    assert columns["n_cells"].tolist() == [3, 1]
    assert columns["n_events"].tolist() == [550.0, 900.0]
    assert columns["pt_plus_bin"].tolist() == [1, 4]
    assert (columns["pt_plus_low"].tolist(), columns["pt_plus_high"].tolist()) == ([4.0, 8.0], [7.0, 9.0])
    assert (columns["pt_minus_low"].tolist(), columns["pt_minus_high"].tolist()) == ([4.0, 8.0], [5.0, 9.0])


def test_bins_that_the_merging_does_not_know_stand_alone(fits: MassFits):
    nothing = Merging(
        index=np.zeros((0, 4), dtype=np.int64), into=np.zeros((0, 4), dtype=np.int64), failed=np.zeros(0, dtype=bool)
    )
    alone, unmerged = mass_fit_columns(fits, merging=nothing), mass_fit_columns(fits)
    assert set(alone["n_cells"]) == set(unmerged["n_cells"]) == {1}
    assert alone["pt_plus_high"].tolist() == unmerged["pt_plus_high"].tolist()


def test_the_remedy_stands_beside_the_status(fits: MassFits):
    remedies = np.zeros(fits.histograms.n_bins, dtype=np.int64)
    remedies[:2] = Remedy.FIXED_SLOPE, Remedy.MERGED
    assert mass_fit_columns(replace(fits, remedies=remedies))["remedy"][:3].tolist() == [
        "FIXED_SLOPE",
        "MERGED",
        "NONE",
    ]
    assert set(mass_fit_columns(replace(fits, remedies=None))["remedy"]) == {"NONE"}
