"""Recorded tracks: chosen, joined, saved."""

import numpy as np
import pytest

from mucal.track.hits import Hits, HitsTruth


@pytest.fixture
def hits() -> Hits:
    """Three tracks of 2, 0 and 3 hits."""
    numbers, k = np.arange(3), np.arange(5.0)
    return Hits(
        run=numbers, lumi=numbers + 10, event=numbers + 20, pair=np.full(3, -1), charge=np.array([1, -1, 1]),
        seed=np.arange(15.0).reshape(3, 5), seed_ref=np.zeros((3, 3)), offsets=np.array([0, 2, 2, 5]),
        module_id=np.array([7, 8, 1, 2, 3]), u=k, v=np.where(k > 2, np.nan, k), sigma_u=k + 0.1, sigma_v=k + 0.2,
        truth=HitsTruth(
            state=np.ones((3, 5)), vertex=np.zeros((3, 3)), parent=numbers + 443, mass=np.full(3, 3.1),
            hit_u=k + 100, hit_v=k + 200,
        ),
    )  # fmt: skip


def same(a: Hits, b: Hits) -> bool:
    names = ("run", "lumi", "event", "pair", "charge", "seed", "offsets", "module_id", "u", "v", "sigma_u", "sigma_v")
    assert a.truth is not None
    assert b.truth is not None
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in names) and all(
        np.array_equal(getattr(a.truth, n), getattr(b.truth, n)) for n in ("state", "parent", "hit_u", "hit_v")
    )


def test_hits_and_truth_follow_their_track(hits):
    chosen = hits.select(np.array([2, 0]))
    assert chosen.event.tolist() == [22, 20]
    assert chosen.offsets.tolist() == [0, 3, 5]
    assert chosen.module_id.tolist() == [1, 2, 3, 7, 8]
    assert chosen.truth.hit_u.tolist() == [102, 103, 104, 100, 101]
    assert chosen.truth.parent.tolist() == [445, 443]


def test_parts_joined_are_the_whole(hits):
    mask = np.array([True, False, False])
    assert same(Hits.concatenate([hits.select(mask), hits.select(~mask)]), hits)


def test_saved_hits_come_back_bit_for_bit(hits, tmp_path):
    hits.save(tmp_path / "hits.h5")
    assert same(Hits.load(tmp_path / "hits.h5"), hits)


def test_every_hit_knows_its_track(hits):
    assert hits.track.tolist() == [0, 0, 2, 2, 2]


def test_falling_offsets_are_refused(hits):
    with pytest.raises(ValueError, match="must rise from 0 to 5"):
        hits.__class__(**{n: getattr(hits, n) for n in (
            "run", "lumi", "event", "pair", "charge", "seed", "seed_ref", "module_id", "u", "v", "sigma_u", "sigma_v",
        )}, offsets=np.array([0, 3, 2, 5]))  # fmt: skip
