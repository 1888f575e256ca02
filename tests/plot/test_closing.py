"""Closure of other resonances against eta: bands are errors of what was applied, points what is still asked for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.plot.closing import ClosingMass, table_closure_figure
from mucal.scale import ScaleTable


def table(edges: np.ndarray, A: float, variance: tuple[float, float, float], resonance: str) -> ScaleTable:
    b = edges.size - 1
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(3 * b, 3 * b)) * np.sqrt(np.repeat(variance, b))[:, None]
    return ScaleTable(
        eta_edges=edges, A=np.full(b, A), e=np.zeros(b), M=np.zeros(b), cov=mixed @ mixed.T, resonance=resonance
    )


APPLIED = table(np.linspace(-2.4, 2.4, 5), 1e-4, (1e-8, 1e-6, 1e-12), "jpsi")
ASKED = table(np.linspace(-2.4, 2.4, 3), 2e-4, (1e-8, 0.0, 0.0), "upsilon1s")
CLOSING = ClosingMass(
    resonance="upsilon1s", pairs=10, mass=9.46, shift=np.zeros(3), error=np.zeros(3), calibration_error=np.zeros(3),
    tables=(ASKED,) * 3,
)  # fmt: skip


def drawn(factor: float, asked: ScaleTable | None = None) -> list[dict[str, np.ndarray]]:
    """Legend -> heights of the steps, of each panel."""
    axes = table_closure_figure([CLOSING], APPLIED, factor, asked, momentum=40.0).axes
    return [{step.get_label(): step.get_data().values for step in axis.patches} for axis in axes]


def by_hand() -> list[list[float]]:
    # two table bins in each bin of the resonance: half of either, A - e / 40 and 40 M
    found = []
    for factors in ((1.0, -1.0 / 40.0, 0.0), (0.0, 0.0, 40.0)):
        errors = []
        for first in (0, 2):
            row = np.zeros(12)
            for i, factor in enumerate(factors):
                row[4 * i + first] = row[4 * i + first + 1] = 0.5 * factor
            errors.append(1e5 * float(np.sqrt(row @ APPLIED.cov @ row)))
        found.append(errors)
    return found


def test_the_band_is_the_error_of_the_table_in_the_bins_of_the_resonance():
    for panel, errors in zip(drawn(1.0), by_hand(), strict=True):
        (band,) = panel.values()
        assert_allclose(band, errors, rtol=1e-12)


def test_a_second_band_has_the_factor_of_the_release():
    for panel, errors in zip(drawn(2.1), by_hand(), strict=True):
        wide, narrow = panel
        assert "2.1" in wide
        assert_allclose(panel[wide], 2.1 * np.array(errors), rtol=1e-12)
        assert_allclose(panel[narrow], errors, rtol=1e-12)


def test_the_line_is_what_the_table_leaves():
    even, odd = drawn(1.0, table(APPLIED.eta_edges, 3e-4, (0.0, 0.0, 0.0), "jpsi"))
    assert_allclose(even["muons without noise"], [20.0, 20.0], rtol=1e-12)
    assert_allclose(odd["muons without noise"], [0.0, 0.0], atol=1e-12)


def test_a_resonance_that_asks_for_A_alone_has_no_odd_points():
    even, odd = table_closure_figure([CLOSING], APPLIED).axes
    assert (len(even.containers), len(odd.containers)) == (1, 0)


@pytest.mark.parametrize("edge", [3.0, 4.8])
def test_bins_are_compared_where_the_table_covers_them(edge: float):
    # the band of a bin that sticks out is that of its part inside; a bin outside has none
    edges = np.array([0.0, edge, edge + 1.0])
    wide = ClosingMass(
        resonance="z", pairs=10, mass=91.2, shift=np.zeros(3), error=np.zeros(3), calibration_error=np.zeros(3),
        tables=(table(edges, 0.0, (1e-8, 0.0, 1e-12), "z"),) * 3,
    )  # fmt: skip
    (band,) = (step.get_data().values for step in table_closure_figure([wide], APPLIED).axes[0].patches)
    assert_allclose(band, [by_hand()[0][1], np.nan], rtol=1e-12)
