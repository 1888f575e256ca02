"""What other d say of the resolution: the sizes of the specification, from widths that are known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.massfit.bins import MassHistograms
from mucal.scale import ResolutionConfig, ResolutionTable, derive_resolution, relative_variance, scan_d
from mucal.scale.resolution_scan import mean_resolution

TRUE = {"a": 1e-4, "b": 1.8e-5, "c": 3e-8, "d": 370.0}
ALL = ResolutionConfig(free=("a", "b", "c"))
JPSI_PT = np.arange(4.0, 26.0)
Z_PT = np.linspace(30.0, 60.0, 5)


@pytest.fixture(scope="module")
def widths(make_fits):
    """Fits in one bin of eta: both muons of a pair have one of some momenta; sigma^2 is exact and known to 1 %."""

    def fits(momenta: np.ndarray):
        n, pt = momenta.size, momenta
        mean = np.stack([0.5 + 0 * pt, 0.5 / pt, 0.5 * pt, 0.25 + 0 * pt, 0.25 * pt**2], axis=1)
        histograms = MassHistograms(
            eta_edges=np.array([-2.4, 2.4]), pt_edges=np.append(pt - 0.1, pt[-1] + 0.1),
            mass_edges=np.array([2.9, 3.3]), abs_eta=False,
            index=np.stack([np.zeros(n, dtype=int), np.arange(n)] * 2, axis=1),
            counts=np.full((n, 1), 1e4), sums=1e4 * np.stack([mean, mean], axis=1),
        )  # fmt: skip
        square = 0.5 * (TRUE["a"] + TRUE["c"] * pt**2 + TRUE["b"] / (1.0 + TRUE["d"] / pt**2))
        found = make_fits(histograms, 0.0 * pt, 1e-4 + 0.0 * pt, 0.5 * np.log(square))
        cov = found.cov.copy()
        cov[:, 1, 1] = 0.005**2
        return replace(found, cov=cov)

    return [fits(JPSI_PT), fits(Z_PT)]


@pytest.mark.parametrize(
    ("resonances", "error", "bias"),
    # of sigma^2 at 40 GeV: "J/psi alone extrapolates at 3 %, J/psi and Z give 0.3 %", "10 for 370 biases it by 7 % from
    # J/psi alone and 0.8 % with Z", each to half of its digit; the bias goes with b
    [(1, (0.03, 0.005), (0.07, 0.005)), (2, (0.003, 0.0005), (-0.008, 0.0005))],
)
def test_a_wrong_d_biases_the_resolution_at_40_gev_far_less_with_z(widths, resonances, error, bias):
    scan = scan_d(widths[:resonances], ALL, (10.0, 370.0))
    sigma, found_error = scan.sigma[:, 1], scan.error[:, 1]
    cov = derive_resolution(widths[:resonances], ALL).cov
    names, moved = ("J/psi alone", "J/psi and Z"), (sigma[0] / sigma[1]) ** 2 - 1
    correlation = cov[1, 2] / np.sqrt(cov[1, 1] * cov[2, 2])
    print(
        f"\n{names[resonances - 1]}: sigma^2(40 GeV) to {2 * found_error[1] / sigma[1]:.2%}, corr(b, c) "
        f"{correlation:.2f}, d = 10 moves it by {moved:+.1%}"
    )
    assert sigma[1] ** 2 == pytest.approx(TRUE["a"] + 1600 * TRUE["c"] + TRUE["b"] / (1 + 370 / 1600), rel=1e-6)
    assert 2 * found_error[1] / sigma[1] == pytest.approx(error[0], abs=error[1])
    assert moved == pytest.approx(bias[0], abs=bias[1])
    assert_allclose(scan.spread[1], abs(sigma[0] - sigma[1]) / sigma.mean(), rtol=1e-12)


def test_jpsi_alone_do_not_tell_b_from_c(widths):
    cov = derive_resolution(widths[:1], ALL).cov
    assert cov[1, 2] / np.sqrt(cov[1, 1] * cov[2, 2]) == pytest.approx(-0.97, abs=0.005)  # of the specification too


def test_the_right_d_of_a_scan_is_the_table_itself(widths):
    scan = scan_d(widths, replace(ALL, d=55.0))
    table = derive_resolution(widths, replace(ALL, d=370.0))
    assert_allclose([scan.sigma[2], scan.error[2]], np.transpose([mean_resolution(table, pt) for pt in scan.pt]))
    assert scan.chi2[2] == table.chi2 < 1e-8 < scan.chi2[0]


def test_the_mean_resolution_is_the_root_of_a_mean_square_with_the_error_of_its_parameters():
    table = ResolutionTable(
        eta_edges=np.array([-1.0, 0.0, 1.0]), a=np.array([1e-4, 2e-4]), b=np.array([4e-5, 2e-5]),
        c=np.array([2e-8, 3e-8]), d=np.array([400.0, 300.0]), cov=np.diag([1e-12, 4e-12, 2e-12, 3e-12, 1e-18, 2e-18]),
    )  # fmt: skip
    found, error = mean_resolution(table, 20.0)
    square = np.mean(relative_variance(table, np.array([20.0, 20.0]), np.array([-0.5, 0.5])))
    assert found == pytest.approx(np.sqrt(square), rel=1e-14)
    # by hand: half of the square's standard error, over sigma; b counts 1/2 and 4/7 at 20 GeV, c 400 GeV^2
    by_b = 0.25 * 2e-12 + (4 / 7) ** 2 * 3e-12
    of_square = 0.5 * np.sqrt(1e-12 + 4e-12 + by_b + 400**2 * 3e-18)
    assert error == pytest.approx(of_square / (2 * found), rel=1e-12)


def test_a_d_without_a_table_is_not_a_number_and_said(widths):
    scan = scan_d([replace(widths[0], values=np.full_like(widths[0].values, np.nan))], ALL, (10.0, 370.0))
    assert np.all(np.isnan(scan.sigma))
    assert "unknown at 40 GeV, where not every d gives a resolution" in scan.line
    with pytest.raises(ValueError, match="d = -1"):
        scan_d(widths, ALL, (-1.0,))


def test_a_table_keeps_its_scan(widths, tmp_path):
    table = replace(derive_resolution(widths, ALL), by_d=scan_d(widths, ALL))
    back = ResolutionTable.load(table.save(tmp_path / "resolution.h5"))
    assert_allclose(back.by_d.sigma, table.by_d.sigma, rtol=0)
    assert back.summary()[-1] == (
        "with d = 10, 100, 370 GeV^2 sigma_k/k spreads by 0.83 % at 8 GeV (statistical error 0.16 %), "
        "0.39 % at 40 GeV (statistical error 0.17 %)"
    )
