"""Generated muons against Pythia 8: masses after radiation of J/psi, Upsilon(1S) and Z, and the muons of the W.

Ours is an exponentiated one-photon radiator with leading-order production and fixed parton densities; Pythia has a
leading-logarithmic QED shower, its own partons, and initial-state radiation.  Run with `pytest -m oracle`.
"""

from dataclasses import replace

import numpy as np
import pytest

from mucal.simulation import GeneratedMuons, MuonGeneration, generate_muons
from mucal.simulation.production import SPECTRA
from mucal.simulation.pythia import generate_with_pythia
from mucal.theory import resonance
from mucal.track import LAM, PHI, QOP
from mucal.units import MUON_MASS

pytestmark = pytest.mark.oracle

pytest.importorskip("pythia8mc")
N = 20_000


def pair_masses(muons: GeneratedMuons) -> np.ndarray:
    p = 1 / np.abs(muons.state[:, QOP])
    lam, phi = muons.state[:, LAM], muons.state[:, PHI]
    four = np.column_stack(
        [p * np.cos(lam) * np.cos(phi), p * np.cos(lam) * np.sin(phi), p * np.sin(lam), np.hypot(p, MUON_MASS)]
    )
    total = four.reshape(-1, 2, 4).sum(axis=1)
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


@pytest.mark.parametrize(("name", "low", "high"), [("jpsi", 2.9, 3.3), ("upsilon1s", 8.9, 9.9)])
def test_mean_mass_of_a_quarkonium_in_its_window(name, low, high):
    config = MuonGeneration(process=name, parent=replace(SPECTRA[name], pt_low=0.0), pt_min=0.0, eta_max=20.0)
    ours, theirs = pair_masses(generate_muons(config, 20 * N)), pair_masses(generate_with_pythia(config, N))
    inside = [m[(m > low) & (m < high)] for m in (ours, theirs)]
    shifts = [m.mean() - resonance(name).mass for m in inside]
    error = inside[1].std() / np.sqrt(inside[1].size)
    # hard photons differ by 10 % between the two descriptions
    assert abs(shifts[0] - shifts[1]) < 4 * error + 0.10 * abs(shifts[0])
    shares = [i.size / m.size for i, m in zip(inside, (ours, theirs), strict=True)]
    assert abs(shares[0] - shares[1]) < 0.10 * (1 - shares[0]) + 4 * np.sqrt(shares[0] * (1 - shares[0]) / N)


def test_mass_of_the_z_relative_to_that_before_radiation():
    config = MuonGeneration(process="z", pt_min=25.0)
    ours, theirs = generate_muons(config, 10 * N), generate_with_pythia(config, N)
    losses = [1 - pair_masses(m) / m.mass[::2] for m in (ours, theirs)]
    for cut in (0.003, 0.01, 0.03, 0.1):
        a, b = (float(np.mean(x > cut)) for x in losses)
        assert abs(a - b) < 0.10 * a + 4 * np.sqrt(a / losses[1].size)


def test_peak_of_the_z_after_radiation():
    config = MuonGeneration(process="z", pt_min=25.0)
    masses = [pair_masses(m) for m in (generate_muons(config, 10 * N), generate_with_pythia(config, N))]
    means = [m[(m > 86) & (m < 96)].mean() for m in masses]
    assert abs(means[0] - means[1]) < 4 * 2.0 / np.sqrt(masses[1].size)


def test_muons_of_w_plus_and_w_minus():
    spectra, forward = {}, {}
    for name in ("w_plus", "w_minus"):
        config = MuonGeneration(process=name, pt_min=25.0, pt_max=60.0)
        for which, muons in (("ours", generate_muons(config, 10 * N)), ("pythia", generate_with_pythia(config, N))):
            pt = np.cos(muons.state[:, LAM]) / np.abs(muons.state[:, QOP])
            spectra[name, which] = pt.mean()
            forward[name, which] = np.abs(np.arcsinh(np.tan(muons.state[:, LAM]))).mean()
    for name in ("w_plus", "w_minus"):
        # partons, polarisation and the momentum of the W are different models: 2 % in pT, 0.05 in |eta|
        assert abs(spectra[name, "ours"] / spectra[name, "pythia"] - 1) < 0.02
        assert abs(forward[name, "ours"] - forward[name, "pythia"]) < 0.05
