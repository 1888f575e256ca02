"""Spectra of single bins: the numbers of the fits, in their order."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassFits, fill, fit_bins
from mucal.plot.mass_bins import bins_figure
from mucal.simulation import DimuonSimulation, generate_dimuons


@pytest.fixture(scope="module")
def fits() -> MassFits:
    binning = Binning(
        eta_edges=np.array([-2.4, 0.0, 2.4]), pt_edges=np.array([4.0, 6.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 41)
    )
    pairs = generate_dimuons(DimuonSimulation(seed=1, background_fraction=0.1), 30_000).dimuons
    return fit_bins(fill(pairs, binning), BatchConfig(min_events=200))


def test_every_bin_has_its_spectrum_and_its_pulls(fits: MassFits):
    rows = np.flatnonzero(fits.good)[[3, 0, 1, 2]]
    figure = bins_figure(fits, rows, ["a", "b", "c", "d"])
    mains, belows = figure.axes[:3] + figure.axes[6:9], figure.axes[3:6] + figure.axes[9:12]
    assert [axis.texts[0].get_text() for axis in mains[:4]] == ["a", "b", "c", "d"]
    assert fits.expected is not None
    for axis, below, row in zip(mains, belows, rows, strict=False):
        counts, expected, background = (line.get_ydata() for line in axis.lines)
        np.testing.assert_array_equal(counts, fits.histograms.counts[row])
        np.testing.assert_array_equal(expected, fits.expected[row])
        share = background.sum() / expected.sum()
        assert share == pytest.approx(1 / (1 + np.exp(-fits.value("logit_f")[row])), rel=1e-6)
        pulls = below.patches[0].get_data().values
        assert 0.5 < pulls.std() < 1.5
    assert not any(axis.axison for axis in mains[4:])


def test_the_bin_of_both_muons_stands_above_its_spectrum(fits: MassFits):
    row = np.flatnonzero(fits.good)[:1]
    title = bins_figure(fits, row, ["x"]).axes[0].get_title(loc="left")
    assert "$-2.4 < \\eta < 0$, 4–6 GeV" in title
    assert title.index("mu^+") < title.index("mu^-")


def test_fits_of_older_versions_cannot_be_drawn(fits: MassFits):
    with pytest.raises(ValueError, match="these fits hold no expected events"):
        bins_figure(replace(fits, expected=None), np.array([0]), ["x"])
