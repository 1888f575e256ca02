from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.massfit import Binning, MassHistograms, fill
from mucal.massfit.bins import SUMS
from mucal.track import Dimuons, curvature_weights

BINNING = Binning(
    eta_edges=np.array([-2.4, 0.0, 2.4]), pt_edges=np.array([4.0, 8.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 5)
)
ABS_BINNING = replace(BINNING, eta_edges=np.array([0.0, 1.2, 2.4]), abs_eta=True)


def dimuons(n: int = 4000, seed: int = 1) -> Dimuons:
    """Pairs about the J/psi mass, some outside every edge, some of like sign."""
    rng = np.random.default_rng(seed)
    eta = rng.uniform(-2.6, 2.6, (n, 1)) + np.array([0.0, 0.3]) * rng.choice([-1, 1], (n, 1))
    pt = rng.uniform(3, 26, (n, 2))
    opening = rng.uniform(0.9, 1.1, n) * 3.1 / np.sqrt(pt.prod(axis=1))
    phi = np.stack([np.zeros(n), np.sqrt(np.maximum(opening**2 - 0.09, 1e-4))], axis=1)
    charge = np.where(rng.uniform(size=(n, 1)) < 0.9, [1, -1], [1, 1])
    none = np.zeros(n, dtype=np.int64)
    return Dimuons(run=none, lumi=none, event=np.arange(n), pt=pt, eta=eta, phi=phi, charge=charge)


def by_hand(pairs: Dimuons, binning: Binning) -> dict[tuple[int, ...], list[int]]:
    """Pairs in each kinematic and mass bin, by a loop over pairs."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i in range(len(pairs)):
        numbers = []
        for muon in (0, 1):
            eta = abs(pairs.eta[i, muon]) if binning.abs_eta else pairs.eta[i, muon]
            for value, edges in ((eta, binning.eta_edges), (pairs.pt[i, muon], binning.pt_edges)):
                numbers.append([j for j in range(edges.size - 1) if edges[j] <= value < edges[j + 1]])
        edges = binning.mass_edges
        numbers.append([j for j in range(edges.size - 1) if edges[j] <= pairs.mass[i] < edges[j + 1]])
        if all(numbers) and pairs.charge[i].tolist() == [1, -1]:
            found.setdefault(tuple(n[0] for n in numbers), []).append(i)
    return found


@pytest.mark.parametrize("abs_eta", [False, True])
def test_contents_and_sums_are_those_of_a_loop(abs_eta: bool):
    binning = BINNING if not abs_eta else ABS_BINNING
    pairs = dimuons()
    histograms, expected = fill(pairs, binning), by_hand(pairs, binning)
    assert histograms.n_events.sum() == sum(len(rows) for rows in expected.values()) > 100
    w = curvature_weights(pairs.pt, pairs.eta, pairs.phi)
    for b, index in enumerate(histograms.index):
        rows = []
        for j in range(binning.mass_edges.size - 1):
            inside = expected.get((*index.tolist(), j), [])
            assert histograms.counts[b, j] == len(inside)
            rows += inside
        summands = {"w": w, "wk": w / pairs.pt, "wpt": w * pairs.pt, "w2": w**2, "w2_pt2": (w * pairs.pt) ** 2}
        for name in SUMS:
            assert_allclose(histograms.mean(name)[b], summands[name][rows].mean(axis=0), rtol=1e-12)


def test_bins_are_ordered_and_none_is_empty():
    histograms = fill(dimuons(), BINNING)
    flat = np.ravel_multi_index(tuple(histograms.index.T), (2, 2, 2, 2))
    assert np.all(np.diff(flat) > 0)
    assert np.all(histograms.n_events > 0)


def test_chunks_add_up_to_the_whole_in_any_order():
    pairs = dimuons()
    whole = fill(pairs, BINNING)
    parts = [fill(pairs.select(slice(a, a + 1100)), BINNING) for a in (3300, 0, 2200, 1100)]
    added = parts[0] + parts[1] + parts[2] + parts[3]
    assert_array_equal(added.index, whole.index)
    assert_array_equal(added.counts, whole.counts)
    assert_allclose(added.sums, whole.sums, rtol=1e-12)


def test_a_chunk_without_pairs_adds_nothing():
    whole, none = fill(dimuons(), BINNING), fill(dimuons(0), BINNING)
    assert none.n_bins == 0
    assert_array_equal((whole + none).counts, whole.counts)


def test_histograms_of_other_binnings_do_not_add():
    other = replace(BINNING, mass_edges=np.linspace(2.9, 3.3, 6))
    with pytest.raises(ValueError, match="cannot add mass histograms with different mass_edges"):
        fill(dimuons(), BINNING) + fill(dimuons(), other)


def test_saved_histograms_come_back(tmp_path: Path):
    histograms = fill(dimuons(), BINNING)
    back = MassHistograms.load(histograms.save(tmp_path / "histograms.h5"))
    assert_array_equal(back.counts, histograms.counts)
    assert_array_equal(back.sums, histograms.sums)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mass_edges": np.array([3.3, 2.9])}, r"Binning.mass_edges must increase strictly"),
        ({"abs_eta": True}, r"Binning.eta_edges start at -2.4; in \|eta\| they start at 0 or above"),
        ({"pt_edges": np.array([0.0, 25.0])}, r"Binning.pt_edges start at 0.0 GeV; expected a positive momentum"),
    ],
)
def test_a_wrong_binning_is_named(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(BINNING, **arguments)
