"""Every way a fit can end is reached, says its sentence, and leaves no number behind."""

import math

import numpy as np
import pytest

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, NotCertified
from mucal.massfit import BatchConfig, MassFits, MassHistograms, Status, Template, fit_bins

EDGES = np.linspace(2.9, 3.3, 81)


def fit(counts: FloatArray, config: BatchConfig | None = None, template: Template | None = None) -> MassFits:
    counts = np.atleast_2d(np.asarray(counts, dtype=float))
    b = counts.shape[0]
    histograms = MassHistograms(
        eta_edges=np.array([-2.4, 2.4]),
        pt_edges=np.array([3.0, 30.0]),
        mass_edges=EDGES,
        abs_eta=False,
        index=np.zeros((b, 4), dtype=np.int64),
        counts=counts,
        sums=np.zeros((b, 2, 5)),
    )
    return fit_bins(histograms, config or BatchConfig(), template)


def peak(n: int = 5000, seed: int = 1) -> FloatArray:
    rng = np.random.default_rng(seed)
    mass = np.concatenate([rng.normal(3.095, 0.035, n), rng.uniform(2.9, 3.3, n // 5)])
    return np.histogram(mass, EDGES)[0].astype(float)


def box_of(width: float) -> FloatArray:
    counts = np.zeros(EDGES.size - 1)
    counts[np.abs(0.5 * (EDGES[1:] + EDGES[:-1]) - 3.1) < width] = 2000.0
    return counts


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_sentence(status: Status):
    assert len(status.sentence.split()) > 4


def spoilt(value: float) -> FloatArray:
    counts = peak()
    counts[3] = value
    return counts


GRID = np.linspace(2.5, 3.2, 8)
NO_SIGNAL = Template(edges=GRID, weights=np.array([[1.0, 1.0, 0, 0, 0, 0, 0]]))
NAN_SIGNAL = Template(edges=GRID, weights=np.array([[1.0, 1.0, 1.0, np.nan, 1.0, 1.0, 1.0]]))

# the window spans 1.1 widths of 6 % to either side, the tails begin at 1.5 and nothing else is known about them
NO_TAILS = BatchConfig(
    model="dscb",
    fixed={"ln_sigma": math.log(0.06)},
    constraints={"ln_alpha_l": (0.0, math.inf), "ln_alpha_r": (0.0, math.inf)},
)

ENDS = {
    "empty": (np.zeros(80), BatchConfig(), None, Status.EMPTY),
    "thin": (peak(100), BatchConfig(min_events=500), None, Status.LOW_STATS),
    "one step": (peak(), BatchConfig(max_steps=1, max_attempts=1), None, Status.NOT_CONVERGED),
    "tails outside the window": (peak(), NO_TAILS, None, Status.HESSIAN_NOT_PD),
    "one bin": (box_of(0.004), BatchConfig(), None, Status.AT_BOUNDARY),
    "no template": (peak(), BatchConfig(), NO_SIGNAL, Status.TEMPLATE_EMPTY),
    "NaN template": (peak(), BatchConfig(), NAN_SIGNAL, Status.NON_FINITE),
    "NaN": (spoilt(np.nan), BatchConfig(), None, Status.NON_FINITE),
    "infinite": (spoilt(np.inf), BatchConfig(), None, Status.NON_FINITE),
    "negative": (spoilt(-1.0), BatchConfig(), None, Status.NON_FINITE),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_fit_that_fails_says_why_and_leaves_nan(case: str):
    counts, config, template, expected = ENDS[case]
    fits = fit(counts, config, template)
    assert fits.status[0] == expected
    assert np.all(np.isnan(fits.values[0]))
    assert np.all(np.isnan(fits.cov[0]))
    assert np.isnan(fits.p_value[0])


def test_a_misfit_keeps_its_numbers_but_is_not_good():
    fits = fit(peak() + box_of(0.09))
    assert fits.status[0] == Status.BAD_GOF
    assert fits.p_value[0] < 1e-6
    assert np.all(np.isfinite(fits.values))
    assert not fits.good[0]


def test_a_failed_bin_does_not_touch_its_neighbours():
    alone = fit(peak())
    among = fit(np.stack([spoilt(np.nan), peak(), np.zeros(80), box_of(0.004)]))
    np.testing.assert_array_equal(among.values[1], alone.values[0])
    assert among.status.tolist() == [Status.NON_FINITE, Status.OK, Status.EMPTY, Status.AT_BOUNDARY]


def test_require_converged_names_the_first_failure_and_forgives_thin_bins():
    fits = fit(np.stack([peak(), np.zeros(80), peak(50), box_of(0.004)]))
    with pytest.raises(NotCertified, match="1 of 2 mass fits are good") as error:
        fits.require_converged()
    assert Status.AT_BOUNDARY.sentence in str(error.value)
    fits.require_converged(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "gauss"}, r"massfit.model 'gauss'; expected 'template' or 'morphing' or 'dscb'"),
        ({"resonance": "jspi"}, r"no resonance 'jspi'; the nearest are jpsi"),
        (
            {"fixed": {"ln_alpha_l": 0.3}},
            r"massfit.fixed names 'ln_alpha_l'; expected a parameter of the model 'template'",
        ),
        ({"constraints": {"slop": (0, 1)}}, r"massfit.constraints names 'slop'; .* as slope"),
        ({"constraints": {"slope": (0, -1)}}, r"massfit.constraints.slope = \(0, -1\)"),
        ({"fixed": {"slope": math.nan}}, r"massfit.fixed.slope = nan"),
        ({"n_l": 1.0}, r"massfit.n_l = 1.0"),
        ({"tolerance": 0.0}, r"massfit.tolerance = 0.0"),
        ({"max_attempts": 5}, r"massfit.max_attempts = 5; expected at least 1, at most 4"),
        ({"min_p_value": 1.0}, r"massfit.min_p_value = 1.0"),
    ],
)
def test_a_wrong_configuration_is_named(arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        BatchConfig(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edges", "weights", "message"),
    [
        (GRID, np.ones(8), r"Template.weights has shape \(8,\), expected \(7,\) or \(B, 7\)"),
        (GRID[::-1], np.ones(7), r"Template.edges must increase strictly"),
        (GRID - 3, np.ones(7), r"Template.edges start at -0.5 GeV"),
        (GRID, -np.ones(7), r"Template.weights\[0\] = -1.0; expected no negative content"),
    ],
)
def test_a_wrong_template_is_named(edges: FloatArray, weights: FloatArray, message: str):
    with pytest.raises(ValueError, match=message):
        Template(edges=edges, weights=weights)
