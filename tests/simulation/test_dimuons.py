"""Generated dimuons: keyed random numbers, exact distortion, and distributions that are what they claim."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from mucal.errors import ConfigError
from mucal.scale import ResolutionTable, correct_pt, relative_variance
from mucal.simulation import (
    DimuonSimulation,
    ParentSpectrum,
    SimulatedDimuons,
    generate_dimuons,
    injected_table,
    nominal_resolution,
    stream_dimuons,
)
from mucal.simulation.resonance import KINDS, Z_WINDOW, mass_quantiles
from mucal.theory import DrellYan, fsr, lineshape, resonance
from mucal.track import invariant_mass
from mucal.units import MUON_MASS


def flat_resolution(a: float, eta_max: float = 30.0) -> ResolutionTable:
    return ResolutionTable(
        eta_edges=np.array([-eta_max, eta_max]), a=np.array([a]), b=np.zeros(1), c=np.zeros(1), d=np.ones(1),
        cov=np.zeros((3, 3)),
    )  # fmt: skip


# A detector without resolution, cuts or edges.
OPEN = DimuonSimulation(resolution=flat_resolution(0.0), pt_min=0.0, eta_max=30.0)


def arrays_of(sample: SimulatedDimuons) -> list[np.ndarray]:
    pairs = [getattr(sample.dimuons, f.name) for f in fields(sample.dimuons)]
    return [*pairs, sample.pt_gen, sample.mass_gen, sample.signal]


def assert_same_bytes(one: SimulatedDimuons, other: SimulatedDimuons) -> None:
    for a, b in zip(arrays_of(one), arrays_of(other), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def kolmogorov(probability: np.ndarray) -> float:
    """sqrt(n) times the largest distance of values from uniform; above 1.95 with a chance of 0.1 %."""
    u = np.sort(probability)
    steps = np.arange(u.size + 1) / u.size
    return float(np.sqrt(u.size) * max(np.max(steps[1:] - u), np.max(u - steps[:-1])))


# ------------------------------------------------------------------------------------------------ random numbers


@pytest.mark.parametrize("name", KINDS)
def test_any_chunking_gives_the_same_bytes(name):
    config = DimuonSimulation(
        resonance=name, seed=3, background_fraction=0.2, scale=injected_table("random", np.linspace(-2.4, 2.4, 49))
    )
    whole = generate_dimuons(config, 5000, first_event=100)
    cuts = [100, 101, 900, 905, 3333, 5100]
    parts = [generate_dimuons(config, b - a, first_event=a) for a, b in pairwise(cuts)]
    assert len(whole) > 500
    assert_same_bytes(SimulatedDimuons.concatenate(parts), whole)


def test_threads_give_the_same_bytes():
    config = DimuonSimulation(seed=4)
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda i: generate_dimuons(config, 1000, first_event=1000 * i), range(6)))
    assert_same_bytes(SimulatedDimuons.concatenate(parts), generate_dimuons(config, 6000))


def test_a_stream_does_not_depend_on_its_chunk():
    config = DimuonSimulation(seed=5)
    long, short = (list(stream_dimuons(config, 1234, chunk=c)) for c in (50_000, 777))
    assert sum(len(part) for part in short) == 1234
    assert_same_bytes(SimulatedDimuons.concatenate(short), SimulatedDimuons.concatenate(long))


def test_seeds_are_independent_and_equal_seeds_share_their_truth():
    config = DimuonSimulation(seed=1)
    distorted = replace(config, scale=injected_table("uniform", np.array([-2.4, 2.4])))
    a, b, c = (generate_dimuons(x, 20_000) for x in (config, distorted, replace(config, seed=2)))
    common, in_a, in_b = np.intersect1d(a.dimuons.event, b.dimuons.event, return_indices=True)
    assert common.size > 0.9 * len(a)
    assert_array_equal(a.pt_gen[in_a], b.pt_gen[in_b])
    assert abs(len(c) - len(a)) < 5 * np.sqrt(2 * len(a))
    assert not np.any(np.isin(c.mass_gen, a.mass_gen) & (c.mass_gen < 3.09))


# ------------------------------------------------------------------------------------------------ distortion


@pytest.mark.parametrize("pattern", ["uniform", "random", "spike"])
def test_correcting_with_the_injected_table_restores_the_undistorted_momenta(pattern):
    table = injected_table(pattern, np.linspace(-2.4, 2.4, 25), seed=9)
    nothing = replace(DimuonSimulation(resolution=flat_resolution(0.0)), scale=None, pt_min=1.0)
    sample = generate_dimuons(replace(nothing, scale=table), 50_000)
    pairs = sample.dimuons
    assert_allclose(correct_pt(table, pairs.pt, pairs.eta, pairs.charge), sample.pt_gen, rtol=4e-15)


def test_a_positive_A_makes_the_reconstructed_mass_too_high():
    # A > 0: the correction must raise k, so reconstructed momenta are high by A: ln m shifts by sum_i w_i A ~ A
    table = injected_table("uniform", np.array([-2.4, 2.4]), A=1e-3, e=0.0, M=0.0)
    sample = generate_dimuons(replace(DimuonSimulation(resolution=flat_resolution(0.0)), scale=table), 20_000)
    assert_allclose(np.mean(np.log(sample.dimuons.mass / sample.mass_gen)), 0.995e-3, rtol=2e-3)


# ------------------------------------------------------------------------------------------------ distributions


def test_jpsi_muons_have_the_kinematics_of_recorded_ones():
    # pT 5/50/95 %: 4.2/6.2/13.8 GeV; |delta eta| 50/95 %: 0.29/0.58, for pT > 4 GeV (physics page, section H)
    pairs = generate_dimuons(DimuonSimulation(), 500_000).dimuons
    assert_allclose(np.quantile(pairs.pt, [0.05, 0.5, 0.95]), [4.2, 6.2, 13.8], rtol=0.03)
    assert_allclose(np.quantile(np.abs(np.diff(pairs.eta, axis=1)), [0.5, 0.95]), [0.29, 0.58], rtol=0.03)


@pytest.mark.parametrize("name", KINDS)
def test_generated_mass_is_that_of_the_generated_muons(name):
    sample = generate_dimuons(DimuonSimulation(resonance=name), 50_000)
    pairs = sample.dimuons
    assert_allclose(invariant_mass(sample.pt_gen, pairs.eta, pairs.phi), sample.mass_gen, rtol=1e-11)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "z"])
def test_radiated_mass_follows_the_theory(name):
    # 1 keV below the peak and up to it, floating-point numbers are too coarse for t^(beta - 1)
    mass, peak = generate_dimuons(replace(OPEN, resonance=name), 200_000).mass_gen, resonance(name).mass
    low = mass[mass < peak - 1e-6]
    share = fsr.cumulative(np.array([peak - 1e-6]), peak)[0]
    assert abs(low.size - share * mass.size) < 4 * np.sqrt(mass.size * share * (1 - share))
    assert kolmogorov(fsr.cumulative(low, peak) / share) < 1.95


def test_z_mass_before_radiation_is_drell_yan():
    mass = generate_dimuons(replace(OPEN, resonance="z", radiation=False), 100_000).mass_gen
    grid = np.linspace(*Z_WINDOW, 100_001)
    density = lineshape.drell_yan(grid, DrellYan())
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    assert kolmogorov(np.interp(mass, grid, below / below[-1])) < 1.95


def test_narrow_states_have_one_mass_without_radiation():
    mass = generate_dimuons(replace(OPEN, radiation=False), 1000).mass_gen
    assert np.all(mass == resonance("jpsi").mass)
    assert np.all(mass_quantiles("jpsi") == resonance("jpsi").mass)


def test_decays_are_isotropic_and_parents_follow_their_spectrum():
    parent = ParentSpectrum(p0=7.0, n=3.0, pt_low=2.0, pt_high=50.0, rapidity_max=1.5)
    sample = generate_dimuons(replace(OPEN, radiation=False, parent=parent), 100_000)
    pairs = sample.dimuons
    px, py, pz = (sample.pt_gen * f for f in (np.cos(pairs.phi), np.sin(pairs.phi), np.sinh(pairs.eta)))
    energy = np.sqrt(px**2 + py**2 + pz**2 + MUON_MASS**2)
    total = np.stack([v.sum(axis=1) for v in (px, py, pz)], axis=1)
    mass = resonance("jpsi").mass
    pt = np.hypot(total[:, 0], total[:, 1])
    above = [(1 + (x / 7.0) ** 2) ** -2.0 for x in (pt, 2.0, 50.0)]
    assert kolmogorov((above[1] - above[0]) / (above[1] - above[2])) < 1.95
    rapidity = np.arctanh(total[:, 2] / energy.sum(axis=1))
    assert kolmogorov(rapidity / 3.0 + 0.5) < 1.95
    # mu+ in the rest frame of the pair: p* = p - P (E*_1 + E_1) / (E + M), with E*_1 = M/2
    first = np.stack([px[:, 0], py[:, 0], pz[:, 0]], axis=1)
    along = (energy[:, 0] + 0.5 * mass) / (energy.sum(axis=1) + mass)
    rest = first - total * along[:, None]
    assert_allclose(np.linalg.norm(rest, axis=1), np.sqrt(mass**2 / 4 - MUON_MASS**2), rtol=1e-9)
    assert kolmogorov(0.5 + 0.5 * rest[:, 2] / np.linalg.norm(rest, axis=1)) < 1.95
    assert kolmogorov(np.arctan2(rest[:, 1], rest[:, 0]) / (2 * np.pi) + 0.5) < 1.95


@pytest.mark.parametrize("name", ["jpsi", "z"])
def test_curvature_is_smeared_by_the_resolution_at_the_true_momentum(name):
    sample = generate_dimuons(replace(DimuonSimulation(resonance=name), pt_min=0.0), 100_000)
    pairs, table = sample.dimuons, nominal_resolution()
    z = (sample.pt_gen / pairs.pt - 1.0) / np.sqrt(relative_variance(table, sample.pt_gen, pairs.eta))
    assert kolmogorov(ndtr(z).ravel()) < 1.95
    n = len(sample)
    assert abs(np.mean(z[:, 0] * z[:, 1])) < 4.0 / np.sqrt(n)


def test_background_has_its_fraction_and_slope():
    config = replace(OPEN, background_fraction=0.3, background_slope=2.0, background_window=(2.6, 3.6))
    sample = generate_dimuons(config, 100_000)
    assert abs(np.mean(~sample.signal) - 0.3) < 4 * np.sqrt(0.21 / 100_000)
    mass = sample.mass_gen[~sample.signal]
    assert kolmogorov(np.expm1(-2.0 * (mass - 2.6)) / np.expm1(-2.0)) < 1.95
    flat = generate_dimuons(replace(config, background_slope=0.0, background_fraction=1.0), 50_000)
    assert kolmogorov(flat.mass_gen - 2.6) < 1.95


def test_cuts_act_on_reconstructed_muons():
    table = injected_table("uniform", np.array([-2.4, 2.4]), A=0.05, e=0.0, M=0.0)
    sample = generate_dimuons(DimuonSimulation(scale=table, eta_max=1.2, pt_min=5.0), 100_000)
    assert sample.dimuons.pt.min() >= 5.0
    assert sample.pt_gen.min() < 4.8
    assert np.abs(sample.dimuons.eta).max() < 1.2


# ------------------------------------------------------------------------------------------------ wrong input


def test_an_unknown_resonance_names_the_nearest():
    with pytest.raises(ConfigError, match="'jspi'; the nearest are jpsi"):
        DimuonSimulation(resonance="jspi")


def test_a_table_narrower_than_the_muons_is_refused():
    with pytest.raises(ValueError, match=r"scale table covers -2 <= eta < 2, but muons go to \|eta\| < 2.4"):
        DimuonSimulation(scale=injected_table("uniform", np.array([-2.0, 2.0])))


@pytest.mark.parametrize("a", [-1e-6, 0.02])
def test_an_impossible_resolution_is_refused(a):
    with pytest.raises(ValueError, match=r"\(sigma_k/k\)\^2"):
        DimuonSimulation(resolution=flat_resolution(a))


def test_fractions_and_counts_are_checked():
    with pytest.raises(ValueError, match=r"background_fraction is 1\.5"):
        DimuonSimulation(background_fraction=1.5)
    with pytest.raises(ValueError, match="first_event = -1"):
        generate_dimuons(DimuonSimulation(), 1, first_event=-1)
    with pytest.raises(ValueError, match="none of 100 generated events"):
        list(stream_dimuons(DimuonSimulation(pt_min=190.0), 1, chunk=100))
    with pytest.raises(ValueError, match="expected p0 > 0"):
        ParentSpectrum(p0=0.0, n=3.0)
