"""Closure: A and M of corrected pairs, and how the scale table shows in its bins."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.scale import Closure, ScaleConfig, ScaleTable, close


def shifted(histograms, A: float, M: float) -> np.ndarray:
    """ln s of every bin for a uniform A and M."""
    w, wpt = histograms.mean("w"), histograms.mean("wpt")
    return (w * np.log(1 + A + np.array([1.0, -1.0]) * M * wpt / w)).sum(axis=1)


def test_close_finds_the_residual_a_and_m(jpsi_histograms, make_fits):
    fits = make_fits(jpsi_histograms, shifted(jpsi_histograms, 2e-4, 1e-5), np.full(jpsi_histograms.n_bins, 1e-4))
    closure = close(fits)
    assert_allclose(closure.A, 2e-4, rtol=1e-9)
    assert_allclose(closure.M, 1e-5, rtol=1e-9)
    assert closure.cov.shape == (24, 24)
    assert (closure.resonance, closure.reference_mass) == ("jpsi", 3.0969)
    assert np.all((closure.mean_k > 1 / 12) & (closure.mean_k < 1 / 4))  # muons of 4 to 25 GeV


def test_close_finds_a_alone_where_m_is_not_asked_for(jpsi_histograms, make_fits):
    fits = make_fits(jpsi_histograms, shifted(jpsi_histograms, 2e-4, 0.0), np.full(jpsi_histograms.n_bins, 1e-4))
    closure = close(fits, config=ScaleConfig(free=("A",), prior={"M": 1e-5}))
    assert_allclose(closure.A, 2e-4, rtol=1e-9)
    assert np.all(np.diag(closure.cov)[:12] > 0)
    assert not closure.M.any()
    assert not closure.cov[12:].any()


def test_the_masses_say_the_same_with_and_without_a_prior(jpsi_histograms, make_fits):
    fits = make_fits(jpsi_histograms, shifted(jpsi_histograms, 2e-6, 1e-7), np.full(jpsi_histograms.n_bins, 1e-4))
    free, held = close(fits), close(fits, config=ScaleConfig(prior={"M": 5e-6}))
    assert free.prior is None
    assert_allclose(held.prior, np.repeat([0.0, 5e-6**-2.0], 12))
    assert np.all(np.abs(held.M) < 0.95e-7)  # drawn towards 0
    # both are in units of their own errors; what is known of A and M is the same, but for logarithms of 1 + 2e-6
    (score, information), (of_free, expected) = held.score(), free.score()
    ratio = np.sqrt(np.diag(free.cov) / np.diag(held.cov))
    assert_allclose(score * ratio, of_free, rtol=1e-4)
    assert_allclose(information * np.outer(ratio, ratio), expected, atol=1e-5 * np.max(expected))


def table(edges: np.ndarray, **values: np.ndarray) -> ScaleTable:
    b = edges.size - 1
    zero = dict.fromkeys(("A", "e", "M"), np.zeros(b)) | values
    return ScaleTable(eta_edges=edges, cov=np.eye(3 * b), **zero)


def test_projection_averages_a_less_e_k_and_m():
    edges = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    closure = Closure(eta_edges=edges[::2], A=np.zeros(2), M=np.zeros(2), cov=np.eye(4), mean_k=np.array([0.02, 0.025]))
    values = table(edges, A=np.array([1.0, 3.0, 5.0, 7.0]), e=np.array([10.0, 30.0, 0.0, 40.0]), M=np.arange(4.0))
    # A: mean(1, 3) - 0.02 mean(10, 30); mean(5, 7) - 0.025 mean(0, 40); M: means
    assert_allclose(closure.projection(edges) @ values.parameters, [2 - 0.4, 6 - 0.5, 0.5, 2.5])


def test_projection_shares_a_table_bin_by_its_width():
    closure = Closure(eta_edges=np.array([0.0, 1.5]), A=np.zeros(1), M=np.zeros(1), cov=np.eye(2), mean_k=np.zeros(1))
    edges = np.array([0.0, 1.0, 2.0])
    assert_allclose(closure.projection(edges) @ table(edges, A=np.array([3.0, 6.0])).parameters, [4.0, 0.0])


def test_a_closure_beyond_the_table_is_refused():
    closure = Closure(eta_edges=np.array([0.0, 2.4]), A=np.zeros(1), M=np.zeros(1), cov=np.eye(2), mean_k=np.zeros(1))
    with pytest.raises(ValueError, match=r"does not cover the closure bin 0 <= eta < 2\.4"):
        closure.projection(np.array([0.0, 1.0, 2.0]))


def test_a_closure_survives_saving(tmp_path, jpsi_histograms, make_fits):
    closure = close(make_fits(jpsi_histograms, np.zeros(jpsi_histograms.n_bins), np.full(jpsi_histograms.n_bins, 1e-4)))
    closure.save(tmp_path / "closure.h5")
    back = Closure.load(tmp_path / "closure.h5")
    assert np.array_equal(back.cov, closure.cov)
    assert back.provenance.ledgers["scale"].read == jpsi_histograms.n_bins


def test_without_a_mass_nothing_is_added_to_the_residual():
    closure = Closure(eta_edges=np.array([0.0, 1.0]), A=np.zeros(1), M=np.zeros(1), cov=np.eye(2), mean_k=np.zeros(1))
    assert closure.mass_shift.tolist() == [0.0, 0.0]
    with_mass = replace(closure, reference_mass=91.0, reference_mass_error=0.0021)
    assert_allclose(with_mass.mass_shift, [0.0021 / 91, 0.0])
