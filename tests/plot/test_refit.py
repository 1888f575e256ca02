"""The figures of refitted tracks draw what the fits hold."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import barrel
from mucal.plot.refit import by_layer, chi2_figure, momentum_bias, momentum_bias_figure, residuals_figure
from mucal.plot.refit_event import event_figure
from mucal.plot.style import to_svg
from mucal.refit import fit_tracks, hit_residuals
from mucal.simulation import HitSimulation, MuonGun, fire, simulate_hits


@pytest.fixture(scope="module")
def fitted():
    detector = barrel()
    muons = fire(MuonGun(pt=(4.0, 30.0), flat_in="k", eta=(-0.7, 0.7), seed=2), 300)
    hits = simulate_hits(muons, detector, HitSimulation(straggling="gaussian", least_hits=7)).hits
    fits, _ = fit_tracks(detector, detector.field, hits)
    return detector, hits, fits, hit_residuals(detector, detector.field, hits, fits)


def test_layers_add_up_by_hand(fitted):
    detector, hits, _, residuals = fitted
    names, count, mean, width = by_layer(residuals.pull[:, 0], hits, detector)
    known = np.isfinite(residuals.pull[:, 0])
    assert count.sum() == known.sum()
    first = hits.module_id[known][0]
    m = detector.modules
    same = (m.subdet == m.subdet[first]) & (m.layer == m.layer[first])
    values = residuals.pull[known & same[hits.module_id], 0]
    at = names.index(f"{detector.subdet_names[m.subdet[first]]} {m.layer[first]}")
    assert count[at] == values.size
    assert_allclose([mean[at], width[at]], [values.mean(), values.std()], rtol=1e-12)


def test_residuals_figure_has_a_point_a_layer(fitted):
    detector, hits, _, residuals = fitted
    axes = residuals_figure(hits, residuals, detector).axes
    names, count, _, width = by_layer(residuals.unbiased[:, 0], hits, detector)
    shown = axes[0].containers[0].lines[0].get_ydata()
    assert_allclose(shown, 1e4 * width[count >= 20])
    assert [tick.get_text() for tick in axes[2].get_xticklabels()] == names


def test_chi2_figure_counts_every_fit(fitted):
    fits = fitted[2]
    axes = chi2_figure(fits, bins=10).axes
    for panel in axes:
        assert panel.containers[0].lines[0].get_ydata().sum() == fits.ok.sum()
    expected = axes[1].patches[0].get_data().values
    assert_allclose(expected.sum(), fits.ok.sum(), rtol=1e-3)


def test_bias_is_the_mean_of_each_charge(fitted):
    _, hits, fits, _ = fitted
    truth = hits.truth.state
    edges = np.array([-np.pi, 0.0, np.pi])
    mean, error = momentum_bias(fits, truth, truth[:, 2], edges, 1)
    chosen = fits.ok & (truth[:, 0] > 0) & (truth[:, 2] < 0)
    relative = fits.state[chosen, 0] / truth[chosen, 0] - 1
    assert_allclose([mean[0], error[0]], [relative.mean(), relative.std() / np.sqrt(relative.size)], rtol=1e-10)
    assert len(momentum_bias_figure(fits, truth, bins=4).axes) == 3


def test_event_display_shows_tracks_and_their_modules(fitted):
    detector, hits, fits, residuals = fitted
    rows = np.flatnonzero(fits.ok)[:2]
    figure = event_figure(detector, detector.field, hits, fits, residuals, rows)
    across = figure.axes[0]
    assert len(across.lines) == 2
    bold = [len(c.get_segments()) for c in across.collections[1:]]
    assert bold == [hits.n_hits[i] for i in rows]
    assert "run 1, event" in across.get_title(loc="left")
    assert to_svg(figure).startswith("<svg")


def test_a_failed_track_is_not_drawn(fitted):
    detector, hits, fits, residuals = fitted
    fits.status[3] = 5
    with pytest.raises(ValueError, match="track 3 was not fitted"):
        event_figure(detector, detector.field, hits, fits, residuals, [3])
