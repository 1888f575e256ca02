"""Generated muons: keyed random numbers, decays that close, and distributions that are what they claim."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError
from mucal.simulation import BeamSpot, GeneratedMuons, MuonGeneration, ParentSpectrum, generate_muons, stream_muons
from mucal.simulation import muon_kernels as kernels
from mucal.simulation.production import PROCESSES, QUARKONIA, SPECTRA
from mucal.theory import fsr, resonance
from mucal.track import LAM, PHI, QOP
from mucal.units import MUON_MASS

PAIRS = (*QUARKONIA, "z")
POINT = BeamSpot(centre=(0.0, 0.0, 0.0), width=(0.0, 0.0, 0.0))


def open_to_all(name: str, **changes) -> MuonGeneration:
    """No cut on the muons or on their pair."""
    if name in QUARKONIA:
        changes.setdefault("parent", replace(SPECTRA[name], pt_low=0.0))
    return MuonGeneration(process=name, pt_min=0.0, eta_max=20.0, **changes)


def momenta(muons: GeneratedMuons) -> np.ndarray:
    """(N, 4) px, py, pz, E."""
    p = 1.0 / np.abs(muons.state[:, QOP])
    lam, phi = muons.state[:, LAM], muons.state[:, PHI]
    return np.column_stack(
        [p * np.cos(lam) * np.cos(phi), p * np.cos(lam) * np.sin(phi), p * np.sin(lam), np.hypot(p, MUON_MASS)]
    )


def pair_masses(muons: GeneratedMuons) -> np.ndarray:
    total = momenta(muons).reshape(-1, 2, 4).sum(axis=1)
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


def collins_soper(muons: GeneratedMuons) -> tuple[np.ndarray, np.ndarray]:
    """cos(theta) and phi of the mu- in the Collins-Soper frame, by boosts of the beams; slow and obvious."""
    pairs = momenta(muons).reshape(-1, 2, 4)
    total, minus = pairs.sum(axis=1), pairs[:, 1]
    mass = np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))

    def at_rest(four: np.ndarray) -> np.ndarray:
        along = (total[:, :3] * four[:, :3]).sum(axis=1) / (total[:, 3] + mass)
        return four[:, :3] - total[:, :3] * ((four[:, 3] - along) / mass)[:, None]

    side = np.sign(total[:, 2])
    beams = [np.column_stack([0 * side, 0 * side, s * side, 1 + 0 * side]) for s in (1, -1)]
    one, two = (v / np.linalg.norm(v, axis=1)[:, None] for v in map(at_rest, beams))
    z = (one - two) / np.linalg.norm(one - two, axis=1)[:, None]
    x = -(one + two) / np.linalg.norm(one + two, axis=1)[:, None]
    n = at_rest(minus)
    n /= np.linalg.norm(n, axis=1)[:, None]
    return (n * z).sum(axis=1), np.arctan2((n * np.cross(z, x)).sum(axis=1), (n * x).sum(axis=1))


def kolmogorov(probability: np.ndarray) -> float:
    """sqrt(n) times the largest distance of values from uniform; above 1.95 with a chance of 0.1 %."""
    u = np.sort(probability)
    steps = np.arange(u.size + 1) / u.size
    return float(np.sqrt(u.size) * max(np.max(steps[1:] - u), np.max(u - steps[:-1])))


# ------------------------------------------------------------------------------------------------ random numbers


@pytest.mark.parametrize("name", PROCESSES)
def test_any_chunking_gives_the_same_bytes(name):
    config = MuonGeneration(process=name, seed=3)
    whole = generate_muons(config, 3000, first_event=50)
    parts = [generate_muons(config, b - a, first_event=a) for a, b in pairwise([50, 51, 700, 3050])]
    joined = GeneratedMuons.concatenate(parts)
    assert len(whole) > 300
    for f in fields(whole):
        assert getattr(joined, f.name).tobytes() == getattr(whole, f.name).tobytes()


def test_a_stream_does_not_depend_on_its_chunk():
    for name, rows in (("z", 2), ("w_minus", 1)):
        parts = [
            GeneratedMuons.concatenate(list(stream_muons(MuonGeneration(process=name), 700, chunk=c)))
            for c in (99, 5000)
        ]
        assert len(parts[0]) == 700 * rows
        assert_array_equal(parts[0].state, parts[1].state)


@pytest.mark.parametrize("name", PROCESSES)
def test_rows_name_their_event_parent_and_partner(name):
    muons = generate_muons(MuonGeneration(process=name, run=7), 2000)
    sign = {"w_plus": 1, "w_minus": -1}.get(name)
    assert_array_equal(np.sign(muons.state[:, QOP]), muons.charge)
    assert np.all(muons.run == 7)
    if sign:
        assert np.all(muons.pair == -1)
        assert np.all(muons.charge == sign)
        assert np.all(muons.parent == 24 * sign)
    else:
        assert_array_equal(muons.pair[::2], muons.pair[1::2])
        assert_array_equal(muons.charge.reshape(-1, 2), np.tile([1, -1], (len(muons) // 2, 1)))
        assert np.all(muons.parent == resonance(name).pdg_id)
        assert_array_equal(muons.vertex[::2], muons.vertex[1::2])


# ------------------------------------------------------------------------------------------------ decays


@pytest.mark.parametrize("name", PAIRS)
def test_without_radiation_the_pair_has_the_mass_of_its_parent(name):
    muons = generate_muons(open_to_all(name, radiation=False), 20_000)
    assert_allclose(pair_masses(muons), muons.mass[::2], rtol=1e-10)


@pytest.mark.parametrize("name", QUARKONIA)
def test_radiated_mass_follows_the_theory(name):
    # 1 keV below the peak and up to it, floating-point numbers are too coarse for t^(beta - 1)
    mass, peak = pair_masses(generate_muons(open_to_all(name), 100_000)), resonance(name).mass
    low = mass[mass < peak - 1e-6]
    share = fsr.cumulative(np.array([peak - 1e-6]), peak)[0]
    assert abs(low.size - share * mass.size) < 4 * np.sqrt(mass.size * share * (1 - share))
    assert kolmogorov(fsr.cumulative(low, peak) / share) < 1.95


def test_quarkonia_decay_isotropically():
    cosine, phi = collins_soper(generate_muons(open_to_all("jpsi"), 100_000))
    assert kolmogorov(0.5 + 0.5 * cosine) < 1.95
    assert kolmogorov(0.5 + phi / (2 * np.pi)) < 1.95


@pytest.mark.parametrize("polarisation", [-1.0, -0.4, 0.7, 1.0])
def test_polarised_quarkonia(polarisation):
    cosine, phi = collins_soper(generate_muons(open_to_all("upsilon1s", polarisation=polarisation), 100_000))
    below = (cosine + polarisation * cosine**3 / 3 + 1 + polarisation / 3) / (2 + 2 * polarisation / 3)
    assert kolmogorov(below) < 1.95
    assert kolmogorov(0.5 + phi / (2 * np.pi)) < 1.95


def test_z_decay_has_the_angular_coefficients_of_its_momentum():
    muons = generate_muons(open_to_all("z", radiation=False), 400_000)
    total = momenta(muons).reshape(-1, 2, 4).sum(axis=1)
    r2 = (np.hypot(total[:, 0], total[:, 1]) / muons.mass[::2]) ** 2
    expected = r2 / (1 + r2)
    cosine, phi = collins_soper(muons)
    # moments that project A_0, A_2 and the A_i that are not there
    error = 6.0 / np.sqrt(cosine.size)
    assert abs(np.mean(20 / 3 * 0.5 * (1 - 3 * cosine**2) + 2 / 3 - expected)) < error
    assert abs(np.mean(10 * (1 - cosine**2) * np.cos(2 * phi) - expected)) < 4 * error
    for odd in (2 * cosine * np.cos(phi), np.cos(phi), np.sin(2 * phi), np.sin(phi)):
        assert abs(np.mean(np.sqrt(1 - cosine**2) * odd)) < error / 2
    # A_4 = 2 A_q A_l x dilution: between 0 and 0.27, and growing with rapidity
    rapidity = np.abs(np.arctanh(total[:, 2] / total[:, 3]))
    low, high = (4 * np.mean(cosine[cut]) for cut in (rapidity < 0.5, rapidity > 1.8))
    assert 0.0 < low < high < 0.27


def test_a_w_at_rest_gives_its_muon_half_of_its_mass():
    # tables without momentum: p = m/2 (1 - m_mu^2/m^2), so that pT ends at m_W/2
    rest, start = np.zeros(2), np.arange(len(kernels.PURPOSES), dtype=np.uint64)
    masses, no_preference, place = np.full(2, 80.0), np.zeros(2), np.zeros(8)
    state, _, mass, accepted = kernels.generate_w_muons(
        0, 20_000, start, 1.0, masses, rest, rest, no_preference, 5.0, np.nan, place, 0.0, MUON_MASS, 0.0, np.inf, 20.0
    )
    assert accepted.all()
    assert_allclose(1 / state[:, QOP], 0.5 * (mass**2 - MUON_MASS**2) / mass, rtol=1e-12)
    cosine = np.sin(state[:, LAM])  # the side of a boson at rest is +z; A_0 = 0: 1 + c^2
    assert kolmogorov((cosine + cosine**3 / 3 + 4 / 3) / (8 / 3)) < 1.95


def test_w_muons_pile_up_below_half_of_the_mass():
    # the Jacobian peak, smeared by the momentum of the W: most populated near 38 GeV, a fifth of it 14 GeV further up
    pt = generate_muons(open_to_all("w_plus"), 300_000)
    pt = np.cos(pt.state[:, LAM]) / np.abs(pt.state[:, QOP])
    counts, edges = np.histogram(pt, np.arange(20, 61, 2.0))
    assert 34 <= edges[np.argmax(counts)] <= 40
    assert counts[edges[:-1] == 52] < 0.2 * counts.max()


def test_more_positive_muons_and_the_more_so_forward():
    # W+ : W- as the partons have it (tests/theory/test_partons.py); the page's asymmetry: 0.07 at the centre to 0.2
    eta = {}
    for name, share in (("w_plus", 1.32), ("w_minus", 1.0)):
        muons = generate_muons(MuonGeneration(process=name, pt_min=26.0, eta_max=2.4), int(300_000 * share))
        eta[name] = np.abs(np.arcsinh(np.tan(muons.state[:, LAM])))
    plus, minus = (np.histogram(eta[name], [0, 0.4, 1.2, 2.0, 2.4])[0] for name in ("w_plus", "w_minus"))
    asymmetry = (plus - minus) / (plus + minus)
    assert np.all(asymmetry > 0.04)
    assert np.all(asymmetry < 0.3)
    assert asymmetry[2] > asymmetry[0] + 0.03


def test_w_radiation_takes_what_a_charged_leg_radiates():
    # mean of 1 - z with density b (1-z)^(b-1) (1+z^2)/2: b (1-b/..) from the integrals t^b, t^(b+1), t^(b+2)
    bare = generate_muons(open_to_all("w_minus"), 200_000)
    full = generate_muons(open_to_all("w_minus", radiation=False), 200_000)
    kept = np.abs(full.state[:, QOP] / bare.state[:, QOP])
    b = fsr.ALPHA / np.pi * (2 * np.log(resonance("w").mass / MUON_MASS) - 1)
    norm = 1 - b / (b + 1) + b / (2 * (b + 2))
    mean = b * (1 / (b + 1) - 1 / (b + 2) + 0.5 / (b + 3)) / norm
    assert abs(np.mean(1 - kept) - mean) < 5 * np.std(kept) / np.sqrt(kept.size) + 0.01 * mean


# ------------------------------------------------------------------------------------------------ places and cuts


def test_the_beam_spot():
    vertex = generate_muons(open_to_all("z"), 50_000).vertex[::2]
    assert_allclose(vertex.mean(axis=0), [0.092, 0.170, 0.9], atol=0.07)
    assert_allclose(vertex.mean(axis=0)[:2], [0.092, 0.170], atol=3e-5)
    assert_allclose(vertex.std(axis=0), [1e-3, 1e-3, 3.6], rtol=0.02)
    assert np.all(np.abs(np.corrcoef(vertex.T) - np.eye(3)) < 0.03)


def test_displaced_charmonium_flies_along_its_momentum_for_its_lifetime():
    muons = generate_muons(open_to_all("jpsi", beam=POINT, radiation=False), 100_000)
    total = momenta(muons).reshape(-1, 2, 4).sum(axis=1)[:, :3]
    vertex = muons.vertex[::2]
    away = np.linalg.norm(vertex, axis=1) > 0
    assert abs(away.mean() - 0.3) < 4 * np.sqrt(0.21 / away.size)
    proper = (vertex * total).sum(axis=1)[away] / (total**2).sum(axis=1)[away] * resonance("jpsi").mass
    assert_allclose(vertex[away], (proper / resonance("jpsi").mass)[:, None] * total[away], rtol=1e-9, atol=1e-12)
    assert kolmogorov(np.exp(-proper / 0.045)) < 1.95
    assert np.all(generate_muons(open_to_all("upsilon1s", beam=POINT), 1000).vertex == 0.0)


def test_cuts_act_on_every_muon():
    muons = generate_muons(MuonGeneration(process="jpsi", pt_min=5.0, pt_max=20.0, eta_max=1.1), 100_000)
    pt, eta = np.cos(muons.state[:, LAM]) / np.abs(muons.state[:, QOP]), np.arcsinh(np.tan(muons.state[:, LAM]))
    assert pt.min() >= 5.0
    assert pt.max() < 20.0
    assert 1.09 < np.abs(eta).max() < 1.1


def test_no_pair_is_there_only_because_it_radiated():
    """A lowest parent inside of what is accepted gives pairs of soft muons a mean mass 2.7 MeV lower."""
    muons = generate_muons(MuonGeneration(process="jpsi"), 2_000_000)
    mass, pt = pair_masses(muons), np.hypot(*momenta(muons)[:, :2].T).reshape(-1, 2)
    inside = (mass > 2.9) & (mass < 3.3)
    curvature = (1.0 / pt).mean(axis=1)
    softest = curvature[inside] > np.quantile(curvature[inside], 0.9)
    low, others = mass[inside][softest], mass[inside][~softest]
    assert abs(low.mean() - others.mean()) < 4e-4 + 4.0 * low.std() / np.sqrt(low.size)


@pytest.mark.parametrize("radiation", [False, True])
@pytest.mark.parametrize("pt_min", [2.0, 3.5, 6.0])
def test_parents_begin_where_two_such_muons_can_come_from(pt_min, radiation):
    """Pairs of parents of all momenta have none below, and some just above."""
    config = MuonGeneration(process="jpsi", pt_min=pt_min, radiation=radiation)
    total = momenta(generate_muons(replace(config, parent=SPECTRA["jpsi"]), 1_000_000)).reshape(-1, 2, 4).sum(axis=1)
    softest = np.hypot(total[:, 0], total[:, 1]).min()
    assert SPECTRA["jpsi"].pt_low == 0.0
    assert config.state.pt[0] < softest < 1.02 * config.state.pt[0] + 0.05


def test_momenta_of_quarkonia_follow_their_spectrum():
    parent = ParentSpectrum(p0=7.0, n=3.0, pt_low=2.0, pt_high=50.0, rapidity_max=1.5)
    total = momenta(generate_muons(open_to_all("jpsi", parent=parent, radiation=False), 100_000)).reshape(-1, 2, 4)
    total = total.sum(axis=1)
    above = [(1 + (x / 7.0) ** 2) ** -2.0 for x in (np.hypot(total[:, 0], total[:, 1]), 2.0, 50.0)]
    assert kolmogorov((above[1] - above[0]) / (above[1] - above[2])) < 1.95
    assert kolmogorov(np.arctanh(total[:, 2] / total[:, 3]) / 3.0 + 0.5) < 1.95


# ------------------------------------------------------------------------------------------------ wrong input


def test_an_unknown_process_names_the_nearest():
    with pytest.raises(ConfigError, match="'w_pluss'; the nearest are w_plus"):
        MuonGeneration(process="w_pluss")


def test_what_cannot_be_generated_is_refused():
    with pytest.raises(ValueError, match="nothing is selected"):
        MuonGeneration(pt_min=10.0, pt_max=5.0)
    with pytest.raises(ValueError, match="polarisation is 2"):
        MuonGeneration(polarisation=2.0)
    with pytest.raises(ValueError, match="expected a share"):
        MuonGeneration(displaced=1.5)
    with pytest.raises(ValueError, match="z has its own"):
        MuonGeneration(process="z", polarisation=0.5)
    with pytest.raises(ValueError, match="widths of at least 0"):
        replace(POINT, width=(0.0, -1.0, 0.0))
    with pytest.raises(ValueError, match="first_event = -1"):
        generate_muons(MuonGeneration(), 1, first_event=-1)
    with pytest.raises(ValueError, match="none of 100 generated events"):
        list(stream_muons(MuonGeneration(eta_max=1e-3), 1, chunk=100))
    with pytest.raises(ValueError, match=r"above 90 GeV need a parent above 180\.0 GeV, and those of jpsi end"):
        generate_muons(MuonGeneration(pt_min=90.0), 1)
