"""Nonprompt muons, efficiencies and running conditions in templates: published counts, and acting where they should."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.efficiency import STEPS, EfficiencyModel, ScaleFactors, Surface
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.templates import CHANNELS, Templates
from mucal.templates.additions import efficiency_effects, with_efficiencies, with_event_weights, with_nonprompt
from mucal.templates.event_weights import EventWeights, Luminosity, Prefiring
from mucal.templates.nonprompt import NonpromptConfig, estimate

W = CHANNELS["w"]


def templates(processes: tuple[str, ...] = ("wmunu", "zmumu")) -> Templates:
    p, b = len(processes), W.n_bins
    return Templates(
        channel="w", axes=W.axes, edges=W.edges, processes=processes, nominal=np.full((p, b), 100.0),
        sumw2=np.full((p, b), 1.0), nuisances=("scale",), groups=("calibration",), kappa=np.full((p, 1, b), 1e-3),
        boson="w", mass_shifts=np.array([-0.1, 0.0, 0.1]), shifted=np.full((3, p, b), 100.0),
        helicity=np.zeros((p, 0, 9, b)),
    )  # fmt: skip


def surface(n_charge: int, degree_pt: int, degree_ut: int, shift: float = 0.0) -> Surface:
    p = (degree_pt + 1) * (degree_ut + 1)
    c = np.zeros((48, n_charge, p))
    c[..., 0] = 1.0 + shift
    cov = np.broadcast_to(1e-6 * np.diag(1.0 / (1 + np.arange(p)) ** 2), (48, n_charge, p, p)).copy()
    return Surface(
        eta_edges=np.linspace(-2.4, 2.4, 49), by_charge=n_charge == 2, pt_range=(26.0, 56.0),
        ut_range=(-30.0, 100.0) if degree_ut else (-np.inf, np.inf), degree_pt=degree_pt, degree_ut=degree_ut,
        coefficients=c, cov=cov, chi2=np.zeros((48, n_charge)), ndf=np.zeros((48, n_charge)),
    )  # fmt: skip


def factors(name: str, n_charge: int, degrees: tuple[int, int], alternatives: tuple[str, ...]) -> ScaleFactors:
    one = surface(n_charge, *degrees)
    return ScaleFactors(step=name, nominal=one, eff_data=one, eff_mc=one, alternatives=alternatives,
                        alternative=tuple(surface(n_charge, *degrees, shift=0.002) for _ in alternatives))  # fmt: skip


def model() -> EfficiencyModel:
    steps = []
    for step in STEPS:
        degrees = (3, 2) if step.in_ut else (step.n_variations - 1, 0)
        names = ("signal", "background") if step.alt_background else ("signal",)
        steps.append(factors(step.name, 1 + step.by_charge, degrees, names))
    return EfficiencyModel(steps=tuple(steps), veto=factors("veto", 2, (3, 0), ("reco", "tracking", "idip")))


def test_published_counts_of_the_efficiencies_and_where_they_act():
    names, groups, kappa = efficiency_effects(model(), W)
    assert (len(names), groups.count("muon_eff_stat"), groups.count("muon_eff_syst")) == (3658, 2784, 343)
    acting = (kappa != 0).sum(axis=1).reshape(-1)
    by_name = dict(zip(names, acting, strict=True))
    assert by_name["effStat_idip_eta3_pt0_q1"] == 30  # one charge, one bin of eta
    assert by_name["effStat_iso_eta3_pt0_qall"] == 60
    assert by_name["effSyst_reco"] == W.n_bins
    row = kappa[names.index("effStat_idip_eta3_pt0_q1")].reshape(W.shape)
    assert_allclose(row[1, 3], np.log(1.001))


def test_the_veto_acts_on_the_second_muon_only():
    small = replace(model(), steps=())
    found = with_efficiencies(templates(), small, ["wmunu", "zmumu"], vetoed=["zmumu"])
    assert len(found.nuisances) == 1 + 531
    assert np.abs(found.kappa[0, 1:]).max() == 0.0
    assert np.abs(found.kappa[1, 1:]).max() > 0.0


def test_nonprompt_is_one_more_process_with_387_nuisances():
    nonprompt = estimate(generate_nonprompt(NonpromptSimulation(), None)[0], NonpromptConfig())
    systematic = np.full((1, *nonprompt.nominal.shape), -2e-3)
    carried = replace(nonprompt, carried=("elsewhere", "scale"), carried_kappa=np.concatenate([systematic, systematic]))
    assert_allclose(with_nonprompt(templates(), carried).kappa[2, 0], -2e-3)  # by name, of those that are there
    found = with_nonprompt(templates(), nonprompt, subtraction=systematic)
    assert found.processes == ("wmunu", "zmumu", "nonprompt")
    assert len(found.nuisances) == 1 + 387
    assert_allclose(found.nominal[2].reshape(W.shape), nonprompt.nominal)
    assert_allclose(found.shifted[:, 2], found.nominal[2][None].repeat(3, axis=0))
    assert_allclose(found.kappa[2, 0], -2e-3)  # the scale, through the subtraction
    assert np.abs(found.kappa[:2, 1:]).max() == 0.0
    assert_allclose(found.kappa[2, 1:].reshape(-1, *W.shape), nonprompt.kappa)
    with pytest.raises(ValueError, match="already"):
        with_nonprompt(found, nonprompt)
    coarse = estimate(generate_nonprompt(NonpromptSimulation(n_eta=4), None)[0], NonpromptConfig())
    with pytest.raises(ValueError, match="different bins of eta"):
        with_nonprompt(templates(), coarse)


def test_luminosity_and_prefiring_in_bins():
    prefiring = Prefiring(abs_eta_edges=np.linspace(0, 2.4, 12), probability=np.full(11, 0.01), stat=np.full(11, 1e-3))
    weights = EventWeights(entries={"luminosity": Luminosity(), "prefiring": prefiring})
    found = with_event_weights(templates(), weights, ["wmunu"])
    assert found.groups[1:] == weights.groups
    assert_allclose(found.kappa[0, 1], np.log(1.012))
    assert np.abs(found.kappa[1, 1:]).max() == 0.0
    assert_allclose(found.kappa[0, -1], np.log((1 - 0.0111) / 0.99))
    with pytest.raises(ValueError, match="no process 'top'"):
        with_event_weights(templates(), weights, ["top"])
