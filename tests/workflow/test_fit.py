"""From a file to a fitted, blinded result with impacts, tables and files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError, NotCertified
from mucal.io import FitInput
from mucal.likelihood import Variation, build, expected_events, fit, from_arrays, objective, observe
from mucal.likelihood.passes import passes_of
from mucal.workflow.fit import FitOptions, Fitted, run_fit
from mucal.workflow.fit_outputs import fit_figures, predictions, write_outputs
from mucal.workflow.fit_table import fit_lines, fit_plain, group_rows, ranking, rounded

from ..likelihood.models import small_model

SHOWN = FitOptions(unblind=("mass", "mu"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    model = small_model()
    counts = np.random.default_rng(3).poisson(expected_events(model)).astype(float)
    found = FitInput(
        model=model, observation=observe(model, counts), names=("shifted",), alternative=1.01 * counts[:, None]
    )
    return found.save(tmp_path_factory.mktemp("fit") / "model.h5")


@pytest.fixture(scope="module")
def run(path):
    return run_fit(path, SHOWN)


def test_it_is_the_fit_of_the_likelihood(path, run):
    found = FitInput.load(path)
    direct = fit(found.model, found.data())
    assert_array_equal(run.fitted.result.values, direct.values)
    assert [one.poi for one in run.fitted.nominal] == ["mass"]


@pytest.mark.parametrize("backend", ["plain", "compiled"])
def test_the_backend_asked_for_makes_the_fit(path, run, backend, monkeypatch):
    asked = []
    monkeypatch.setattr(objective, "passes_of", lambda *given: asked.append(given[0]) or passes_of(*given))
    found = run_fit(path, replace(SHOWN, backend=backend)).fitted
    assert asked[0] == backend
    assert found.provenance.configuration["fit"]["backend"] == backend
    assert_allclose(found.result.values, run.fitted.result.values, rtol=1e-9)
    assert_allclose(found.result.cov, run.fitted.result.cov, rtol=1e-8, atol=1e-14)


def test_estimates_in_data_are_blinded_until_named(path, run):
    hidden = run_fit(path).fitted.result
    assert hidden.blinded == ("mass", "mu")
    assert hidden.value("mass") != run.fitted.result.value("mass")
    assert_array_equal(hidden.cov, run.fitted.result.cov)
    half = run_fit(path, FitOptions(unblind=("mu",))).fitted.result
    assert half.blinded == ("mass",)
    assert half.value("mu") == run.fitted.result.value("mu")


@pytest.mark.parametrize("options", [FitOptions(asimov=True), FitOptions(data="shifted")])
def test_what_is_no_data_is_shown(path, options):
    assert run_fit(path, options).fitted.result.blinded == ()


def test_an_asimov_fit_returns_its_start(path):
    found = run_fit(path, FitOptions(asimov=True, start={"mass": 0.7})).fitted
    assert_allclose(found.result.value("mass"), 0.7, atol=1e-7)
    assert_allclose(found.result.saturated, 0.0, atol=1e-9)


def test_data_may_come_from_another_file(path, tmp_path):
    found = FitInput.load(path)
    other = observe(found.model, found.data().counts + 5.0).save(tmp_path / "data.h5")
    result = run_fit(path, FitOptions(data=str(other), unblind=("mass", "mu"))).fitted
    assert result.data == "data"
    assert_array_equal(result.result.values, fit(found.model, found.data().counts + 5.0).values)


def test_frozen_parameters_do_not_vary(path):
    found = run_fit(path, replace(SHOWN, freeze=("n1",))).fitted
    assert found.result.error("n1") == 0.0
    assert "n1" not in [found.result.parameters[j] for j in ranking(found, found.nominal[0])]


def test_a_name_that_is_no_parameter_is_refused(path):
    with pytest.raises(ConfigError, match="no parameter 'maas'") as error:
        run_fit(path, FitOptions(unblind=("maas",)))
    assert "mass" in error.value.where["near"]


def test_a_fit_that_does_not_converge_is_not_certified(tmp_path):
    # two free rates of one process: the data know their product alone
    kappa = np.full((2, 1, 1), 0.1)
    twins = from_arrays(
        np.full((2, 1), 9.0), kappa, parameters=("n",), processes=("s",), rates={"a": ["s"], "b": ["s"]}, pois=("a",)
    )
    path = FitInput(model=twins).save(tmp_path / "m.h5")
    with pytest.raises(NotCertified):
        run_fit(path, FitOptions(asimov=True))


def test_pulls_and_constraints_are_in_prior_errors(run):
    fitted = run.fitted
    free = fitted.precision == 0
    assert np.isnan(fitted.pulls[free]).all()
    assert_array_equal(fitted.pulls[~free], fitted.result.values[~free])  # centre 0, width 1
    assert np.all(fitted.constraints[~free] <= 1.0 + 1e-9)


def test_a_result_comes_back_bit_for_bit(run, tmp_path):
    again = Fitted.load(run.fitted.save(tmp_path / "fit.h5"))
    assert_array_equal(again.result.cov, run.fitted.result.cov)
    assert again.nominal[0].groups == run.fitted.nominal[0].groups
    assert again.provenance.inputs == run.fitted.provenance.inputs


def test_the_table_is_sorted_by_nominal_impact(run):
    nominal = run.fitted.nominal[0]
    size = np.abs(nominal.single[ranking(run.fitted, nominal)])
    assert np.all(np.diff(size) <= 0)
    lines = fit_lines(run.fitted, top=2)
    assert any("and 3 more" in line for line in lines)
    name = run.fitted.result.parameters[ranking(run.fitted, nominal)[0]]
    first = next(line for line in lines if line.split()[:1] == ["1"])
    assert first.split()[1] == name
    assert_allclose(float(first.split()[-2]), nominal.single[run.fitted.result.place(name)], rtol=1e-3)


def test_global_rows_add_up_in_quadrature(run):
    *parts, total = [response for _, _, response in group_rows(run.fitted.nominal[0], run.fitted.responses[0])]
    assert_allclose(np.linalg.norm(parts), total, rtol=1e-10)


def test_a_blinded_value_is_marked_and_not_shown(path, run):
    lines = fit_lines(run_fit(path).fitted)
    line = next(line for line in lines if line.startswith("  mass "))
    value, _ = rounded(run.fitted.result.value("mass"), run.fitted.result.error("mass"))
    assert "blinded" in line
    assert value not in line.split()


def test_plain_values_are_json(run):
    plain = json.loads(json.dumps(fit_plain(run.fitted), allow_nan=False))
    assert plain["pois"]["mass"]["value"] == run.fitted.result.value("mass")
    assert plain["parameters"]["n1"]["pull"] == run.fitted.result.value("n1")
    assert plain["impacts"]["mass"]["global"]["total"] == run.fitted.result.error("mass")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(1.23456, 0.0234, ("1.235", "0.023")), (80360.2, 9.9, ("80360.2", "9.9")), (1234.5, 123.0, ("1234", "123")),
     (1.5, 0.0, ("1.5", "0"))],
)  # fmt: skip
def test_numbers_are_rounded_to_two_digits_of_the_error(value, error, text):
    assert rounded(value, error) == text


def test_all_outputs_are_written(run, tmp_path):
    out, figures, hepdata, page = (str(tmp_path / name) for name in ("fit.h5", "figures", "hepdata", "page.html"))
    names = [path.name for path in write_outputs(run, out, figures, hepdata, page)]
    assert {"fit.h5", "submission.yaml", "impacts_mass.pdf", "correlations.png", "bins_bins.pdf", "page.html"} <= set(
        names
    )
    assert all(path.stat().st_size > 500 for path in tmp_path.rglob("*.*"))


def test_no_output_is_overwritten_unasked(run, tmp_path):
    out, hepdata = str(tmp_path / "fit.h5"), str(tmp_path / "hepdata")
    names = write_outputs(run, out, None, hepdata)
    with pytest.raises(FileExistsError):
        write_outputs(run, None, None, hepdata)
    assert write_outputs(run, out, None, hepdata, overwrite=True) == names


def test_bins_after_the_fit_are_not_shown_blinded(path, run):
    before, after, counts = predictions(run_fit(path), "bins")
    assert after is None
    assert before.kind == "prefit"
    _, shown, _ = predictions(run, "bins")
    assert shown.kind == "postfit"
    assert_allclose(counts, run.observation.counts)


def test_channels_of_several_axes_are_projected_onto_each(tmp_path):
    values = np.arange(1.0, 7.0).reshape(2, 3) * 100
    model = build({"SR": {"s": values}}, [Variation(name="n", up={"SR": {"s": 1.1 * values}})], rates={"mu": ["s"]})
    path = FitInput(model=model, observation=observe(model, values.ravel())).save(tmp_path / "m.h5")
    run = run_fit(path)
    assert [name for name, _ in fit_figures(run) if name.startswith("bins")] == [
        "bins_SR", "bins_SR_axis0", "bins_SR_axis1",
    ]  # fmt: skip
    _, after, counts = predictions(run, "SR", ("axis1",))
    assert_array_equal(counts, [500.0, 700.0, 900.0])
    assert_allclose(after.total, counts, rtol=1e-6)
