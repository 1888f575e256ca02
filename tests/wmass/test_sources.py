"""The error of a mass by source, and the one nuisance of the luminosity."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.likelihood import FitConfig, expected_events, fit, freeze
from mucal.templates.additions import with_event_weights
from mucal.templates.event_weights import EventWeights, Luminosity
from mucal.wmass import MASS, breakdown, mass_model
from mucal.wmass.sources import by_source, source_of

from .small_templates import small_templates

EXACT = FitConfig(mc_stat="none")


@pytest.mark.parametrize(
    ("group", "source"),
    [
        ("pdf", "PDF"), ("alpha_s", "PDF"), ("muon_eff_stat", "muon reco efficiency"),
        ("jpsi_stat", "muon momentum scale"),
        ("muon_eff_syst_veto", "muon reco efficiency"), ("nonprompt_smoothing", "nonprompt"), ("mine", "mine"),
        ("zclosure_lep", "muon momentum scale"), ("pixel_mult", "muon momentum scale"),
        ("reference_mass", "muon momentum scale"), ("resolution_stat", "muon momentum scale"),
    ],
)  # fmt: skip
def test_groups_belong_to_the_published_sources(group, source):
    assert source_of(group) == source


def test_joined_groups_hold_every_member_once():
    joined = by_source({"alpha_s": ("a",), "pdf": ("b", "c"), "mine": ("c",), "luminosity": ("l",)})
    assert list(joined.items()) == [("PDF", ("a", "b", "c")), ("luminosity", ("l",)), ("mine", ("c",))]


def test_nominal_impact_of_a_source_is_what_freezing_it_takes():
    model = mass_model(small_templates())
    counts = expected_events(model)
    result = fit(model, counts, EXACT)
    found = breakdown(model, counts, result)
    at = found.sources.index("PDF")
    held = freeze(model, {n: 0.0 for g in ("pdf", "alpha_s") for n in model.groups[g]})
    without = 100 * fit(held, counts, EXACT).error(MASS)
    assert_allclose(found.nominal[at], np.sqrt(found.total**2 - without**2), rtol=1e-6)


def test_luminosity_is_one_nuisance_whoever_named_it():
    # once by the model, once by the registry of weights of running conditions: the same model
    plain = mass_model(small_templates())
    weights = EventWeights(entries={"luminosity": Luminosity()})
    own = mass_model(with_event_weights(small_templates(), weights, ["Wmunu", "Zmumu"]))
    assert plain.parameters.count("luminosity") == own.parameters.count("luminosity") == 1
    assert own.groups["luminosity"] == plain.groups["luminosity"] == ("luminosity",)
    at = np.zeros(len(plain.parameters))
    at[plain.index(["luminosity"])] = 1.0
    moved = np.zeros(len(own.parameters))
    moved[own.index(["luminosity"])] = 1.0
    assert_allclose(expected_events(own, moved), expected_events(plain, at), rtol=1e-13)
    assert_allclose(expected_events(plain, at), 1.012 * expected_events(plain), rtol=1e-13)
