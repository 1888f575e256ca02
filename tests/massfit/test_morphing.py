"""The model "morphing": simulated spectra, moved and widened, against exact shapes and on toys."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.io.mass_fit_table import mass_fit_columns
from mucal.massfit import (
    BatchConfig,
    MassFits,
    MassHistograms,
    Remedy,
    Status,
    Template,
    fit_bins,
    fit_with_retries,
)
from mucal.massfit.background import background_derivative
from mucal.massfit.morphing import LN_S, VARIANCE, expectation, peak_width, simulated_template, spectra_at
from mucal.massfit.shapes import exponential, smeared_line
from mucal.scale import derive_resolution
from mucal.theory import fsr
from mucal.theory.lineshape import gaussian_kernel

EDGES, FINE = np.linspace(2.9, 3.3, 81), np.linspace(2.75, 3.45, 1401)
LINE = fsr.line("jpsi", 2.3, 3.8, 0.005)
SIGMA = 0.012
MORPHING = BatchConfig(model="morphing")


def shape(edges: np.ndarray, s: float = 1.0, sigma: float = SIGMA) -> np.ndarray:
    return np.clip(smeared_line(edges, LINE, s, sigma, gaussian_kernel), 0.0, None)


def histograms(counts: np.ndarray, edges: np.ndarray = EDGES) -> MassHistograms:
    b = len(counts)
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]), pt_edges=np.array([3.0, 30.0]), mass_edges=edges, abs_eta=False,
        index=np.zeros((b, 4), dtype=np.int64), counts=np.asarray(counts, dtype=float), sums=np.zeros((b, 2, 5)),
    )  # fmt: skip


def toys(n: int, ratio: float, s: float, sigma: float, n_fits: int, seed: int) -> MassFits:
    """Fits of n events with 10 % of background, each with its own simulation of `ratio` times as many."""
    rng = np.random.default_rng(seed)
    data = rng.poisson(n * (0.9 * shape(EDGES, s, sigma) + 0.1 * exponential(EDGES, 1.0)), (n_fits, 80))
    simulated = rng.poisson(n * ratio * shape(FINE), (n_fits, FINE.size - 1)).astype(float)
    return fit_bins(histograms(data), MORPHING, Template(edges=FINE, weights=simulated))


@pytest.fixture(scope="module")
def exact():
    """The spectrum itself in the place of simulated events; so many that the kernels are narrow."""
    template = Template(edges=FINE, weights=1e9 * shape(FINE)[None, :])
    return spectra_at(template, EDGES, np.zeros(1), np.zeros(1))


@pytest.mark.parametrize(
    ("s", "added", "tolerance"),
    # of the peak: the third order of a shift is (d / sigma)^3 / 6 times at most 1.4; the second one of the variance
    # (v / sigma^2)^2 / 8 times 3; what is left without a shift is the kernels' fourth order, 3/8 of 0.1^4
    [(1.0, 0.0, 1e-4), (1 + 1e-4, 0.0, 1e-4), (1 + 1e-3, 0.0, 3e-4), (1.0, 2e-5, 8e-3)],
)
def test_a_moved_and_widened_spectrum_is_the_exact_one(exact, s: float, added: float, tolerance: float):
    theta = np.array([[0.0, np.log(s), added, -40.0, 0.0]])
    found = expectation(theta, exact)[0][0]
    expected = shape(EDGES, s, np.sqrt(SIGMA**2 + added))
    assert np.max(np.abs(found - expected)) < tolerance * expected.max()
    if added or s > 1 + 5e-4:  # without the shift it would not be
        assert np.max(np.abs(expectation(np.array([[0.0, 0.0, 0.0, -40.0, 0.0]]), exact)[0][0] - expected)) > (
            2 * tolerance * expected.max()
        )


def test_derivatives_agree_with_differences(exact):
    theta = np.array([[np.log(3e3), 4e-4, -1e-5, -2.0, 0.7]])
    slopes = expectation(theta, exact)[1][0]
    for j, h in enumerate((1e-5, 1e-7, 1e-9, 1e-5, 1e-5)):
        step = np.zeros((1, 5))
        step[0, j] = h
        difference = (expectation(theta + step, exact)[0][0] - expectation(theta - step, exact)[0][0]) / (2 * h)
        assert_allclose(slopes[j], difference, rtol=1e-5, atol=1e-6 * np.abs(difference).max())


@pytest.mark.parametrize("slope", [0.0, 1e-3, -0.4, 7.0, -60.0])
def test_the_derivative_of_the_background_is_its_difference(slope: float):
    h = 1e-5
    found = background_derivative(np.array([slope]), EDGES)[1][0]
    up, down = (background_derivative(np.array([slope + step]), EDGES)[0][0] for step in (h, -h))
    assert_allclose(found, (up - down) / (2 * h), atol=1e-9)


def test_the_width_of_a_peak_is_that_of_its_upper_side():
    template = Template(edges=FINE, weights=1e6 * shape(FINE)[None, :])
    assert peak_width(template)[0] == pytest.approx(SIGMA, rel=0.15)


@pytest.mark.parametrize(("s", "sigma", "ratio"), [(1 + 5e-4, SIGMA, 4.0), (1 - 2e-3, 1.08 * SIGMA, 4.0)])
def test_pulls_of_toys_are_standard_normal(s: float, sigma: float, ratio: float):
    fits = toys(4000, ratio, s, sigma, 500, 7)
    good = fits.good
    assert good.sum() >= 498
    for name, truth in (("ln_s", np.log(s)), ("variance", sigma**2 - SIGMA**2)):
        pull = (fits.value(name)[good] - truth) / fits.error(name)[good]
        assert abs(pull.mean()) < 4 / np.sqrt(500), name
        # the error is right to the fourth order of the kernels: within 5 % beside the statistics of 500 widths
        assert abs(pull.std() - 1.0) < 4 / np.sqrt(1000) + 0.05, name
    # half of the probabilities above a half, but for the approximate share of the simulation
    assert abs(np.nanmean(fits.p_value) - 0.5) < 4 * np.sqrt(1 / 12 / 500) + 0.05


def test_simulation_that_is_too_wide_is_made_narrower():
    fits = toys(4000, 4.0, 1.0, 0.96 * SIGMA, 400, 8)
    good = fits.good
    found = np.mean(fits.value("variance")[good]) / SIGMA**2
    assert found == pytest.approx(0.96**2 - 1.0, abs=0.01)
    shift = fits.value("ln_s")[good]
    assert abs(shift.mean()) < 4 * shift.std() / np.sqrt(good.sum())


def test_simulation_far_too_wide_ends_at_the_wall():
    fits = toys(20_000, 2.0, 1.0, 0.7 * SIGMA, 5, 9)
    assert np.all(fits.status == Status.AT_BOUNDARY)
    assert np.all(np.isnan(fits.value("ln_s")))


def test_it_finds_the_shift_that_the_smeared_line_finds():
    rng = np.random.default_rng(3)
    data = histograms(rng.poisson(2e5 * (0.95 * shape(EDGES, 1 + 3e-4) + 0.05 / 80), (4, 80)))
    morphed = fit_bins(data, MORPHING, Template(edges=FINE, weights=np.tile(1e8 * shape(FINE), (4, 1))))
    smeared = fit_bins(data, BatchConfig())
    difference = morphed.value("ln_s") - smeared.value("ln_s")
    assert np.all(np.abs(difference) < 0.05 * smeared.error("ln_s"))
    assert_allclose(morphed.error("ln_s"), smeared.error("ln_s"), rtol=0.02)


def test_fixed_parameters_stay_and_have_no_error():
    data = histograms(np.random.default_rng(4).poisson(5e3 * shape(EDGES), (3, 80)))
    config = BatchConfig(model="morphing", fixed={"variance": 0.0, "slope": 0.5})
    fits = fit_bins(data, config, Template(edges=FINE, weights=np.tile(1e5 * shape(FINE), (3, 1))))
    assert np.all(fits.good)
    assert np.all(fits.value("variance") == 0.0)
    assert np.all(fits.error("variance") == 0.0)


@pytest.mark.parametrize(
    ("sigma", "min_p_value", "before", "remedy", "after"),
    [
        # simulation just so much too wide that the background helps: the slope of the neighbours keeps it from that
        (0.0145, 1e-6, Status.NOT_CONVERGED, Remedy.FIXED_SLOPE, Status.OK),
        # beyond the wall the width of the neighbours is left, with which the spectrum is described badly ...
        (0.016, 0.0, Status.AT_BOUNDARY, Remedy.FIXED_WIDTH, Status.OK),
        # ... so that nothing is left for who asks for a description
        (0.016, 1e-6, Status.AT_BOUNDARY, Remedy.DROPPED, Status.AT_BOUNDARY),
    ],
)
def test_failed_fits_go_up_the_ladder(sigma: float, min_p_value: float, before: Status, remedy: Remedy, after: Status):
    data = histograms(np.random.default_rng(5).poisson(3e3 * shape(EDGES), (6, 80)))
    widths = np.where(np.arange(6) == 5, sigma, SIGMA)
    template = Template(edges=FINE, weights=np.stack([1e5 * shape(FINE, 1.0, width) for width in widths]))
    config = replace(MORPHING, min_p_value=min_p_value)
    assert fit_bins(data, config, template).status.tolist() == [Status.OK] * 5 + [before]
    again = fit_with_retries(data, config, template)
    assert again.remedies.tolist() == [Remedy.NONE] * 5 + [remedy]
    assert again.status[5] == after
    assert np.isfinite(again.value("ln_s")[5]) == (after == Status.OK)


def test_the_table_has_its_columns_and_gives_no_resolution():
    data = histograms(np.random.default_rng(5).poisson(3e3 * shape(EDGES), (6, 80)))
    template = Template(edges=FINE, weights=np.tile(1e5 * shape(FINE), (6, 1)))
    columns = mass_fit_columns(fit_bins(data, MORPHING, template))
    assert "variance" in columns
    assert "sigma" not in columns
    with pytest.raises(ValueError, match="know the width against simulation only"):
        derive_resolution([fit_bins(data, MORPHING, template)])


@pytest.mark.parametrize("width", [{"variance": 0.0}, {"ln_sigma": np.log(SIGMA)}])
def test_a_spectrum_merged_into_one_bin_has_no_probability(width: dict[str, float]):
    # bins are merged to five expected events, and the yield is fitted: nothing is left to compare
    data = histograms(np.eye(80)[38:42] * np.arange(1.0, 5.0)[:, None])
    fixed = {"ln_s": 0.0, "logit_f": -3.0, "slope": 0.0, **width}
    config = BatchConfig(model="morphing" if "variance" in width else "template", min_events=1, fixed=fixed)
    template = Template(edges=FINE, weights=np.tile(1e5 * shape(FINE), (4, 1)))
    fits = fit_bins(data, config, template if "variance" in width else None)
    assert np.all(fits.good)
    assert_allclose(fits.ndf, 0.0, atol=1e-9)
    assert np.all(np.isnan(fits.p_value))


def test_without_simulated_spectra_it_is_refused():
    data = histograms(np.full((1, 80), 50.0))
    with pytest.raises(ConfigError, match="needs the simulated spectrum of every bin"):
        fit_bins(data, MORPHING)


def test_rows_of_simulation_are_those_of_data():
    fine = histograms(np.arange(2 * (FINE.size - 1), dtype=float).reshape(2, -1), FINE)
    two = np.array([[0, 0, 0, 0], [0, 1, 0, 0]])
    pt = np.array([3.0, 5.0, 30.0])
    simulation = MassHistograms(
        eta_edges=fine.eta_edges, pt_edges=pt, mass_edges=FINE, abs_eta=False, index=two[::-1].copy(),
        counts=fine.counts, sums=fine.sums,
    )  # fmt: skip
    data = MassHistograms(
        eta_edges=fine.eta_edges, pt_edges=pt, mass_edges=EDGES, abs_eta=False,
        index=np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1]]), counts=np.full((3, 80), 50.0),
        sums=np.zeros((3, 2, 5)),
    )  # fmt: skip
    template = simulated_template(simulation, data)
    assert np.array_equal(template.weights[:2], fine.counts[::-1])
    assert np.all(template.weights[2] == 0.0)
    assert fit_bins(data, MORPHING, template).status[2] == Status.TEMPLATE_EMPTY
    with pytest.raises(ValueError, match="fill them over a wider window"):
        simulated_template(data, data)


def test_parameters_stand_where_the_configuration_names_them():
    assert MORPHING.parameters[LN_S] == "ln_s"
    assert MORPHING.parameters[VARIANCE] == "variance"
