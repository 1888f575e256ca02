"""One likelihood of all mass histograms against the scales of single bins."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassFits, MassHistograms, fill, fit_bins
from mucal.massfit.morphing import simulated_template
from mucal.scale import ScaleTable, add_fitted_background, derive
from mucal.scale.one_step import derive_at_once
from mucal.scale.recovery import whiten
from mucal.simulation import DimuonSimulation, generate_dimuons, injected_table

MORPHING, SMEARED = BatchConfig(model="morphing", min_events=400), BatchConfig(min_events=400)
WINDOW = Binning(
    eta_edges=np.linspace(-2.4, 2.4, 7), pt_edges=np.array([4.0, 4.8, 5.8, 7.5, 25.0]),
    mass_edges=np.linspace(2.9, 3.3, 81),
)  # fmt: skip
WIDE = replace(WINDOW, mass_edges=np.linspace(2.75, 3.45, 1401))
INJECTED = injected_table("uniform", WINDOW.eta_edges, seed=3)


@pytest.fixture(scope="module")
def simulated():
    return generate_dimuons(DimuonSimulation(seed=23), 600_000).dimuons


@pytest.fixture(scope="module")
def spectra(simulated) -> MassHistograms:
    return fill(simulated, WIDE)


@pytest.fixture(scope="module")
def data() -> MassHistograms:
    config = DimuonSimulation(seed=22, scale=INJECTED, background_fraction=0.1)
    return fill(generate_dimuons(config, 300_000).dimuons, WINDOW)


@pytest.fixture(scope="module")
def fits(data, spectra) -> MassFits:
    return fit_bins(data, MORPHING, simulated_template(spectra, data))


@pytest.fixture(scope="module")
def at_once(fits, spectra) -> ScaleTable:
    return derive_at_once(fits, spectra, MORPHING)


def test_the_injected_table_comes_back(at_once):
    z = whiten(at_once.parameters - INJECTED.parameters, at_once.cov)
    assert z.size == 18
    assert np.sum(z**2) < 18 + 4 * np.sqrt(2 * 18)
    assert abs(at_once.chi2 - at_once.ndf) < 4 * np.sqrt(2 * at_once.ndf)


def test_one_step_and_two_steps_agree_to_a_tenth_of_an_error(at_once, fits):
    two = derive(fits)
    difference = (at_once.parameters - two.parameters) / np.sqrt(np.diag(two.cov))
    assert np.sqrt(np.mean(difference**2)) < 0.1
    assert at_once.ndf == two.ndf


def test_the_smeared_line_agrees_with_the_morphed_simulation(at_once, data, simulated):
    smeared = fit_bins(data, SMEARED)
    simulation = fit_bins(add_fitted_background(fill(simulated, WINDOW), smeared), SMEARED)
    two = derive(smeared, simulation)
    error = np.sqrt(np.diag(two.cov))
    # the same pairs: what differs is the share of the information that each takes from the tails
    assert np.sqrt(np.mean(((at_once.parameters - two.parameters) / error) ** 2)) < 0.25
    np.testing.assert_allclose(np.sqrt(np.diag(at_once.cov)), error, rtol=0.1)


def test_the_minimum_is_one(at_once, fits, spectra):
    # spectra taken 2e-4 off, 0.7 errors of a bin: their derivatives, known to some per cent, carry them back
    values = fits.values.copy()
    values[:, 1] += 2e-4
    again = derive_at_once(replace(fits, values=values), spectra, MORPHING)
    error = np.sqrt(np.diag(at_once.cov))
    assert np.max(np.abs(again.parameters - at_once.parameters) / error) < 0.05


def test_fits_of_another_model_are_refused(data, spectra):
    with pytest.raises(ValueError, match="takes those of 'morphing'"):
        derive_at_once(fit_bins(data, SMEARED), spectra, SMEARED)
