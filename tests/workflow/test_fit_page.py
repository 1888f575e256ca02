"""What the page says of the mass fits of a run: uniform probabilities, remedies, the share of simulation, spectra."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal.massfit import Remedy
from mucal.massfit.goodness import uniformity
from mucal.report import RunResults
from mucal.report.fit_sections import fit_lines, fits_section
from mucal.report.page import Picture, Table
from mucal.report.run_results import p_text
from mucal.workflow import load_run


@pytest.fixture(scope="module")
def run(small_run: Path) -> RunResults:
    return load_run(small_run)


def pictures(run: RunResults) -> list[Picture]:
    return [item for item in fits_section(run).items if isinstance(item, Picture)]


def test_the_test_of_uniform_probabilities_is_told(run: RunResults):
    good = run.fits.p_value[run.fits.good]
    assert f"Kolmogorov-Smirnov test of {good.size}: {p_text(uniformity(good))}" in pictures(run)[0].caption


def test_the_share_of_simulation_in_the_variance_is_told(run: RunResults):
    # half as many pairs derive as are simulated, with the same smoothed errors: a third
    assert run.residuals.simulated_share == pytest.approx(1 / 3, abs=0.05)
    assert fit_lines(run)[-1].startswith(f"Simulation makes {run.residuals.simulated_share:.0%} of the variance")


def test_remedies_are_counted_by_sample(run: RunResults):
    assert len(fit_lines(run)) == 1
    remedies = np.zeros(run.fits.histograms.n_bins, dtype=np.int64)
    remedies[:3] = [Remedy.MERGED, Remedy.MERGED, Remedy.DROPPED]
    lines = fit_lines(replace(run, fits=replace(run.fits, remedies=remedies)))
    assert lines[0] == (
        "Tried again in data: 2 mass fits of a bin that failed and was merged with its neighbour in pT; 1 mass fits "
        "failed at every step: dropped, and counted."
    )


def test_the_worst_bins_are_drawn_worst_first(run: RunResults):
    drawn = next(picture for picture in pictures(run) if "furthest from the table" in picture.caption)
    worst = float(np.max(np.abs(run.residuals.pull)))
    assert f"{worst:.1f}" in drawn.figure.axes[0].texts[0].get_text()


def test_the_page_says_which_edges_a_merged_bin_stands_with(run: RunResults):
    captions = [item.caption for item in fits_section(run).items if isinstance(item, Picture | Table)]
    told = [caption for caption in captions if "stands with the edges of its fullest cell" in caption]
    assert len(told) == 2
    assert all("furthest from the table" in caption for caption in told)


def test_a_run_of_an_older_version_has_its_page_without_spectra(run: RunResults):
    old = replace(
        run, fits=replace(run.fits, expected=None, remedies=None), residuals=replace(run.residuals, simulated=None)
    )
    assert len(pictures(old)) == 2
    assert fit_lines(old) == []
