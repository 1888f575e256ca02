"""Weights of running conditions by hand, their nuisances and counts, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.templates.event_weights import DistributionWeight, EventWeights, Luminosity, Prefiring

PREFIRING = Prefiring(
    abs_eta_edges=np.linspace(0.0, 2.2, 12), probability=np.linspace(0.002, 0.022, 11), stat=np.full(11, 1e-3),
    hot_probability=0.1, hot_stat=0.01, eta=("eta1", "eta2"), phi=("phi1", "phi2"), ecal="ecal", ecal_up="ecal_up",
)  # fmt: skip
PILEUP = DistributionWeight(
    name="pileup", column="n_true", edges=np.array([0.0, 10.0, 20.0, 30.0]), data=np.array([1.0, 2.0, 1.0]),
    mc=np.array([2.0, 2.0, 0.0001]), varied=np.array([1.0, 2.0, 2.0]),
)  # fmt: skip


def pair(**columns: float) -> dict[str, np.ndarray]:
    full = {"eta1": 0.1, "phi1": 0.0, "eta2": -0.3, "phi2": 0.0, "ecal": 0.98, "ecal_up": 0.97} | columns
    return {name: np.array([value]) for name, value in full.items()}


def test_luminosity_is_a_norm():
    weights = EventWeights(entries={"luminosity": Luminosity()})
    events = {"x": np.zeros(3)}
    assert_allclose(weights.weight(events), 1.0)
    assert_allclose(weights.log_change("luminosity", events), np.log(1.012))


def test_prefiring_by_hand():
    weights = EventWeights(entries={"prefiring": PREFIRING})
    # |eta| 0.1 in bin 0 (0.002), 0.3 in bin 1 (0.004)
    assert_allclose(weights.weight(pair()), 0.998 * 0.996 * 0.98)
    assert_allclose(weights.log_change("prefiring_muon_stat_1", pair()), np.log((1 - 0.005) / 0.996))
    assert_allclose(weights.log_change("prefiring_muon_stat_5", pair()), 0.0)
    assert_allclose(
        weights.log_change("prefiring_muon_syst", pair()), np.log((1 - 0.00222) / 0.998 * (1 - 0.00444) / 0.996)
    )
    assert_allclose(weights.log_change("prefiring_ecal", pair()), np.log(0.97 / 0.98))
    hot = pair(eta1=1.4, phi1=2.6)
    assert_allclose(weights.weight(hot), 0.9 * 0.996 * 0.98)
    assert_allclose(weights.log_change("prefiring_muon_stat_hot", hot), np.log(0.89 / 0.9))


def test_a_muon_that_is_not_there_does_not_fire():
    assert_allclose(PREFIRING.weight(pair(eta2=np.nan), 1), 0.998 * 0.98)
    assert_allclose(PREFIRING.weight(pair(eta2=2.3), 1), 0.998 * 0.98)


def test_counts_are_those_published():
    weights = EventWeights(entries={"luminosity": Luminosity(), "prefiring": PREFIRING})
    assert len(weights.nuisances) == 1 + 14
    assert weights.groups.count("prefiring") == 14


def test_pileup_by_hand():
    events = {"n_true": np.array([5.0, 15.0, 99.0])}
    expected = np.array([0.25 / 2.0, 0.5 / 2.0, 0.25 / 0.0001]) * 4.0001
    weights = EventWeights(entries={"pileup": PILEUP})
    assert_allclose(weights.weight(events), expected)
    # 1 2 2 over 5 against 1 2 1 over 4
    assert_allclose(np.exp(weights.log_change("pileup", events)), [0.8, 0.8, 1.6])


def test_without_a_varied_shape_the_nuisance_takes_the_weight_away():
    vertex = replace(PILEUP, name="vertex", varied=None)
    events = {"n_true": np.array([5.0, 15.0])}
    assert_allclose(vertex.log_change("vertex", events, 2), -np.log(vertex.weight(events, 2)))


def test_mean_weight_of_simulation_is_one():
    draws = np.random.default_rng(1).choice([5.0, 15.0], 100_000)
    flat = replace(PILEUP, mc=np.array([1.0, 1.0, 1e-9]), data=np.array([1.0, 3.0, 0.0]), varied=None)
    assert_allclose(flat.weight({"n_true": draws}, draws.size).mean(), 1.0, atol=0.01)


def test_what_cannot_be_used_is_named():
    with pytest.raises(InputError, match="simulation has none") as refused:
        replace(PILEUP, mc=np.array([2.0, 2.0, 0.0]))
    assert refused.value.where["bin"] == "n_true 20 to 30"
    with pytest.raises(InputError, match="finite, not negative"):
        replace(PILEUP, data=np.array([1.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match=r"expected 0 to 0\.5"):
        replace(PREFIRING, hot_probability=0.7)
    weights = EventWeights(entries={"pileup": PILEUP})
    with pytest.raises(InputError, match="needs the column 'n_true'"):
        weights.weight({"x": np.zeros(1)})
    with pytest.raises(ValueError, match="no nuisance 'lumi'"):
        weights.log_change("lumi", {"n_true": np.zeros(1)})
    with pytest.raises(InputError, match="two weights"):
        EventWeights(entries={"a": Luminosity(), "b": Luminosity()})
