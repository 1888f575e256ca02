"""Events read from momenta: the built-in generator's come back; with `pythia8mc`, Pythia's have its properties."""

from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError
from mucal.theory import generator, harmonics, production, pythia, reweighting
from mucal.theory.generator import BosonEvents
from mucal.units import MUON_MASS

needs_pythia = pytest.mark.skipif(find_spec("pythia8mc") is None, reason="pip install pythia8mc")
N = 10_000


def momenta(events: BosonEvents, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """px, py, pz, E of bosons (N, 4) with these azimuths, and of their leptons (N, 2, 4)."""
    pt, eta, phi = np.moveaxis(events.leptons, 2, 0)
    phi = phi + azimuth[:, None]
    mass = MUON_MASS * np.array([1.0, events.sample == "z"])
    leptons = np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(pt * np.cosh(eta), mass)], axis=2
    )
    transverse = np.hypot(events.mass, events.pt)
    boson = np.stack(
        [events.pt * np.cos(azimuth), events.pt * np.sin(azimuth), transverse * np.sinh(events.rapidity),
         transverse * np.cosh(events.rapidity)], axis=1,
    )  # fmt: skip
    return boson, leptons


@pytest.mark.parametrize("sample", production.SAMPLES)
def test_events_come_back_from_their_momenta(sample):
    made = production.production(sample)
    bare, final = (generator.generate(made, 64, 256, seed=3, radiation=on) for on in (False, True))
    azimuth = np.random.default_rng(1).uniform(-3, 3, 256)
    (boson, before), (_, after) = (momenta(events, azimuth) for events in (bare, final))
    found = pythia.read_events(made, 64, 5, boson, before, after)
    assert_array_equal(found.event, bare.event)
    for name in ("mass", "rapidity", "pt", "cosine", "angle", "luminosity", "shares"):
        assert_allclose(getattr(found, name), getattr(bare, name), rtol=1e-6, atol=1e-8, err_msg=name)
    assert_allclose(found.leptons, final.leptons, rtol=1e-9, atol=1e-9)
    assert_allclose(found.kept, final.kept, rtol=1e-6)


def test_numbers_for_the_detector_are_uniform_and_keyed_by_the_event():
    made = production.production("w_plus")
    bare = generator.generate(made, 0, 4096, seed=3, radiation=False)
    boson, leptons = momenta(bare, np.zeros(4096))
    whole = pythia.read_events(made, 0, 5, boson, leptons, leptons).spare
    part = pythia.read_events(made, 1024, 5, boson[1024:2048], leptons[1024:2048], leptons[1024:2048]).spare
    assert_array_equal(part, whole[1024:2048])
    assert_allclose(whole.mean(axis=0), 0.5, atol=5 * np.sqrt(1 / 12 / 4096))
    assert np.abs(np.corrcoef(whole.T) - np.eye(4)).max() < 5 / np.sqrt(4096)


@pytest.mark.skipif(find_spec("pythia8mc") is not None, reason="pythia8mc is installed")
def test_without_pythia_its_package_is_named():
    with pytest.raises(ConfigError, match="need pythia8mc"):
        pythia.generate_with_pythia(production.production("z"), 0, 16, seed=1)


@pytest.fixture(scope="module")
def of_pythia():
    """sample -> events of Pythia."""
    return {s: pythia.generate_with_pythia(production.production(s), 0, N, seed=1) for s in production.SAMPLES}


@pytest.mark.oracle
@needs_pythia
@pytest.mark.parametrize("sample", production.SAMPLES)
def test_pythia_radiates_as_we_do(of_pythia, sample):
    ours = generator.generate(production.production(sample), 0, 1 << 16, seed=1)
    theirs = of_pythia[sample]
    for cut in (0.9, 0.99):
        a, b = np.average(ours.kept < cut, weights=ours.weight), float(np.mean(theirs.kept < cut))
        assert abs(a - b) < 0.1 * a + 4 * np.sqrt(a / N)


@pytest.mark.oracle
@needs_pythia
@pytest.mark.parametrize("sample", ["w_plus", "w_minus"])
def test_weights_of_another_mass_are_those_of_pythia(of_pythia, sample):
    def on_peak(events, weight):
        inside = (events.mass > 76) & (events.mass < 85)
        return np.average(events.mass[inside], weights=weight[inside]), events.mass[inside].std() / np.sqrt(
            inside.sum()
        )

    shift, events = 0.4, of_pythia[sample]
    heavier = production.production(sample, production.POLES[sample][0] + shift)
    moved, error = on_peak(pythia.generate_with_pythia(heavier, 0, N, seed=2), np.ones(N))
    weighted, _ = on_peak(events, reweighting.mass_weight(events, shift))
    assert abs(moved - weighted) < 4 * np.sqrt(2) * error
    assert weighted - on_peak(events, np.ones(N))[0] > 8 * error


@pytest.mark.oracle
@needs_pythia
def test_the_particle_of_a_w_follows_the_quark(of_pythia):
    # A_4 > 0 for both charges, and larger for the W+; 10 000 events know it to 0.04
    found = {s: harmonics.project(e.cosine, e.angle)[4] for s, e in of_pythia.items()}
    assert found["w_plus"] > found["w_minus"] > 0.4
    assert abs(found["z"]) < 0.2


@pytest.mark.oracle
@needs_pythia
def test_a_call_is_one_sequence_of_its_seed_and_first_event():
    made = production.production("w_plus")
    one, same, other = (pythia.generate_with_pythia(made, first, 64, seed=1) for first in (0, 0, 64))
    assert_array_equal(one.leptons, same.leptons)
    assert not np.any(one.mass == other.mass)
