"""Weak combinations and coherent errors."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.scale import ScaleTable, coherent_shift, derive, weak_modes


def table(cov: np.ndarray, edges=(-2.4, 0.0, 2.4)) -> ScaleTable:
    n = len(edges) - 1
    return ScaleTable(eta_edges=np.array(edges), A=np.full(n, 1e-3), e=np.full(n, 2e-3), M=np.full(n, 1e-5), cov=cov)


def test_coherent_shift_by_hand():
    # at 40 GeV: A - e/pT = 1e-3 - 5e-5, M pT = 4e-4; two uncorrelated bins of errors 1e-4, 8e-4 GeV, 2e-6 /GeV
    cov = np.diag(np.repeat([1e-4, 8e-4, 2e-6], 2) ** 2)
    shift = coherent_shift(table(cov), [40.0])
    assert_allclose([shift.even[0], shift.odd[0]], [9.5e-4, 4e-4], rtol=1e-14)
    assert_allclose(shift.even_error[0], np.sqrt((1e-8 + (8e-4 / 40) ** 2) / 2), rtol=1e-14)
    assert_allclose(shift.odd_error[0], 2e-6 * 40 / np.sqrt(2), rtol=1e-14)


def test_wider_bins_count_for_more_and_weights_override_it():
    uneven = replace(table(np.eye(6), (-2.4, -1.2, 2.4)), A=np.array([3e-3, 0.0]), e=np.zeros(2))
    assert_allclose(coherent_shift(uneven, [8.0]).even, [0.75e-3], rtol=1e-14)
    assert_allclose(coherent_shift(uneven, [8.0], np.array([1.0, 1.0])).even, [1.5e-3], rtol=1e-14)
    with pytest.raises(ValueError, match=r"weights have shape \(3,\)"):
        coherent_shift(uneven, [8.0], np.ones(3))


def test_the_weak_mode_of_a_correlated_pair_is_its_sum():
    # correlation 0.96 of A and e: eigenvalues 1 +- 0.96
    cov = np.diag(np.repeat([1e-4, 6e-4, 5e-6], 1) ** 2)
    cov[0, 1] = cov[1, 0] = 0.96 * 1e-4 * 6e-4
    modes = weak_modes(table(cov, (-2.4, 2.4)))
    assert_allclose(modes.eigenvalues, [1.96, 1.0, 0.04], rtol=1e-12)
    assert_allclose(modes.eigenvectors[:, 0], [np.sqrt(0.5), np.sqrt(0.5), 0.0], atol=1e-12)
    assert_allclose(modes.condition_number, 49.0, rtol=1e-10)
    assert modes.names == ("A[-2.4, 2.4)", "e[-2.4, 2.4)", "M[-2.4, 2.4)")


def test_fixed_parameters_are_left_out():
    cov = np.diag([1e-8, 1e-8, 0, 0, 1e-12, 1e-12])
    assert weak_modes(table(cov)).names == ("A[-2.4, 0)", "A[0, 2.4)", "M[-2.4, 0)", "M[0, 2.4)")
    with pytest.raises(ValueError, match="no parameter has a positive variance"):
        weak_modes(table(np.zeros((6, 6))))


def test_jpsi_pairs_know_a_uniform_sagitta_bias_worst(jpsi_histograms, make_fits):
    # pairs link only neighbouring eta bins: the smooth M(eta) is the weakest mode, and A and e share the next ones
    fits = make_fits(
        jpsi_histograms, np.zeros(jpsi_histograms.n_bins), 1.23 * 0.012 / np.sqrt(jpsi_histograms.n_events)
    )
    found = derive(fits)
    modes = weak_modes(found)
    first = np.split(modes.eigenvectors[:, 0], 3)
    assert np.sum(first[2] ** 2) > 0.99
    assert np.all(first[2] > 0)
    correlation = found.cov / np.sqrt(np.outer(np.diag(found.cov), np.diag(found.cov)))
    assert np.all(np.diag(correlation[:12, 12:24]) > 0.9)
    shift = modes.coherent
    mean_odd_error = np.sqrt(np.sum(np.diag(found.cov)[24:])) / 12 * shift.pt
    assert np.all(shift.odd_error > 1.3 * mean_odd_error)
