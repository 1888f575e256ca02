"""The published numbers are consistent with themselves: sum rules, counts, p-values."""

import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, norm

from mucal.theory import nuisances
from mucal.wmass import published


@pytest.mark.parametrize("column", [name for name in published.BREAKDOWN if name.endswith("global")])
def test_global_impacts_add_in_quadrature(column):
    # ten rows rounded to 0.1 MeV each
    assert_allclose(published.quadrature(column), published.TOTALS[column], atol=0.1)


def test_nominal_impacts_do_not_add_in_quadrature():
    assert_allclose(published.quadrature("m_W nominal"), 9.41, atol=0.005)
    assert published.TOTALS["m_W nominal"] - published.quadrature("m_W nominal") > 0.4


def test_simulation_is_four_times_the_data():
    # (MC/data)^2 = 0.40 with errors inflated by 1.26
    row = dict(zip(published.SOURCES, published.BREAKDOWN["m_W global"], strict=True))
    assert_allclose(1.26**2 / (row["MC size"] / row["data size"]) ** 2, 4.0, atol=0.1)


def test_calibration_groups_sum_to_their_number():
    *parts, total = published.CALIBRATION.values()
    assert sum(n for _, n in parts) == total[1] == 314
    assert_allclose(sum(impact**2 for impact, _ in parts) ** 0.5, 4.48, atol=0.005)


def test_numbers_of_nuisances():
    assert {k: sum(v.values()) for k, v in published.COUNTS.items()} == {"m_W": 4833, "m_Z W-like": 3725}
    theory = {k: v for k, v in published.COUNTS["m_W"].items() if k in nuisances.COUNTS}
    assert theory == dict(nuisances.COUNTS)
    assert published.HELICITY_PARAMETERS == 144 * 6


@pytest.mark.parametrize("pdf", published.PDF_SETS, ids=lambda s: s.name)
def test_p_values_of_all_sets(pdf):
    for value, percent in zip(pdf.chi2, pdf.percent, strict=True):
        # printed as whole per cent, chi2 to 0.1; CT18 without partons is 1.2 % of its chi2, printed as 1.0
        assert_allclose(100 * chi2.sf(value, published.PDF_BINS), percent, atol=0.8)


def test_charge_difference_has_a_p_value_of_six_per_cent():
    value, error = published.DIFFERENCES["m_W+ - m_W-"]
    assert_allclose(2 * norm.sf(value / error), 0.060, atol=5e-4)


def test_scaled_sets_have_larger_errors():
    for pdf in published.PDF_SETS:
        assert (pdf.scaled > pdf.error) == (pdf.factor > 1)
