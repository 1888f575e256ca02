"""Figures of efficiencies, nonprompt muons and recoil show what they are given."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.efficiency import Efficiencies, ProbeHistograms, SmoothConfig, Status, count_efficiencies, scale_factors
from mucal.plot.efficiency import efficiency_map_figure, pass_fail_figure, scale_factor_figure
from mucal.plot.style import to_svg

EDGES = np.linspace(60.0, 120.0, 13)


@pytest.fixture(scope="module")
def counted() -> Efficiencies:
    shape = (4, 6, 2, 1)
    rng = np.random.default_rng(1)
    eff = np.broadcast_to(np.linspace(0.8, 0.95, 6)[None, :, None, None], shape).reshape(-1)
    peak = np.exp(-0.5 * ((0.5 * (EDGES[1:] + EDGES[:-1]) - 91) / 8) ** 2)
    mean = np.stack([eff, 1 - eff], axis=1)[:, :, None] * 300 * peak
    counts = rng.poisson(mean).astype(float)
    found = count_efficiencies(
        ProbeHistograms(
            step="trigger", eta_edges=np.linspace(-2.4, 2.4, 5), pt_edges=np.linspace(26, 56, 7),
            ut_edges=np.array([-np.inf, np.inf]), mass_edges=EDGES, by_charge=True, counts=counts, sumw2=counts,
            pt_sum=np.zeros(48) + counts.sum(axis=(1, 2)) * np.tile(np.repeat(np.linspace(28.5, 53.5, 6), 2), 4),
        )
    )  # fmt: skip
    status, values = found.status.copy(), found.values.copy()
    status[5], values[5] = Status.NOT_CONVERGED, np.nan
    return replace(found, status=status, values=values)


def test_scale_factors_have_a_panel_for_each_slice(counted: Efficiencies):
    clean = replace(counted, status=np.where(np.arange(48) == 5, int(Status.LOW_STATS), counted.status))
    figure = scale_factor_figure(scale_factors(clean, clean, SmoothConfig(degree_pt=1)), clean, clean, n_slices=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        r"$-2.4 < \eta < -1.2$", r"$0 < \eta < 1.2$", r"$1.2 < \eta < 2.4$",
    ]  # fmt: skip
    assert to_svg(figure).startswith("<svg")


def test_a_failed_bin_says_so(counted: Efficiencies):
    titles = [axes.get_title(loc="left") for axes in pass_fail_figure(counted, 5).axes]
    assert "trigger: eta -2.4 to -1.2, pt 36 to 41 GeV, charge +1" in titles[0]
    assert titles[1] == "not usable: NOT_CONVERGED"
    assert "eff = " in pass_fail_figure(counted, 0).axes[1].get_title(loc="left")


def test_failed_bins_are_crossed_on_the_map(counted: Efficiencies):
    figure = efficiency_map_figure(counted, charge=1)
    crosses = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(crosses, [[-1.8, 38.5]])
