import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucal.errors import ResourceError
from mucal.io.duplicates import TOLERANCE, DuplicateSpool
from mucal.track import Dimuons

PAIR = st.tuples(st.integers(1, 2), st.integers(0, 3), st.sampled_from([3.0, 3.001, 3.5, 7.0]), st.floats(5, 6))


def dimuons(rows: list[tuple[int, int, float, float]]) -> Dimuons:
    run, event, first, second = (np.array(values) for values in zip(*rows, strict=True))
    n = run.size
    return Dimuons(
        run=run, lumi=np.ones(n, dtype=int), event=event, pt=np.stack([first, second], axis=1),
        eta=np.zeros((n, 2)), phi=np.zeros((n, 2)), charge=np.tile([1, -1], (n, 1)),
    )  # fmt: skip


def repeats(rows: list, one_per_event: bool, cut: int = 0) -> list[int]:
    pairs = dimuons(rows)
    with DuplicateSpool(one_per_event=one_per_event) as spool:
        spool.add(pairs.select(slice(None, cut)), np.arange(cut))
        spool.add(pairs.select(slice(cut, None)), np.arange(cut, len(rows)))
        return spool.finish().sequence.tolist()


def repeats_by_loop(rows: list, one_per_event: bool) -> list[int]:
    def same(a, b) -> bool:
        near = all(abs(x - y) <= TOLERANCE * min(x, y) for x, y in zip(a[2:], b[2:], strict=True))
        return a[:2] == b[:2] and (one_per_event or near)

    return [j for j, b in enumerate(rows) if any(same(a, b) for a in rows[:j])]


@given(rows=st.lists(PAIR, min_size=1, max_size=9), one_per_event=st.booleans(), cut=st.integers(0, 9))
def test_repeats_agree_with_a_plain_loop(rows: list, one_per_event: bool, cut: int):
    assert repeats(rows, one_per_event, min(cut, len(rows))) == repeats_by_loop(rows, one_per_event)


def test_the_same_pair_printed_with_other_digits_is_a_repeat():
    assert repeats([(1, 1, 54.7055, 34.2464), (1, 1, 54.70551, 34.24639)], False) == [1]


def test_another_run_or_event_is_no_repeat():
    assert repeats([(1, 1, 5.0, 6.0), (2, 1, 5.0, 6.0), (1, 2, 5.0, 6.0)], True) == []


def test_each_repeat_names_what_it_repeats():
    with DuplicateSpool(one_per_event=True) as spool:
        spool.add(dimuons([(1, 1, 5.0, 6.0), (1, 2, 5.0, 6.0), (1, 1, 5.0, 6.0)]), np.array([10, 11, 40]))
        found = spool.finish()
    assert (found.sequence.tolist(), found.first.tolist()) == ([40], [10])


def test_a_full_disk_is_a_resource_error_with_a_remedy():
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    spool = DuplicateSpool(one_per_event=True)
    with spool:
        for file in spool._files:
            file.close()
        spool._files = [Full() for _ in spool._files]  # type: ignore[misc]
        with pytest.raises(ResourceError, match="disk is full") as caught:
            spool.add(dimuons([(1, 1, 5.0, 6.0)]), np.array([0]))
    assert "TMPDIR" in caught.value.do
