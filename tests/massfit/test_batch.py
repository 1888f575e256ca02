"""`fit_bins` against iminuit, its invariances, and its statistics on toys."""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from iminuit import Minuit
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.massfit import BatchConfig, MassFits, MassHistograms, Status, Template, batch, fit_bins, template
from mucal.theory import resonance
from mucal.theory.fsr import line

EDGES = np.linspace(2.9, 3.3, 101)
MASS = resonance("jpsi").mass
LINE = line("jpsi", 2.4, 3.5, 0.005)  # four Gauss points on less than half of the narrowest width below
GAUSS = np.polynomial.legendre.leggauss(12)

RANGES = {
    "ln_n": (math.log(500), math.log(3e4)),
    "ln_s": (-2e-3, 2e-3),
    "ln_sigma": (math.log(0.006), math.log(0.016)),
    "logit_f": (-3.5, -0.8),
    "slope": (-1.0, 2.0),
    "ln_alpha_l": (0.0, 0.6),
    "ln_alpha_r": (0.2, 0.8),
}


def slow_expectation(model: str, theta: FloatArray) -> FloatArray:
    """Expected events: every point of the line smeared, or the Crystal Ball density by Gauss-Legendre in each bin."""
    s, sigma = math.exp(theta[1]), math.exp(theta[2])
    f = 1 / (1 + math.exp(-theta[3]))
    if model == "template":
        below = ndtr((EDGES[:, None] / (s * LINE.mass) - 1) / sigma) @ LINE.weight
        signal = np.diff(below)
    else:
        alpha_l, alpha_r = math.exp(theta[5]), math.exp(theta[6])
        m = 0.5 * (EDGES[1:] + EDGES[:-1])[:, None] + 0.5 * np.diff(EDGES)[:, None] * GAUSS[0]
        t = (m / (s * MASS) - 1) / sigma
        alpha = np.where(t < 0, alpha_l, alpha_r)
        x = np.abs(t)
        tail = np.exp(-0.5 * alpha**2) * (1 + alpha / 3 * np.maximum(x - alpha, 0)) ** -3.0
        signal = np.where(x < alpha, np.exp(-0.5 * x**2), tail) @ GAUSS[1]
    x = (EDGES - EDGES[0]) / (EDGES[-1] - EDGES[0]) - 0.5
    background = -np.diff(np.exp(-theta[4] * x)) / theta[4] if theta[4] else np.diff(x)
    return math.exp(theta[0]) * ((1 - f) * signal / signal.sum() + f * background / background.sum())


def histograms(counts: FloatArray) -> MassHistograms:
    b = counts.shape[0]
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]),
        pt_edges=np.array([3.0, 30.0]),
        mass_edges=EDGES,
        abs_eta=False,
        index=np.zeros((b, 4), dtype=np.int64),
        counts=np.asarray(counts, dtype=float),
        sums=np.zeros((b, 2, 5)),
    )


def random_points(model: str, n: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    names = BatchConfig(model=model).parameters  # type: ignore[arg-type]
    return np.stack([rng.uniform(*RANGES[name], n) for name in names], axis=1)


def toys(model: str, points: FloatArray, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.poisson([slow_expectation(model, theta) for theta in points]).astype(float)


def one_point(n: int = 10_000, f: float = 0.1, sigma: float = 0.012, slope: float = 0.5) -> FloatArray:
    return np.array([math.log(n), 3e-4, math.log(sigma), math.log(f / (1 - f)), slope])


def slow_errors(config: BatchConfig, theta: FloatArray, n_events: float) -> FloatArray:
    """Root of the inverse Fisher information, from differences of fourth order of `slow_expectation`.

    A background fraction at its floor is held there: it has the root of 1/F alone.
    """
    p, mu = theta.size, slow_expectation(config.model, theta)
    slopes = np.empty((p, mu.size))
    for j, step in enumerate(np.diag(np.where(np.arange(p) == 1, 1e-5, 1e-3))):
        near, far = (
            slow_expectation(config.model, theta + m * step) - slow_expectation(config.model, theta - m * step)
            for m in (1, 2)
        )
        slopes[j] = (8.0 * near - far) / (12.0 * step[j])
    precision = [0.0 if (c := config.constraint(name)) is None else c[1] ** -2.0 for name in config.parameters]
    information = (slopes / mu) @ slopes.T + np.diag(precision)
    if theta[3] <= math.log(0.01 / n_events):
        information[3, np.arange(p) != 3] = information[np.arange(p) != 3, 3] = 0.0
    result: FloatArray = np.sqrt(np.diagonal(np.linalg.inv(information)))
    return result


def minuit(config: BatchConfig, counts: FloatArray, start: FloatArray) -> Minuit:
    constraints = [config.constraint(name) for name in config.parameters]

    def minus_ln_l(theta: FloatArray) -> float:
        mu = slow_expectation(config.model, theta)
        value = (mu - counts).sum() + (counts * np.log(np.maximum(counts, 1) / mu)).sum()
        for x, constraint in zip(theta, constraints, strict=True):
            value += 0.5 * ((x - constraint[0]) / constraint[1]) ** 2 if constraint else 0.0
        return float(value)

    fit = Minuit(minus_ln_l, start, name=config.parameters)
    fit.errordef = Minuit.LIKELIHOOD
    fit.errors = [0.01, 1e-4, 0.02, 0.2, 0.3, 0.1, 0.1][: len(start)]
    for name in config.fixed:
        fit.fixed[name] = True
    fit.limits["logit_f"] = (math.log(0.01 / counts.sum()), 7.0)  # the box of the batch
    fit.tol = 1e-3
    fit.migrad()
    fit.hesse()
    return fit


# ------------------------------------------------------------------------------------------------ against iminuit


@pytest.mark.parametrize(("model", "n"), [("template", 40), ("dscb", 40)])
def test_minimum_and_errors_are_those_of_iminuit(model: str, n: int):
    points = random_points(model, n, seed=11)
    counts = toys(model, points, seed=12)
    config = BatchConfig(model=model, min_events=1)  # type: ignore[arg-type]
    fits = fit_bins(histograms(counts), config)
    assert np.all(fits.good)
    for b in range(n):
        peer = minuit(config, counts[b], fits.values[b] if model == "dscb" else points[b])
        errors, ours = np.array(peer.errors), np.sqrt(np.diagonal(fits.cov[b]))
        assert np.max(np.abs(fits.values[b] - np.array(peer.values)) / ours) < 0.01
        # but for the nodes of the template (3e-5) and what twelve Gauss points lose at the join of core and tail (7e-5)
        assert_allclose(ours, slow_errors(config, fits.values[b], counts[b].sum()), rtol=1e-4)
        if model == "template":
            # iminuit's observed information differs by the fluctuation of n / mu - 1, of order 1 / sqrt(events that a
            # parameter lives on); ln s and ln sigma live on the peak.  The alphas of the Crystal Ball live on few
            assert_allclose(ours[:3], errors[:3], rtol=6 / math.sqrt(counts[b].sum()))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["template", "dscb"])
def test_two_hundred_random_bins_agree_with_iminuit(model: str):
    points = random_points(model, 200, seed=21)
    counts = toys(model, points, seed=22)
    config = BatchConfig(model=model, min_events=1)  # type: ignore[arg-type]
    fits = fit_bins(histograms(counts), config)
    off, ratio = [], []
    for b in range(200):
        peer = minuit(config, counts[b], fits.values[b] if model == "dscb" else points[b])
        ours = np.sqrt(np.diagonal(fits.cov[b]))
        off.append(np.max(np.abs(fits.values[b] - np.array(peer.values)) / ours))
        ratio.append(ours / np.array(peer.errors))
    print(f"\n{model}: largest difference per bin / sigma: median {np.median(off):.5f}, worst {np.max(off):.5f}")
    print(f"errors / iminuit: median {np.median(ratio, axis=0).round(4)}, rms {np.std(ratio, axis=0).round(4)}")
    assert np.all(fits.good)
    assert np.max(off) < 0.01


def test_fixed_and_constrained_parameters_agree_with_iminuit():
    points = random_points("dscb", 10, seed=31)
    counts = toys("dscb", points, seed=32)
    config = BatchConfig(
        model="dscb",
        fixed={"ln_alpha_r": 0.5, "slope": 0.3},
        constraints={"ln_sigma": (math.log(0.01), 0.05), "ln_alpha_l": (0.3, 0.1)},
        min_events=1,
    )
    fits = fit_bins(histograms(counts), config)
    assert_array_equal(fits.value("ln_alpha_r"), 0.5)
    assert_array_equal(fits.error("slope"), 0.0)
    for b in range(10):
        peer = minuit(config, counts[b], fits.values[b])
        free = [0, 1, 2, 3, 5]
        difference = (fits.values[b] - np.array(peer.values))[free] / np.array(peer.errors)[free]
        assert np.max(np.abs(difference)) < 0.01


# ------------------------------------------------------------------------------------------------ exact spectra


@pytest.mark.parametrize("sigma", [0.004, 0.006, 0.0085, 0.012, 0.017, 0.022])
def test_quadrature_nodes_cost_less_than_1e_7_in_the_scale(sigma: float):
    theta = one_point(10**6, sigma=sigma)
    fits = fit_bins(histograms(slow_expectation("template", theta)[None, :]), BatchConfig(tolerance=1e-13))
    assert_allclose(fits.value("ln_s"), theta[1], rtol=0, atol=1e-7)
    assert_allclose(fits.value("ln_sigma"), theta[2], rtol=0, atol=2e-5)


def test_exact_crystal_ball_spectrum_gives_its_parameters_back():
    theta = random_points("dscb", 20, seed=41)
    theta[:, 0] = math.log(1e5)
    free = {"slope": (0.0, math.inf), "ln_alpha_l": (0.0, math.inf), "ln_alpha_r": (0.0, math.inf)}
    counts = np.array([slow_expectation("dscb", row) for row in theta])
    fits = fit_bins(histograms(counts), BatchConfig(model="dscb", constraints=free, tolerance=1e-12))
    # the slow density has a jump of its third derivative inside a bin, which 12 Gauss points integrate to 1e-6 of it
    assert_allclose((fits.values - theta) / np.sqrt(np.diagonal(fits.cov, axis1=1, axis2=2)), 0, atol=1e-3)


def test_error_of_the_scale_is_1_23_sigma_over_root_n():
    # docs/physics/massfit.md: 10 % flat background, final-state radiation, 2.9-3.3 GeV in 80 bins, width 1.2 %
    theta = one_point(10_000, f=0.1, sigma=0.012, slope=0.0)
    fits = fit_bins(histograms(slow_expectation("template", theta)[None, :]), BatchConfig())
    assert_allclose(fits.error("ln_s")[0] * math.sqrt(10_000) / 0.012, 1.23, rtol=0.02)


# ------------------------------------------------------------------------------------------------ invariances


def same(one: MassFits, other: MassFits, rows: Any = slice(None)) -> None:
    for name in ("values", "cov", "deviance", "ndf", "p_value", "edm", "n_steps", "status"):
        assert_array_equal(getattr(one, name)[rows], getattr(other, name))


@pytest.fixture(scope="module")
def sample() -> FloatArray:
    counts = toys("template", random_points("template", 60, seed=51), seed=52)
    counts[7] = 0  # bins that are left out must not shift the others
    return counts


@pytest.mark.parametrize("model", ["template", "dscb"])
def test_order_of_the_bins_does_not_matter(sample: FloatArray, model: str):
    order = np.random.default_rng(1).permutation(len(sample))
    config = BatchConfig(model=model)  # type: ignore[arg-type]
    same(fit_bins(histograms(sample), config), fit_bins(histograms(sample[order]), config), order)


def test_threads_and_chunks_do_not_matter(sample: FloatArray, monkeypatch: pytest.MonkeyPatch):
    reference = fit_bins(histograms(sample), BatchConfig(), n_threads=1)
    monkeypatch.setattr(batch, "CHUNK", 7)
    for n_threads in (1, 2, 5):
        same(reference, fit_bins(histograms(sample), BatchConfig(), n_threads=n_threads))


def test_a_common_template_is_the_same_template_in_every_bin(sample: FloatArray):
    edges = np.linspace(2.4, 3.2, 801)
    weights = np.histogram(LINE.mass, edges, weights=LINE.weight)[0]
    common = fit_bins(histograms(sample), BatchConfig(), Template(edges=edges, weights=weights))
    each = Template(edges=edges, weights=np.tile(weights, (len(sample), 1)))
    same(common, fit_bins(histograms(sample), BatchConfig(), each))


def test_a_template_per_bin_goes_with_its_bin():
    edges = np.linspace(2.4, 3.2, 801)
    narrow = np.histogram(LINE.mass, edges, weights=LINE.weight)[0]
    shifted = np.roll(narrow, 10)  # 10 MeV up: the same spectrum then has a smaller scale
    counts = np.tile(slow_expectation("template", one_point(10**5)), (2, 1))
    fits = fit_bins(histograms(counts), BatchConfig(), Template(edges=edges, weights=np.stack([narrow, shifted])))
    assert_allclose(np.diff(fits.value("ln_s"))[0], -0.010 / MASS, rtol=0.01)


def test_k_fold_counts_give_the_same_values_and_a_k_th_of_the_covariance(sample: FloatArray):
    free = BatchConfig(constraints={"slope": (0.0, math.inf)}, tolerance=1e-12)
    rows = np.arange(10, 20)
    once, fourfold = (fit_bins(histograms(k * sample[rows]), free) for k in (1, 4))
    errors = np.sqrt(np.diagonal(once.cov, axis1=1, axis2=2))
    assert_allclose((fourfold.values - once.values)[:, 1:] / errors[:, 1:], 0, atol=1e-5)
    assert_allclose(fourfold.cov, once.cov / 4, rtol=1e-4, atol=1e-7 * once.cov.max())


def test_mass_in_other_units_gives_the_same_fit(sample: FloatArray):
    # a Crystal Ball knows masses only as ratios to the reference: scale everything but the window's origin
    config = BatchConfig(model="dscb", constraints={"ln_s": (0.0, 1.0)})
    stretched = replace(histograms(sample), mass_edges=EDGES * 1.001)
    one, other = fit_bins(histograms(sample), config), fit_bins(stretched, config)
    good = one.good & other.good
    difference = (other.value("ln_s") - one.value("ln_s"))[good]
    assert_allclose(difference, math.log(1.001), rtol=0, atol=0.01 * one.error("ln_s")[good].max())


# ------------------------------------------------------------------------------------------------ statistics


def test_pulls_are_standard_normal():
    n_toys = 3000
    theta = one_point(3000)
    counts = np.random.default_rng(61).poisson(slow_expectation("template", theta), (n_toys, EDGES.size - 1))
    fits = fit_bins(histograms(counts), BatchConfig())
    assert np.all(fits.good)
    for name, value, bias in (("ln_s", theta[1], 3.8e-3 / 3000), ("ln_sigma", theta[2], 2.0 / 3000)):
        pull = (fits.value(name) - value) / fits.error(name)
        # four errors of a mean and a width over the toys, plus the known bias of order 1/N of a maximum-likelihood
        # estimate in units of its error
        allowed = bias / float(np.median(fits.error(name)))
        assert abs(pull.mean()) < 4 / math.sqrt(n_toys) + allowed
        assert abs(pull.std() - 1) < 4 / math.sqrt(2 * n_toys) + 0.01


def test_p_values_are_uniform():
    n_toys = 3000
    counts = toys("template", random_points("template", n_toys, seed=71), seed=72)
    p = np.sort(fit_bins(histograms(counts), BatchConfig(min_events=1)).p_value)
    distance = np.max(np.abs(p - (np.arange(n_toys) + 0.5) / n_toys))
    assert distance * math.sqrt(n_toys) < 1.63  # Kolmogorov-Smirnov, 1 %


def test_p_values_are_uniform_where_the_background_slope_is_known_from_its_constraint_alone():
    # six events of background in 300: they fix neither slope nor fraction, and lie in a few merged bins
    n_toys = 2000
    counts = np.random.default_rng(73).poisson(
        slow_expectation("template", one_point(300, f=0.02)), (n_toys, EDGES.size - 1)
    )
    fits = fit_bins(histograms(counts), BatchConfig(min_events=1))
    p = fits.p_value[fits.good]
    assert p.size > 0.99 * n_toys
    assert abs(p.mean() - 0.5) < 4 / math.sqrt(12 * p.size)


@pytest.mark.parametrize("model", ["template", "dscb"])
def test_signal_without_background_converges(model: str):
    theta = one_point(3000, f=1e-9)
    if model == "dscb":
        theta = np.append(theta, [math.log(1.5), math.log(1.5)])
    counts = np.random.default_rng(81).poisson(slow_expectation(model, theta), (300, EDGES.size - 1))
    fits = fit_bins(histograms(counts), BatchConfig(model=model))  # type: ignore[arg-type]
    assert np.all(fits.good)
    assert np.all(np.isfinite(fits.cov))
    floor = math.log(0.01) - fits.value("ln_n")
    held = np.isclose(fits.value("logit_f"), floor, atol=1e-3)
    assert held.any()
    assert np.all(fits.value("logit_f") > floor - 1e-3)
    assert np.all(fits.cov[held][:, 3, :3] == 0)
    pull = (fits.value("ln_s") - theta[1]) / fits.error("ln_s")
    assert abs(pull.std() - 1) < 4 / math.sqrt(600)


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_template_with_another_number_of_rows_is_refused():
    template = Template(edges=np.linspace(2.5, 3.2, 8), weights=np.ones((3, 7)))
    with pytest.raises(ValueError, match=r"Template.weights has 3 rows for 1 histograms"):
        fit_bins(histograms(np.ones((1, 100))), BatchConfig(), template)


def test_a_template_for_the_crystal_ball_is_refused():
    template = Template(edges=np.linspace(2.5, 3.2, 8), weights=np.ones(7))
    with pytest.raises(ConfigError, match=r"a template was given but massfit.model is 'dscb'"):
        fit_bins(histograms(np.ones((1, 100))), BatchConfig(model="dscb"), template)


def test_a_window_without_the_resonance_is_refused():
    with pytest.raises(ConfigError, match=r"the mass of z, 91\.1879 GeV, lies outside the mass window"):
        fit_bins(histograms(np.ones((1, 100))), BatchConfig(resonance="z"))


def test_no_bins_give_no_fits():
    assert fit_bins(histograms(np.zeros((0, 100))), BatchConfig()).values.shape == (0, 5)


def test_arguments_are_left_as_they_were(sample: FloatArray):
    given = histograms(sample.copy())
    fit_bins(given, BatchConfig())
    assert_array_equal(given.counts, sample)


def test_background_alone_never_gives_a_precise_scale():
    counts = np.random.default_rng(91).poisson(np.full((200, 100), 20.0))
    fits = fit_bins(histograms(counts), BatchConfig())
    fitted = fits.good
    assert np.all(np.isnan(fits.values[~fitted & (fits.status != Status.BAD_GOF)]))
    # a fit of a fluctuation says so by its error: ten times that of 2000 real events of the usual width
    assert np.median(fits.error("ln_s")[fitted]) > 10 * 1.23 * 0.012 / math.sqrt(2000)


def test_fits_in_one_window_share_the_line_of_the_z(monkeypatch: pytest.MonkeyPatch):
    steps: list[float] = []

    @lru_cache
    def counted(name: str, low: float, high: float, step: float):
        steps.append(step)
        return line(name, low, high, step)

    monkeypatch.setattr(template, "_line", counted)
    edges = np.linspace(75.0, 107.0, 33)
    for finest in (0.01, 0.01, 0.02):
        mass, weight = template.resonance_points("z", edges, finest)
        assert np.all(mass > 0)
        assert weight.sum() == pytest.approx(1.0)
        mass[:] = 0.0  # what one fit does with its points is no matter of the next one's
    assert len(steps) == 2
