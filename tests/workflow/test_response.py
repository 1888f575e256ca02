"""The response of simulated muons, as a run from hits releases it."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from mucal.workflow.bins import Bins
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.response import response_of

WIDTH = 0.015
JPSI, Z = Bins(eta_edges=(-2.4, 0.0, 2.4), pt_edges=(4.0, 25.0)), Bins(eta_edges=(-2.4, 2.4), pt_edges=(15.0, 80.0))


def simulated(n: int, pt: tuple[float, float], seed: int = 1) -> RefittedPairs:
    """Pairs whose curvature is measured with an error of WIDTH, a tail of twice it for the positive muons."""
    rng = np.random.default_rng(seed)
    k = 1.0 / rng.uniform(*pt, (n, 2))
    wide = np.where(rng.random(n) < 0.2, 2.0, 1.0)
    r = 1.0 + WIDTH * rng.standard_normal((n, 2)) * np.stack([wide, np.ones(n)], axis=1)
    numbers = np.arange(n)
    return RefittedPairs(
        run=np.ones(n, dtype=np.int64), lumi=numbers, event=numbers, pt=1.0 / (k * r),
        eta=rng.uniform(-2.4, 2.4, (n, 2)), phi=np.zeros((n, 2)), charge=np.tile([1, -1], (n, 1)),
        mass_gen=np.full(n, 3.1), sigma=np.full(n, 0.01), k_gen=k, selected=np.ones(n, dtype=np.int64),
        n_pixel=np.full((n, 2), 4),
    )  # fmt: skip


def test_all_samples_share_one_map_with_the_edges_of_each():
    found = response_of([simulated(20_000, (4.0, 25.0)), simulated(20_000, (15.0, 80.0), 2)], [JPSI, Z], [])
    assert found is not None
    assert found.pt_edges.tolist() == [4.0, 15.0, 25.0, 80.0]
    assert found.eta_edges.tolist() == [-2.4, 0.0, 2.4]
    assert found.n_muons.sum() == 80_000
    # 11 of 21 GeV are in the first cell of the J/psi, 10 of 65 in the second one of the Z beside theirs
    assert_allclose(found.n_muons[0].sum(axis=1) / 20_000, [11 / 21, 10 / 21 + 10 / 65, 55 / 65], atol=0.01)


def test_the_map_knows_the_width_and_the_tail_of_each_charge():
    found = response_of([simulated(40_000, (4.0, 25.0))], [JPSI], [])
    assert found is not None
    negative, positive = found.coefficients
    assert_allclose(negative[..., 0], 1.0, atol=6 * WIDTH / np.sqrt(20_000))
    assert_allclose(negative[..., 1], WIDTH, rtol=0.04)
    # the quantile function of the tail bends upwards: its cubic term, zero of a Gaussian
    assert np.all(positive[..., 3] > 5e-4)
    assert np.all(np.abs(negative[..., 3]) < 5e-4)


def test_too_few_muons_give_no_map_and_a_note():
    notes: list[str] = []
    assert response_of([simulated(400, (4.0, 25.0))], [JPSI], notes) is None
    assert notes == ["no map of the response: no cell holds 500 simulated muons"]


def test_bins_of_the_absolute_value_are_those_of_either_sign():
    both = replace(JPSI, eta_edges=(0.0, 1.2, 2.4), abs_eta=True)
    found = response_of([simulated(20_000, (4.0, 25.0))], [both], [])
    assert found is not None
    assert found.eta_edges.tolist() == [-2.4, -1.2, 0.0, 1.2, 2.4]
