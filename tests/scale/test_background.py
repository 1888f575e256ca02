"""The background of data under the simulated peak."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from mucal.massfit import BatchConfig, Binning, fill, fit_bins
from mucal.massfit.background import background_shape
from mucal.scale import add_fitted_background
from mucal.simulation import DimuonSimulation, generate_dimuons

MASS = np.linspace(2.9, 3.3, 41)
BINNING = Binning(eta_edges=np.linspace(-2.4, 2.4, 3), pt_edges=np.array([4.0, 25.0]), mass_edges=MASS)

FITS = BatchConfig(min_p_value=0.0)  # bins this wide mix resolutions


@pytest.fixture(scope="module")
def samples():
    data = generate_dimuons(DimuonSimulation(seed=1, background_fraction=0.3), 200_000).dimuons
    simulation = generate_dimuons(DimuonSimulation(seed=2), 200_000).dimuons
    return fit_bins(fill(data, BINNING), FITS), fill(simulation, BINNING)


def test_the_shape_is_the_integral_of_the_exponential():
    slope = 1.7
    edges = np.linspace(-0.5, 0.5, 41)
    expected = [quad(lambda x: np.exp(-slope * x), a, b)[0] for a, b in pairwise(edges)]
    assert_allclose(background_shape(np.array([slope]), MASS)[0], expected / np.sum(expected), rtol=1e-10)
    assert_allclose(background_shape(np.zeros(1), MASS)[0], 1 / 40, rtol=1e-12)


def test_the_share_of_data_is_found_again_in_simulation(samples):
    data, simulation = samples
    refitted = fit_bins(add_fitted_background(simulation, data), FITS)
    # the shapes are those of the model; the signals differ by their fluctuations
    assert np.all(np.abs(refitted.value("logit_f") - data.value("logit_f")) < 4 * data.error("logit_f"))
    assert np.all(data.value("logit_f") > np.log(0.08))


def test_averages_over_events_stay(samples):
    data, simulation = samples
    mixed = add_fitted_background(simulation, data)
    for name in ("w", "wk", "wpt"):
        assert_allclose(mixed.mean(name), simulation.mean(name), rtol=1e-13)


def test_bins_without_a_good_fit_of_data_get_nothing(samples):
    data, simulation = samples
    status = data.status.copy()
    status[0] = 3
    mixed = add_fitted_background(simulation, replace(data, status=status))
    assert np.array_equal(mixed.counts[0], simulation.counts[0])
    assert np.all(mixed.counts[1:].sum(axis=1) > simulation.counts[1:].sum(axis=1))


def test_edges_that_differ_in_the_last_bit_are_the_same(samples):
    data, simulation = samples
    moved = replace(simulation, mass_edges=np.nextafter(MASS, 9.0))
    assert_allclose(add_fitted_background(moved, data).counts, add_fitted_background(simulation, data).counts)


def test_different_windows_are_refused(samples):
    data, simulation = samples
    with pytest.raises(ValueError, match="different mass_edges"):
        add_fitted_background(replace(simulation, mass_edges=MASS + 0.1), data)
