"""The ladder for fits that fail: which rung helps, and that good fits are not touched."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.massfit import BatchConfig, Binning, MassHistograms, Remedy, Status, fill, fit_bins, fit_with_retries
from mucal.massfit.retries import _steps
from mucal.scale import ResolutionConfig, derive_resolution
from mucal.simulation import DimuonSimulation, generate_dimuons


@pytest.fixture(scope="module")
def histograms() -> MassHistograms:
    binning = Binning(
        eta_edges=np.linspace(-2.4, 2.4, 7), pt_edges=np.array([4.0, 4.8, 5.8, 7.5, 25.0]),
        mass_edges=np.linspace(2.9, 3.3, 81),
    )  # fmt: skip
    return fill(generate_dimuons(DimuonSimulation(seed=4, background_fraction=0.1), 300_000).dimuons, binning)


def test_without_failures_nothing_changes(histograms: MassHistograms):
    config = BatchConfig(min_events=300)
    found = fit_with_retries(histograms, config)
    assert_array_equal(found.fits.values, fit_bins(histograms, config).values)
    assert not np.any(found.remedies)
    assert found.lines() == []


def test_a_start_at_the_neighbours_saves_steps(histograms: MassHistograms):
    # few steps: some fits do not arrive from their own start, but do from where their neighbours ended
    config = BatchConfig(min_events=300, max_steps=5, max_attempts=1)
    plain = fit_bins(histograms, config)
    failed = plain.status == Status.NOT_CONVERGED
    assert 3 < failed.sum() < 0.8 * plain.good.sum()
    found = fit_with_retries(histograms, config)
    helped = failed & found.fits.good
    assert helped.sum() > 0.5 * failed.sum()
    assert_array_equal(found.fits.values[plain.good], plain.values[plain.good])
    # where nothing was fixed the minimum is that of a fit with all its steps
    free = found.remedies == Remedy.NEIGHBOURS
    assert free.sum() > 0
    whole = fit_bins(histograms, BatchConfig(min_events=300))
    difference = (found.fits.value("ln_s") - whole.value("ln_s"))[free] / whole.error("ln_s")[free]
    assert np.abs(difference).max() < 0.01
    assert "started from the values of neighbouring bins" in found.lines()[0]


def test_a_step_of_the_ladder_fits_once():
    values = {"ln_n": 7.0, "ln_s": 0.0, "ln_sigma": -4.4, "logit_f": -2.0, "slope": 0.3}
    assert [config.max_attempts for _, config in _steps(BatchConfig(), values, "ln_sigma")] == [1, 1, 1]


def test_a_given_start_is_the_same_in_every_attempt(histograms: MassHistograms):
    start = {"ln_s": 0.0, "ln_sigma": -4.4, "logit_f": -2.0, "slope": 0.3}
    once, more = (fit_bins(histograms, BatchConfig(start=start, max_steps=4, max_attempts=n)) for n in (1, 4))
    assert np.any(once.status == Status.NOT_CONVERGED)
    assert_array_equal(once.status, more.status)
    assert_array_equal(once.values, more.values)


def test_a_fixed_width_gives_a_scale_but_no_width(histograms: MassHistograms):
    # all events in one mass bin: the width runs to its wall unless the neighbours say what it is
    cut = histograms.counts.copy()
    row = int(np.argmax(histograms.n_events))
    cut[row] = 0.0
    cut[row, 39] = 400.0
    config = BatchConfig(min_events=300, min_p_value=0.0)  # nothing fits such a spectrum well
    found = fit_with_retries(replace(histograms, counts=cut), config)
    assert found.remedies[row] == Remedy.FIXED_WIDTH
    assert found.fits.good[row]
    assert found.fits.error("ln_sigma")[row] == 0.0
    assert np.isfinite(found.fits.value("ln_s")[row])
    table = derive_resolution([found.fits], ResolutionConfig(free=("a",)))
    assert table.provenance.ledgers["resolution/0"].rejected["width fixed"] == 1
