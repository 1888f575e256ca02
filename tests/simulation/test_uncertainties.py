"""The measured inputs of an ansatz have the published numbers of nuisances, in the published groups."""

from collections import Counter

import numpy as np
from numpy.testing import assert_allclose

from mucal.simulation.uncertainties import (
    PROMPT,
    columns_of_bins,
    prompt_spectra,
    published_calibration,
    published_efficiencies,
    published_nonprompt,
    published_weights,
)
from mucal.templates import CHANNELS
from mucal.wmass import published

COUNTS = published.COUNTS["m_W"]


def test_numbers_of_nuisances_are_the_published_ones():
    calibration = published_calibration()
    assert len(calibration.names) == COUNTS["calibration"]
    assert Counter(calibration.groups) == {
        "jpsi_stat": 144, "zclosure_stat": 48, "zclosure_lep": 1, "resolution_stat": 72, "pixel_mult": 49
    }  # fmt: skip
    assert published_efficiencies().counts()["muon_eff_all"] == COUNTS["efficiency"]
    assert len(published_nonprompt(1e8).nuisances) == COUNTS["nonprompt"]
    assert len(published_weights().nuisances) == COUNTS["prefiring"] + COUNTS["luminosity"]
    assert len(PROMPT) == COUNTS["prompt background"]


def test_weights_and_spectra_are_defined_in_every_bin():
    binning = CHANNELS["w"]
    weights, columns = published_weights(), columns_of_bins(binning)
    changes = np.stack([weights.log_change(name, columns) for name in weights.nuisances])
    assert np.isfinite(changes).all()
    assert np.all(np.abs(changes).max(axis=1) > 0)  # the hot spot and the calorimeter included
    signal = np.full(binning.n_bins, 1000.0)
    for name, events in prompt_spectra(signal, binning).items():
        assert_allclose(events.sum() / signal.sum(), PROMPT[name][0], rtol=1e-12)
        assert np.all(events > 0)


def test_nonprompt_muons_have_their_share():
    assert_allclose(published_nonprompt(1e8).nominal.sum() / 1e8, 0.04, rtol=0.1)
