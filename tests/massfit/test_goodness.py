"""Goodness of fit: merging, and probabilities that are probabilities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from mucal.massfit.goodness import deviance, goodness_of_fit, merged_starts, uniformity


def test_deviance_by_hand():
    # 2 [(3 - 2 + 2 ln(2/3)) + (4 - 4 + 0) + 1]: an empty bin adds twice its expectation
    assert_allclose(deviance(np.array([2.0, 4.0, 0.0]), np.array([3.0, 4.0, 1.0])), 2 * (1 + 2 * np.log(2 / 3) + 1))


def test_bins_are_merged_to_five_expected_events():
    assert merged_starts(np.array([6.0, 2.0, 2.0, 2.0, 7.0])).tolist() == [0, 1, 4]


def test_a_remainder_below_five_joins_the_last_group():
    assert merged_starts(np.array([6.0, 7.0, 1.0, 1.0])).tolist() == [0, 1]


def test_an_expectation_that_is_not_finite_has_no_probability():
    quality = goodness_of_fit(np.ones(3), np.array([1.0, np.nan, 1.0]), 1)
    assert np.isnan(quality.p_value)
    assert quality.ndf == 0


def test_more_parameters_than_bins_have_no_probability():
    assert np.isnan(goodness_of_fit(np.full(3, 10.0), np.full(3, 10.0), 3).p_value)


def test_pearson_p_values_of_true_expectations_are_flat():
    rng = np.random.default_rng(3)
    expected = np.linspace(8, 60, 40)
    p = np.array(
        [goodness_of_fit(rng.poisson(expected).astype(float), expected, 0).pearson_p_value for _ in range(2000)]
    )
    # mean and variance of a uniform number are 1/2 and 1/12; 2000 of them: 0.0065 and 0.0017
    assert_allclose(p.mean(), 0.5, atol=4 * 0.0065)
    assert_allclose(p.var(), 1 / 12, atol=4 * 0.0017)


@pytest.mark.parametrize("power", [1.0, 1.3, 3.0])
def test_uniformity_is_the_kolmogorov_smirnov_test_of_scipy(power: float):
    values = np.random.default_rng(1).uniform(size=60) ** power
    # the finite-N form is good to a few percent of the probability
    assert_allclose(uniformity(values), kstest(values, "uniform").pvalue, rtol=0.05, atol=1e-4)


def test_nothing_is_neither_uniform_nor_not():
    assert np.isnan(uniformity(np.zeros(0)))
