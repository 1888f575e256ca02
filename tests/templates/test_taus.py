"""W -> tau nu as a process of the W channel: rate, softness, the same theory, the same mass."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.templates import Templates, TemplatesConfig, build

CONFIG = TemplatesConfig(events=1 << 17, chunk=1 << 15, taus=True)


@pytest.fixture(scope="module")
def templates() -> Templates:
    return build(CONFIG, n_threads=2)


def test_it_is_a_process_of_a_few_percent_and_leaves_the_others_alone(templates):
    assert templates.processes == ("Wmunu", "Zmumu", "Wtaunu")
    events = templates.nominal.sum(axis=1)
    # the simulation of the measurement has 0.02 to 0.03 of W -> tau nu for 0.88 to 0.90 of W -> mu nu
    assert 0.01 < events[2] / events[0] < 0.04
    plain = build(TemplatesConfig(events=1 << 15, chunk=1 << 15, theory=False))
    same = build(TemplatesConfig(events=1 << 15, chunk=1 << 15, theory=False, taus=True))
    assert_allclose(same.nominal[:2], plain.nominal, rtol=1e-14)


def test_its_muons_are_softer(templates):
    pt = templates.binning.centres("pt")
    mean = [np.average(pt, weights=templates.nominal[p]) for p in (0, 2)]
    assert mean[1] < mean[0] - 3.0


def test_a_change_of_the_rate_of_w_changes_both(templates):
    # what depends on the boson alone, as its rate by partons, is of the same size
    j = templates.index(["pdf_00_avg"])[0]
    rate = [np.average(templates.kappa[p, j], weights=templates.nominal[p]) for p in (0, 2)]
    assert_allclose(rate[1], rate[0], rtol=0.3)
    other = templates.index(["gamma_z" if "gamma_z" in templates.nuisances else "mass_z"])[0]
    assert_allclose(templates.kappa[2, other], 0.0, atol=1e-12)


def test_a_heavier_w_makes_them_harder_too(templates):
    pt = templates.binning.centres("pt")
    moved = [
        [np.average(pt, weights=templates.at_mass(shift)[p]) for shift in (-0.1, 0.1)] for p in (0, 2)
    ]  # fmt: skip
    direct, by_tau = (up - down for down, up in moved)
    # their spectrum ends at the same edge, before which few of them are
    assert 0.1 * direct < by_tau < direct


def test_other_channels_have_no_taus():
    with pytest.raises(ConfigError, match="only the channel 'w'"):
        TemplatesConfig(channel="wlike", taus=True)
