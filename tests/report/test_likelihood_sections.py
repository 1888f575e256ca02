"""The page of a fit says what the fit says."""

import numpy as np
import pytest

from mucal.likelihood import (
    expected_events,
    fit,
    global_impacts,
    nominal_impacts,
    predict_postfit,
    predict_prefit,
    project,
)
from mucal.report import render
from mucal.report.likelihood_sections import bins_section, correlations_section, estimates_section, impacts_section

from ..likelihood.models import small_model

MODEL = small_model()
DATA = np.random.default_rng(4).poisson(expected_events(MODEL)).astype(float)


@pytest.fixture(scope="module")
def result():
    return fit(MODEL, DATA)


def test_impacts_are_listed_the_largest_first(result):
    nominal, response = (find(MODEL, DATA, result, "mass") for find in (nominal_impacts, global_impacts))
    pulls = np.where(MODEL.precision > 0, result.values, np.nan)
    breakdown, _, table = impacts_section(result, pulls, np.abs(pulls), nominal, response).items
    assert [row[0] for row in table.rows] == [name for name in nominal.ranking if name != "mass"]
    assert [row[0] for row in breakdown.rows] == ["first", "second", "data size", "simulation size", "total"]
    assert breakdown.rows[-1][1:] == [f"{result.error('mass'):.4g}"] * 2
    free = next(row for row in table.rows if row[0] == "mu")
    assert free[1:3] == ["–", "–"]
    assert free[4] == "–"


def test_bins_state_the_largest_deviation_and_the_error_of_the_sum(result):
    projection = project(MODEL, "bins")
    after, before = predict_postfit(MODEL, DATA, result, projection), predict_prefit(MODEL, projection)
    (picture,) = bins_section([(after, before, DATA)]).items
    pull = (DATA - after.total) / np.sqrt(after.total)
    assert f"{pull[np.argmax(np.abs(pull))]:+.1f} Poisson" in picture.caption
    assert f"{DATA.sum():.0f} events" in picture.caption
    assert f"± {np.sqrt(after.cov.sum()):.1f} expected" in picture.caption


def test_the_page_stands_alone(result):
    sections = [correlations_section(result), estimates_section(result, [("mass", "0.1", "0.2")])]
    page = render("Template fit", "Certified", "good", sections)
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")
    assert "0.2" in page
