"""Thin bins merged with neighbours in pT."""

import numpy as np
import pytest

from mucal.massfit import MassHistograms, fewest_events, merge_thin


def histograms(events: dict[tuple[int, int, int, int], float]) -> MassHistograms:
    index = np.array(list(events), dtype=np.int64)
    counts = np.array(list(events.values()))[:, None] * np.array([[0.25, 0.75]])
    sums = counts.sum(axis=1)[:, None, None] * np.ones((1, 2, 5))
    return MassHistograms(
        eta_edges=np.linspace(-2.4, 2.4, 4), pt_edges=np.array([4.0, 6.0, 10.0, 25.0]),
        mass_edges=np.array([2.9, 3.1, 3.3]), abs_eta=False, index=index, counts=counts, sums=sums,
    )  # fmt: skip


def test_full_bins_stay_as_they_are():
    full = histograms({(0, 0, 0, 0): 600.0, (0, 1, 0, 0): 900.0})
    merging = merge_thin(full)
    assert merging.n_merged == 0
    assert np.array_equal(merging.apply(full).counts, full.counts)


def test_a_thin_bin_joins_its_neighbour_in_pt_and_keeps_all_events():
    thin = histograms({(0, 0, 0, 0): 600.0, (0, 1, 0, 0): 100.0, (0, 1, 1, 0): 900.0})
    merged = merge_thin(thin).apply(thin)
    assert merged.index.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]
    assert merged.n_events.tolist() == [700.0, 900.0]
    assert merged.sums.sum() == pytest.approx(thin.sums.sum(), rel=1e-14)


def test_bins_of_other_eta_are_no_neighbours():
    apart = histograms({(0, 0, 0, 0): 100.0, (1, 0, 0, 0): 600.0})
    assert merge_thin(apart).n_merged == 0


def test_neighbours_are_chained_until_there_are_events_enough():
    chain = histograms({(0, 0, 0, 0): 200.0, (0, 0, 0, 1): 200.0, (0, 1, 0, 1): 200.0})
    merged = merge_thin(chain).apply(chain)
    assert merged.n_events.tolist() == [600.0]


def test_a_bin_thin_in_simulation_is_merged_in_both():
    data = histograms({(0, 0, 0, 0): 800.0, (0, 1, 0, 0): 900.0})
    simulation = histograms({(0, 0, 0, 0): 300.0, (0, 1, 0, 0): 5000.0})
    merging = merge_thin(data, simulation)
    assert merging.apply(data).index.tolist() == merging.apply(simulation).index.tolist() == [[0, 1, 0, 0]]
    assert merging.apply(simulation).n_events.tolist() == [5300.0]


def test_a_bin_of_data_alone_joins_one_that_simulation_has():
    data = histograms({(0, 0, 0, 0): 800.0, (0, 1, 0, 0): 900.0})
    simulation = histograms({(0, 1, 0, 0): 5000.0})
    assert merge_thin(data, simulation).apply(data).n_events.tolist() == [1700.0]


def test_a_failed_bin_joins_the_thinnest_of_its_neighbours_in_pt():
    full = histograms(
        {(0, 0, 0, 0): 900.0, (0, 1, 0, 0): 600.0, (0, 2, 0, 0): 700.0, (0, 1, 0, 1): 800.0, (0, 1, 1, 0): 500.0}
    )
    plain = merge_thin(full)
    joined = plain.joined(np.array([[0, 1, 0, 0]]), full)
    assert joined.n_merged == plain.n_merged + 1
    assert joined.index[joined.failed].tolist() == [[0, 1, 0, 0]]
    merged = joined.apply(full)
    assert merged.index.tolist() == [[0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 0], [0, 2, 0, 0]]
    assert merged.n_events.tolist() == [900.0, 800.0, 500.0, 1300.0]


def test_two_failed_neighbours_join_once_and_wait_for_their_new_fit():
    full = histograms({(0, 0, 0, 0): 600.0, (0, 1, 0, 0): 700.0, (0, 2, 0, 0): 800.0})
    joined = merge_thin(full).joined(np.array([[0, 0, 0, 0], [0, 1, 0, 0]]), full)
    assert joined.apply(full).n_events.tolist() == [1300.0, 800.0]
    again = joined.joined(np.array([[0, 1, 0, 0]]), full)
    assert again.apply(full).n_events.tolist() == [2100.0]
    assert again.joined(np.array([[0, 2, 0, 0]]), full).n_merged == again.n_merged


def test_a_failed_bin_without_neighbour_stays():
    apart = histograms({(0, 0, 0, 0): 600.0, (0, 1, 1, 0): 600.0, (0, 1, 0, 1): 600.0})
    assert merge_thin(apart).joined(np.array([[0, 0, 0, 0]]), apart).n_merged == 0


def test_bins_of_a_resonance_need_as_many_events_as_its_fits():
    assert fewest_events("jpsi") == fewest_events("upsilon1s") == (500.0, 1000.0)
    assert fewest_events("z") == (750.0, 750.0)
