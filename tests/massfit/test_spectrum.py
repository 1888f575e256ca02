"""Single spectra: truth recovered in toys, refusals, and the recorded resonances."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter
from scipy.optimize import minimize

from mucal.errors import ConfigError, NotCertified
from mucal.io import DimuonInput, open_dimuons
from mucal.massfit import SpectrumConfig, SpectrumFit, Status, fit_spectrum, minuit_engine, spectrum_model
from mucal.theory import fsr, resonance

SPECTRA = sorted((Path(__file__).parents[2] / "docs" / "examples" / "spectra").glob("*.toml"))
JPSI = resonance("jpsi").mass
GAUSSIAN = SpectrumConfig(resonance="jpsi", signal="gaussian")


def toy(seed, n_signal=2000, n_background=500, scale=1.001, sigma=0.01, name="jpsi", window=(2.9, 3.3)):
    """Masses of a radiating line smeared by one Gaussian, on a flat background, made event by event."""
    rng = np.random.default_rng(seed)
    line = resonance(name).mass * fsr.sample(name, rng.random(rng.poisson(n_signal)))
    signal = scale * line * (1 + sigma * rng.standard_normal(line.size))
    return np.concatenate([signal, rng.uniform(*window, rng.poisson(n_background))])


def test_pulls_of_scale_width_and_yield_over_toys_are_standard_normal():
    n = 120
    inside = fsr.spectrum("jpsi", np.array([2.9, 3.3])).item()  # smearing moves 2e-4 of it across the edges
    pulls = np.empty((n, 3))
    for seed in range(n):
        fit = fit_spectrum(toy(seed), GAUSSIAN)
        truth = {"scale": 1.001, "sigma": 0.01, "n_jpsi": 2000 * inside}
        pulls[seed] = [(fit.value(name) - value) / fit.error(name) for name, value in truth.items()]
    assert_allclose(pulls.mean(axis=0), 0.0, atol=3.3 / np.sqrt(n))
    assert_allclose(pulls.std(axis=0), 1.0, atol=3.3 / np.sqrt(2 * n))


def test_leaving_radiation_out_pulls_the_mass_down():
    # physics page: -0.9 to -1.6 MeV for resolutions of 20 to 36 MeV, in a fit of the core
    masses = toy(1, n_signal=200_000, n_background=0, scale=1.0)
    config = SpectrumConfig(resonance="jpsi", signal="gaussian", background="none", window=(3.05, 3.16))
    bare = SpectrumConfig(resonance="jpsi", signal="gaussian", background="none", window=(3.05, 3.16), radiation=False)
    full, without = fit_spectrum(masses, config), fit_spectrum(masses, bare)
    assert abs(full.masses[0] - JPSI) < 3 * full.mass_errors[0]
    assert -1.9e-3 < without.masses[0] - JPSI < -0.6e-3


def test_minimum_agrees_with_scipy():
    edges = np.linspace(2.9, 3.3, 81)
    counts = np.histogram(toy(4), edges)[0].astype(float)
    model = spectrum_model.build(GAUSSIAN, counts, edges)
    fit = fit_spectrum(toy(4), GAUSSIAN)
    errors = np.sqrt(np.diag(fit.cov))
    found = minimize(
        lambda u: minuit_engine.objective(model, counts, fit.values + u * errors),
        np.full(errors.size, 0.3), method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-9, "maxfev": 20_000, "maxiter": 20_000},
    )  # fmt: skip
    assert_allclose(found.x, 0.0, atol=2e-3)


def test_upsilon_masses_keep_the_ratios_of_the_pdg():
    masses = np.concatenate([toy(i, 800, 300, 0.999, 0.008, s, (8.5, 11.5)) for i, s in enumerate(
        ("upsilon1s", "upsilon2s", "upsilon3s"))])  # fmt: skip
    fit = fit_spectrum(masses, SpectrumConfig(resonance="upsilon", signal="gaussian", background="chebyshev"))
    assert fit.good
    assert_allclose(fit.masses / fit.masses[0], fit.reference / fit.reference[0], rtol=1e-14)
    assert_allclose(fit.value("scale"), 0.999, atol=4 * fit.error("scale"))


@pytest.mark.parametrize("background", ["exponential", "chebyshev", "bernstein"])
def test_backgrounds_agree_where_the_truth_is_flat(background):
    fit = fit_spectrum(toy(7), SpectrumConfig(signal="gaussian", background=background, degree=1))
    assert_allclose(fit.value("n_background"), 500, atol=4 * fit.error("n_background"))


def test_expected_events_add_up_to_what_was_counted():
    # at the minimum of an extended likelihood, where every yield is free
    fit = fit_spectrum(toy(2), GAUSSIAN)
    assert_allclose(fit.expected.sum(), fit.counts.sum(), rtol=1e-5)
    assert_allclose(fit.curves.sum(), fit.expected.sum(), rtol=1e-12)


def test_a_fixed_parameter_stays_and_has_no_error():
    fit = fit_spectrum(toy(3), SpectrumConfig(signal="gaussian", fixed={"sigma": 0.011}))
    assert (fit.value("sigma"), fit.error("sigma")) == (0.011, 0.0)
    assert "fixed" in "\n".join(fit.summary())


def test_a_constraint_combines_like_a_measurement():
    free = fit_spectrum(toy(3), GAUSSIAN)
    wish, width = free.value("scale") + free.error("scale"), free.error("scale")
    tied = fit_spectrum(toy(3), SpectrumConfig(signal="gaussian", constraints={"scale": (wish, width)}))
    # equal errors: half way, and smaller by the square root of two, up to the curvature of the likelihood
    assert_allclose((tied.value("scale") - free.value("scale")) / free.error("scale"), 0.5, atol=0.02)
    assert_allclose(tied.error("scale") / free.error("scale"), np.sqrt(0.5), atol=0.02)


def test_minos_errors_embrace_the_symmetric_one():
    fit = fit_spectrum(toy(5), SpectrumConfig(signal="gaussian", minos=True))
    j = fit.parameters.index("scale")
    assert_allclose([-fit.lower[j], fit.upper[j]], fit.error("scale"), rtol=0.05)


def test_every_mass_is_used_or_rejected_by_reason():
    fit = fit_spectrum(np.array([2.0, *np.linspace(2.95, 3.25, 100), 5.0, 6.0]), GAUSSIAN)
    ledger = fit.provenance.ledgers["fit_spectrum"]
    assert (ledger.read, ledger.used, dict(ledger.rejected)) == (103, 100, {"below_window": 1, "above_window": 2})


def test_a_fit_comes_back_bit_for_bit(tmp_path):
    fit = fit_spectrum(toy(6), GAUSSIAN)
    back = SpectrumFit.load(fit.save(tmp_path / "fit.h5"))
    assert back.summary() == fit.summary()
    assert back.quality == fit.quality
    for name in ("edges", "counts", "expected", "curves", "values", "cov", "masses"):
        assert_array_equal(getattr(back, name), getattr(fit, name))
    assert back.provenance.to_dict()["configuration"]["signal"] == "gaussian"


def test_tail_exponents_without_a_maximum_are_held_and_said_to_be():
    # the truth has Gaussian tails, which every power falls short of
    fit = fit_spectrum(toy(8, n_signal=5000), SpectrumConfig(signal="dscb", fixed={"alpha_l": 1.0, "alpha_r": 1.0}))
    assert fit.held == ("n_l", "n_r")
    assert [(fit.value(name), fit.error(name)) for name in fit.held] == [(50.0, 0.0)] * 2
    assert "held, the likelihood is flat" in "\n".join(fit.summary())


@pytest.mark.parametrize("seed", range(6))
def test_a_background_that_is_not_there_is_held_at_nothing(seed):
    masses = toy(seed, n_signal=20_000, n_background=0)
    fit = fit_spectrum(masses, GAUSSIAN)
    bare = fit_spectrum(masses, replace(GAUSSIAN, background="none"))
    assert fit.status == Status.OK
    if fit.held:
        assert fit.held == ("n_background", "slope")
        assert_allclose((fit.masses - bare.masses) / bare.mass_errors, 0.0, atol=1e-2)
    # with or without it, the mass is that of a fit that never looked for a background, within the freedom of one
    assert abs(fit.masses[0] - bare.masses[0]) < bare.mass_errors[0]


def test_a_background_that_is_there_is_never_held():
    fit = fit_spectrum(toy(3, n_signal=20_000, n_background=200), GAUSSIAN)
    assert fit.status == Status.OK
    assert fit.held == ()


# ------------------------------------------------------------------------------------------------- refusals


def test_no_events_no_numbers():
    fit = fit_spectrum(np.zeros(0), GAUSSIAN)
    assert fit.status == Status.EMPTY
    assert np.all(np.isnan(fit.values))
    assert "no events" in "\n".join(fit.summary())


def test_too_few_events_no_numbers():
    fit = fit_spectrum(toy(1, 20, 5), GAUSSIAN)
    assert fit.status == Status.LOW_STATS
    assert np.isnan(fit.masses[0])
    with pytest.raises(NotCertified, match="fewer events than the configured minimum"):
        fit.require_good()


def test_a_parameter_at_the_edge_of_its_domain_is_named_and_nothing_reported():
    # one Gaussian in truth: a second width cannot be found
    fit = fit_spectrum(toy(9, 300, 50), SpectrumConfig(signal="double_gaussian"))
    assert fit.status == Status.AT_BOUNDARY
    assert np.all(np.isnan(fit.values))
    assert set(fit.at_edge) & {"ratio", "fraction"}
    assert any(name in fit.summary()[-1] for name in fit.at_edge)


def test_a_wrong_model_is_marked():
    fit = fit_spectrum(toy(1, 20_000), SpectrumConfig(signal="gaussian", background="none"))
    assert fit.status == Status.BAD_GOF
    assert np.isfinite(fit.masses[0])
    assert not fit.good


def test_nan_masses_are_refused():
    with pytest.raises(ValueError, match=r"1 of 3 masses are not finite, first mass\[1\]"):
        fit_spectrum(np.array([3.0, np.nan, 3.1]), GAUSSIAN)


def test_masses_in_a_table_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        fit_spectrum(np.ones((2, 2)), GAUSSIAN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resonance": "upsilom"}, "the nearest is 'upsilon'"),
        ({"signal": "dcb"}, "the nearest is 'dscb'"),
        ({"window": (3.3, 2.9)}, r"window = \[3.3, 2.9\]"),
        ({"n_bins": 2}, "n_bins = 2, expected at least 5"),
        ({"constraints": {"scale": (1.0, 0.0)}}, "sigma = 0.0, expected > 0"),
    ],
)
def test_wrong_configurations_say_what_to_write(change, message):
    with pytest.raises(ConfigError, match=message):
        SpectrumConfig(**change)


def test_a_fixed_parameter_that_does_not_exist_names_the_nearest():
    with pytest.raises(ConfigError, match="'sigm', which this model does not have; the nearest are sigma"):
        fit_spectrum(toy(1), SpectrumConfig(signal="gaussian", fixed={"sigm": 0.01}))


def test_a_value_outside_the_domain_is_refused():
    with pytest.raises(ConfigError, match=r"fixed\.sigma = -0\.01, expected between 0\.0005 and 0\.2"):
        fit_spectrum(toy(1), SpectrumConfig(signal="gaussian", fixed={"sigma": -0.01}))


def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zfit", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r'pip install "mucal\[zfit\]"'):
        fit_spectrum(toy(1), SpectrumConfig(signal="gaussian", engine="zfit"))


# ------------------------------------------------------------------------------------------------- recorded data


def read_example(path: Path, folder: Path) -> tuple[np.ndarray, SpectrumConfig]:
    """Masses and configuration of one example; its file names are those of the recorded samples."""
    document = tomllib.loads(path.read_text())
    files = [folder / name for name in document["input"].pop("files")]
    (spectrum,) = document["spectra"]
    spectrum.pop("name")
    source = open_dimuons(files, TypeAdapter(DimuonInput).validate_python(document["input"]))
    return source.read().mass, TypeAdapter(SpectrumConfig).validate_python(spectrum)


@pytest.mark.parametrize("path", SPECTRA, ids=lambda path: path.stem)
def test_recorded_resonance_has_a_valid_minimum_and_a_probability_above_one_percent(path, recorded):
    fit = fit_spectrum(*read_example(path, recorded))
    print(path.stem, *fit.summary(), sep="\n")
    assert fit.status == Status.OK
    assert fit.quality.p_value > 0.01
    # the bias of these samples is -0.8e-3 to -1.2e-3 in every resonance; no fit is further from that than 3 sigma
    assert_allclose(fit.value("scale") - 1, -1.0e-3, atol=0.3e-3 + 3 * fit.error("scale"))


def test_recorded_jpsi_with_and_without_radiation_brackets_the_plain_fit_of_the_data_page(recorded):
    masses, config = read_example(SPECTRA[0].with_name("jpsi_2010.toml"), recorded)
    full = fit_spectrum(masses, config)
    bare = fit_spectrum(masses, SpectrumConfig(resonance="jpsi", radiation=False))
    # 3093.39 +- 0.50 MeV from an unbinned fit with a free low-side tail and no radiator
    assert bare.masses[0] < 3.09339 < full.masses[0]
    assert 1.2e-3 < full.masses[0] - bare.masses[0] < 2.2e-3


def test_recorded_z_is_not_described_without_radiation(recorded):
    masses, config = read_example(SPECTRA[0].with_name("z_2011.toml"), recorded)
    bare = SpectrumConfig(resonance="z", window=config.window, n_bins=config.n_bins, signal="gaussian", radiation=False)
    assert fit_spectrum(masses, bare).quality.deviance > fit_spectrum(masses, config).quality.deviance + 25


VARIATIONS = [
    ("jpsi_2010", {"signal": "dscb"}),
    ("jpsi_2010", {"background": "chebyshev"}),
    ("psi2s_2011", {"signal": "gaussian"}),
    ("psi2s_2011", {"background": "chebyshev"}),
    ("upsilon_2011", {"signal": "gaussian"}),
    ("upsilon_2011", {"degree": 3}),
    ("z_2011", {"signal": "double_gaussian"}),
    ("z_2011", {"signal": "dscb"}),
    ("z_2011", {"background": "chebyshev"}),
    ("z_2011", {"window": (75.0, 110.0), "n_bins": 70}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"), VARIATIONS, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v))
)
def test_recorded_mass_moves_with_the_model_no_more_than_the_model_adds_in_error(name, change, recorded):
    masses, config = read_example(SPECTRA[0].with_name(f"{name}.toml"), recorded)
    fit, other = fit_spectrum(masses, config), fit_spectrum(masses, replace(config, **change))
    shift, error = other.masses[0] - fit.masses[0], fit.mass_errors[0]
    print(f"\n{name} {change}: {1e3 * shift:+.2f} MeV of {1e3 * error:.2f}, p = {other.quality.p_value:.2f}")
    assert other.status == Status.OK
    # two estimators on one sample differ by the root of the difference of their variances; 0.3 sigma for the models
    assert abs(shift) < 2 * np.sqrt(abs(other.mass_errors[0] ** 2 - error**2)) + 0.3 * error
