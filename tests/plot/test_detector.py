"""The figures of a detector draw what the survey holds."""

import numpy as np
import pytest
from matplotlib.patches import StepPatch
from numpy.testing import assert_allclose

from mucal.detector import barrel, survey
from mucal.plot.detector import PublishedCurve, hits_figure, layout_figure, material_figure, published_figure
from mucal.plot.style import to_svg

EDGES = np.linspace(-1.0, 1.0, 11)


@pytest.fixture(scope="module")
def surveyed():
    return survey(barrel(), EDGES, n_per_bin=50)


def test_material_is_stacked_to_its_total(surveyed):
    axes = material_figure(surveyed).axes[0]
    assert [patch.get_label() for patch in axes.patches] == ["services", "pixel", "strips"]
    top = axes.patches[-1].get_data()
    assert_allclose(top.values, surveyed.x_over_x0.sum(axis=1))
    assert_allclose(top.baseline, surveyed.x_over_x0[:, :2].sum(axis=1))
    assert axes.get_ylim()[0] == 0.0


def test_hits_show_modules_above_layers_and_the_other_detector_as_a_line(surveyed):
    figure = hits_figure([surveyed, surveyed])
    modules, layers, arm = figure.axes
    assert_allclose(modules.patches[-1].get_data().values, surveyed.modules.sum(axis=1))
    assert_allclose(layers.patches[1].get_data().values, surveyed.layers.sum(axis=1))
    assert_allclose(arm.patches[0].get_data().values, surveyed.lever_arm)
    assert not modules.patches[-1].get_fill()


def test_the_layout_has_every_module_and_wall():
    detector = barrel()
    axes = layout_figure(detector).axes[0]
    drawn = [len(collection.get_segments()) for collection in axes.collections]
    assert drawn == [detector.passive.n_surfaces, 288, 1000]


def test_published_numbers_stand_beside_ours(surveyed):
    points = np.array([0.0, 0.5]), np.array([0.3, 0.4]), np.array([0.5, 0.4])
    curve = PublishedCurve(name="others", eta=points[0], low=points[1], high=points[2])
    edges, hits = np.array([0.0, 0.5, 1.0]), np.array([9.0, 8.0])
    above, below = published_figure(surveyed, (edges, hits), others=[surveyed], material=[curve]).axes
    marks = above.containers[0].lines[0]
    assert_allclose(marks.get_xdata(), points[0])
    assert_allclose(marks.get_ydata(), [0.4, 0.4])
    stairs = [patch for patch in below.patches if isinstance(patch, StepPatch)]
    assert_allclose(stairs[0].get_data().values, hits)
    assert_allclose(stairs[1].get_data().values, surveyed.layers.sum(axis=1))
    assert "simulated hits" in [text.get_text() for text in below.get_legend().get_texts()]
    assert above.get_xlim() == (0.0, 1.0)


def test_figures_become_svg(surveyed):
    for figure in (material_figure(surveyed, note="note"), hits_figure([surveyed]), layout_figure(barrel())):
        assert to_svg(figure).startswith("<svg")
