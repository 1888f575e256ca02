"""a, b, c from mass widths."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import NotCertified
from mucal.massfit.bins import Binning, fill
from mucal.scale import ResolutionConfig, ResolutionTable, derive_resolution, relative_variance
from mucal.simulation import DimuonSimulation, generate_dimuons

ETA = np.linspace(-2.4, 2.4, 13)
TRUE = {
    "a": np.linspace(6e-5, 2e-4, 12), "b": np.linspace(5e-5, 1e-5, 12), "c": np.linspace(2e-8, 6e-8, 12)
}  # fmt: skip


@pytest.fixture(scope="module")
def z_histograms():
    binning = Binning(
        eta_edges=ETA, pt_edges=np.array([26.0, 35.0, 39.0, 43.0, 48.0, 70.0]), mass_edges=np.linspace(75, 110, 11)
    )
    return fill(generate_dimuons(DimuonSimulation(resonance="z", seed=5), 100_000).dimuons, binning)


def with_width(histograms, make_fits, resonance="jpsi", noise=0.0, seed=0, **terms):
    """Fits whose squared width is exactly the model's, or fluctuates by `noise` errors."""
    w2, w2_pt2 = histograms.mean("w2"), histograms.mean("w2_pt2")
    i = histograms.index[:, [0, 2]]
    z = terms["a"][i] * w2 + terms["c"][i] * w2_pt2 + terms["b"][i] * w2 / (1 + 370.0 * w2 / w2_pt2)
    error = np.sqrt(0.7 / histograms.n_events)
    squared = z.sum(axis=1) * (1.0 + 2.0 * noise * error * np.random.default_rng(seed).normal(size=error.size))
    ln_sigma = 0.5 * np.log(squared)
    zero = np.zeros(histograms.n_bins)
    return replace(make_fits(histograms, zero, zero + 1e-4, ln_sigma), resonance=resonance)


def test_exact_widths_give_back_a_and_c(jpsi_histograms, make_fits):
    terms = TRUE | {"b": np.zeros(12)}
    found = derive_resolution([with_width(jpsi_histograms, make_fits, **terms)])
    assert_allclose(found.a, terms["a"], rtol=1e-8)
    assert_allclose(found.c, terms["c"], rtol=1e-8)
    assert not np.any(found.b)
    assert found.chi2 < 1e-8
    assert found.pt_range == (4.0, 25.0)


def test_jpsi_and_z_together_give_back_a_b_and_c(jpsi_histograms, z_histograms, make_fits):
    fits = [
        with_width(jpsi_histograms, make_fits, **TRUE), with_width(z_histograms, make_fits, "z", **TRUE)
    ]  # fmt: skip
    found = derive_resolution(fits, ResolutionConfig(free=("a", "b", "c")))
    for name, true in TRUE.items():
        assert_allclose(getattr(found, name), true, rtol=1e-7, err_msg=name)
    alone = derive_resolution(fits[:1], ResolutionConfig(free=("a", "b", "c")))
    both, only = (np.sqrt(np.diag(t.cov)) for t in (found, alone))
    assert np.all(both[12:] < 0.3 * only[12:])


def test_a_prior_is_a_measurement_of_zero(jpsi_histograms, z_histograms, make_fits):
    free, prior = ("a", "b", "c"), {"b": 1e-5}
    for terms in (TRUE | {"b": np.zeros(12)}, TRUE):
        fits = [with_width(jpsi_histograms, make_fits, **terms), with_width(z_histograms, make_fits, "z", **terms)]
        plain = derive_resolution(fits, ResolutionConfig(free=free))
        held = derive_resolution(fits, ResolutionConfig(free=free, prior=prior))
        assert held.ndf == plain.ndf + 12
        if not terms["b"].any():  # nothing moves, and with it no weight
            information = np.diag(np.linalg.inv(held.cov) - np.linalg.inv(plain.cov))
            assert_allclose(information[12:24], 1e10, rtol=1e-4)
        else:
            assert np.all(np.abs(held.b) < np.abs(plain.b))
            assert held.chi2 > np.sum((held.b / 1e-5) ** 2)


def test_pulls_of_toys_are_standard_normal(jpsi_histograms, make_fits):
    terms = TRUE | {"b": np.zeros(12)}
    true = np.concatenate([terms["a"], terms["c"]])
    dense = jpsi_histograms.n_events >= 50  # a squared width of fewer events could come out negative
    h = replace(
        jpsi_histograms, index=jpsi_histograms.index[dense], counts=jpsi_histograms.counts[dense],
        sums=jpsi_histograms.sums[dense],
    )  # fmt: skip
    z = []
    for seed in range(40):
        found = derive_resolution([with_width(h, make_fits, noise=1.0, seed=seed, **terms)])
        kept = np.r_[0:12, 24:36]
        solution = np.concatenate([found.a, found.c]) - true
        z.append(np.linalg.solve(np.linalg.cholesky(found.cov[np.ix_(kept, kept)]), solution))
    z = np.array(z)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)


def test_abs_eta_bins_unfold(jpsi_histograms_abs_eta, make_fits):
    half = {name: values[6:] for name, values in (TRUE | {"b": np.zeros(12)}).items()}
    found = derive_resolution([with_width(jpsi_histograms_abs_eta, make_fits, **half)])
    assert_allclose(found.eta_edges, ETA, atol=1e-15)
    assert_allclose(found.a, np.concatenate([half["a"][::-1], half["a"]]), rtol=1e-8)


def test_a_negative_square_in_the_range_used_is_refused(jpsi_histograms, make_fits):
    terms = TRUE | {"b": np.zeros(12), "c": TRUE["c"].copy()}
    terms["c"][4] = -2.5e-7
    with pytest.raises(NotCertified, match="negative"):
        derive_resolution([with_width(jpsi_histograms, make_fits, **terms)])


def test_a_term_that_only_fluctuates_below_zero_is_held_there(jpsi_histograms, make_fits):
    few = replace(jpsi_histograms, counts=jpsi_histograms.counts / 400, sums=jpsi_histograms.sums / 400)
    terms = TRUE | {"b": np.zeros(12), "c": TRUE["c"].copy()}
    terms["c"][4] = -2.5e-7  # as refused with all events
    found = derive_resolution([with_width(few, make_fits, **terms)])
    assert found.c[4] == 0.0
    assert found.provenance.configuration["held_at_zero"] == ("c[-0.8, -0.4)",)
    assert np.sqrt(found.cov[24 + 4, 24 + 4]) > 2.5e-7 / 3.0
    # as a fit without that term has it
    assert 0.0 < found.chi2 < 9.0
    assert found.a[4] < TRUE["a"][4]
    assert_allclose(np.delete(found.c, 4), np.delete(terms["c"], 4), atol=2e-8)


def test_negative_terms_with_a_positive_square_are_legal(jpsi_histograms, make_fits):
    terms = TRUE | {"b": np.zeros(12), "c": TRUE["c"].copy()}
    terms["c"][4] = -5e-8
    assert derive_resolution([with_width(jpsi_histograms, make_fits, **terms)]).c[4] < 0


def test_relative_variance_by_hand():
    table = ResolutionTable(
        eta_edges=np.array([-1.0, 1.0]), a=np.array([1e-4]), b=np.array([4e-5]), c=np.array([2e-8]),
        d=np.array([400.0]), cov=np.zeros((3, 3)),
    )  # fmt: skip
    # pT = 20 GeV: 1e-4 + 2e-8 * 400 + 4e-5 / 2
    assert_allclose(relative_variance(table, np.array([20.0]), np.zeros(1)), [1.28e-4], rtol=1e-14)
    with pytest.raises(ValueError, match="1 of 1 muons lie outside the resolution table"):
        relative_variance(table, np.array([20.0]), np.array([1.0]))


def test_samples_with_different_bins_are_refused(jpsi_histograms, jpsi_histograms_abs_eta, make_fits):
    terms = TRUE | {"b": np.zeros(12)}
    half = {name: values[6:] for name, values in terms.items()}
    with pytest.raises(ValueError, match="different eta bins"):
        derive_resolution(
            [with_width(jpsi_histograms, make_fits, **terms), with_width(jpsi_histograms_abs_eta, make_fits, **half)]
        )
    with pytest.raises(ValueError, match="no mass fits given"):
        derive_resolution([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"free": ("a", "d")}, "expected one or more of a, b, c"),
        ({"d": 0.0}, r"d = 0\.0 GeV\^2"),
        ({"prior": {"d": 1.0}}, "prior names d"),
        ({"prior": {"b": 0.0}}, "prior of b has width 0"),
    ],
)
def test_wrong_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResolutionConfig(**arguments)
