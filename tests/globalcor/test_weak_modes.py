"""Templates and soft modes of J/psi pairs in a small barrel, in the simple track model of `jpsi`."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.globalcor import (
    Family,
    ProbeTracks,
    ReferenceDerivatives,
    SolveConfig,
    WeakModes,
    accumulate,
    bias_map,
    build_registry,
    divide,
    induced_bias,
    solve,
    templates,
    weak_modes,
    with_factor,
)

from .jpsi import JpsiPairs


@pytest.fixture(scope="module")
def coarse(tracker):
    families = (
        Family(kind="alignment", by="layer", min_entries=1),
        Family(kind="bfield", by="layer", components=("z",), passive=False, min_entries=1),
        Family(kind="eloss", by="whole", passive=False, min_entries=1),
    )
    return build_registry(tracker, families)


def pairs_of(tracker, registry, n):
    return accumulate(JpsiPairs(tracker, registry, n, eta_max=0.7, tries=60), divide(n, 500), registry)


@pytest.fixture(scope="module")
def sums(tracker, coarse):
    return pairs_of(tracker, coarse, 1000)


@pytest.fixture(scope="module")
def patterns(tracker, coarse):
    return templates(coarse, tracker)


@pytest.fixture(scope="module")
def modes(sums, coarse, patterns):
    return weak_modes(sums, coarse, patterns, 12, SolveConfig(method="dense"))


def test_soft_modes_are_eigenvectors_of_the_whitened_matrix(sums, coarse, modes):
    s = coarse.prior
    h = sums.matrix().dense_lower()[np.ix_(coarse.slot, coarse.slot)]
    h = h + np.tril(h, -1).T
    a = h * np.outer(s, s) + 2.0 * np.eye(len(coarse))
    values = np.linalg.eigvalsh(a)
    assert_allclose(modes.eigenvalues, values[:12], rtol=1e-7)
    assert np.all(modes.accuracy < 1e-6)
    white = modes.modes / s[:, None]
    assert_allclose(white.T @ a @ white, 2.0 * np.eye(12), atol=1e-6)  # one standard deviation each


def test_block_iterations_find_the_same_modes(sums, coarse, patterns, modes):
    found = weak_modes(sums, coarse, patterns, 12, SolveConfig(method="iterative"))
    assert_allclose(found.eigenvalues, modes.eigenvalues, rtol=1e-3)
    assert_allclose(found.explained, modes.explained, atol=0.02)


def test_the_error_with_everything_floating_is_that_of_the_covariance(sums, coarse, patterns, modes):
    cov = solve(sums, coarse).covariance
    for i, name in enumerate(patterns.names):
        v = patterns.vectors[:, i] / coarse.prior**2
        amplitude = v / (v @ patterns.vectors[:, i])
        assert modes.error[i] == pytest.approx(np.sqrt(amplitude @ cov @ amplitude), rel=1e-6), name
    assert np.all(modes.error <= modes.prior_error * (1 + 1e-9))
    assert np.all(modes.error >= 1.0 / np.hypot(1.0 / modes.alone, 1.0 / modes.prior_error) * (1 - 1e-9))


def test_overlaps_are_cosines(modes, patterns):
    assert modes.overlaps.shape == (12, len(patterns.names))
    assert np.abs(modes.overlaps).max() <= 1.0
    assert np.all((modes.explained >= 0) & (modes.explained <= 1 + 1e-12))
    assert len(modes.names()) == 12


def test_what_the_factor_of_the_soft_modes_lacks_is_the_next_mode(sums, coarse, modes, patterns):
    found = solve(sums, coarse)
    low = with_factor(found, modes).factor
    lacking = (found.covariance - low @ low.T) / np.outer(coarse.prior, coarse.prior)
    s = coarse.prior
    h = sums.matrix().dense_lower()[np.ix_(coarse.slot, coarse.slot)]
    values = np.linalg.eigvalsh(h * np.outer(s, s) + 2.0 * np.eye(len(coarse)))
    left = np.linalg.eigvalsh(lacking)
    assert left[-1] == pytest.approx(2.0 / values[12], rel=1e-6)
    assert left[0] > -1e-9


def test_saved_and_loaded(modes, tmp_path):
    again = WeakModes.load(modes.save(tmp_path / "modes.h5"))
    assert_array_equal(again.modes, modes.modes)
    assert again.templates == modes.templates


def test_templates_of_another_registry_are_refused(sums, coarse, patterns):
    with pytest.raises(InputError, match="not of the same parameters"):
        weak_modes(sums, coarse, replace(patterns, digest="other"), 3)


@pytest.fixture
def probes(coarse):
    """Four tracks; only parameter 0 moves their q/p, only parameter 1 their lambda."""
    return ProbeTracks(
        pt=np.array([5.0, 5.0, 40.0, 40.0]), eta=np.array([0.1, -0.1, 0.1, 0.1]), phi=np.array([0.0, 1.0, 2.0, -2.0]),
        charge=np.array([1.0, -1.0, 1.0, -1.0]),
        derivatives=ReferenceDerivatives(
            digest=coarse.digest, offsets=np.arange(5) * 2, label=np.tile([0, 1], 4),
            values=np.tile([[0.01, 0.0, 0.0], [0.0, 0.5, 0.0]], (4, 1)),
        ),
    )  # fmt: skip


def test_induced_bias_by_hand(coarse, probes):
    vectors = np.zeros((len(coarse), 2))
    vectors[0, 0], vectors[1, 1] = 1.0, 0.1
    found = induced_bias(vectors, probes)
    # 0.01 of q/p = +-1 / (pt cosh eta); tan(lambda) = sinh(eta), 0.05 of lambda
    assert_allclose(found[:, 0], 0.01 * probes.charge * probes.pt * np.cosh(0.1))
    assert_allclose(found[:, 1], 0.05 * np.sinh(probes.eta))


def test_bias_maps_are_means_in_bins(coarse, probes):
    vectors = np.zeros((len(coarse), 1))
    vectors[0] = 1.0
    found = bias_map(
        ("one",), vectors, probes, eta_edges=np.array([-1.0, 0.0, 1.0]), phi_edges=np.array([-4.0, 4.0]),
        pt_edges=np.array([1.0, 10.0, 100.0]),
    )  # fmt: skip
    assert found.bias.shape == (1, 2, 1, 2, 2)
    assert found.bias[0, 1, 0, 1, 0] == pytest.approx(0.01 * 5.0 * np.cosh(0.1))
    assert found.bias[0, 0, 0, 0, 0] == pytest.approx(-0.01 * 5.0 * np.cosh(0.1))
    assert np.isnan(found.bias[0, 0, 0, 1, 1])
    assert found.count.sum() == 4
