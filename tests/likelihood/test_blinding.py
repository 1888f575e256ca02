"""Blinding: reproducible, shared where asked, and nothing can be worked out from what is left."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError, NotCertified
from mucal.likelihood import blind, expected_events, fit, global_impacts, observe
from mucal.likelihood.blinding import offset

from .models import small_model

MODEL = small_model()
DATA = observe(MODEL, np.random.default_rng(9).poisson(expected_events(MODEL)))
RESULT = fit(MODEL, DATA)


def test_parameters_of_interest_move_and_nothing_else():
    found = blind(RESULT)
    moved = found.values != RESULT.values
    assert set(np.array(MODEL.parameters)[moved]) == {"mass", "mu"} == set(found.blinded)
    assert_array_equal(found.cov, RESULT.cov)
    assert_array_equal(found.values, blind(RESULT).values)
    assert not np.array_equal(found.values, blind(RESULT, key="other data").values)


def test_a_shared_offset_leaves_the_difference():
    found = blind(RESULT, together=[("mass", "mu")])
    assert_allclose(
        found.value("mass") - found.value("mu"), RESULT.value("mass") - RESULT.value("mu"), rtol=0, atol=1e-12
    )
    assert_array_equal(found.values, blind(RESULT, together=[("mu", "mass")]).values)


def test_unblinding_takes_the_full_name():
    assert blind(RESULT, unblind=["mass", "mu"]) is RESULT
    assert blind(RESULT, unblind=["mass"]).blinded == ("mu",)
    with pytest.raises(ConfigError, match="no parameter 'ma'"):
        blind(RESULT, unblind=["ma"])


def test_offsets_are_standard_normal():
    drawn = np.array([offset(f"name{i}") for i in range(2000)])
    assert_allclose([drawn.mean(), drawn.std()], [0, 1], atol=4 / np.sqrt(2000))


def test_nothing_is_worked_out_at_blinded_estimates():
    with pytest.raises(NotCertified, match="the estimates of mass, mu are blinded"):
        global_impacts(MODEL, DATA, blind(RESULT), "mass")
    assert np.isnan(blind(RESULT).expected).all()
