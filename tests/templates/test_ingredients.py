"""Recoil and efficiencies inside the filling of templates: against events moved, events weighed, and by count."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.arrays import FloatArray
from mucal.efficiency import EfficiencyModel
from mucal.errors import ConfigError, InputError
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.simulation.recoil import BUILT_IN, RecoilTruth, generate_z_recoil
from mucal.simulation.uncertainties import published_efficiencies
from mucal.templates import Ingredients, Templates, TemplatesConfig, build
from mucal.templates.binning import CHANNELS
from mucal.templates.event_weights import DistributionWeight, EventWeights, Luminosity, Prefiring
from mucal.templates.nonprompt import NonpromptConfig, estimate
from mucal.templates.recoil import RecoilCalibration, RecoilConfig, calibrate
from mucal.templates.recoil_effects import draw_recoil, mt_weights
from mucal.templates.recoil_vectors import transverse_mass, transverse_mass_slopes
from mucal.templates.reconstruction import measure, measure_recoil
from mucal.templates.response import default_resolution
from mucal.theory import generator, production

DATA = replace(BUILT_IN, response=0.88, sigma=13.0)
EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, 115.0)
CONFIG = TemplatesConfig(channel="w", events=1 << 15, chunk=1 << 15, theory=False)
MUON = 0


@pytest.fixture(scope="module")
def recoil() -> RecoilCalibration:
    return calibrate(
        generate_z_recoil(DATA, 100_000, 1), generate_z_recoil(BUILT_IN, 100_000, 2), RecoilConfig(pt_edges=EDGES)
    )


@pytest.fixture(scope="module")
def events() -> generator.BosonEvents:
    return generator.generate(production.production("w_plus"), 0, 1 << 16, seed=4)


@pytest.fixture(scope="module")
def plain() -> Templates:
    return build(CONFIG)


def test_slopes_of_mt_are_difference_quotients():
    pt, phi, ux, uy = np.random.default_rng(1).normal([[40], [0], [0], [0]], [[5], [2], [10], [10]], (4, 50))
    h = 1e-5
    found = transverse_mass_slopes(pt, phi, ux, uy)
    by_x = (transverse_mass(pt, phi, ux + h, uy) - transverse_mass(pt, phi, ux - h, uy)) / (2 * h)
    by_y = (transverse_mass(pt, phi, ux, uy + h) - transverse_mass(pt, phi, ux, uy - h)) / (2 * h)
    assert_allclose(found, (by_x, by_y), atol=1e-7)


def test_drawn_recoil_is_that_of_simulation_mapped_to_data(recoil: RecoilCalibration):
    # inside the outermost quantiles the drawn value is the map of the drawn value of simulation
    rng = np.random.default_rng(2)
    pt, score = rng.uniform(0, 60, 2000), np.clip(rng.normal(size=(2000, 2)), -2.49, 2.49)
    par, perp, places = draw_recoil(recoil, pt, score)
    before = [at.of(recoil.mc[c]) for c, at in enumerate(places)]
    mapped = recoil.correct(pt, pt + before[0], before[1])
    assert_allclose(par, mapped[0], atol=1e-9)
    assert_allclose(perp, mapped[1], atol=1e-9)
    # far outside it goes on as a Gaussian of the last slope, no jump
    far, _, _ = draw_recoil(recoil, np.full(2, 7.5), np.array([[2.5, 0.0], [2.5 + 1e-9, 0.0]]))
    assert abs(far[1] - far[0]) < 1e-6


def test_built_in_recoil_without_a_calibration_is_that_of_one_that_changes_nothing(events: generator.BosonEvents):
    sample = generate_z_recoil(BUILT_IN, 200_000, 3)
    same = calibrate(sample, sample, RecoilConfig(pt_edges=EDGES))
    ours, drawn = measure_recoil(events), measure_recoil(events, same)
    # widths to the statistics of a bin of the calibration's, some thousands of events: 1.5 %
    assert_allclose(drawn.u_perp.std(), ours.u_perp.std(), rtol=0.015)
    assert abs((drawn.u_par - events.pt).mean() + (ours.u_par - events.pt).mean()) < 3.0


def crossings(events: generator.BosonEvents, recoil: RecoilCalibration, shift: FloatArray) -> tuple[FloatArray, ...]:
    """mT of a W by the calibration, and by quantiles of data moved by +-shift."""
    score = np.random.default_rng(9).normal(size=(len(events), 2))
    measured = measure(events, default_resolution())
    phi = events.leptons[:, MUON, 2]

    def mt(moved: RecoilCalibration) -> FloatArray:
        par, perp, _ = draw_recoil(moved, events.pt, score)
        return transverse_mass(measured.pt[:, MUON], phi, -par, perp)

    par, perp, places = draw_recoil(recoil, events.pt, score)
    by_x, by_y = transverse_mass_slopes(measured.pt[:, MUON], phi, -par, perp)
    central = mt(recoil)
    keep = central > 40.0
    weights = mt_weights(
        recoil, [place.select(np.flatnonzero(keep)) for place in places], [-by_x[keep], by_y[keep]], central[keep], 40.0
    )
    up, down = (mt(replace(recoil, data=recoil.data + sign * shift)) > 40.0 for sign in (1.0, -1.0))
    return weights, keep, up, down


def test_weights_of_the_recoil_move_as_many_events_as_shifted_quantiles_do(
    events: generator.BosonEvents, recoil: RecoilCalibration
):
    # the combination of nuisances nearest to moving u_par up by 1.5 GeV everywhere: large enough to be counted
    shifts = recoil.shifts().reshape(len(recoil.nuisances()), -1)
    along = np.stack([np.ones_like(recoil.data[0]), np.zeros_like(recoil.data[1])]).ravel()
    size = 1.5 * (shifts @ along) / (shifts**2).sum(axis=1)
    weights, keep, up, down = crossings(events, recoil, (size @ shifts).reshape(recoil.data.shape))
    w = events.weight
    w = np.where(np.cos(events.leptons[:, MUON, 2]) > 0.3, w, 0.0)  # muons along the boson: their mT all falls
    each = w[keep] * (weights @ size)
    predicted = each.sum()
    counted = 0.5 * (w[up].sum() - w[down].sum())
    # events that cross: their number's root, and the kernel's: density from events of a band of 8 GeV
    error = np.hypot(0.5 * np.sqrt((w[up != down] ** 2).sum()), np.sqrt((each**2).sum()))
    print(predicted, counted, error)
    assert abs(counted) > 5 * error
    assert abs(predicted - counted) < 4 * error


def test_recoil_in_templates_moves_the_selection_and_brings_its_nuisances(plain: Templates, recoil: RecoilCalibration):
    found = build(CONFIG, ingredients=Ingredients(recoil=recoil))
    assert found.nuisances == recoil.nuisances()
    assert set(found.groups) == {"recoil"}
    assert found.kappa.shape == (2, 2 * 5 * 6, 2880)
    size = np.abs(found.kappa).max(axis=2)
    assert size[0].max() > 1e-4  # they act
    print(size.max(axis=1))
    assert size[0].max() < 0.03  # and stay small
    # a worse resolution and a lower response: fewer W above the cut
    assert found.nominal[0].sum() < 0.999 * plain.nominal[0].sum()


def test_selected_w_after_calibration_are_those_of_the_true_recoil(
    events: generator.BosonEvents, recoil: RecoilCalibration
):
    measured = measure(events, default_resolution())
    pt, phi = measured.pt[:, MUON], events.leptons[:, MUON, 2]
    calibrated = measure_recoil(events, recoil).transverse_mass(events, measured, MUON)
    par, perp = DATA.draw(events.pt, 12, "test/recoil")
    true = transverse_mass(pt, phi, -par, perp)
    before = measure_recoil(events).transverse_mass(events, measured, MUON)
    edges = np.array([0.0, 20, 30, 40, 50, 60, 70, 80, 120])
    w = events.weight
    counts = [np.histogram(x, edges, weights=w)[0] for x in (true, calibrated, before)]
    error = np.sqrt(2 * np.histogram(true, edges, weights=w**2)[0])
    pulls = [(counts[0] - c) / error for c in counts[1:]]
    limit = 8 + 5 * np.sqrt(2 * 8)  # chi2 of eight bins at five standard deviations
    assert (pulls[0] ** 2).sum() < limit
    assert (pulls[1] ** 2).sum() > 2 * limit


@pytest.fixture(scope="module")
def efficiencies() -> EfficiencyModel:
    """Published structure, with scale factors that differ from 1 and depend on u_T."""
    made = published_efficiencies()
    steps = []
    for one in made.steps:
        c = one.nominal.coefficients.copy()
        c[..., 0] = 0.99
        if one.nominal.degree_ut:
            c[..., 1] = 0.05
        steps.append(replace(one, nominal=replace(one.nominal, coefficients=c)))
    return replace(made, steps=tuple(steps))


def test_efficiencies_weigh_events_and_bring_3658_nuisances(plain: Templates, efficiencies: EfficiencyModel):
    found = build(CONFIG, ingredients=Ingredients(efficiencies=efficiencies))
    assert len(found.nuisances) == 3658
    assert found.groups.count("muon_eff_stat") == 2784
    ratio = found.nominal[0].sum() / plain.nominal[0].sum()
    assert 0.75 < ratio < 0.99**5  # u_T lies below the middle of its range: both slopes lower it further
    veto = [name.endswith("_veto") for name in found.groups]
    assert np.abs(found.kappa[0][veto]).max() == 0.0
    assert np.abs(found.kappa[1][veto]).max() > 0.0


def test_a_nuisance_in_u_t_is_what_weighing_every_event_gives(efficiencies: EfficiencyModel):
    # move one coefficient of the trigger in one slice, and fill again
    found = build(CONFIG, ingredients=Ingredients(efficiencies=replace(efficiencies, veto=None)))
    k = found.nuisances.index("effStat_trigger_eta20_pt3_q1")
    at = [one.step for one in efficiencies.steps].index("trigger")
    trigger = efficiencies.steps[at]
    c = trigger.nominal.coefficients.copy()
    c[20, 1] += trigger.nominal.eigenvariations()[20, 1, 3]
    moved = replace(trigger, nominal=replace(trigger.nominal, coefficients=c))
    steps = (*efficiencies.steps[:at], moved, *efficiencies.steps[at + 1 :])
    varied = build(CONFIG, ingredients=Ingredients(efficiencies=EfficiencyModel(steps=steps)))
    for p in (0, 1):
        acts = found.nominal[p] > 0
        assert_allclose(
            np.log(varied.nominal[p][acts] / found.nominal[p][acts]), found.kappa[p, k][acts], rtol=1e-6, atol=1e-12
        )


class Elsewhere(ThreadPoolExecutor):
    """Workers that get what they work on as bytes, as on other machines, and so send their results back."""

    def submit(self, fn, /, *args, **kwargs):
        sent = pickle.dumps((fn, args, kwargs))

        def there() -> bytes:
            function, arguments, named = pickle.loads(sent)
            return pickle.dumps(function(*arguments, **named))

        waiting = super().submit(there)
        result = waiting.result
        waiting.result = lambda *a: pickle.loads(result(*a))
        return waiting


def test_workers_fill_the_same_bytes(recoil: RecoilCalibration, calibration):
    config, given = replace(CONFIG, chunk=1 << 13), Ingredients(recoil=recoil)
    again = build(config, calibration=calibration, ingredients=given, workers=lambda: Elsewhere(2))
    alone = build(config, calibration=calibration, ingredients=given)
    assert_array_equal(again.nominal, alone.nominal)
    assert_array_equal(again.kappa, alone.kappa)


def test_running_conditions_weigh_and_nonprompt_is_a_process(plain: Templates):
    prefiring = Prefiring(abs_eta_edges=np.linspace(0, 2.4, 12), probability=np.full(11, 0.01), stat=np.full(11, 1e-3))
    weights = EventWeights(entries={"luminosity": Luminosity(), "prefiring": prefiring})
    nonprompt = estimate(generate_nonprompt(NonpromptSimulation(), None)[0], NonpromptConfig())
    found = build(CONFIG, ingredients=Ingredients(weights=weights, nonprompt=nonprompt))
    assert_allclose(found.nominal[:2], 0.99 * plain.nominal, rtol=1e-12)
    assert_allclose(found.nominal[2], nonprompt.nominal.ravel())
    assert len(found.nuisances) == 1 + 13 + 387
    assert_allclose(found.kappa[0, 0], np.log(1.012))
    assert np.abs(found.kappa[2, :14]).max() == 0.0


def test_what_cannot_act_is_refused(recoil: RecoilCalibration, efficiencies: EfficiencyModel):
    for given, channel in (
        (Ingredients(recoil=recoil), "dilepton"),
        (Ingredients(efficiencies=efficiencies), "boson_w"),
    ):
        with pytest.raises(ConfigError, match="cannot be used"):
            build(replace(CONFIG, channel=channel), ingredients=given)
    nonprompt = estimate(generate_nonprompt(NonpromptSimulation(), None)[0], NonpromptConfig())
    with pytest.raises(ConfigError, match="background of channel 'w'"):
        build(replace(CONFIG, channel="wlike"), ingredients=Ingredients(nonprompt=nonprompt))
    pileup = DistributionWeight(
        name="pileup", column="n_true", edges=np.linspace(0, 60, 3), data=np.ones(2), mc=np.ones(2), varied=np.ones(2)
    )
    with pytest.raises(InputError, match="needs the column 'n_true'"):
        build(CONFIG, ingredients=Ingredients(weights=EventWeights(entries={"pileup": pileup})))


def test_channel_of_the_tests_has_the_published_bins():
    assert CHANNELS["w"].n_bins == 2880


def test_a_truth_without_rise_is_the_built_in_response():
    par, _ = RecoilTruth.draw(replace(BUILT_IN, sigma=1e-9), np.array([0.0, 30.0]), 1, "x")
    assert_allclose(par, [0.0, 0.97 * 30.0], atol=1e-6)
