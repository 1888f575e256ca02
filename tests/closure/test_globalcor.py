"""Known distortions put into J/psi pairs of a simple track model come back with honest errors.

The quick tests float whole layers of the small barrel; the slow one floats every module.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mucal.detector import barrel
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    GuardConfig,
    SolveConfig,
    accumulate,
    build_registry,
    divide,
    solve,
)

SPEC = importlib.util.spec_from_file_location("jpsi", Path(__file__).parents[1] / "globalcor" / "jpsi.py")
jpsi = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(jpsi)

OPEN = AccumulateConfig(guards=GuardConfig(chi2_per_ndof=1e9))


# Parameters with few entries float as well: frozen at 0 they would pull their neighbours away from the truth.
def families(by: str, kinds: tuple[str, ...]) -> list[Family]:
    every = {
        "alignment": Family(kind="alignment", by=by, prior=(2e-3,) * 6, min_entries=1),
        "bfield": Family(kind="bfield", by="layer", components=("z",), prior=(3.8e-3,), passive=False, min_entries=1),
        "eloss": Family(kind="eloss", by="layer", prior=(0.05,), passive=False, min_entries=1),
    }
    return [every[kind] for kind in kinds]


def recovered(by: str, kinds: tuple[str, ...], n: int, *, distorted: bool, seed: int = 2):
    detector = barrel()
    registry = build_registry(detector, families(by, kinds))
    truth = np.random.default_rng(seed).normal(size=len(registry)) * registry.prior * distorted
    pairs = jpsi.JpsiPairs(detector, registry, n, truth=truth, eta_max=0.7, tries=60)
    sums = accumulate(pairs, divide(pairs.n, 500), registry, OPEN)
    found = solve(sums, registry, SolveConfig(method="dense"))
    return registry, truth, found


@pytest.mark.parametrize("kinds", [("alignment",), ("bfield",), ("eloss",), ("alignment", "bfield", "eloss")])
def test_injected_distortions_are_recovered_within_their_errors(kinds):
    _, truth, found = recovered("layer", kinds, 600, distorted=True)
    away = (found.theta - truth)[found.free]
    distance = away @ np.linalg.solve(found.covariance, away) / away.size
    assert abs(distance - 1.0) < 3.0 * np.sqrt(2.0 / away.size)


def test_without_a_distortion_nothing_is_found():
    _, _, found = recovered("layer", ("alignment", "bfield", "eloss"), 600, distorted=False)
    # with a truth of 0 the priors make estimates smaller than their errors
    pulls = found.theta[found.free] / found.error[found.free]
    assert np.abs(pulls).max() < 4.0
    assert np.mean(pulls**2) < 1.0 + 3.0 * np.sqrt(2.0 / pulls.size)


def test_the_mass_alone_knows_a_uniform_field():
    detector = barrel()
    registry = build_registry(
        detector,
        [Family(kind="bfield", by="whole", components=("z",), prior=(np.inf,), passive=False, min_entries=1)],
    )
    truth = np.array([3.8e-3])
    errors = []
    for n in (150, 600):
        pairs = jpsi.JpsiPairs(detector, registry, n, truth=truth, eta_max=0.7, tries=100)
        found = solve(accumulate(pairs, divide(pairs.n, 500), registry, OPEN), registry)
        assert abs(found.theta[0] - truth[0]) < 4.0 * found.error[0]
        errors.append(found.error[0] * np.sqrt(pairs.n))
    # dm/m = dB/B for both muons; 20 MeV of width and the resolution leave about 1 % of the mass a pair
    assert errors[0] / 3.8 == pytest.approx(errors[1] / 3.8, rel=0.2)
    assert 0.006 < errors[1] / 3.8 < 0.02


@pytest.mark.slow
def test_injection_with_every_module_floating(capsys):
    registry, truth, found = recovered("module", ("alignment", "bfield", "eloss"), 20_000, distorted=True)
    away = (found.theta - truth)[found.free]
    distance = away @ np.linalg.solve(found.covariance, away) / away.size
    with capsys.disabled():
        print(f"\n{found.n_candidates} pairs, {away.size} of {len(registry)} parameters: distance/N {distance:.3f} +- "
              f"{np.sqrt(2.0 / away.size):.3f}, {found.prior_driven.sum()} prior-driven")  # fmt: skip
        for kind in ("alignment", "bfield", "eloss"):
            here = found.free & registry.of_kind(kind)
            pulls = (found.theta - truth)[here] / found.error[here]
            print(f"{kind:<10} pulls {pulls.mean():+.3f} +- {pulls.std():.3f} of {pulls.size}")
    assert abs(distance - 1.0) < 3.0 * np.sqrt(2.0 / away.size)
