"""The Z mass of pairs in bins of the larger |eta|: the parts are the whole, and a part that is off is seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration
from mucal.cli import main
from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit, toy
from mucal.templates import Templates, TemplatesConfig, build
from mucal.wmass import MASS, Compatibility, combine, compare, mass_model, split_mass
from mucal.wmass.slices import possible_splits
from mucal.wmass.tensor import events_at_mass

EXACT = FitConfig(mc_stat="none")


@pytest.fixture(scope="module")
def templates(calibration: Calibration) -> Templates:
    config = TemplatesConfig(channel="dilepton", events=1 << 17, chunk=1 << 15, theory=False)
    return build(config, calibration=calibration)


@pytest.fixture(scope="module")
def model(templates: Templates) -> Model:
    return mass_model(templates, rates={"rate": ["Zmumu"]}, luminosity_error=0.0)


def parts_of(model: Model, counts: np.ndarray) -> Compatibility:
    return compare(fit(split_mass(model, "max_eta"), counts, EXACT))


def test_each_part_of_pairs_has_the_injected_mass_and_so_has_their_mean(model: Model):
    values = model.centre.copy()
    values[model.index([MASS])] = 0.2  # 20 MeV
    counts = expected_events(model, values)
    whole, parts = fit(model, counts, EXACT), parts_of(model, counts)
    assert len(parts.names) == 14
    assert (parts.names[0], parts.names[-1]) == ("max_eta_-2.4_to_-2", "max_eta_+2_to_+2.4")
    assert_allclose(parts.values, 0.02, atol=1e-6)
    assert parts.mean == pytest.approx(0.1 * whole.value(MASS), abs=1e-6)
    assert parts.error == pytest.approx(0.1 * whole.error(MASS), rel=1e-3)
    assert parts.p_value > 0.999


def test_chi2_of_toys_around_their_mean_has_its_distribution(model: Model):
    n, split = 20, split_mass(model, "max_eta")
    found = [compare(fit(split, toy(split, np.random.default_rng(seed), simulation=False), EXACT)) for seed in range(n)]
    chi2 = np.array([one.chi2 for one in found])
    assert abs(chi2.mean() - 13.0) < 4.0 * np.sqrt(2.0 * 13.0 / n)
    assert 0.001 < found[0].p_value < 0.999


def test_a_mass_that_follows_eta_is_found_where_it_is(templates: Templates):
    # a Z heavier by 50 MeV where |eta| > 1.6, by its exact weights; without nuisances, which would take a share
    model = mass_model(templates, without=tuple(templates.nuisances), rates={"rate": ["Zmumu"]}, luminosity_error=0.0)
    binning = templates.binning
    heavy = np.where(
        np.abs(binning.centres("max_eta")) > 1.6, events_at_mass(model, templates, 0.05), expected_events(model)
    )
    parts = parts_of(model, heavy)
    edges = np.array(binning.edges[1])
    assert_allclose(parts.values, np.where(np.abs(edges[1:] + edges[:-1]) > 3.2, 0.05, 0.0), atol=1e-3)
    assert parts.p_value < 1e-3


def test_pairs_have_no_charge_to_be_split_by(model: Model):
    assert possible_splits(model) == ("max_eta",)
    with pytest.raises(ConfigError, match="needs axes") as refused:
        split_mass(model, "charge")
    assert "max_eta" in str(refused.value.do)


def test_two_channels_cannot_be_split(model: Model, templates: Templates):
    other = mass_model(replace(templates, channel="other"), rates={"rate": ["Zmumu"]}, luminosity_error=0.0)
    with pytest.raises(ConfigError, match="one channel, the model has 2"):
        split_mass(combine([model, other]), "max_eta")


@pytest.mark.parametrize("by", [(), ("--by", "max_eta")], ids=["all that the axes allow", "by name"])
def test_the_command_splits_pairs(templates: Templates, tmp_path, capsys, by: tuple[str, ...]):
    path = templates.save(tmp_path / "z.h5")
    assert main(["fit", str(path), "--mode", "slices", *by, "--toy", "1", "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["measurement"]["splits"]
    assert list(splits) == ["max_eta"]
    assert splits["max_eta"]["ndof"] == 13
    assert len(splits["max_eta"]["less_mean"]) == 14
