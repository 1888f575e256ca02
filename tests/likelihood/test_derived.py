"""Differences and ratios against propagation written out, and against a fit of the derived quantity itself."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import (
    Derived,
    expected_events,
    fit,
    from_arrays,
    global_impacts,
    nominal_impacts,
    observe,
    ratios,
    sums,
)

NOMINAL = np.random.default_rng(1).uniform(50, 90, (8, 2))
EFFECTS = np.random.default_rng(2).normal(0, 0.05, (8, 2, 3))


def two_masses(difference: bool):
    """Free shapes a and b, or their mean and half their difference."""
    kappa = EFFECTS.copy()
    if difference:
        kappa[..., 0], kappa[..., 1] = EFFECTS[..., 0] + EFFECTS[..., 1], 0.5 * (EFFECTS[..., 0] - EFFECTS[..., 1])
    names = ("mean", "difference", "n") if difference else ("a", "b", "n")
    return from_arrays(
        NOMINAL,
        kappa,
        parameters=names,
        processes=("W", "Z"),
        free=names[:2],
        sumw2=0.3 * NOMINAL,
        groups={"g": ("n",)},
    )


COUNTS = np.random.default_rng(3).poisson(NOMINAL.sum(axis=1)).astype(float)


def test_a_difference_agrees_with_a_fit_of_the_difference():
    separate, other = two_masses(False), two_masses(True)
    one, two = fit(separate, COUNTS), fit(other, COUNTS)
    found = sums(one, {"difference": {"a": 1, "b": -1}, "mean": {"a": 0.5, "b": 0.5}})
    assert_allclose(found.values, [two.value("difference"), two.value("mean")], rtol=1e-7)
    index = other.index(["difference", "mean"])
    assert_allclose(found.cov, two.cov[np.ix_(index, index)], rtol=1e-7)


@pytest.mark.parametrize("impacts", [global_impacts, nominal_impacts])
def test_impacts_on_a_difference_agree_with_a_fit_of_the_difference(impacts):
    separate, other = two_masses(False), two_masses(True)
    one = impacts(separate, COUNTS, fit(separate, COUNTS), {"a": 1.0, "b": -1.0})
    two = impacts(other, COUNTS, fit(other, COUNTS), "difference")
    assert_allclose(
        [one.total, one.data_stat, one.mc_stat, one.groups["g"]],
        [two.total, two.data_stat, two.mc_stat, two.groups["g"]],
        rtol=1e-6,
    )
    assert_allclose(one.single[2], two.single[2], rtol=1e-6)
    assert one.poi == "+1 a -1 b"


def test_the_error_of_a_ratio_agrees_with_toys_of_its_parameters():
    model = from_arrays(
        np.diag([4e4, 1e4]), np.zeros((2, 2, 0)), parameters=(), processes=("W", "Z"), rates={"w": ["W"], "z": ["Z"]}
    )
    result = fit(model, observe(model, expected_events(model, np.array([1.2, 0.8]))))
    found = ratios(result, {"r": ("w", "z"), "inverse": ("z", "w")})
    assert_allclose(found.values, [1.5, 2 / 3])
    relative = np.sqrt(1 / 4.8e4 + 1 / 8e3)  # of two Poisson counts
    assert_allclose(found.errors / found.values, relative, rtol=1e-7)
    assert_allclose(found.correlation[0, 1], -1.0)


def test_an_unknown_name_names_its_neighbour():
    with pytest.raises(ValueError, match="no parameter 'aa'"):
        sums(fit(two_masses(False), COUNTS), {"d": {"aa": 1}})


def test_derived_quantities_come_back_from_their_file(tmp_path):
    found = sums(fit(two_masses(False), COUNTS), {"d": {"a": 1}})
    assert_allclose(Derived.load(found.save(tmp_path / "d.h5")).cov, found.cov)
