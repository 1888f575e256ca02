"""The muon gun: even in what is drawn, and the same bytes in any pieces."""

import numpy as np
import pytest
from scipy.stats import kstest

from mucal.simulation import BeamSpot, GeneratedMuons, MuonGun, fire, stream_gun

N = 20_000
CONFIG = MuonGun(seed=2, pt=(3.0, 50.0), eta=(-1.0, 2.0), phi=(0.0, 3.0))


def pt_of(muons: GeneratedMuons) -> np.ndarray:
    return np.cos(muons.state[:, 1]) / np.abs(muons.state[:, 0])


def test_momenta_and_directions_are_even():
    muons = fire(CONFIG, N)
    eta = np.arcsinh(np.tan(muons.state[:, 1]))
    for values, low, high in ((pt_of(muons), 3, 50), (eta, -1, 2), (muons.state[:, 2], 0, 3)):
        assert kstest((values - low) / (high - low), "uniform").pvalue > 1e-3


def test_curvatures_are_even_where_asked():
    k = 1 / pt_of(fire(MuonGun(pt=(2.0, 100.0), flat_in="k"), N))
    assert kstest((k - 0.01) / 0.49, "uniform").pvalue > 1e-3


def test_charges_are_even_or_as_asked():
    assert abs(fire(CONFIG, N).charge.sum()) < 4 * np.sqrt(N)
    for charge in (-1, 1):
        muons = fire(MuonGun(charge=charge), 100)
        assert np.all(muons.charge == charge)
        assert np.all(np.sign(muons.state[:, 0]) == charge)


def test_they_are_born_in_the_beam_spot():
    beam = BeamSpot(centre=(0.1, 0.2, 1.0), width=(0.01, 0.02, 3.0))
    vertex = fire(MuonGun(beam=beam), N).vertex
    assert np.all(np.abs(vertex.mean(axis=0) - beam.centre) < 4 * np.array(beam.width) / np.sqrt(N))
    assert np.all(np.abs(vertex.std(axis=0) / beam.width - 1) < 4 / np.sqrt(2 * N))


def test_pieces_give_the_same_bytes():
    whole = fire(CONFIG, 1000)
    for pieces in (list(stream_gun(CONFIG, 1000, chunk=300)), [fire(CONFIG, 400), fire(CONFIG, 600, first_event=400)]):
        joined = GeneratedMuons.concatenate(pieces)
        for name in ("event", "charge", "state", "vertex"):
            assert np.array_equal(getattr(joined, name), getattr(whole, name))
    assert np.all(whole.pair == -1)


def test_ranges_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="expected 0 < low <= high"):
        MuonGun(pt=(5.0, 3.0))
    with pytest.raises(ValueError, match="expected low <= high"):
        MuonGun(eta=(1.0, -1.0))
