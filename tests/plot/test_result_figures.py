"""`result.plot()` draws the usual figure of its type, and `summary` says what it is."""

import numpy as np
from matplotlib.figure import Figure

from mucal.calibration import Calibration
from mucal.plot.figures import FIGURES
from mucal.scale import ResolutionTable, ScaleTable
from mucal.store import Result


def test_every_type_with_a_figure_is_a_result():
    assert all(issubclass(kind, Result) for kind in FIGURES)


def test_a_table_draws_itself(scale_table: ScaleTable, resolution_data: ResolutionTable):
    for table, panels in ((scale_table, 3), (resolution_data, 1)):
        figure = table.plot()
        assert isinstance(figure, Figure)
        assert len(figure.axes) >= panels


def test_a_scale_table_lists_its_bins_with_errors(scale_table: ScaleTable):
    lines = scale_table.summary()
    assert len(lines) == 2 + scale_table.n_bins
    error = 1e3 * np.sqrt(scale_table.cov[2, 2])
    assert f"{1e3 * scale_table.A[2]:+.3f} +- {error:.3f}" in lines[4]


def test_a_calibration_counts_its_nuisances(calibration: Calibration):
    assert calibration.summary()[-1] == "nuisances: 18 jpsi_stat, 1 reference_mass, 12 resolution_stat"
    assert "valid for 4 &lt;= pt" in calibration._repr_html_()
