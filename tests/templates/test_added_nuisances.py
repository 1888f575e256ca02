"""The fit of m_W with the nuisances of efficiencies, nonprompt muons and prefiring: counts and impacts.

Run with `pytest -m slow -s tests/templates/test_added_nuisances.py`; numbers in docs/physics/efficiency.md.  The sizes
are an ansatz, not measured ones: orders of magnitude and sum rules are what can be tested.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.efficiency import STEPS, EfficiencyModel, ScaleFactors, Surface
from mucal.likelihood import fit, global_impacts, nominal_impacts, observe
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.templates import TemplatesConfig, build
from mucal.templates.additions import with_efficiencies, with_event_weights
from mucal.templates.event_weights import EventWeights, Prefiring
from mucal.templates.nonprompt import NonpromptConfig, estimate
from mucal.wmass import Background, mass_model

MODES = 1.5e-3 * np.array([1.0, 0.8, 0.6, 0.5])
SYSTEMATIC = 1e-3
NONPROMPT_SHARE = 0.04


def surface(n_charge: int, degree_pt: int, degree_ut: int, shift: float = 0.0) -> Surface:
    """Scale factors of 1 + shift (1 + x) with errors that grow with |eta|; modes in u_T are half as large."""
    edges = np.linspace(-2.4, 2.4, 49)
    eta = 0.5 * (edges[1:] + edges[:-1])
    p = (degree_pt + 1) * (degree_ut + 1)
    sigma = np.outer(MODES[: degree_pt + 1], 0.5 ** np.arange(degree_ut + 1)).reshape(-1)
    c = np.zeros((48, n_charge, p))
    c[..., 0] = 1.0 + shift
    c[..., degree_ut + 1] = shift
    cov = np.zeros((48, n_charge, p, p))
    cov[...] = np.diag(sigma**2)
    cov *= ((1 + eta**2 / 4) ** 2)[:, None, None, None]
    return Surface(
        eta_edges=edges, by_charge=n_charge == 2, pt_range=(26.0, 56.0),
        ut_range=(-30.0, 100.0) if degree_ut else (-np.inf, np.inf), degree_pt=degree_pt, degree_ut=degree_ut,
        coefficients=c, cov=cov, chi2=np.zeros((48, n_charge)), ndf=np.zeros((48, n_charge)),
    )  # fmt: skip


def factors(name: str, n_charge: int, degrees: tuple[int, int], alternatives: tuple[str, ...]) -> ScaleFactors:
    one = surface(n_charge, *degrees)
    others = tuple(surface(n_charge, *degrees, shift=SYSTEMATIC) for _ in alternatives)
    return ScaleFactors(step=name, nominal=one, eff_data=one, eff_mc=one, alternatives=alternatives, alternative=others)


def efficiencies() -> EfficiencyModel:
    steps = []
    for step in STEPS:
        degrees = (3, 2) if step.in_ut else (step.n_variations - 1, 0)
        names = ("signal", "background") if step.alt_background else ("signal",)
        steps.append(factors(step.name, 1 + step.by_charge, degrees, names))
    return EfficiencyModel(steps=tuple(steps), veto=factors("veto", 2, (3, 0), ("reco", "tracking", "idip")))


@pytest.mark.slow
def test_impacts_of_the_measured_inputs_on_m_w():
    prefiring = Prefiring(abs_eta_edges=np.linspace(0, 2.4, 12), probability=np.linspace(0.002, 0.02, 11),
                          stat=np.full(11, 5e-4))  # fmt: skip
    templates = build(TemplatesConfig(events=1 << 20, theory=False))
    scale = 1.0e8 / templates.nominal[0].sum()
    templates = with_efficiencies(templates, efficiencies(), ["Wmunu", "Zmumu"], vetoed=["Zmumu"])
    templates = with_event_weights(templates, EventWeights(entries={"prefiring": prefiring}), ["Wmunu", "Zmumu"])
    n = NONPROMPT_SHARE * 1.0e8 / scale
    regions, _ = generate_nonprompt(NonpromptSimulation(n=n / 96 / 0.45), None)
    found = estimate(regions, NonpromptConfig())
    kappa = dict(zip(found.nuisances, found.kappa.reshape(len(found.nuisances), -1), strict=True))
    nonprompt = Background(name="nonprompt", events=found.nominal.reshape(-1), variance=np.zeros(2880), kappa=kappa,
                           group="nonprompt")  # fmt: skip
    model = mass_model(templates, [nonprompt], inflation=0.0)
    counts = {group: len(names) for group, names in model.groups.items()}
    print(f"\n{counts}; {len(model.parameters)} parameters")
    assert counts["muon_eff_stat"] + counts["muon_eff_syst"] == 2784 + 343
    assert counts["muon_eff_stat_veto"] + counts["muon_eff_syst_veto"] == 531
    assert counts["nonprompt"] == 387
    events = model.nominal.sum(axis=1)
    result = fit(model, observe(model, events))
    for impacts in (nominal_impacts(model, events, result, "mass"), global_impacts(model, events, result, "mass")):
        groups = {group: round(100 * value, 2) for group, value in impacts.groups.items()}
        print(f"{impacts.kind}, MeV at {events.sum():.3g} events: total {100 * impacts.total:.2f}, {groups}, "
              f"data {100 * impacts.data_stat:.2f}")  # fmt: skip
        if impacts.kind == "global":
            total = sum(value**2 for value in impacts.groups.values()) + impacts.data_stat**2
            assert_allclose(total, impacts.total**2, rtol=1e-6)
    for group in ("muon_eff_stat", "muon_eff_syst", "nonprompt"):
        assert impacts.groups[group] > 0
