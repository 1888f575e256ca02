"""Corrections applied to first order beside a refit with them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import barrel
from mucal.detector.field import harmonic_modes
from mucal.globalcor import Chunk, Family, Refit, accumulate, build_registry, linear_against_refit, solve, truth_blocks
from mucal.refit import RefitConfig
from mucal.simulation import HitSimulation, MuonGun, fire, simulate_hits

FAMILIES = (
    Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="layer", prior=(0.05,), min_entries=1, passive=False),
)

QUIET = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def made():
    """Corrections whose field is 1e-3 and whose losses are 2 % off, layers by 5 um; a refit; hits."""
    detector = barrel()
    registry = build_registry(detector, FAMILIES, harmonic_modes(2, 1))
    refit = Refit(detector=detector, registry=registry)
    gun = MuonGun(seed=5, pt=(3.0, 40.0), eta=(-0.7, 0.7))
    hits = simulate_hits(fire(gun, 300), detector, HitSimulation(seed=2, straggling="gaussian")).hits
    blocks, _ = truth_blocks(refit, hits)
    any_ = solve(accumulate(lambda chunk: blocks, (Chunk(number=0, start=0, stop=1),), registry), registry)
    theta = np.random.default_rng(1).normal(size=len(registry)) * 5e-4
    theta[registry.of_kind("eloss")] = 0.02
    theta[registry.index("bfield/l1m0c")] = 3.8e-3
    return refit, replace(any_, theta=theta), hits


def test_the_first_order_is_within_its_limit_of_the_refit(made):
    refit, corrections, hits = made
    found = linear_against_refit(refit, corrections, hits)
    assert found.ok.all()
    assert np.median(np.abs(found.moved)) > 2e-4
    assert abs(found.mean) < 5e-6
    assert "first order less refit" in found.summary()[1]


def test_what_the_first_order_leaves_is_of_second_order(made):
    # muons without noise: weights move with the corrections, to first order in these times the residuals
    refit, corrections, _ = made
    hits = simulate_hits(fire(MuonGun(seed=5, pt=(3.0, 40.0), eta=(-0.7, 0.7)), 100), refit.detector, QUIET).hits
    refit, sizes = replace(refit, config=RefitConfig(tolerance=1e-11)), []
    for scale in (1.0, 2.0, 4.0):
        scaled = replace(corrections, theta=scale * corrections.theta)
        sizes.append(np.median(np.abs(linear_against_refit(refit, scaled, hits).difference)))
    assert_allclose(np.diff(np.log2(sizes)), 2.0, atol=0.2)


def test_tracks_moved_far_are_named(made):
    refit, corrections, hits = made
    far = linear_against_refit(refit, replace(corrections, theta=30.0 * corrections.theta), hits)
    near = linear_against_refit(refit, replace(corrections, theta=1e-3 * corrections.theta), hits)
    assert far.beyond[far.ok].mean() > 0.9
    assert not near.beyond.any()
    assert near.share_within == 1.0
