import numpy as np

from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.track import Dimuons
from mucal.workflow.halves import derives

PAIRS = generate_dimuons(DimuonSimulation(), 20_000).dimuons


def test_the_halves_do_not_depend_on_order_or_chunks():
    whole = derives(PAIRS, 1, 0.5)
    order = np.random.default_rng(0).permutation(len(PAIRS))
    assert np.array_equal(derives(PAIRS.select(order), 1, 0.5), whole[order])
    parts = [derives(PAIRS.select(slice(i, i + 777)), 1, 0.5) for i in range(0, len(PAIRS), 777)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_fraction_is_that_asked_for():
    n = len(PAIRS)
    for fraction in (0.2, 0.5):
        assert abs(derives(PAIRS, 3, fraction).sum() - fraction * n) < 4 * np.sqrt(n * fraction * (1 - fraction))


def test_no_pairs_have_no_half():
    assert derives(Dimuons.concatenate([]), 1, 0.5).shape == (0,)
