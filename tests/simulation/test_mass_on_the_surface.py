"""Generated pairs with one mean mass at all momenta on the surface of the mass: numbers of docs/physics/pairs.md."""

import numpy as np
import pytest

from mucal.refit import PairSelection
from mucal.simulation import MuonGeneration, stream_muons
from mucal.theory import resonance
from mucal.track import LAM, QOP
from mucal.workflow.hit_sums import pair_masses

SELECTION = PairSelection(pt_min=3.5)


def columns(muons: MuonGeneration, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mass (C,) and bare 1/pT (C, 2) of pairs inside the window."""
    parts = []
    low, high = SELECTION.window
    for part in stream_muons(muons, n, chunk=2**17):
        state = part.state.reshape(-1, 2, 5)
        mass = pair_masses(state)
        inside = (mass > low) & (mass < high)
        parts.append((mass[inside], (np.abs(state[..., QOP]) / np.cos(state[..., LAM]))[inside]))
    return np.concatenate([m for m, _ in parts]), np.concatenate([k for _, k in parts])


def slope(mass: np.ndarray, k: np.ndarray) -> tuple[float, float]:
    """d mass / d k in MeV GeV, and its error."""
    return 1e3 * float(np.polyfit(k, mass, 1)[0]), 1e3 * float(mass.std() / np.sqrt(mass.size) / k.std())


@pytest.mark.slow
def test_slopes_of_the_mean_mass():
    # equal errors of both curvatures take a pair to the surface along k1 = k2
    mass, k = columns(MuonGeneration(process="jpsi", seed=4321, pt_min=SELECTION.pt_min), 2_000_000)
    on_surface = k * (mass / mass.mean())[:, None]
    bare, there = slope(mass, k.mean(axis=1)), slope(mass, on_surface.mean(axis=1))
    print(f"\nabove the cut: bare {bare[0]:+.1f} +- {bare[1]:.1f}, on the surface {there[0]:+.1f} +- {there[1]:.1f}")
    estimate = 1e3 * k.mean() * mass.var() / (mass.mean() * k.mean(axis=1).var())
    print(f"estimated difference {estimate:.1f} MeV GeV")
    assert abs(there[0] - bare[0] - estimate) < 4.0 * there[1]
    assert there[0] > 10.0

    lowest = SELECTION.lowest_pt(resonance("jpsi").mass)
    mass, k = columns(MuonGeneration(process="jpsi", seed=4321, pt_min=lowest), 3_500_000)
    for share in (0.5, 0.25, 0.1):  # of the lost mass that the surface gives back to one of the muons, at random
        first = np.where(np.random.default_rng(1).random(mass.size) < 0.5, share, 1.0 - share)
        given = 2.0 * np.column_stack([first, 1.0 - first])
        on_surface = k * (mass / 3.0927)[:, None] ** given
        kept = on_surface.max(axis=1) < 1.0 / SELECTION.pt_min
        bare, there = slope(mass[kept], k[kept].mean(axis=1)), slope(mass[kept], on_surface[kept].mean(axis=1))
        print(f"from {lowest:.2f} GeV, {share:.2f} to one muon: {kept.mean():.3f} kept, bare {bare[0]:+.1f} +- "
              f"{bare[1]:.1f}, on the surface {there[0]:+.1f} +- {there[1]:.1f} MeV GeV")  # fmt: skip
        assert abs(there[0]) < 4.0 * there[1]
