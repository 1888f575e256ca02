"""`mucal fit --mode`: the tables of each mode, beside the published numbers, with data and without."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.cli import main
from mucal.errors import ConfigError
from mucal.io import FitInput
from mucal.likelihood import expected_events, observe
from mucal.wmass import SPLITS, published
from mucal.workflow.fit import FitOptions
from mucal.workflow.fit_outputs import more_figures, more_sections
from mucal.workflow.fit_scans import draw_likelihood, drawn_plain
from mucal.workflow.measurement import ModeOptions, run_mode
from mucal.workflow.measurement_table import measurement_grids, table_lines
from mucal.workflow.templates import measurement

from ..wmass.small_templates import small_templates


def quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_templates().save(tmp_path_factory.mktemp("mode") / "w.h5")


def test_sources_add_up_and_stand_beside_the_published_ones(path):
    run, found = run_mode(path, ModeOptions(mode="mw"), FitOptions(asimov=True), quiet)
    assert_allclose(found.sources.quadrature, found.sources.total, rtol=1e-10)
    assert_allclose(found.sources.total, 100 * run.estimates.error("mass"), rtol=1e-12)
    at = found.sources.sources.index("PDF")
    assert found.sources.numbers[at] == 7
    assert found.sources.published_nominal[at] == 4.4
    assert found.splits == ("charge",)
    assert found.difference is not None
    assert_allclose(found.difference.quadrature, found.difference.total, rtol=1e-10)


def test_slices_agree_with_the_whole_and_move_by_what_was_injected(path):
    options = FitOptions(asimov=True, start={"mass": 0.2})
    run, found = run_mode(path, ModeOptions(mode="slices"), options, quiet)
    assert found.splits == SPLITS
    assert [len(parts.names) for parts in found.parts] == [2, 2, 2, 2, 4]
    for parts in found.parts:
        # the inclusive fit is the split one with equal masses
        assert_allclose(1e3 * parts.mean, 100 * run.estimates.value("mass"), atol=1e-3)
        assert_allclose(1e3 * parts.error, 100 * run.estimates.error("mass"), rtol=1e-3)
    assert_allclose(run.estimates.value("mass"), 0.2, atol=1e-6)


def test_free_helicities_cost_precision_with_every_prior(path):
    run, found = run_mode(path, ModeOptions(mode="helicity"), FitOptions(asimov=True), quiet)
    assert len(run.found.model.groups["helicity_cross_sections"]) == 2 * 2 * 6
    assert found.nominal_error < found.errors[0] < found.errors[1] < found.errors[2]


def test_helicities_need_templates_that_hold_them(path, tmp_path):
    model = measurement(small_templates()).save(tmp_path / "model.h5")
    with pytest.raises(ConfigError, match="no sums by helicity"):
        run_mode(model, ModeOptions(mode="helicity"), FitOptions(asimov=True), quiet)


def test_a_mode_of_another_channel_is_refused(path):
    with pytest.raises(ConfigError, match="needs the channel 'wlike'"):
        run_mode(path, ModeOptions(mode="wlike"), FitOptions(asimov=True), quiet)


def test_drawn_sets_are_covered_after_scaling(path):
    _, found = run_mode(path, ModeOptions(mode="mw", set_seed=1), FitOptions(asimov=True, mc_stat="none"), quiet)
    assert found.partons is not None
    assert len(found.partons.names) == len(published.PDF_SETS)
    assert np.all(np.abs(found.partons.shifts) <= found.partons.after[:, None])
    assert np.all(found.partons.factors >= 1.0)


def test_blinded_data_show_differences_but_no_mean(tmp_path):
    model = measurement(small_templates())
    counts = np.random.default_rng(2).poisson(expected_events(model)).astype(float)
    path = FitInput(model=model, observation=observe(model, counts)).save(tmp_path / "data.h5")
    run, found = run_mode(path, ModeOptions(mode="slices", by=("charge",)), FitOptions(), quiet)
    assert run.fitted.result.blinded == ("mass",)
    lines = "\n".join(table_lines(list(measurement_grids(found, blinded=True))))
    assert "blinded" in lines
    value, error = (1e3 * x for x in found.parts[0].difference("plus", "minus"))
    assert f"{value:+.1f} ± {error:.1f}" in lines


def test_two_channels_know_more_than_one(path, tmp_path):
    other = replace(small_templates(), channel="other")
    second = other.save(tmp_path / "second.h5")
    errors = [
        run_mode(path, ModeOptions(mode="mw", beside=beside), FitOptions(asimov=True), quiet)[1].sources.total
        for beside in ((), (str(second),))
    ]
    assert errors[1] < errors[0]


def test_the_same_toy_comes_back_and_centres_fluctuate(path):
    first, second = (run_mode(path, ModeOptions(mode="mw"), FitOptions(toy=7), quiet) for _ in range(2))
    assert np.array_equal(first[0].observation.counts, second[0].observation.counts)
    assert np.any(first[0].observation.centre != first[0].found.model.centre)
    assert first[0].fitted.data == "toy 7"
    assert first[0].fitted.provenance.seed == 7


def test_scans_and_contours_count_from_the_estimate(path):
    options = FitOptions(asimov=True, mc_stat="none")
    run, _ = run_mode(path, ModeOptions(mode="mw"), options, quiet)
    drawn = draw_likelihood(run, ("mass",), (("mass", "pdf_0"),), options)
    plain = drawn_plain(drawn)
    _, ends, error = drawn.scans[0]
    # nearly Gaussian: the ends of the interval are one error away, and 2 Delta NLL at three errors is 9
    assert_allclose([ends.down, ends.up], error, rtol=0.02)
    assert_allclose(plain["scans"]["mass"]["q"][-1], 9.0, rtol=0.05)
    assert_allclose(plain["scans"]["mass"]["offset"][0], -3 * error, rtol=1e-12)
    assert len(drawn.contours[0].points) == 2


def test_the_command_prints_everything(path, capsys):
    arguments = ["fit", str(path), "--mode", "slices", "--by", "charge", "--toy", "1"]
    assert main([*arguments, "--scan", "mass", "--contour", "mass", "pdf_0"]) == 0
    shown = capsys.readouterr()
    for title in ("Error of m_W by source", "m_W in parts of the sample", "profile likelihood"):
        assert title in shown.out
    assert "mass split by charge" in shown.err
    assert main([*arguments, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert list(plain["measurement"]["splits"]) == ["charge"]


def test_page_and_figures_show_what_was_measured(path):
    options = FitOptions(toy=1, mc_stat="none")
    run, found = run_mode(path, ModeOptions(mode="slices"), options, quiet)
    drawn = draw_likelihood(run, ("mass",), (("mass", "pdf_0"),), options)
    names = [name for name, _ in more_figures(run, found, drawn)]
    assert names == ["masses_eta", "masses_slices", "scan_mass", "contour_mass_pdf_0"]
    first, second = more_sections(run, found, drawn)
    assert (len(first.items), len(second.items)) == (5 + 2, 2)


def test_what_needs_a_mode_says_so(path, capsys):
    assert main(["fit", str(path), "--asimov", "--with", str(path)]) == 2
    assert "--with: only with --mode" in capsys.readouterr().err
    assert main(["fit", str(path), "--asimov", "--toy", "1"]) == 2
