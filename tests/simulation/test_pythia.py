"""The generator behind Pythia: same rows and fields as ours.  Skipped where pythia8mc is missing."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError
from mucal.simulation import MuonGeneration
from mucal.simulation.pythia import generate_with_pythia
from mucal.track import QOP


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "rows"), [("jpsi", 2), ("upsilon3s", 2), ("z", 2), ("w_minus", 1)])
def test_rows_are_those_of_our_generator(name, rows):
    pytest.importorskip("pythia8mc")
    muons = generate_with_pythia(MuonGeneration(process=name), 300, first_event=10)
    assert 20 * rows < len(muons) <= 300 * rows
    assert_array_equal(np.sign(muons.state[:, QOP]), muons.charge)
    assert muons.event.min() >= 10
    if rows == 2:
        assert_array_equal(muons.pair[::2], muons.pair[1::2])
        assert_array_equal(muons.vertex[::2], muons.vertex[1::2])
        assert_array_equal(muons.charge[::2], 1)
    else:
        assert np.all((muons.pair == -1) & (muons.charge == -1) & (muons.parent == -24))
    again = generate_with_pythia(MuonGeneration(process=name), 300, first_event=10)
    assert again.state.tobytes() == muons.state.tobytes()


@pytest.mark.oracle
def test_without_radiation_the_pair_has_the_mass_of_its_parent():
    pytest.importorskip("pythia8mc")
    muons = generate_with_pythia(MuonGeneration(process="psi2s", radiation=False), 500)
    assert_allclose(muons.mass, 3.686097)
    p = 1 / np.abs(muons.state[:, QOP])
    energy = np.hypot(p, 0.1056583755)
    lam, phi = muons.state[:, 1], muons.state[:, 2]
    three = p[:, None] * np.column_stack([np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam)])
    squared = energy.reshape(-1, 2).sum(axis=1) ** 2 - (three.reshape(-1, 2, 3).sum(axis=1) ** 2).sum(axis=1)
    assert_allclose(np.sqrt(squared), 3.686097, rtol=1e-5)  # Pythia's muon is lighter by 1e-5 GeV


def test_a_polarised_state_is_refused():
    with pytest.raises(ValueError, match=r"polarisation is 0\.5"):
        generate_with_pythia(MuonGeneration(polarisation=0.5), 1)


def test_without_pythia_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(ConfigError, match="need pythia8mc"):
        generate_with_pythia(MuonGeneration(), 1)
