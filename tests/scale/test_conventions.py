"""The same correction in other letters, in both directions, through the formula each experiment writes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.scale import ScaleTable, correct_pt, distort_pt
from mucal.scale import conventions as c

PT = np.array([8.0, 40.0, 60.0, 8.0, 40.0, 60.0])
CHARGE = np.array([1, 1, 1, -1, -1, -1])
ETA = np.full(6, 1.3)


def ours(A: float = 3e-4, e: float = 2e-3, M: float = 1e-5) -> c.Ours:
    return c.Ours(*(np.full(6, v) for v in (A, e, M)))


def table(p: c.Ours) -> ScaleTable:
    return ScaleTable(eta_edges=np.array([-2.4, 2.4]), A=p.A[:1], e=p.e[:1], M=p.M[:1], cov=np.zeros((3, 3)))


def corrected(p: c.Ours) -> np.ndarray:
    return correct_pt(table(p), PT, ETA, CHARGE)


def test_roccor_formula_gives_our_momentum():
    theirs = c.to_roccor(ours(), PT)
    assert_allclose(PT / (theirs.M_R + CHARGE * theirs.A_R * PT), corrected(ours()), rtol=4e-16)


def test_roccor_letters_are_swapped():
    # the vector of the physics page: M_R = 1.00025 and A_R = 1e-5 at 40 GeV
    theirs = c.to_roccor(ours(), PT)
    assert_allclose([theirs.M_R[1], theirs.A_R[1]], [1.00025, 1e-5], rtol=1e-15)
    wrong = c.from_roccor(c.Roccor(M_R=1.0 + theirs.A_R, A_R=theirs.M_R - 1.0), PT)
    assert np.max(np.abs(corrected(wrong) / corrected(ours()) - 1.0)) > 1e-3


def test_muonscare_formula_gives_our_momentum():
    theirs = c.to_muonscare(ours(), PT)
    assert_allclose(1.0 / (theirs.m / PT + CHARGE * theirs.a), corrected(ours()), rtol=4e-16)


def test_atlas_formula_bends_simulation_as_data_are_bent():
    # applied to true momenta it does what the detector does; first order: (1e-3)^2
    theirs = c.to_atlas(ours())
    bent = (theirs.s0 + (1.0 + theirs.s1) * PT) / (1.0 + CHARGE * theirs.delta * 1e-3 * PT)
    assert_allclose(bent, distort_pt(table(ours()), PT, ETA, CHARGE), rtol=2e-6)


def test_atlas_sagitta_is_in_inverse_tev():
    # M = 1e-5 per GeV is 0.01 per TeV
    assert_allclose(np.abs(c.to_atlas(ours()).delta), 0.01, rtol=1e-14)


def test_lhcb_formula_gives_our_momentum():
    p = ours(e=0.0)
    theirs = c.to_lhcb(p, ETA)
    momentum = (1.0 + theirs.alpha) * PT * np.cosh(ETA)
    q_over_p = CHARGE / momentum + theirs.delta
    assert_allclose(np.abs(1.0 / q_over_p) / np.cosh(ETA), corrected(p), rtol=4e-7)


def test_lhcb_has_no_energy_loss():
    with pytest.raises(ValueError, match=r"e reaches 0\.002 GeV"):
        c.to_lhcb(ours(), ETA)


def test_there_and_back():
    p = ours()
    for back in (
        c.from_roccor(c.to_roccor(p, PT), PT, p.e),
        c.from_muonscare(c.to_muonscare(p, PT), PT, p.e),
        c.from_atlas(c.to_atlas(p)),
        c.from_lhcb(c.to_lhcb(ours(e=0.0), ETA), ETA)._replace(e=p.e),
    ):
        for name in ("A", "e", "M"):
            assert_allclose(getattr(back, name), getattr(p, name), rtol=1e-11, err_msg=name)
