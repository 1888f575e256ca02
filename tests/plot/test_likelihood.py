"""What the figures of a fit show is what the results say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import (
    expected_events,
    fit,
    global_impacts,
    nominal_impacts,
    predict_postfit,
    predict_prefit,
    project,
)
from mucal.plot.likelihood import correlations, most_correlated, pulls_and_impacts
from mucal.plot.likelihood_bins import fitted_bins
from mucal.plot.style import to_svg

from ..likelihood.models import small_model

MODEL = small_model()
DATA = np.random.default_rng(4).poisson(expected_events(MODEL)).astype(float)


@pytest.fixture(scope="module")
def result():
    return fit(MODEL, DATA)


@pytest.fixture(scope="module")
def impacts(result):
    return nominal_impacts(MODEL, DATA, result, "mass"), global_impacts(MODEL, DATA, result, "mass")


def test_pulls_and_impacts_stand_by_their_names_the_largest_first(result, impacts):
    nominal, response = impacts
    pulls = np.where(MODEL.precision > 0, result.values, np.nan)
    figure = pulls_and_impacts(result, pulls, np.sqrt(np.diag(result.cov)), nominal, response, top=4)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    expected = [name for name in nominal.ranking if name != "mass"][:4]
    assert names == expected
    place = [result.place(name) for name in names]
    for axes, one in zip(figure.axes[1:], impacts, strict=True):
        widths = [patch.get_width() for patch in axes.patches[: len(names)]]
        constrained = MODEL.precision[place] > 0
        shown = one.single[place] * (constrained if one is response else 1.0)
        assert_allclose(widths, shown, rtol=1e-12)
    assert "<svg" in to_svg(figure)


def test_correlations_are_those_of_the_fit(result):
    names = most_correlated(result)
    assert set(names[:2]) == {"mass", "mu"}
    figure = correlations(result, names)
    matrix = np.asarray(figure.axes[0].images[0].get_array())
    assert_allclose(np.diag(matrix), 1.0)
    i, j = result.place(names[0]), result.place(names[3])
    assert_allclose(matrix[0, 3], result.cov[i, j] / np.sqrt(result.cov[i, i] * result.cov[j, j]))
    assert "<svg" in to_svg(figure)


def test_of_many_parameters_those_most_correlated_with_the_pois_stay(result):
    few = most_correlated(result, 3)
    errors = np.sqrt(np.diag(result.cov))
    pois = [result.place(name) for name in ("mass", "mu")]
    size = np.abs(result.cov[pois] / np.outer(errors[pois], errors)).max(axis=0)
    size[pois] = 0.0
    assert few[2] == result.parameters[int(np.argmax(size))]


def test_the_stack_adds_up_to_the_fit_and_the_ratio_is_of_data(result):
    projection = project(MODEL, "bins")
    after = predict_postfit(MODEL, DATA, result, projection)
    before = predict_prefit(MODEL, projection)
    figure = fitted_bins(after, DATA, before=before)
    main, ratio = figure.axes
    tops = [patch.get_data().values for patch in main.patches[: len(MODEL.processes)]]
    assert_allclose(np.max(tops, axis=0), after.total, rtol=1e-12)
    band, dashed = (patch.get_data() for patch in ratio.patches)
    assert_allclose(band.values - 1, after.errors / after.total, rtol=1e-10)
    assert_allclose(dashed.values, before.total / after.total, rtol=1e-12)
    points = ratio.containers[0].lines[0].get_ydata()
    assert_allclose(points, DATA / after.total, rtol=1e-12)
    assert "<svg" in to_svg(figure)
