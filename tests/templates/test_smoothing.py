"""Smooth variations: polynomials pass, noise does not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.templates import CHANNELS, Templates
from mucal.templates.smoothing import smooth_in_mass, smoothed
from mucal.wmass.dilution import expected_shares


def templates_of(kappa: np.ndarray, groups: tuple[str, ...], channel: str = "w") -> Templates:
    binning, s = CHANNELS[channel], kappa.shape[0]
    nominal = np.random.default_rng(1).uniform(1e3, 1e5, (1, binning.n_bins))
    shifts = np.array([-0.1, 0.0, 0.1])
    ratio = np.exp(np.outer(shifts, np.ones(binning.n_bins)))[:, None]
    return Templates(
        channel=channel, axes=binning.axes, edges=binning.edges, processes=("Wmunu",), nominal=nominal, sumw2=nominal,
        nuisances=tuple(f"n{i}" for i in range(s)), groups=groups, kappa=kappa[None], boson="w", mass_shifts=shifts,
        shifted=nominal[None] * ratio, helicity=np.zeros((1, 0, 9, binning.n_bins)),
    )  # fmt: skip


def curve() -> np.ndarray:
    b = CHANNELS["w"]
    x, y, charge = b.centres("eta") / 2.4, (b.centres("pt") - 41) / 15, b.centres("charge")
    return 0.01 * (x**2 * y - y**5 + 0.3) + 0.004 * charge * y**3


def test_polynomials_pass_unchanged():
    found = smoothed(templates_of(curve()[None], ("pdf",)))
    assert_allclose(found.kappa[0, 0], curve(), atol=1e-12)
    assert_allclose(found.at_mass(0.1), found.nominal * np.exp(0.1), rtol=1e-12)


def test_noise_is_reduced_to_the_share_of_the_coefficients():
    noise = np.random.default_rng(2).normal(0, 0.004, curve().size)
    made = templates_of((curve() + noise)[None], ("pdf",))
    found = smoothed(replace(made, nominal=np.full_like(made.nominal, 1e4)))
    # 105 coefficients for the 1440 bins of each charge, of equal weights: chi2 with 210 degrees of freedom, +-10 %
    left = np.mean((found.kappa[0, 0] - curve()) ** 2) / 0.004**2
    assert_allclose(left, 105 / 1440, rtol=0.35)


def test_other_groups_keep_their_steps():
    steps = np.where(CHANNELS["w"].along("eta") == 7, 1e-3, 0.0)
    found = smoothed(templates_of(np.stack([steps, curve()]), ("jpsi_stat", "pdf")))
    assert_allclose(found.kappa[0, 0], steps, atol=0)


def test_few_events_vary_only_the_bins_that_they_fill():
    # polynomials through few bins of each charge reached 1e3 in the others, and their exponentials infinity
    made = templates_of(np.random.default_rng(3).normal(0, 0.02, (1, curve().size)), ("pdf",))
    filled = np.random.default_rng(4).random(curve().size) < 0.08
    nominal = np.where(filled, 1.0, 0.0)[None]
    few = replace(made, nominal=nominal, shifted=nominal[None] * np.exp([[[-0.01]], [[0.0]], [[0.01]]]))
    found = smoothed(few)
    assert not found.kappa[0, 0, ~filled].any()
    assert not found.shifted[:, 0, ~filled].any()
    assert np.abs(found.kappa).max() < 0.1
    assert_allclose(found.at_mass(0.1)[0, filled], np.exp(0.01), rtol=1e-9)
    shares = expected_shares(few)
    assert np.isnan([shares.smooth, shares.as_filled]).all()


def test_axes_and_degrees_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="axes"):
        smoothed(templates_of(np.zeros((1, 350)), ("pdf",), "dilepton"))
    with pytest.raises(ConfigError, match="degrees"):
        smoothed(templates_of(curve()[None], ("pdf",)), pt_degree=30)


def test_shifts_and_widening_of_pairs_pass_and_their_noise_falls():
    b = CHANNELS["dilepton"]
    m, x, edges = b.centres("mass"), (b.centres("mass") - 90.0) / 30.0, np.array(b.edges[0])
    # a Gaussian of 12 GeV: slope (m - 91)/144, curvature slope^2 - 1/144
    n, slope = 1e5 * np.exp(-0.5 * ((m - 91.0) / 12.0) ** 2), (m - 91.0) / 144.0
    shift = 1e-3 * slope * (1.0 + 0.2 * x + b.centres("max_eta"))
    rows = np.stack([shift, 2e-4 * (slope**2 - 1 / 144) * (1.0 - 0.3 * x)])
    assert_allclose(smooth_in_mass(rows, n, slope, edges), rows, atol=1e-12 * np.abs(rows).max())
    # with a slope linear in m four of the six functions differ; known by 200 x 14 columns of 4 numbers
    noise = np.random.default_rng(2).normal(size=(200, n.size)) / np.sqrt(n)
    left = np.mean(n * smooth_in_mass(noise, n, slope, edges) ** 2)
    assert_allclose(left, 4 / 25, rtol=4 * np.sqrt(2 / 11200))
