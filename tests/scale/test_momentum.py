"""The correction applied to muons, and its inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mucal.scale import ScaleTable, correct_pt, correction_factor, distort_pt


def one_bin(A: float = 0.0, e: float = 0.0, M: float = 0.0) -> ScaleTable:
    return ScaleTable(
        eta_edges=np.array([-2.4, 2.4]), A=np.array([A]), e=np.array([e]), M=np.array([M]), cov=np.zeros((3, 3))
    )


def muon(pt: float, charge: float, eta: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array([pt]), np.array([eta]), np.array([charge])


def test_correct_pt_by_hand():
    # k = 1/40 per GeV: A - e k + q M / k = 1e-4 - 2.5e-5 + 4e-4 = 4.75e-4
    assert_allclose(correct_pt(one_bin(A=1e-4, e=1e-3, M=1e-5), *muon(40.0, 1)), 40 / 1.000475, rtol=1e-15)


@pytest.mark.parametrize(("charge", "ratio"), [(1, 0.9993504222255536), (-1, 1.0001500225033757)])
def test_correct_pt_test_vector(charge, ratio):
    # A = 3e-4, e = 2e-3 GeV, M = 1e-5 /GeV at 40 GeV: 1 / (1.00025 +- 4e-4)
    table = one_bin(A=3e-4, e=2e-3, M=1e-5)
    assert_allclose(correct_pt(table, *muon(40.0, charge)) / 40.0, ratio, rtol=1e-15)


@settings(deadline=None)
@given(
    A=st.floats(-5e-3, 5e-3), e=st.floats(-1e-2, 1e-2), M=st.floats(-1e-4, 1e-4), pt=st.floats(2.0, 200.0),
    charge=st.sampled_from([-1, 1]),
)  # fmt: skip
def test_correction_undoes_the_distortion(A, e, M, pt, charge):
    table = one_bin(A, e, M)
    measured = distort_pt(table, *muon(pt, charge))
    assert_allclose(correct_pt(table, measured, np.zeros(1), np.array([charge])), pt, rtol=4e-15)


def test_sagitta_bias_is_odd_in_charge():
    table = one_bin(M=2e-5)
    plus, minus = (1.0 / correct_pt(table, *muon(30.0, q)) for q in (1, -1))
    assert_allclose(plus - 1 / 30, 1 / 30 - minus, rtol=1e-10)
    assert plus > minus


def test_a_positive_e_gives_back_e_at_every_momentum():
    pt = np.array([5.0, 20.0, 100.0])
    corrected = correct_pt(one_bin(e=2e-3), pt, np.zeros(3), np.ones(3))
    assert_allclose(corrected - pt, 2e-3, rtol=1e-3)


def test_pairs_are_corrected_like_single_muons():
    table = ScaleTable(
        eta_edges=np.array([-2.4, 0.0, 2.4]), A=np.array([1e-3, -2e-3]), e=np.array([1e-3, 3e-3]),
        M=np.array([1e-5, -4e-5]), cov=np.zeros((6, 6)),
    )  # fmt: skip
    pt, eta = np.array([[5.0, 7.0], [9.0, 30.0]]), np.array([[-1.0, 1.0], [0.5, -0.5]])
    charge = np.array([[1, -1], [1, -1]])
    single = correct_pt(table, pt.ravel(), eta.ravel(), charge.ravel())
    assert np.array_equal(correct_pt(table, pt, eta, charge).ravel(), single)
    assert_allclose(single, pt.ravel() / correction_factor(table, pt, eta, charge).ravel(), rtol=0)


@pytest.mark.parametrize(
    ("pt", "eta", "charge", "message"),
    [
        (np.nan, 0.0, 1, r"1 of 1 muons: pt\[0\] = nan, expected a positive, finite momentum"),
        (-3.0, 0.0, 1, "positive, finite momentum"),
        (np.inf, 0.0, 1, "positive, finite momentum"),
        (10.0, 0.0, 0, r"charge\[0\] = 0, expected \+1 or -1"),
        (10.0, 2.5, 1, r"1 of 1 muons lie outside the scale table \(-2.4 <= eta < 2.4\), first eta\[0\] = 2.5"),
        (10.0, np.nan, 1, "outside the scale table"),
    ],
)
@pytest.mark.parametrize("apply", [correct_pt, distort_pt])
def test_impossible_muons_are_refused(apply, pt, eta, charge, message):
    with pytest.raises(ValueError, match=message):
        apply(one_bin(A=1e-4), *muon(pt, charge, eta))


def test_a_correction_that_turns_the_curvature_round_is_refused():
    with pytest.raises(ValueError, match="expected a positive one"):
        correct_pt(one_bin(M=1e-3), *muon(2000.0, -1))
    with pytest.raises(ValueError, match="leaves measurable"):
        distort_pt(one_bin(M=1e-3), *muon(2000.0, 1))


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\), \(2,\)"):
        correct_pt(one_bin(), np.ones(2), np.zeros(1), np.ones(2))
