"""The figure of a spectrum fit."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.massfit import SpectrumConfig, fit_spectrum
from mucal.plot.spectrum import poisson_interval, spectrum
from mucal.plot.style import to_svg
from mucal.theory import resonance


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    masses = np.concatenate([rng.normal(resonance("jpsi").mass, 0.03, 2000), rng.uniform(2.9, 3.3, 500)])
    return fit_spectrum(masses, SpectrumConfig(signal="gaussian", radiation=False))


def texts(figure):
    return " ".join(t.get_text() for axes in figure.axes for t in [*axes.texts, axes.title, axes._left_title])


def test_garwood_intervals_of_small_counts():
    # Particle Data Group, Statistics, table of Poisson limits: 0 -> [0, 1.84], 1 -> [0.17, 3.30], 3 -> [1.37, 5.92]
    lower, upper = poisson_interval(np.array([0.0, 1.0, 3.0]))
    assert_allclose(lower, [0.0, 0.173, 1.367], atol=1e-3)
    assert_allclose(upper, [1.841, 3.300, 5.918], atol=1e-3)


def test_axes_name_quantity_unit_and_bin_width(fit):
    main, pulls = spectrum(fit).axes
    assert main.get_ylabel() == "Events / 5 MeV"
    assert pulls.get_xlabel() == r"$m_{\mu\mu}$ [GeV]"
    assert pulls.get_ylabel() == "Pull"


def test_box_states_mass_width_yield_and_probability(fit):
    found = texts(spectrum(fit))
    assert f"{1e3 * fit.masses[0]:.1f}" in found
    assert f"{fit.value('n_jpsi'):.0f}" in found
    assert f"{fit.quality.p_value:.2g}" in found


def test_legend_names_data_fit_and_components(fit):
    names = [t.get_text() for t in spectrum(fit).axes[0].get_legend().get_texts()]
    assert names == ["data", "fit", resonance("jpsi").label, "background"]


def test_signal_and_background_are_filled_each_in_its_colour(fit):
    faces = {tuple(c.get_facecolor()[0]) for c in spectrum(fit).axes[0].collections if c.get_facecolor().size}
    assert len(faces) == 2


@pytest.mark.parametrize(("n_background", "insets"), [(100, 1), (2500, 0)])
def test_a_small_background_is_shown_on_a_logarithmic_axis_too(n_background: int, insets: int):
    rng = np.random.default_rng(2)
    masses = np.concatenate([rng.normal(resonance("jpsi").mass, 0.02, 2000), rng.uniform(2.9, 3.3, n_background)])
    main = spectrum(fit_spectrum(masses, SpectrumConfig(signal="gaussian", radiation=False))).axes[0]
    assert [axis.get_yscale() for axis in main.child_axes] == ["log"] * insets


def test_the_inset_hides_no_point():
    # a peak at the right end of the window, where the inset would stand
    rng = np.random.default_rng(3)
    masses = np.concatenate([rng.normal(resonance("jpsi").mass, 0.03, 2000), rng.uniform(2.7, 3.2, 100)])
    fit = fit_spectrum(masses, SpectrumConfig(signal="gaussian", radiation=False, window=(2.7, 3.2)))
    assert fit.valid
    assert spectrum(fit).axes[0].child_axes == []


def test_no_experiment_is_named_unless_asked(fit):
    assert spectrum(fit).axes[0].get_title(loc="left") == ""
    assert spectrum(fit, label="CMS Open Data").axes[0].get_title(loc="left") == "CMS Open Data"


def test_a_fit_without_numbers_shows_its_reason():
    figure = spectrum(fit_spectrum(np.linspace(2.9, 3.3, 20), SpectrumConfig()))
    assert "fewer events than the configured minimum" in texts(figure)
    assert figure.axes[0].get_legend() is None


def test_the_highest_point_stays_below_the_box(fit):
    main = spectrum(fit).axes[0]
    assert fit.counts.max() < 0.72 * main.get_ylim()[1]


def test_the_same_fit_gives_the_same_bytes(fit):
    assert to_svg(spectrum(fit)) == to_svg(spectrum(fit))


def test_pyplot_knows_no_figure_of_ours(fit):
    spectrum(fit)
    assert plt.get_fignums() == []
