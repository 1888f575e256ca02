"""Smoothing of efficiencies of known truth: coefficients, covariance, degree, nuisances and their counts."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.arrays import FloatArray
from mucal.efficiency import (
    STEPS,
    Efficiencies,
    EfficiencyModel,
    ProbeHistograms,
    ScaleFactors,
    SmoothConfig,
    Status,
    Surface,
    count_efficiencies,
    given_efficiencies,
    published_counts,
    scale_factors,
    smooth_efficiency,
    smooth_scale_factor,
)
from mucal.errors import ConfigError, InputError, NotCertified

PT_EDGES = np.linspace(26.0, 56.0, 11)
ALL = np.array([-np.inf, np.inf])


def counted(
    eff: FloatArray, n: float, rng: np.random.Generator | None, n_eta: int = 1, by_charge: bool = False,
    ut_edges: FloatArray = ALL, pt_edges: FloatArray = PT_EDGES,
) -> Efficiencies:  # fmt: skip
    """Counting experiment with true efficiency eff (B,) in bins of n probes; exact if rng is None."""
    passing = eff * n if rng is None else rng.binomial(int(n), eff)
    counts = np.stack([passing, n - passing], axis=1)[:, :, None].astype(float)
    u = ut_edges.size - 1
    shape = (n_eta, pt_edges.size - 1, 1 + by_charge, u)
    pt = np.broadcast_to(0.5 * (pt_edges[1:] + pt_edges[:-1])[None, :, None, None], shape).reshape(-1)
    found = ProbeHistograms(
        step="idip", eta_edges=np.linspace(-2.4, 2.4, n_eta + 1), pt_edges=pt_edges, ut_edges=ut_edges,
        mass_edges=np.array([60.0, 120.0]), by_charge=by_charge, counts=counts, sumw2=counts,
        pt_sum=n * pt,
    )  # fmt: skip
    return count_efficiencies(found)


def cubic(pt: FloatArray) -> FloatArray:
    x = (pt - 41) / 15
    result: FloatArray = 0.93 + 0.03 * x - 0.02 * x**2 + 0.01 * x**3
    return result


MIDDLE = 0.5 * (PT_EDGES[1:] + PT_EDGES[:-1])


def test_exact_cubic_comes_back():
    surface = smooth_efficiency(counted(cubic(MIDDLE), 1e4, None), SmoothConfig(degree_pt=3))
    pt = np.array([26.0, 33.3, 56.0])
    one = np.ones(3, dtype=int)
    assert_allclose(surface(0 * pt, pt, one), cubic(pt), rtol=1e-12)
    assert_allclose(surface(0 * pt, np.array([10.0, 33.3, 90.0]), one), cubic(pt), rtol=1e-12)  # the edge's value holds


def test_covariance_is_that_of_toys():
    rng = np.random.default_rng(21)
    mc = counted(cubic(MIDDLE), 1e7, None)
    toys = [smooth_scale_factor(counted(cubic(MIDDLE), 2000, rng), mc, SmoothConfig(degree_pt=3)) for _ in range(500)]
    found = np.array([toy.coefficients[0, 0] for toy in toys])
    cov = np.mean([toy.cov[0, 0] for toy in toys], axis=0)
    truth = np.array([1.0, 0.0, 0.0, 0.0])
    pulls = (found - truth) / np.sqrt(np.diag(cov))
    assert np.abs(pulls.mean(axis=0)).max() < 4 / np.sqrt(500)
    # widths to 1/sqrt(2 500) = 0.032; the whitened covariance to the same
    white = np.linalg.solve(np.linalg.cholesky(cov), (found - truth).T)
    assert np.abs(white @ white.T / 500 - np.eye(4)).max() < 0.13
    chi2 = np.array([toy.chi2[0, 0] for toy in toys])
    assert abs(chi2.mean() - 6) < 4 * np.sqrt(12 / 500)


def test_weights_do_not_pull_high_efficiencies_up():
    rng = np.random.default_rng(22)
    truth = np.full(10, 0.98)
    surfaces = [smooth_efficiency(counted(truth, 100, rng), SmoothConfig(degree_pt=0)) for _ in range(400)]
    mean = np.mean([s.coefficients[0, 0, 0] for s in surfaces])
    # weights by the bins' own errors, half a probe away from 1, give 0.988
    assert abs(mean - 0.98) < 4 * np.sqrt(0.98 * 0.02 / 1000 / 400) + 1e-4
    assert any((counted(truth, 100, rng).status == Status.AT_BOUNDARY).any() for _ in range(3))


def test_tested_degree_is_that_of_the_truth():
    rng = np.random.default_rng(23)
    many = np.tile(cubic(MIDDLE)[None, :, None], (12, 1, 2)).reshape(-1)
    found = counted(many, 3e5, rng, n_eta=12, by_charge=True)
    assert smooth_efficiency(found, SmoothConfig(degree_pt=-1)).degree_pt == 3
    flat = counted(np.full(240, 0.9), 1e4, rng, n_eta=12, by_charge=True)
    assert smooth_efficiency(flat, SmoothConfig(degree_pt=-1)).degree_pt == 0


def test_eigenvariations_rebuild_the_covariance_with_fixed_signs():
    surface = smooth_efficiency(counted(cubic(MIDDLE), 2000, None), SmoothConfig(degree_pt=3))
    shifts = surface.eigenvariations()[0, 0]
    assert_allclose(shifts.T @ shifts, surface.cov[0, 0], rtol=1e-10)
    norms = (shifts**2).sum(axis=1)
    assert np.all(np.diff(norms) < 0)
    assert all(row[np.abs(row).argmax()] > 0 for row in shifts)


def test_recoil_enters_as_a_product_of_polynomials():
    edges = np.linspace(-30.0, 100.0, 6)
    u = 0.5 * (edges[1:] + edges[:-1])
    x = (u - 35) / 65
    truth = (cubic(MIDDLE)[:, None] * (1 - 0.05 * x - 0.02 * x**2)[None, :]).reshape(-1)
    found = counted(truth, 1e5, None, ut_edges=edges)
    surface = smooth_efficiency(found, SmoothConfig(degree_pt=3, degree_ut=2))
    assert surface.n_parameters == 12
    expected = cubic(np.array([40.0])) * (1 + 0.05 - 0.02)
    assert_allclose(surface(np.zeros(1), np.array([40.0]), np.ones(1, int), np.array([-500.0])), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="depends on u_T"):
        surface(np.zeros(1), np.array([40.0]), np.ones(1, int))


def test_failed_bins_are_named_and_left_out():
    found = counted(cubic(MIDDLE), 2000, None)
    status = found.status.copy()
    status[3] = Status.NOT_CONVERGED
    surface = smooth_efficiency(replace(found, status=status), SmoothConfig(degree_pt=3))
    assert surface.ndf[0, 0] == 5
    assert "pt 35 to 38 GeV" in surface.left_out[0]
    assert "EDM" in surface.left_out[0]


def test_given_efficiencies_outside_the_unit_interval_are_marked_and_named():
    eff, error = cubic(MIDDLE)[None], np.full((1, 10), 0.004)
    eff[0, 2], error[0, 5] = 1.01, 0.0
    found = given_efficiencies("veto", np.array([-2.4, 2.4]), PT_EDGES, eff, error)
    assert np.flatnonzero(found.status == Status.OUTSIDE).tolist() == [2, 5]
    assert_allclose(found.error[[0, 1, 3]], 0.004)
    surface = smooth_efficiency(found, SmoothConfig(degree_pt=3))
    assert [text.split(":")[1].strip() for text in surface.left_out] == [
        "eta -2.4 to 2.4, pt 32 to 35 GeV", "eta -2.4 to 2.4, pt 41 to 44 GeV",
    ]  # fmt: skip
    assert abs(surface(np.zeros(1), np.array([40.0]), np.ones(1, int))[0] - cubic(np.array([40.0]))[0]) < 1e-9
    with pytest.raises(ValueError, match="the edges give"):
        given_efficiencies("veto", np.array([-2.4, 2.4]), PT_EDGES, eff[:, :4], error[:, :4])


def test_too_few_bins_are_refused_with_their_names():
    found = counted(cubic(MIDDLE), 2000, None)
    status = np.where(np.arange(10) < 7, int(Status.HESSIAN_NOT_PD), found.status)
    with pytest.raises(NotCertified, match="3 usable bins for 4 coefficients"):
        smooth_efficiency(replace(found, status=status), SmoothConfig(degree_pt=3))


def test_other_bins_and_absurd_degrees_are_refused():
    with pytest.raises(InputError, match="pt_edges"):
        smooth_scale_factor(
            counted(cubic(MIDDLE), 100, None), counted(np.full(3, 0.9), 100, None, pt_edges=np.linspace(26, 56, 4)),
            SmoothConfig(),
        )  # fmt: skip
    with pytest.raises(ConfigError, match="degrees 9"):
        SmoothConfig(degree_pt=9)


def test_muons_outside_eta_are_refused():
    surface = smooth_efficiency(counted(cubic(MIDDLE), 2000, None), SmoothConfig(degree_pt=3))
    with pytest.raises(ValueError, match="1 of 2 muons lie outside"):
        surface(np.array([0.0, 2.5]), np.full(2, 40.0), np.ones(2, int))


def test_failing_scale_factor_by_hand():
    data, mc = counted(np.full(10, 0.9), 1e4, None), counted(np.full(10, 0.95), 1e4, None)
    found = scale_factors(data, mc, SmoothConfig(degree_pt=0))
    muon = np.zeros(1), np.array([40.0]), np.ones(1, int)
    assert_allclose(found(*muon), 0.9 / 0.95)
    assert_allclose(found.failing(*muon), 0.1 / 0.05)


# ------------------------------------------------------------------------------------------------ nuisances


def surface_of(n_charge: int, degree_pt: int, degree_ut: int, shift: float = 0.0, n_eta: int = 48) -> Surface:
    p = (degree_pt + 1) * (degree_ut + 1)
    c = np.zeros((n_eta, n_charge, p))
    c[..., 0] = 1.0 + shift
    cov = np.broadcast_to(1e-6 * np.diag(1.0 / (1 + np.arange(p)) ** 2), (n_eta, n_charge, p, p)).copy()
    return Surface(
        eta_edges=np.linspace(-2.4, 2.4, n_eta + 1), by_charge=n_charge == 2, pt_range=(26.0, 56.0),
        ut_range=(-30.0, 100.0) if degree_ut else (-np.inf, np.inf), degree_pt=degree_pt, degree_ut=degree_ut,
        coefficients=c, cov=cov, chi2=np.zeros((n_eta, n_charge)), ndf=np.zeros((n_eta, n_charge)),
    )  # fmt: skip


def factors_of(name: str, n_charge: int, degrees: tuple[int, int], alternatives: tuple[str, ...]) -> ScaleFactors:
    nominal = surface_of(n_charge, *degrees)
    return ScaleFactors(
        step=name, nominal=nominal, eff_data=nominal, eff_mc=nominal, alternatives=alternatives,
        alternative=tuple(surface_of(n_charge, *degrees, shift=0.002) for _ in alternatives),
    )  # fmt: skip


def published_model() -> EfficiencyModel:
    steps = []
    for step in STEPS:
        degrees = (step.n_variations // 3 - 1, 2) if step.in_ut else (step.n_variations - 1, 0)
        names = ("signal", "background") if step.alt_background else ("signal",)
        steps.append(factors_of(step.name, 1 + step.by_charge, degrees, names))
    return EfficiencyModel(steps=tuple(steps), veto=factors_of("veto", 2, (3, 0), ("reco", "tracking", "idip")))


def test_counts_are_those_published():
    expected = {"muon_eff_stat": 2784, "muon_eff_syst": 343, "muon_eff_veto": 531, "muon_eff_all": 3658}
    assert published_counts() == expected
    model = published_model()
    assert dict(model.counts()) == expected
    names = [one.name for one in model.nuisances()]
    assert len(set(names)) == 3658
    assert "effStat_trigger_eta47_pt11_q1" in names
    assert "effStat_iso_eta0_pt0_qall" in names
    assert "effSystAltBkg_reco_eta12" in names


def test_a_nuisance_acts_in_its_slice_only():
    model = published_model()
    by_name = {one.name: one for one in model.nuisances()}
    eta, pt = np.array([-2.35, -2.35, 0.05]), np.full(3, 41.0)
    charge = np.array([-1, 1, -1])
    stat = by_name["effStat_idip_eta0_pt0_q0"].change(model.step("idip"), eta, pt, charge)
    assert_allclose(stat, [1e-3, 0.0, 0.0])
    coherent = by_name["effSyst_idip"].change(model.step("idip"), eta, pt, charge)
    assert_allclose(coherent, 0.002)
    local = by_name["effSyst_idip_eta0"].change(model.step("idip"), eta, pt, charge)
    assert_allclose(local, [0.002, 0.002, 0.0])


def test_weight_is_the_product_of_the_chain_and_the_model_saves(tmp_path):
    model = replace(published_model(), veto=None)
    muon = np.zeros(2), np.full(2, 40.0), np.array([1, -1]), np.zeros(2)
    assert_allclose(model.weight(*muon), 1.0)
    path = model.save(tmp_path / "model.h5")
    assert dict(EfficiencyModel.load(path).counts()) == dict(model.counts())
    with pytest.raises(ValueError, match="no scale factors of 'reko'"):
        model.step("reko")
