"""Figures say what they show: axes have names and units, points stand where the numbers are."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, fill, fit_bins
from mucal.plot.masses import MassShifts, ShiftPoints, quality_figure, residual_map, shift_figure
from mucal.plot.resolution import relative_resolution, resolution_figure
from mucal.plot.scale import correlation_figure, scale_figure, standard_errors, whitened_figure
from mucal.plot.style import save, style, to_svg
from mucal.scale import ResolutionTable, ScaleTable, relative_variance
from mucal.simulation import DimuonSimulation, generate_dimuons

EDGES = np.linspace(-2.4, 2.4, 7)


def scale_table(free: str = "AeM") -> ScaleTable:
    variance = [1e-8 * ("A" in free), 1e-6 * ("e" in free), 1e-11 * ("M" in free)]
    x = np.linspace(-1.0, 1.0, 6)
    return ScaleTable(
        eta_edges=EDGES, A=1e-3 * x, e=2e-3 * x**2, M=1e-5 * x, cov=np.diag(np.repeat(variance, 6)), resonance="jpsi"
    )  # fmt: skip


def resolution_table(b: float = 1e-5) -> ResolutionTable:
    full = np.ones(6)
    return ResolutionTable(
        eta_edges=EDGES, a=1e-4 * full, b=b * full, c=3e-8 * full, d=370 * full, cov=np.eye(18) * 1e-14,
        pt_range=(4.0, 25.0),
    )  # fmt: skip


def points() -> ShiftPoints:
    return ShiftPoints(
        name="eta_plus", variable=r"$\eta$ of $\mu^+$", edges=EDGES, before=np.full(6, -1e-3),
        before_error=np.full(6, 1e-4), after=np.array([np.nan, 0, 0, 0, 0, 0.0]), after_error=np.full(6, 1e-4),
        table_error=np.full(6, 5e-5), chi2_before=600.0, chi2_after=5.0, ndf=6, p_before=0.0, p_after=0.5,
    )  # fmt: skip


def test_scale_figure_has_a_panel_for_each_parameter_with_its_unit():
    figure = scale_figure({"recovered": scale_table()}, scale_table())
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert [("10^{-3}" in labels[0]), ("MeV" in labels[1]), ("GeV" in labels[2])] == [True] * 3
    assert figure.axes[-1].get_xlabel() == r"$\eta$"


def test_scale_figure_draws_the_numbers_of_the_table():
    table = scale_table()
    axis = scale_figure({"x": table}, parameters=("A",)).axes[0]
    drawn = axis.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, 1e3 * table.A, rtol=1e-12)


def test_only_parameters_that_were_solved_for_are_correlated():
    image = correlation_figure(scale_table("A")).axes[0].collections[0].get_array()
    assert np.shape(np.ma.getdata(image)) == (6, 6)


@pytest.mark.parametrize("free", ["A", "Ae", "AeM"])
def test_eta_numbers_stand_at_their_place_in_every_block(free: str):
    axis = correlation_figure(scale_table(free)).axes[0]
    texts = [t.get_text() for t in axis.get_xticklabels()]
    assert texts == ["\u22122", "0", "2"] * len(free)
    # six bins of 0.8 from -2.4: eta = -2, 0, 2 lie 0.5, 3 and 5.5 bins into a block
    expected = np.concatenate([6 * i + np.array([0.5, 3.0, 5.5]) for i in range(len(free))])
    np.testing.assert_allclose(axis.get_xticks(), expected, atol=1e-9)
    np.testing.assert_allclose(axis.get_yticks(), expected, atol=1e-9)


def test_whitened_pulls_are_all_in_the_histogram():
    axis = whitened_figure(np.array([-9.0, -0.2, 0.1, 0.3, 9.0])).axes[0]
    assert axis.patches[0].get_data().values.sum() == 5
    assert "mean +0.04 ± 0.45" in axis.get_title(loc="left")


def test_standard_errors_are_the_roots_of_the_diagonal():
    errors = standard_errors(scale_table())
    np.testing.assert_allclose([errors["A"][0], errors["e"][0], errors["M"][0]], [1e-4, 1e-3, 10**-5.5], rtol=1e-12)


def test_relative_resolution_is_the_root_of_the_model():
    table, pt = resolution_table(), np.array([5.0, 20.0])
    sigma, error = relative_resolution(table, pt)
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    expected = np.sqrt([relative_variance(table, pt, np.full(2, eta)) for eta in centres])
    np.testing.assert_allclose(sigma, expected, rtol=1e-12)
    assert np.all(error > 0)


def test_a_negative_square_has_no_resolution():
    sigma, _ = relative_resolution(resolution_table(b=-1e-3), 30.0)
    assert np.all(np.isnan(sigma))


def test_points_of_data_and_simulation_never_share_a_place():
    figure = resolution_figure({"data": resolution_table(), "simulation": resolution_table()}, (5.0, 20.0))
    places = np.concatenate([c.lines[0].get_xdata() for c in figure.axes[0].containers])
    assert places.size == np.unique(places).size == 24
    assert np.all(np.abs(places.reshape(4, 6) - 0.5 * (EDGES[1:] + EDGES[:-1])) < 0.4)


def test_data_are_shown_over_simulation_where_their_bins_agree():
    data, simulation = resolution_table(), resolution_table(0.0)
    ratio = resolution_figure({"data": data, "simulation": simulation}, (5.0,)).axes[2].containers[0].lines[0]
    expected = relative_resolution(data, 5.0)[0] / relative_resolution(simulation, 5.0)[0]
    np.testing.assert_allclose(ratio.get_ydata(), expected, rtol=1e-12)
    assert len(resolution_figure({"data": data}, (5.0,)).axes) == 2


def test_shift_figure_shares_its_scale_and_leaves_out_what_has_no_fit():
    figure = shift_figure(MassShifts(series=(points(), points())), note="events")
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert "10^{-3}" in figure.axes[0].get_ylabel()


def test_quality_figure_counts_every_fit():
    binning = Binning(eta_edges=EDGES, pt_edges=np.array([4.0, 60.0]), mass_edges=np.linspace(2.9, 3.3, 41))
    fits = fit_bins(fill(generate_dimuons(DimuonSimulation(), 60_000).dimuons, binning), BatchConfig(min_events=300))
    figure = quality_figure(fits)
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == fits.status.size
    # fewer than forty fits: five bins
    assert figure.axes[1].patches[0].get_data().values.size == 5
    assert figure.axes[1].get_ylabel() == "mass fits / 0.2"


def test_residual_map_is_in_units_of_its_expected_spread():
    # four bins of pull 1 in one cell: mean 1, spread of the mean 1/2, so 2
    index = np.tile([1, 0, 2, 0], (4, 1))
    figure = residual_map(index, np.ones(4), EDGES)
    values = np.ma.masked_invalid(figure.axes[0].collections[0].get_array()).reshape(6, 6)
    assert values[2, 1] == pytest.approx(2.0)
    assert values.count() == 1


@pytest.mark.parametrize("make", [
    lambda: scale_figure({"a": scale_table()}), lambda: correlation_figure(scale_table()),
    lambda: whitened_figure(np.linspace(-2, 2, 9)), lambda: shift_figure(MassShifts(series=(points(),))),
    lambda: resolution_figure({"data": resolution_table(), "simulation": resolution_table(0.0)}, (5.0, 20.0)),
])  # fmt: skip
def test_a_figure_gives_the_same_bytes_twice(make, tmp_path: Path):
    first = to_svg(make())
    assert first.startswith("<svg")
    assert first == to_svg(make())
    save(make(), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_the_style_is_a_context_and_leaves_nothing_behind():
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["xtick.direction"] == "in"
    assert dict(matplotlib.rcParams) == before
