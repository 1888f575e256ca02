"""The ladder for fits that fail: which rung helps, and that good fits are not touched."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.massfit import (
    BatchConfig,
    Binning,
    MassFits,
    MassHistograms,
    Remedy,
    Status,
    fill,
    fit_bins,
    fit_with_retries,
    marked,
    merge_thin,
)
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
    assert_array_equal(found.values, fit_bins(histograms, config).values)
    assert not np.any(found.remedies)
    assert found.remedy_lines() == []


def test_a_start_at_the_neighbours_saves_steps(histograms: MassHistograms):
    # few steps: some fits do not arrive from their own start, but do from where their neighbours ended
    config = BatchConfig(min_events=300, max_steps=5, max_attempts=1)
    plain = fit_bins(histograms, config)
    failed = plain.status == Status.NOT_CONVERGED
    assert 3 < failed.sum() < 0.8 * plain.good.sum()
    found = fit_with_retries(histograms, config)
    helped = failed & found.good
    assert helped.sum() > 0.5 * failed.sum()
    assert_array_equal(found.values[plain.good], plain.values[plain.good])
    # where nothing was fixed the minimum is that of a fit with all its steps
    free = found.remedies == Remedy.NEIGHBOURS
    assert free.sum() > 0
    whole = fit_bins(histograms, BatchConfig(min_events=300))
    difference = (found.value("ln_s") - whole.value("ln_s"))[free] / whole.error("ln_s")[free]
    assert np.abs(difference).max() < 0.01
    assert "started from the values of neighbouring bins" in found.remedy_lines()[0]


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
    assert found.good[row]
    assert found.error("ln_sigma")[row] == 0.0
    assert np.isfinite(found.value("ln_s")[row])
    table = derive_resolution([found], ResolutionConfig(free=("a",)))
    assert table.provenance.ledgers["resolution/0"].rejected["width fixed"] == 1


@pytest.fixture(scope="module")
def dropped(histograms: MassHistograms) -> MassFits:
    """One bin is without any peak: half of the events at either end of the window."""
    cut = histograms.counts.copy()
    row = int(np.argmax(histograms.n_events))
    cut[row] = 0.0
    cut[row, [0, -1]] = 400.0
    return fit_with_retries(replace(histograms, counts=cut), BatchConfig(min_events=300))


def test_what_no_step_mends_is_dropped_and_counted(dropped: MassFits):
    row = int(np.flatnonzero(dropped.remedies == Remedy.DROPPED)[0])
    assert dropped.failed_bins.tolist() == [dropped.histograms.index[row].tolist()]
    assert not dropped.good[row]
    assert np.all(np.isnan(dropped.values[row]))
    assert dropped.remedy_lines()[-1] == "1 mass fits failed at every step: dropped, and counted"


def test_merged_with_its_neighbour_a_failed_bin_is_fitted(dropped: MassFits, histograms: MassHistograms):
    merging = merge_thin(histograms, min_data=0).joined(dropped.failed_bins, histograms)
    fits = marked(fit_with_retries(merging.apply(histograms), BatchConfig(min_events=300)), merging)
    assert (fits.remedies == Remedy.MERGED).sum() == 1
    assert fits.good[fits.remedies == Remedy.MERGED].all()
    assert fits.histograms.n_bins == histograms.n_bins - 1
    assert fits.histograms.counts.sum() == histograms.counts.sum()


def test_expected_events_are_those_of_the_fit(histograms: MassHistograms):
    fits = fit_with_retries(histograms, BatchConfig(min_events=300))
    assert fits.expected is not None
    # at the minimum the likelihood is stationary in ln N: as many are expected as were seen
    np.testing.assert_allclose(fits.expected[fits.good].sum(axis=1), histograms.n_events[fits.good], rtol=1e-6)
    assert np.all(np.isnan(fits.expected[~np.isin(fits.status, (Status.OK, Status.BAD_GOF))]))
