"""Which generated pairs are recorded."""

import numpy as np

from mucal.detector import barrel
from mucal.globalcor import Refit, build_registry
from mucal.refit import MassReference, PairSelection
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits, stream_muons
from mucal.workflow.recorded_pairs import within_reach

SELECTION = PairSelection(min_hits=8, pt_min=3.5)


def test_no_pair_beyond_reach_is_selected():
    muons = generate_muons(
        MuonGeneration(process="jpsi", seed=5, pt_min=SELECTION.lowest_pt(3.0969), eta_max=0.75), 120_000
    )
    near = within_reach(muons, SELECTION.pt_min)
    assert np.array_equal(near[::2], near[1::2])
    detector = barrel()
    refit = Refit(
        detector=detector, registry=build_registry(detector, ()), selection=SELECTION,
        mass=MassReference.constant(3.0924, 0.0203),
    )  # fmt: skip
    hits = simulate_hits(muons, detector, HitSimulation(straggling="gaussian", least_hits=8)).hits
    fits, _ = refit.pairs(hits, profile=False)
    selected = np.isin(muons.event, fits.event[fits.constrained.ok])[::2]
    assert selected.sum() > 1_000
    assert not np.any(selected & ~near[::2])
    assert 0.6 < near.mean() < 0.8
    assert 0.65 < selected.sum() / near[::2].sum() < 0.85


def test_those_that_are_not_wanted_do_not_count():
    config = MuonGeneration(process="jpsi", seed=5, pt_min=SELECTION.lowest_pt(3.0969))
    parts = list(stream_muons(config, 100, chunk=1_000, wanted=lambda muons: within_reach(muons, SELECTION.pt_min)))
    assert sum(len(part) for part in parts) == 200
    last = max(part.event.max() for part in parts)
    everything = generate_muons(config, last + 1)
    wanted = everything.select(within_reach(everything, SELECTION.pt_min))
    assert np.array_equal(np.concatenate([part.event for part in parts]), wanted.event)
