"""The pass/fail fit against slow shapes and iminuit, and its statistics on toys."""

import numpy as np
import pytest
from iminuit import Minuit
from numpy.testing import assert_allclose, assert_array_equal

from mucal.arrays import FloatArray
from mucal.efficiency import Efficiencies, FitConfig, Status, measure, subtract_sidebands
from mucal.efficiency.config import PARAMETERS
from mucal.efficiency.kernels import shapes
from mucal.errors import ConfigError, NotCertified

from .toys import EDGES, LINE, background, expected, histograms, smeared

MODEL = shapes.Model(EDGES, LINE.per_bin, LINE.pad, 1, np.array([0, 1]))
POINT = np.array([0.93, np.log(900.0), 0.3, np.log(0.9), 40.0, 65.0, np.log(0.07), 0.03, np.log(2.5), -1.5,
                  -0.4, np.log(1.2), 25.0, 66.0, np.log(0.08), 0.05, np.log(3.0), -2.0])  # fmt: skip


def prediction(theta: FloatArray, model: shapes.Model = MODEL) -> tuple[FloatArray, FloatArray]:
    m, g = EDGES.size - 1, LINE.content.shape[2]
    mu, dmu = np.empty(2 * m), np.empty((18, 2 * m))
    cumulative = np.zeros((2, g + 1))
    cumulative[:, 1:] = np.cumsum(LINE.content[0], axis=1)
    scratch = np.empty((5, 2 * g + 2)), np.empty((5, m + 1)), np.empty((9, m))
    assert shapes.predict(theta, LINE.content[0], cumulative, model, *scratch, mu, dmu)
    return mu, dmu


def toys(eff: float, n: float, n_b: tuple[float, float], count: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).poisson(expected(eff, n, n_b), (count, 2, 60)).astype(float)


def test_derivatives_are_difference_quotients():
    _, dmu = prediction(POINT)
    for a, name in enumerate(PARAMETERS):
        h = 1e-4 * max(1.0, abs(POINT[a]))
        sides = []
        for k in (2, 1, -1, -2):
            moved = POINT.copy()
            moved[a] += k * h
            sides.append(prediction(moved)[0])
        numeric = (-sides[0] + 8 * sides[1] - 8 * sides[2] + sides[3]) / (12 * h)
        assert_allclose(dmu[a], numeric, atol=2e-7 * np.abs(dmu[a]).max() + 1e-9, err_msg=name)


def test_shapes_are_those_of_a_slow_convolution():
    theta = POINT.copy()
    mu, _ = prediction(theta, MODEL._replace(has_tail=0))
    n = np.exp(theta[1])
    slow = [
        0.93 * n * smeared(0.3, 0.9) + 40 * background(0.03),
        0.07 * n * smeared(-0.4, 1.2) + 25 * background(0.05, 66.0, 0.08),
    ]
    # twenty points a grid bin leave (h / 20)^2 / 24 f'' of the content: 1e-5
    assert_allclose(mu, np.concatenate(slow), rtol=2e-5, atol=1e-4)


def test_tail_moves_the_mean_down_by_fraction_times_length():
    with_tail, _ = prediction(POINT)
    without, _ = prediction(POINT, MODEL._replace(has_tail=0))
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    core = slice(20, 45)  # masses 80 to 105: the line's own tails are cut alike
    down = [np.average(middle[core], weights=(mu[:60] - 40 * background(0.03))[core]) for mu in (with_tail, without)]
    assert -0.5 < down[0] - down[1] < -0.1  # 2.5 GeV times 0.18, less what leaves the core


def minuit(counts: FloatArray, start: FloatArray, config: FitConfig) -> Minuit:
    """The same likelihood with slow shapes, minimised by MIGRAD."""
    used = [a for a, name in enumerate(PARAMETERS) if not config.unused(name)]

    def minus_ln_l(x: FloatArray) -> float:
        t = start.copy()
        t[used] = x
        n = np.exp(t[1])
        mu = np.stack([
            t[0] * n * smeared(t[2], np.exp(t[3])) + t[4] * background(t[7]),
            (1 - t[0]) * n * smeared(t[10], np.exp(t[11])) + t[12] * background(t[15], t[13], np.exp(t[14])),
        ])  # fmt: skip
        value = (mu - counts).sum() + (counts * np.log(np.maximum(counts, 1) / np.maximum(mu, 1e-12))).sum()
        for a in used:
            constraint = config.constraint(PARAMETERS[a])
            value += 0.5 * ((t[a] - constraint[0]) / constraint[1]) ** 2 if constraint else 0.0
        return float(value)

    names = [PARAMETERS[a] for a in used]
    fit = Minuit(minus_ln_l, start[used], name=names)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits["eff"] = (0.0, 1.0)
    fit.limits["n_b_pass"] = fit.limits["n_b_fail"] = (0.0, None)
    fit.errors = [0.01 if n == "eff" else 0.1 if "n_b" not in n else 5.0 for n in names]
    fit.tol = 1e-3
    fit.migrad()
    fit.hesse()
    return fit


@pytest.mark.parametrize(("eff", "n", "n_b"), [(0.96, 20_000, (800, 500))])
def test_minimum_and_errors_are_those_of_iminuit(eff: float, n: float, n_b: tuple[float, float]):
    counts = toys(eff, n, n_b, 1, 5)
    config = FitConfig()
    found = measure(histograms(counts), config, LINE)
    for b in range(1):
        peer = minuit(counts[b], found.values[b] + 0.01 * found.error[b], config)
        errors = dict(zip(peer.parameters, peer.errors, strict=True))
        for name in ("eff", "ln_n", "shift_pass", "ln_width_pass", "shift_fail"):
            ours = found.value(name)[b]
            assert abs(ours - peer.values[name]) < 0.02 * errors[name], name
        assert_allclose(found.error[b], errors["eff"], rtol=0.02)


def pulls_of(found: Efficiencies, eff: float) -> FloatArray:
    usable = found.status == Status.OK
    result: FloatArray = ((found.eff - eff) / found.error)[usable]
    return result


@pytest.mark.parametrize(
    ("eff", "n", "n_b"), [(0.95, 10_000, (300, 300)), (0.8, 2000, (100, 200)), (0.6, 300, (20, 30))]
)
def test_pulls_are_standard_normal(eff: float, n: float, n_b: tuple[float, float]):
    found = measure(histograms(toys(eff, n, n_b, 400, 11)), FitConfig(), LINE)
    pulls = pulls_of(found, eff)
    assert pulls.size == 400
    # 400 toys: 0.05 on the mean and 0.035 on the width; skewness of an efficiency of few failing probes adds 0.05
    assert abs(pulls.mean()) < 0.2
    assert abs(pulls.std() - 1.0) < 0.11


@pytest.mark.parametrize("eff", [0.95, 0.98])
def test_intervals_cover_in_bins_of_a_hundred_probes(eff: float):
    found = measure(histograms(toys(eff, 100, (3, 5), 250, 12)), FitConfig(intervals=True), LINE)
    usable = found.usable & np.isfinite(found.interval).all(axis=1)
    assert usable.sum() > 0.98 * 250
    inside = (found.interval[:, 0] <= eff) & (eff <= found.interval[:, 1])
    # 0.683 +- 0.029 by 250 toys; two to five failing probes are counts: over- or under-coverage of some percent
    assert abs(inside[usable].mean() - 0.683) < 0.09


def test_every_fit_of_a_wide_range_converges():
    rng = np.random.default_rng(13)
    means = [
        expected(rng.uniform(0.5, 0.99), 10 ** rng.uniform(2, 5), tuple(10 ** rng.uniform(0, 2.5, 2)))
        for _ in range(120)
    ]
    counts = rng.poisson(np.stack(means)).astype(float)
    found = measure(histograms(counts), FitConfig(), LINE)
    assert found.usable.sum() >= 119


def test_a_fit_that_fails_starts_again_from_its_neighbours():
    # too few steps for the usual starts, enough from the shapes of a neighbour of the same truth
    counts = toys(0.9, 20_000, (500, 500), 40, 21)
    whole = measure(histograms(counts), FitConfig(), LINE)
    steps = int(np.quantile(whole.n_steps, 0.3))
    alone, helped = (
        measure(histograms(counts), FitConfig(max_steps=steps, neighbours=on), LINE) for on in (False, True)
    )
    assert 0 < alone.usable.sum() < 40
    assert helped.usable.sum() > alone.usable.sum()
    again = helped.usable & ~alone.usable
    assert_allclose(helped.eff[again], whole.eff[again], atol=0.01 * whole.error.max())
    assert np.all(np.isnan(helped.eff[~helped.usable]))


def test_analytic_signal_finds_the_efficiency_of_a_gaussian_truth():
    counts = toys(0.9, 20_000, (500, 500), 100, 14)
    found = measure(histograms(counts), FitConfig(signal="analytic"))
    assert found.usable.all()
    # a tail that is not there costs little: the mean over 100 toys within 4 standard errors of it
    assert abs(found.eff.mean() - 0.9) < 4 * found.eff.std() / 10 + 5e-4


def test_sidebands_agree_with_the_fit():
    counts = toys(0.9, 50_000, (2000, 2000), 5, 15)
    fitted, counted = measure(histograms(counts), FitConfig(), LINE), subtract_sidebands(histograms(counts))
    assert_allclose(counted.eff, fitted.eff, atol=0.01)  # background's turn-on is not a straight line


def test_bins_that_cannot_be_fitted_say_why_and_hold_nothing():
    counts = toys(0.9, 1000, (50, 50), 5, 16)
    counts[0] = 0.0
    counts[1] *= 0.0
    counts[1, 0, 30] = 10.0
    counts[2, 1, 3] = -1.0
    counts[3, 0, 3] = np.nan
    found = measure(histograms(counts), FitConfig(), LINE)
    assert [Status(s).name for s in found.status] == ["EMPTY", "LOW_STATS", "NON_FINITE", "NON_FINITE", "OK"]
    assert np.isnan(found.values[:4]).all()
    assert np.isfinite(found.eff[4])
    assert len(found.failed()) == 2
    with pytest.raises(NotCertified, match="1 of 3"):
        found.require_converged()


def test_no_failing_probes_is_an_efficiency_of_one_with_an_interval():
    counts = toys(0.9, 1000, (10, 0), 1, 17)
    counts[0, 1] = 0.0
    found = measure(histograms(counts), FitConfig(intervals=True), LINE)
    assert found.status[0] == Status.AT_BOUNDARY
    assert found.eff[0] == 1.0
    assert np.isnan(found.error[0])
    # no event where (1 - eff) N are expected: -2 ln L rises by 1 at half an event
    n = found.n_probes[0]
    assert_allclose((1 - found.interval[0, 0]) * n, 0.5, rtol=0.02)
    assert found.interval[0, 1] == 1.0


def test_results_do_not_depend_on_threads_and_save(tmp_path):
    counts = toys(0.9, 1000, (50, 50), 70, 18)
    one, two = (measure(histograms(counts), FitConfig(), LINE, n_threads=k) for k in (1, 2))
    assert_array_equal(one.values, two.values)
    path = one.save(tmp_path / "eff.h5")
    assert_array_equal(Efficiencies.load(path).cov, one.cov)


def test_misspelt_parameter_names_its_neighbour():
    with pytest.raises(ConfigError, match="shift_pass"):
        FitConfig(fixed={"shift_pas": 0.0})


def test_template_signal_needs_templates():
    with pytest.raises(ValueError, match="needs MassTemplates"):
        measure(histograms(toys(0.9, 100, (5, 5), 1, 1)), FitConfig())
