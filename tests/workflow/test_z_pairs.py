"""The Z mass of a run's pairs: events of its generator with a Gaussian resolution in place of hits and refits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.plot.closing import ClosingMass
from mucal.simulation import stream_muons
from mucal.theory import resonance
from mucal.track import LAM, PHI, QOP
from mucal.track.dimuon import invariant_mass
from mucal.workflow.closing_pairs import ClosingPairs, MassSlope
from mucal.workflow.config import load_analysis
from mucal.workflow.progress import silent
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.z_pairs import carried_to_z, generated_masses, with_z_mass, z_mass

NUMBER = 1
"""Of the Z among the closing resonances of the built-in closure."""
COLUMNS = (
    "run", "lumi", "event", "pt", "eta", "phi", "charge", "mass_gen", "sigma", "k_gen", "selected", "n_pixel",
)  # fmt: skip
LOW = 1e-3
"""By as much the momenta of the assumed detector are too low."""


@pytest.fixture(scope="module")
def config():
    config = load_analysis(preset="closure").tracks
    z = replace(config.closing[NUMBER], data=20_000, simulation=20_000)
    return replace(config, closing=(config.closing[0], z))


def refitted(config, *, of_data: bool) -> RefittedPairs:
    sample = config.closing_sample(NUMBER, of_data=of_data)
    made = next(stream_muons(sample.muons, sample.n, chunk=100_000))
    state, rng = made.state.reshape(-1, 2, 5), np.random.default_rng(3 + of_data)
    first, n = slice(None, None, 2), len(made) // 2
    pt_gen = np.cos(state[..., LAM]) / np.abs(state[..., QOP])
    eta, phi = np.arcsinh(np.tan(state[..., LAM])), state[..., PHI]
    columns = {
        "run": made.run[first], "lumi": made.lumi[first], "event": made.event[first],
        "pt": pt_gen / (1.0 + 0.012 * rng.normal(size=pt_gen.shape)), "eta": eta, "phi": phi,
        "charge": made.charge.reshape(-1, 2),
        "mass_gen": invariant_mass(pt_gen, eta, phi), "sigma": np.full(n, 0.012), "k_gen": 1.0 / pt_gen,
        "selected": np.ones(n, dtype=np.int64), "n_pixel": np.full((n, 2), 4),
    }  # fmt: skip
    fitted = np.arange(n) % 7 != 3
    return RefittedPairs(**{name: values[fitted] for name, values in columns.items()})


@pytest.fixture(scope="module")
def pairs(config) -> ClosingPairs:
    data, simulation = refitted(config, of_data=True), refitted(config, of_data=False)
    return ClosingPairs(
        resonance="z", before=replace(data, pt=data.pt * (1.0 - LOW)), after=data, simulation=simulation,
        mass=MassSlope(slope=np.zeros(1), error=1e-4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def uncorrected(calibration):
    """Made for the momenta of J/psi."""
    scale, zero = calibration.scale, np.zeros(calibration.scale.n_bins)
    return replace(
        calibration, scale=replace(scale, A=zero, e=zero, M=zero), resolution_data=calibration.resolution_mc,
        pt_range=(4.0, 25.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def closed() -> ClosingMass:
    three = np.array([0.0, 1e-4, 2e-4])
    return ClosingMass(
        resonance="z", pairs=1, mass=resonance("z").mass, shift=three, error=three, calibration_error=three, tables=()
    )


def test_the_boson_of_each_pair_is_found_again(config, pairs):
    mass = generated_masses(config, NUMBER, pairs.simulation)
    assert np.all(pairs.simulation.mass_gen < mass + 1e-6)
    assert np.median(mass - pairs.simulation.mass_gen) < 0.01


def test_the_mass_is_low_before_and_right_after(config, pairs, closed, uncorrected):
    found = z_mass(config, NUMBER, pairs, closed, carried_to_z(uncorrected))
    # pairs that cross an edge of a bin make the difference less sharp than the same pairs would have it
    assert_allclose(found.shift[0] - found.shift[1], -1e3 * LOW * closed.mass, atol=0.5 * found.error[0])
    assert np.all(np.abs(found.shift[1:]) < 4.0 * found.total_error[1:])
    assert np.all(found.error < 60.0)
    assert_allclose(found.calibration_error[:2], [0.0, 0.1 * closed.mass])
    assert set(found.groups) == set(uncorrected.groups)
    assert 5.0 < found.calibration_error[2] < 15.0


def test_without_z_there_is_no_mass(config, pairs, closed, uncorrected):
    found = SimpleNamespace(closing=(closed, closed))
    others = [replace(pairs, resonance="upsilon1s")] * 2
    assert with_z_mass(found, config, others, uncorrected, silent) is found


def test_too_few_z_are_a_warning(config, pairs, closed, uncorrected):
    few = RefittedPairs(**{name: getattr(pairs.simulation, name)[:30] for name in COLUMNS})
    found, told = SimpleNamespace(closing=(closed, closed)), []
    both = [replace(pairs, resonance="upsilon1s"), replace(pairs, before=few, after=few, simulation=few)]
    assert with_z_mass(found, config, both, uncorrected, told.append) is found
    assert [event.stage for event in told] == ["warning", "warning"]
    assert "holds for muons of 4 to 25 GeV" in told[0].text
    assert "no template fit of m_Z" in told[1].text


def test_a_calibration_is_carried_to_z_only_where_it_does_not_reach(uncorrected):
    assert carried_to_z(uncorrected).pt_range == (4.0, pytest.approx(66.0))
    wide = replace(uncorrected, pt_range=(3.5, 80.0))
    assert carried_to_z(wide).pt_range == wide.pt_range


def test_the_built_in_closure_holds_where_its_resonances_were_fitted():
    analysis = load_analysis(preset="closure")
    z = analysis.tracks.closing[NUMBER]
    assert (z.resonance, analysis.calibration.pt_range) == ("z", (analysis.bins.pt_edges[0], z.bins.pt_edges[-1]))
